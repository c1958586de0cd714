// The command lines of the long runs.

import { type ParseArgsConfig, parseArgs } from "node:util";

/** The values of the options that a run takes. Prints `usage` and ends where they are not understood, or help is asked for. */
export function readOptions(usage: string, options: Record<string, string>): Record<string, string> {
  const config: NonNullable<ParseArgsConfig["options"]> = { help: { type: "boolean" } };
  for (const [name, value] of Object.entries(options)) {
    config[name] = { type: "string", default: value };
  }
  try {
    const { help, ...values } = parseArgs({ options: config }).values;
    if (!help) {
      return values as Record<string, string>;
    }
    console.log(usage);
    process.exit(0);
  } catch (error) {
    return refuse(usage, (error as Error).message);
  }
}

/** A whole number that is at least `least`, or the end. */
export function wholeNumber(usage: string, name: string, text: string | undefined, least: number): number {
  const value = Number(text);
  if (text?.trim() && Number.isSafeInteger(value) && value >= least) {
    return value;
  }
  return refuse(usage, `--${name} takes a whole number from ${least} on, not ${text}`);
}

/** One of these words, or the end. */
export function oneOf<Word extends string>(usage: string, name: string, text = "", words: readonly Word[]): Word {
  const word = words.find((known) => known === text);
  return word ?? refuse(usage, `--${name} takes ${words.join(" or ")}, not ${text}`);
}

function refuse(usage: string, message: string): never {
  console.error(`${message}\n\n${usage}`);
  process.exit(2);
}
