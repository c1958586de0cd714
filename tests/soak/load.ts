// `npm run load`: a thousand watches, two hundred execs and slow readers at a time, with a new key of Access each second.

import { buildWorker } from "../../dev/build.ts";
import { progress } from "../../dev/progress.ts";
import { startSite } from "../e2e/cluster/site.ts";
import { runLoad } from "./load-run.ts";
import { readOptions, wholeNumber } from "./options.ts";

const MB = 1024 * 1024;
/** What workerd may take for a stream, and for the isolate besides. */
const BYTES_PER_STREAM = 256 * 1024;
const BYTES_BESIDES = 64 * MB;

const USAGE = `usage: npm run load -- [options]

Holds many streams open at a time, while Access has a new key each second, and counts which of them were right.

  --watches COUNT       watches, each of which must see every change (default 1000)
  --execs COUNT         commands whose output is compared (default 200)
  --slow-readers COUNT  readers of a large stream that take their time (default 10)
  --changes COUNT       what the watches must see (default 5)
  --help                this text`;

const values = readOptions(USAGE, { watches: "1000", execs: "200", "slow-readers": "10", changes: "5" });
const count = (name: string, least: number) => wholeNumber(USAGE, name, values[name], least);
const load = {
  watches: count("watches", 0),
  execs: count("execs", 0),
  slowReaders: count("slow-readers", 0),
  changes: count("changes", 1),
};

const log = progress();
await buildWorker({ log });
const site = await startSite({ LOG_LEVEL: "error", ENABLE_K8S_LOGGING: "false" });
try {
  const { rows, rotations, baseline, open, peak } = await runLoad(site, load, log);
  console.log(`\n${"".padEnd(14)} ${"at a time".padStart(10)} ${"right".padStart(8)}`);
  for (const { what, count, right, wrong } of rows) {
    console.log(
      `${what.padEnd(14)} ${String(count).padStart(10)} ${String(right).padStart(8)}${wrong ? `  first wrong: ${wrong}` : ""}`,
    );
  }
  const streams = load.watches + load.execs + load.slowReaders;
  console.log(`${rotations} new keys of Access meanwhile`);
  console.log(
    `workerd: ${(baseline / MB).toFixed(1)} MB at first, ${(open / MB).toFixed(1)} MB with every watch open, ` +
      `${(peak / MB).toFixed(1)} MB at most (${((peak - baseline) / 1024 / streams).toFixed(1)} KB for each of ${streams} streams)`,
  );
  const isRight = rows.every(({ count, right }) => count === right);
  process.exitCode = isRight && peak - baseline < BYTES_BESIDES + streams * BYTES_PER_STREAM ? 0 : 1;
} finally {
  await site.stop();
}
