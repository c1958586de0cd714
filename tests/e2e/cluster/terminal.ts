// kubectl in a terminal of its own, which the script command of util-linux makes.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Kubectl, Running } from "./kubectl.ts";
import { until } from "./until.ts";

const LIMIT_MS = 60_000;

/** Whether there can be one: other systems have a script command that knows other options. */
export const hasTerminals = process.platform === "linux";
export const noTerminals = "makes its terminal with the script command of util-linux";

export interface Terminal {
  /** What it shows is its stdout. */
  running: Running;
  type(text: string): void;
  resize(columns: number, rows: number): Promise<void>;
}

/** Runs kubectl in a terminal of 100 columns and 40 rows. `dir` takes a file. */
export async function inTerminal(kubectl: Kubectl, args: string[], dir: string): Promise<Terminal> {
  const tty = join(await mkdtemp(join(dir, "terminal-")), "tty");
  const words = [kubectl.binary, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
  const command = `tty > ${tty}; stty rows 40 cols 100; exec ${words.join(" ")}`;
  const child = spawn("script", ["--quiet", "--return", "--echo", "never", "--command", command, "/dev/null"], {
    env: { ...kubectl.environment, SHELL: "/bin/sh" },
  });
  return {
    running: new Running(child, `kubectl ${args.join(" ")} in a terminal`),
    type: (text) => child.stdin.write(text),
    resize: async (columns, rows) => {
      const name = await until("the terminal has a name", LIMIT_MS, async () => {
        return (await readFile(tty, "utf8").catch(() => "")).trim();
      });
      const resize = spawn("stty", ["-F", name, "rows", String(rows), "cols", String(columns)]);
      assert.equal((await once(resize, "close"))[0], 0);
    },
  };
}
