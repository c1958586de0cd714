// The tables of inputs and outputs in the modules' READMEs, made from variables.tf and outputs.tf. These are read as
// `terraform fmt` lays them out, which `npm run test:terraform` checks first.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const START = "<!-- made by `npm run test:terraform -- --write` from variables.tf and outputs.tf -->";
const END = "<!-- end of what is made -->";

export interface Block {
  name: string;
  description: string;
  type: string;
  /** As it stands in the file; undefined when a value must be given. */
  default: string | undefined;
  sensitive: boolean;
}

/** The modules whose README does not say what their files say; with `write`, they do afterwards. */
export async function outdatedReadmes(modules: string[], write: boolean): Promise<string[]> {
  const outdated: string[] = [];
  for (const module of modules) {
    const file = join(module, "README.md");
    const readme = await readFile(file, "utf8");
    const current = withTables(readme, await tables(module));
    if (current === undefined) {
      throw new Error(`${file} has no place for its tables: add the lines\n${START}\n${END}`);
    }
    if (current !== readme) {
      outdated.push(file);
      if (write) {
        await writeFile(file, current);
      }
    }
  }
  return outdated;
}

async function tables(module: string): Promise<string> {
  const variables = readBlocks(await readFile(join(module, "variables.tf"), "utf8"), "variable");
  const outputs = readBlocks(await readFile(join(module, "outputs.tf"), "utf8"), "output");
  return [
    "## Inputs",
    "",
    "| name | what | type | default |",
    "|---|---|---|---|",
    ...variables.map((it) =>
      row(code(it.name), it.description, code(it.type), it.default === undefined ? "required" : code(it.default)),
    ),
    "",
    "## Outputs",
    "",
    "| name | what | sensitive |",
    "|---|---|---|",
    ...outputs.map((it) => row(code(it.name), it.description, it.sensitive ? "yes" : "no")),
  ].join("\n");
}

function withTables(readme: string, text: string): string | undefined {
  const start = readme.indexOf(START);
  const end = readme.indexOf(END);
  if (start < 0 || end < start) {
    return undefined;
  }
  return `${readme.slice(0, start + START.length)}\n\n${text}\n\n${readme.slice(end)}`;
}

/** The blocks of one kind, in the file's order. */
export function readBlocks(hcl: string, kind: "variable" | "output"): Block[] {
  const blocks = hcl.matchAll(new RegExp(`^${kind} "(\\w+)" \\{\\n(.*?)^\\}`, "gms"));
  return [...blocks].map(([, name = "", body = ""]) => ({
    name,
    description: unquote(attribute(body, "description") ?? '""'),
    type: oneLine(attribute(body, "type") ?? ""),
    default: optionalOneLine(attribute(body, "default")),
    sensitive: attribute(body, "sensitive") === "true",
  }));
}

/** An attribute's text: up to the next line that is indented no deeper than the attribute itself. */
function attribute(body: string, name: string): string | undefined {
  const match = new RegExp(`^ {2}${name} += (.*(?:\\n {3,}.*|\\n {2}[\\])}].*)*)`, "m").exec(body);
  return match?.[1];
}

function oneLine(text: string): string {
  return text
    .split("\n")
    .map((line) => line.trim().replace(/\s+=\s+/, " = "))
    .reduce((whole, line) => {
      const opens = /[[({]$/.test(whole);
      const closes = /^[\])}]/.test(line);
      const separator = opens || closes ? (opens && closes ? "" : " ") : ", ";
      return whole === "" ? line : whole + separator + line;
    }, "");
}

function optionalOneLine(text: string | undefined): string | undefined {
  return text === undefined ? undefined : oneLine(text);
}

function unquote(literal: string): string {
  return JSON.parse(literal) as string;
}

function code(text: string): string {
  return `\`${text}\``;
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
