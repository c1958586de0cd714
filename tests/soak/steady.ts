// `npm run steady`: whether `npm test` is red only for a reason. It runs several times in a row, on a machine that is kept busy.

import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { finished } from "node:stream/promises";
import { signalDescendants } from "../../dev/processes.ts";
import { readOptions, wholeNumber } from "./options.ts";

const root = resolve(import.meta.dirname, "../..");
/** Ends by itself should this process be gone, however it went. */
const BUSY_LOOP = "const parent = process.ppid; while (process.ppid === parent) for (let i = 0; i < 1e8; i++);";

const USAGE = `usage: npm run steady -- [options]

Runs npm test several times in a row, while busy loops run beside it. Prints a line for each run; exit status 1 if one was red.
The output of a red run is kept.

  --runs N     how often (default 10)
  --loops N    busy loops beside it (default 2)
  --only PART  only this part of npm test; several, separated by commas
  --help       this text`;

const values = readOptions(USAGE, { runs: "10", loops: "2", only: "" });
const runs = wholeNumber(USAGE, "runs", values.runs, 1);
const loopCount = wholeNumber(USAGE, "loops", values.loops, 0);
const parts = (values.only ?? "").split(",").filter((part) => part !== "");

const loops: ChildProcess[] = [];
process.on("exit", () => {
  for (const loop of loops) {
    loop.kill("SIGKILL");
  }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    signalDescendants("SIGTERM");
    process.exit(130);
  });
}

const dir = await mkdtemp(join(tmpdir(), "kube-access-steady-"));
for (let index = 0; index < loopCount; index += 1) {
  loops.push(spawn(process.execPath, ["-e", BUSY_LOOP], { stdio: "ignore" }));
}
let red = 0;
for (let run = 1; run <= runs; run += 1) {
  const file = join(dir, `run-${run}.log`);
  const started = performance.now();
  const isGreen = await test(file);
  const seconds = Math.round((performance.now() - started) / 1000);
  if (isGreen) {
    await rm(file);
    console.log(`run ${run} of ${runs}: green (${seconds} s)`);
  } else {
    red += 1;
    console.log(`run ${run} of ${runs}: RED (${seconds} s), see ${file}`);
    for (const line of await complaints(file)) {
      console.log(`  ${line}`);
    }
  }
}
console.log(red === 0 ? `all ${runs} green` : `${red} of ${runs} red`);
if (red > 0) {
  process.exit(1);
}
await rm(dir, { recursive: true });
process.exit(0);

async function test(file: string): Promise<boolean> {
  const only = parts.flatMap((part) => ["--only", part]);
  const child = spawn(process.execPath, [join(root, "tests/run.ts"), ...only], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log = createWriteStream(file);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const code = await new Promise<number | null>((done) => {
    child.on("error", () => done(null));
    child.on("close", done);
  });
  log.end();
  await finished(log);
  return code === 0;
}

/** What failed: the parts, and the tests that the runners name. */
async function complaints(file: string): Promise<string[]> {
  const lines = (await readFile(file, "utf8")).split("\n");
  const named = lines.filter((line) => /^\s*✖ (?!failing tests)|^test .* FAILED$|^\w+ +FAILED: /.test(line));
  return [...new Set(named.map((line) => line.trim()))];
}
