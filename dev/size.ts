// `npm run size`: builds the Worker, prints its size, and fails when it has outgrown its limit.

import { buildWorker, LIMIT_GZIP_BYTES, sizeOf } from "./build.ts";

const { raw, gzip } = await sizeOf(await buildWorker());
console.log(`the Worker: ${raw} bytes, ${gzip} bytes gzip, of ${LIMIT_GZIP_BYTES} allowed`);
if (gzip > LIMIT_GZIP_BYTES) {
  console.error("The Worker has outgrown its limit: see what grew, or argue for another limit in dev/build.ts.");
  process.exitCode = 1;
}
