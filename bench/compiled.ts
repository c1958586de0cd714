// What V8 compiles of kube-access in a new isolate, since it compiles a Wasm function when that is called for the first time:
//
//   node dev/run.mjs bench/compiled.ts [--worker DIR]

import { parseArgs } from "node:util";
import { httpRequest } from "./requests.ts";
import { Stage } from "./stage.ts";

const SHOWN = 8;

interface Compiled {
  index: number;
  microseconds: number;
  /** Of Wasm, as it is in the module. */
  bytes: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { worker: { type: "string" } } });
  const stage = await Stage.open({ rounds: 1, seconds: 1, worker: values.worker });
  let compiled: Compiled[] = [];
  const onLine = (line: string) => {
    const found = line.match(/^Compiled function .*#(\d+) using Liftoff, took (\d+) .*bodysize (\d+)/);
    if (found) {
      const [index = 0, microseconds = 0, bytes = 0] = found.slice(1).map(Number);
      compiled.push({ index, microseconds, bytes });
    }
  };
  try {
    await stage.keep("nobody", [httpRequest("/version", "none")]);
    await stage.keep("small", [httpRequest("/api/v1/namespaces/default/pods/web", stage.token)]);
    const trace = { flags: ["--trace-wasm-compilation-times"], onLine };
    const peer = await stage.start(stage.peers.ours, { trace });
    const once = { connections: 1, answers: 1, milliseconds: 10_000 };
    const tell = (until: string) => {
      print(until, compiled);
      compiled = [];
    };
    tell("until it listens");
    await stage.http("nobody", { ...peer, ...once, status: 401 });
    tell("then, until the first refusal");
    await stage.http("small", { ...peer, ...once });
    tell("then, until the first request is served");
  } finally {
    await stage.close();
  }
}

function print(until: string, compiled: Compiled[]): void {
  const bytes = compiled.reduce((sum, one) => sum + one.bytes, 0);
  const microseconds = compiled.reduce((sum, one) => sum + one.microseconds, 0);
  console.log(`${until}: ${compiled.length} functions, ${kilobytes(bytes)}, ${(microseconds / 1000).toFixed(1)} ms`);
  for (const one of compiled.toSorted((a, b) => b.bytes - a.bytes).slice(0, SHOWN)) {
    const rate = (one.microseconds / one.bytes) * 1024;
    console.log(`  function ${one.index}: ${kilobytes(one.bytes)}, ${one.microseconds} µs, ${rate.toFixed(0)} µs/KB`);
  }
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KB`;
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
