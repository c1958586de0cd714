// Writes what Terraform made into wrangler.toml, line by line: comments, order and layout stay as they are.

export interface Bindings {
  workerName: string;
  teamDomain: string;
  aud: string;
  vpcServiceId: string;
  /** undefined: the Worker has no KV namespace. */
  kvNamespaceId: string | undefined;
}

/** wrangler.toml with the bindings in it. Throws when the file is written in a way that this cannot edit safely. */
export function bind(toml: string, bindings: Bindings): string {
  refuseOtherNotations(toml);
  let lines = toml.split("\n");
  lines = set(lines, topLevel, "name", bindings.workerName);
  lines = set(lines, table("vars"), "ACCESS_TEAM_DOMAIN", bindings.teamDomain);
  lines = set(lines, table("vars"), "ACCESS_AUD", bindings.aud);
  lines = set(lines, binding("vpc_services", "KUBE_API"), "service_id", bindings.vpcServiceId);
  lines = bindings.kvNamespaceId
    ? set(uncomment(lines, identities), identities, "id", bindings.kvNamespaceId)
    : comment(lines, identities);
  return lines.join("\n");
}

/** A part of the file: where it is, and how it begins where it is missing. */
interface Part {
  find(lines: string[]): Range | undefined;
  opening: string[];
}

/** First line, and the one after the last. */
type Range = [start: number, end: number];

const HEADER = /^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(#.*)?\s*$/;

const topLevel: Part = {
  find: (lines) => [0, endOfTable(lines, 0)],
  opening: [],
};

function table(name: string): Part {
  return {
    find: (lines) => tables(lines, `[${name}]`)[0],
    opening: [`[${name}]`],
  };
}

/** One entry of an array of tables, known by its binding. */
function binding(array: string, name: string): Part {
  return {
    find: (lines) =>
      tables(lines, `[[${array}]]`).find(([start, end]) =>
        lines.slice(start, end).some((line) => stringAt(line, "binding") === name),
      ),
    opening: [`[[${array}]]`, `binding = ${JSON.stringify(name)}`],
  };
}

const identities = binding("kv_namespaces", "IDENTITIES");

function tables(lines: string[], header: string): Range[] {
  return lines.flatMap((line, index): Range[] => {
    const isHeader = HEADER.test(line) && line.replace(/#.*/, "").replaceAll(/\s/g, "") === header;
    return isHeader ? [[index, endOfTable(lines, index + 1)]] : [];
  });
}

function endOfTable(lines: string[], from: number): number {
  const next = lines.findIndex((line, index) => index >= from && HEADER.test(line));
  return next < 0 ? lines.length : next;
}

function set(lines: string[], part: Part, key: string, value: string): string[] {
  const text = JSON.stringify(value);
  const range = part.find(lines);
  if (!range) {
    return append(lines, [...part.opening, `${key} = ${text}`]);
  }
  const [start, end] = range;
  const at = lines.findIndex((line, index) => index >= start && index < end && stringAt(line, key) !== undefined);
  return at < 0
    ? lines.toSpliced(lastFilled(lines, range) + 1, 0, `${key} = ${text}`)
    : lines.with(
        at,
        (lines[at] ?? "").replace(stringOf(key), (_, before, __, after) => before + text + after),
      );
}

/** The string that a line gives to a key; undefined when it does not. */
function stringAt(line: string, key: string): string | undefined {
  return stringOf(key).exec(line)?.[2]?.slice(1, -1);
}

function stringOf(key: string): RegExp {
  return new RegExp(`^(\\s*${key}\\s*=\\s*)("(?:[^"\\\\]|\\\\.)*"|'[^']*')(\\s*(?:#.*)?\\s*)$`);
}

/** Brings a part back that was commented out. */
function uncomment(lines: string[], part: Part): string[] {
  const stripped = lines.map((line) => line.replace(/^#\s?(?=\[\[|\w+\s*=)/, ""));
  const range = part.find(stripped);
  if (part.find(lines) || !range) {
    return lines;
  }
  return lines.map((line, index) =>
    index >= range[0] && index <= lastOfBlock(stripped, range) ? (stripped[index] ?? line) : line,
  );
}

/** Takes a part out of force and leaves it to be read. */
function comment(lines: string[], part: Part): string[] {
  const range = part.find(lines);
  if (!range) {
    return lines;
  }
  const last = lastOfBlock(lines, range);
  return lines.map((line, index) => (index >= range[0] && index <= last && !line.startsWith("#") ? `# ${line}` : line));
}

/** The last line of a part that says something, up to the first blank line. */
function lastOfBlock(lines: string[], [start, end]: Range): number {
  const blank = lines.findIndex((line, index) => index > start && index < end && line.trim() === "");
  return (blank < 0 ? end : blank) - 1;
}

/** The last line of a part that gives a value, or its header. A comment after it may belong to the next part. */
function lastFilled(lines: string[], [start, end]: Range): number {
  const last = lines.findLastIndex((line, index) => index >= start && index < end && /^\s*[^#\s]/.test(line));
  return last < 0 ? start - 1 : last;
}

function append(lines: string[], added: string[]): string[] {
  const end = lines.findLastIndex((line) => line.trim() !== "") + 1;
  return [...lines.slice(0, end), "", ...added, ""];
}

function refuseOtherNotations(toml: string): void {
  const inline = /^\s*(vars|vpc_services|kv_namespaces)(\.\w+)?\s*=/m.exec(toml);
  if (inline) {
    throw new Error(
      `wrangler.toml sets ${inline[1]} in one line: write it as a table, [${inline[1]}] or [[${inline[1]}]].`,
    );
  }
  if (/"""|'''/.test(toml)) {
    throw new Error(
      "wrangler.toml has a string of several lines: write it in one line, so that tables can be told from text.",
    );
  }
}
