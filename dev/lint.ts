// Checks the TypeScript: format and lint by biome, types by tsc. Reports all of it, then fails if any failed.

import { spawnSync } from "node:child_process";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

const failed = [
  ["biome", "check", "--error-on-warnings", "."],
  ["tsc", "--noEmit"],
  ["tsc", "--noEmit", "--project", "page"],
].filter(([program = "", ...args]) => spawnSync(program, args, { cwd: root, stdio: "inherit" }).status !== 0);

if (failed.length > 0) {
  console.error(`failed: ${failed.map((command) => command.join(" ")).join("; ")}`);
  process.exitCode = 1;
}
