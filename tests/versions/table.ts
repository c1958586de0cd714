// docs/versions.md: written from what was run, and read again to compare it with another run.

import type { Impersonation } from "../../deploy/impersonation.ts";
import type { Command } from "./commands.ts";
import { minorOf, plain } from "./version.ts";

export interface Section {
  /** The API server's version. */
  server: string;
  /** How the gateway's account impersonates. */
  impersonation: Impersonation;
  /** That of the `kubectl proxy` in front of it. */
  proxy: string;
  rows: Row[];
}

export interface Row {
  kubectl: string;
  /** One for each command: "yes", "with VARIABLE=true", "no: …" or "not run". */
  cells: string[];
}

export const NOT_RUN = "not run";

export function document(sections: Section[], commands: Command[]): string {
  const servers = [...new Set(sections.map(({ server }) => plain(server)))];
  const proxies = new Set(sections.map(({ proxy }) => plain(proxy)));
  const kubectls = sections[0]?.rows.map(({ kubectl }) => plain(kubectl)) ?? [];
  return `# Which kubectl works with which API server

Written by \`npm run versions\`, which runs every command with every kubectl through the gateway (the built Worker in workerd, behind a
stand-in for Access) to a real kube-apiserver. Do not edit it: run \`npm run versions\` again, which needs what \`npm test\` needs. A
kubectl that the machine lacks, and the older API servers, are built once from Kubernetes' Go modules: minutes for each.
\`npm run versions -- --check\` compares instead of writing, \`--kubectl 1.30,1.37\` and \`--server 1.37\` run a part of it.

- kube-apiserver: ${servers.join(", ")}
- \`kubectl proxy\`, the last hop: ${[...proxies].join(", ")}
- kubectl: ${kubectls.join(", ")}

A cell says **yes** when kubectl does it by itself, **with \`VARIABLE=true\`** when it does it only with that environment variable, and
**no** with the sentence that kubectl prints. API servers from 1.36 on are run with both kinds of impersonation. In detail, yes means:

${commands.map(({ name, proof }) => `- \`${name}\`: ${proof}`).join("\n")}
${sections.map((section) => sectionText(section, commands)).join("")}`;
}

export function sectionText({ server, impersonation, rows }: Section, commands: Command[]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [
    "",
    `## kube-apiserver ${plain(server)}, ${impersonation} impersonation`,
    "",
    line(["kubectl", ...commands.map(({ name }) => name)]),
    line(["---", ...commands.map(() => "---")]),
    ...rows.map(({ kubectl, cells }) => line([plain(kubectl), ...cells.map(cellText)])),
    "",
  ].join("\n");
}

/**
 * Where a run and the file disagree, a sentence each. The run may be a part of what the file holds. Patch versions are not
 * compared: the file must hold for whichever kubectl 1.33 a machine has.
 */
export function differences(run: Section[], file: string, commands: Command[]): string[] {
  const written = parse(file);
  return run.flatMap(({ server, impersonation, rows }) =>
    rows.flatMap(({ kubectl, cells }) =>
      commands.flatMap(({ name }, column) => {
        const key = [minorOf(server), impersonation, minorOf(kubectl), name].join(" ");
        const [ran, wrote] = [cellText(cells[column] ?? ""), written.get(key)];
        const where = `kubectl ${plain(kubectl)} ${name} with kube-apiserver ${plain(server)}, ${impersonation}`;
        return ran === wrote ? [] : [`${where}: ran "${ran}", the file says "${wrote ?? "nothing"}"`];
      }),
    ),
  );
}

/** Every cell, by server, kubectl and command. */
function parse(file: string): Map<string, string> {
  const cells = new Map<string, string>();
  let [server = "", impersonation = ""]: string[] = [];
  let names: string[] = [];
  for (const line of file.split("\n")) {
    [, server = server, impersonation = impersonation] =
      line.match(/^## kube-apiserver (\S+), (\S+) impersonation$/) ?? [];
    const [first = "", ...rest] = line.match(/^\| (.*) \|$/)?.[1]?.split(" | ") ?? [];
    if (first === "kubectl") {
      names = rest;
    } else if (/^1\./.test(first)) {
      for (const [column, cell] of rest.entries()) {
        cells.set([minorOf(server), impersonation, minorOf(first), names[column]].join(" "), cell);
      }
    }
  }
  return cells;
}

/** What a cell of a Markdown table can hold. A variable is set as code. */
function cellText(text: string): string {
  return text
    .replaceAll("|", "\\|")
    .replaceAll("<", "&lt;")
    .replace(/^with (\S+)$/, "with `$1`");
}
