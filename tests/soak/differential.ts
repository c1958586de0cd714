// `npm run differential`: many random requests through the gateway and straight at the cluster, compared in its audit log.

import { IMPERSONATIONS } from "../../deploy/impersonation.ts";
import { buildWorker } from "../../dev/build.ts";
import { progress } from "../../dev/progress.ts";
import { startSite } from "../e2e/cluster/site.ts";
import { runDifferential } from "./differential-run.ts";
import { oneOf, readOptions, wholeNumber } from "./options.ts";

const USAGE = `usage: npm run differential -- [--requests COUNT] [--seed NUMBER] [--impersonation KIND]

Sends random requests through the gateway and straight at the cluster, and compares the two in the cluster's audit log.

  --requests COUNT      how many (default 20000, which take a quarter of an hour)
  --seed NUMBER         which ones; it is printed, to repeat them (default: the time)
  --impersonation KIND  how the cluster lets the gateway impersonate: ${IMPERSONATIONS.join(" (the default) or ")}
  --help                this text`;

const values = readOptions(USAGE, {
  requests: "20000",
  seed: String(Date.now() % 1_000_000_000),
  impersonation: IMPERSONATIONS[0],
});
const requests = wholeNumber(USAGE, "requests", values.requests, 1);
const seed = wholeNumber(USAGE, "seed", values.seed, 0);

const impersonation = oneOf(USAGE, "impersonation", values.impersonation, IMPERSONATIONS);

const log = progress();
await buildWorker({ log });
const site = await startSite({ LOG_LEVEL: "error" }, impersonation);
try {
  console.log(`seed ${seed}`);
  const report = await runDifferential(site, seed, requests, log);
  const { forwarded, refused, unseen, differences, naked } = report;
  console.log(
    `seed ${seed}, ${impersonation} impersonation, ${requests} requests: ${forwarded} forwarded, ${refused} refused, ${unseen} answered by kubectl proxy itself`,
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
