// TOML as it is written: which value stands where, and what the whole file means.

import { type AST, getStaticTOMLValue, parseTOML } from "toml-eslint-parser";

export type Path = (string | number)[];

/** A value of the file, wherever and in whatever notation it is given. */
export interface Setting {
  path: Path;
  value: AST.TOMLContentNode;
}

export interface Toml {
  settings: Setting[];
  tables: AST.TOMLTable[];
  /** The part before the first table. */
  top: AST.TOMLTopLevelTable;
  comments: AST.Comment[];
}

/** Throws with the line when the text is no TOML. */
export function readToml(text: string): Toml {
  const { body, comments } = parsed(text);
  const [top] = body;
  const settings = top.body.flatMap((part) =>
    part.type === "TOMLTable"
      ? part.body.flatMap((setting) => settingsIn(setting, part.resolvedKey))
      : settingsIn(part, []),
  );
  return { settings, tables: top.body.filter((part) => part.type === "TOMLTable"), top, comments };
}

/** The file as wrangler reads it. */
export function tomlValue(text: string): Record<string, unknown> {
  return getStaticTOMLValue(parsed(text));
}

export function isAt(path: Path, wanted: Path): boolean {
  return path.length === wanted.length && path.every((step, index) => step === wanted[index]);
}

function parsed(text: string): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: "latest" });
  } catch (error) {
    const { message, lineNumber } = error as Error & { lineNumber?: number };
    throw new Error(`wrangler.toml, line ${lineNumber}: ${message}`);
  }
}

function settingsIn({ key, value }: AST.TOMLKeyValue, above: Path): Setting[] {
  return valuesIn(value, [...above, ...getStaticTOMLValue(key)]);
}

function valuesIn(value: AST.TOMLContentNode, path: Path): Setting[] {
  const inside =
    value.type === "TOMLInlineTable"
      ? value.body.flatMap((setting) => settingsIn(setting, path))
      : value.type === "TOMLArray"
        ? value.elements.flatMap((element, index) => valuesIn(element, [...path, index]))
        : [];
  return [{ path, value }, ...inside];
}
