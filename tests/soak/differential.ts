// `npm run differential`: many random requests through the gateway and straight at the cluster, compared in its audit log.

import { parseArgs } from "node:util";
import { buildWorker } from "../../dev/build.ts";
import { progress } from "../../dev/progress.ts";
import { startSite } from "../e2e/cluster/site.ts";
import { runDifferential } from "./differential-run.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "20000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000_000) },
  },
});
const [requests, seed] = [Number(values.requests), Number(values.seed)];
if (!(Number.isInteger(requests) && requests > 0 && Number.isInteger(seed))) {
  console.error("usage: npm run differential -- [--requests COUNT] [--seed NUMBER]");
  process.exit(2);
}

const log = progress();
await buildWorker({ log });
const site = await startSite({ LOG_LEVEL: "error" });
try {
  console.log(`seed ${seed}`);
  const report = await runDifferential(site, seed, requests, log);
  const { forwarded, refused, unseen, differences, naked } = report;
  console.log(
    `seed ${seed}, ${requests} requests: ${forwarded} forwarded, ${refused} refused, ${unseen} answered by kubectl proxy itself`,
  );
  console.log(`${differences.length} differences, ${naked.length} requests as the service account itself`);
  for (const { why, request } of differences.slice(0, 5)) {
    console.log(`\n${why}\n${JSON.stringify(request, undefined, 2)}`);
  }
  for (const event of naked.slice(0, 5)) {
    console.log(`\nas the service account itself: ${JSON.stringify(event)}`);
  }
  process.exitCode = differences.length + naked.length > 0 ? 1 : 0;
} finally {
  await site.stop();
}
