// `npm run size`: builds the Worker and the page, prints their sizes, and fails when one has outgrown its limit.

import { buildWorker, LIMIT_GZIP_BYTES, sizeOf } from "./build.ts";
import { buildPage, PAGE_LIMIT_GZIP_BYTES, PLAYER_FILES, pageSizeOf } from "./page-build.ts";

const [worker, page] = [await buildWorker(), await buildPage()];
const { raw, gzip } = await sizeOf(worker);
console.log(`the Worker: ${raw} bytes, ${gzip} bytes gzip, of ${LIMIT_GZIP_BYTES} allowed`);
if (gzip > LIMIT_GZIP_BYTES) {
  console.error("The Worker has outgrown its limit: see what grew, or argue for another limit in dev/build.ts.");
  process.exitCode = 1;
}
const [shown, player] = [await pageSizeOf(page), await pageSizeOf(page, PLAYER_FILES)];
console.log(`the page: ${shown.raw} bytes, ${shown.gzip} bytes gzip, of ${PAGE_LIMIT_GZIP_BYTES} allowed`);
console.log(`its player, when a recording is played: ${player.raw} bytes, ${player.gzip} bytes gzip`);
if (shown.gzip > PAGE_LIMIT_GZIP_BYTES) {
  console.error("The page has outgrown its limit: see what grew, or argue for another limit in dev/page-build.ts.");
  process.exitCode = 1;
}
