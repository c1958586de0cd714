// `npm run limits`: what must go through the gateway whatever its size, with kubectl, and the memory that workerd takes for it.

import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { buildWorker } from "../../dev/build.ts";
import { progress } from "../../dev/progress.ts";
import type { Kubectl } from "../e2e/cluster/kubectl.ts";
import { type MemoryReport, memoryOf } from "../e2e/cluster/memory.ts";
import { createPod } from "../e2e/cluster/pods.ts";
import { type Site, startSite } from "../e2e/cluster/site.ts";
import { until } from "../e2e/cluster/until.ts";
import { readOptions } from "./options.ts";

const MB = 1024 * 1024;
const MINUTES_MS = 5 * 60_000;
const PARALLEL_GETS = 32;
const LINES = 1_000_000;
/** How much higher the peak may be for ten times the bytes: what the garbage collector of an isolate leaves lying about. */
const ALLOWED_GROWTH = 32 * MB;

interface Row {
  what: string;
  memory: MemoryReport;
  seconds: number;
}

readOptions(
  `usage: npm run limits

Sends what is large through the gateway, with kubectl: many at a time, 100 MB both ways, a million log lines. Prints how
long it took, and how much memory workerd had.

  --help  this text`,
  {},
);
const log = progress();
const rows: Row[] = [];
const failures: string[] = [];
await buildWorker({ log });
const site = await startSite({ LOG_LEVEL: "warn", ENABLE_K8S_LOGGING: "false" });
try {
  const bob = site.as("bob");
  await parallelGets(bob);
  // The first transfer pays for what every later one finds warm.
  await copyBothWays(bob, 1);
  const small = await copyBothWays(bob, 10);
  const large = await copyBothWays(bob, 100);
  expect(large - small < ALLOWED_GROWTH, "cp: workerd's memory grows with size");
  const fewLines = await completeLogs(bob, LINES / 10);
  const manyLines = await completeLogs(bob, LINES);
  expect(manyLines - fewLines < ALLOWED_GROWTH, "logs: workerd's memory grows with size");
} finally {
  await site.stop();
}
console.log(
  `\n${"".padEnd(34)} ${["seconds", "baseline MB", "peak MB", "growth MB"].map((head) => head.padStart(12)).join("")}`,
);
for (const { what, memory, seconds } of rows) {
  const numbers = [seconds, memory.baseline / MB, memory.peak / MB, memory.growth / MB];
  console.log(`${what.padEnd(34)} ${numbers.map((number) => number.toFixed(1).padStart(12)).join("")}`);
}
for (const failure of failures) {
  console.error(`failed: ${failure}`);
}
process.exitCode = failures.length > 0 ? 1 : 0;

async function parallelGets(bob: Kubectl): Promise<void> {
  await measured(`${PARALLEL_GETS} parallel kubectl get`, site, async () => {
    const outcomes = await Promise.all(
      Array.from({ length: PARALLEL_GETS }, () => bob.run(["get", "pods"], { limitMs: MINUTES_MS })),
    );
    const failed = outcomes.filter(({ code, stdout }) => code !== 0 || !stdout.includes("web"));
    expect(failed.length === 0, `${failed.length} of ${PARALLEL_GETS} parallel gets failed: ${failed[0]?.stderr}`);
  });
}

/** Copies a file into a pod and back; gives workerd's peak in bytes. */
async function copyBothWays(bob: Kubectl, megabytes: number): Promise<number> {
  const [sent, received] = [`sent-${megabytes}`, `received-${megabytes}`].map((name) => join(site.dir, name)) as [
    string,
    string,
  ];
  const file = await open(sent, "w");
  for (let written = 0; written < megabytes; written += 1) {
    await file.write(randomBytes(MB));
  }
  await file.close();
  const remote = `copy-${megabytes}`;
  const up = await measured(`cp ${megabytes} MB into a pod`, site, () =>
    bob.ok(["cp", sent, `shell:${remote}`], { limitMs: MINUTES_MS }),
  );
  const down = await measured(`cp ${megabytes} MB out of a pod`, site, () =>
    bob.ok(["cp", `shell:${remote}`, received], { limitMs: MINUTES_MS }),
  );
  const there = (await site.admin.ok(["exec", "shell", "--", "sha256sum", remote], { limitMs: MINUTES_MS })).slice(
    0,
    64,
  );
  const [original, back] = await Promise.all([digest(sent), digest(received)]);
  expect(original === there && original === back, `cp of ${megabytes} MB changed the file`);
  return Math.max(up.peak, down.peak);
}

async function completeLogs(bob: Kubectl, lines: number): Promise<number> {
  const name = `lines-${lines}`;
  await createPod(site.admin, name, { command: ["sh", "-c", `seq 1 ${lines}; exec sleep 1000`] });
  await until(
    `${name} has printed everything`,
    MINUTES_MS,
    async () => (await site.admin.ok(["logs", name, "--tail=1"])) === `${lines}\n`,
  );
  const hash = createHash("sha256");
  const memory = await measured(`logs of ${lines.toLocaleString("en")} lines`, site, async () => {
    const running = bob.start(["logs", name]);
    running.child.stdout?.on("data", (text) => hash.update(text));
    expect((await running.end(MINUTES_MS)) === 0, `kubectl logs of ${lines} lines failed: ${running.stderr}`);
  });
  const expected = createHash("sha256");
  for (let line = 1; line <= lines; line += 1) {
    expected.update(`${line}\n`);
  }
  expect(hash.digest("hex") === expected.digest("hex"), `kubectl logs of ${lines} lines is not complete`);
  return memory.peak;
}

async function measured(what: string, { stack }: Site, act: () => Promise<unknown>): Promise<MemoryReport> {
  const started = performance.now();
  const watching = memoryOf(stack.gateway.pid());
  await act();
  const memory = await watching.stop();
  rows.push({ what, memory, seconds: (performance.now() - started) / 1000 });
  log(what);
  return memory;
}

async function digest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

function expect(holds: boolean, failure: string): void {
  if (!holds) {
    failures.push(failure);
  }
}
