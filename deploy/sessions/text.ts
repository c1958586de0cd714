// Text for a terminal. What the gateway tells was typed by those whom an auditor looks at: a command, a reason or a pod's name
// must not move the cursor, change a colour or turn the reading direction of what stands beside it.

/** Control, format and separator characters, and halves of surrogate pairs. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
const SECONDS_A_MINUTE = 60;
const SECONDS_AN_HOUR = 3600;
const SECONDS_A_DAY = 86_400;

/** The text with each character that would act on a terminal written out. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => SHORT[character] ?? escaped(character));
}

/** The same, but for the ends of lines. */
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

/** JSON, indented. JSON.stringify leaves C1 controls and turned text as they are, of which a terminal takes orders too. */
export function visibleJson(value: unknown): string {
  const units = (text: string) => text.split("").map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`);
  return JSON.stringify(value, null, 2).replace(UNSEEN, (text) => (text === "\n" ? text : units(text).join("")));
}

/** A command as it may be typed into a shell again, so that where a word ends is seen. */
export function shellWords(words: string[]): string {
  return words.map(shellWord).join(" ");
}

function shellWord(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) {
    return word;
  }
  const quoted = word.replaceAll("'", "'\\''");
  return visible(word) === word ? `'${quoted}'` : `$'${visible(word.replace(/[\\']/g, "\\$&"))}'`;
}

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) {
    return `\\x${hex(code, 2)}`;
  }
  return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Rows below their headings, in columns as wide as they must be. */
export function table(headings: string[], rows: string[][]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => [...(row[column] ?? "")].length)));
  const line = (row: string[]) => row.map((cell, column) => padded(cell, widths[column] ?? 0)).join("   ");
  return all.map((row) => line(row).trimEnd()).join("\n");
}

export function padded(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - [...cell].length));
}

/** A moment to the second, in UTC, as the cluster's audit log has it. */
export function moment(rfc3339: string): string {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? visible(rfc3339) : time.toISOString().replace(/\.\d+Z$/, "Z");
}

/** How long it was from one moment to another: 42s, 3m12s, 2h05m, 3d04h. */
export function span(from: string, to: string | number): string {
  const seconds = Math.round((new Date(to).getTime() - new Date(from).getTime()) / 1000);
  if (!Number.isFinite(seconds)) {
    return "?";
  }
  const past = Math.max(0, seconds);
  if (past < SECONDS_A_MINUTE) {
    return `${past}s`;
  }
  if (past < SECONDS_AN_HOUR) {
    return pair(past, SECONDS_A_MINUTE, "m", 1, "s");
  }
  return past < SECONDS_A_DAY
    ? pair(past, SECONDS_AN_HOUR, "h", SECONDS_A_MINUTE, "m")
    : pair(past, SECONDS_A_DAY, "d", SECONDS_AN_HOUR, "h");
}

function pair(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)}${largeUnit}${String(rest).padStart(2, "0")}${smallUnit}`;
}

export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
