// What single operations of the runtime cost, in a loop, with the garbage they make:
//
//   node dev/run.mjs bench/operations.ts
//
// Between other work each takes longer: nothing of it is in the processor's caches then.

import { get } from "node:http";
import { resolve } from "node:path";
import { text } from "node:stream/consumers";
import { httpRequest } from "./requests.ts";
import { type Running, startWorkerd } from "./workerd.ts";

const TIMES = 10_000;
const ROUNDS = 9;
const SIGNATURE_AND_CLAIMS = "x".repeat(800);

async function main(): Promise<void> {
  const nobody = { host: "127.0.0.1", port: 9 };
  const script = resolve(import.meta.dirname, "operations.js");
  const worker = await startWorkerd({ modules: [script], vars: {}, upstream: nobody, certs: nobody });
  try {
    const names: string[] = JSON.parse(await ask(worker, {}));
    const fastest = new Map(names.map((name) => [name, Number.POSITIVE_INFINITY]));
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const name of names) {
        const started = performance.now();
        await ask(worker, { operation: encodeURIComponent(name), times: String(TIMES) });
        const microseconds = ((performance.now() - started) / TIMES) * 1000;
        fastest.set(name, Math.min(fastest.get(name) ?? Number.NaN, microseconds));
      }
    }
    console.log(`The fastest of ${ROUNDS} rounds of ${TIMES}, in µs:`);
    for (const [name, microseconds] of fastest) {
      console.log(`${microseconds.toFixed(2).padStart(7)}  ${name}`);
    }
  } finally {
    await worker.stop();
  }
}

/** Sends what kubectl sends, with more headers. */
function ask({ host, port }: Running, more: Record<string, string>): Promise<string> {
  const lines = httpRequest("/api/v1/namespaces/default/pods/web", SIGNATURE_AND_CLAIMS)
    .trimEnd()
    .split("\r\n")
    .slice(1);
  const headers = Object.fromEntries(lines.map((line) => line.split(": ", 2)));
  return new Promise((resolve, reject) => {
    get({ host, port, headers: { ...headers, ...more } }, (answer) => resolve(text(answer))).on("error", reject);
  });
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
