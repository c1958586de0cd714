// A small load of the kind that `npm run load` puts on the gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runLoad } from "../../soak/load-run.ts";
import { startSite } from "./site.ts";

const MB = 1024 * 1024;

test("50 watches, 20 execs and 3 slow readers at a time, a new key of Access each second: nothing lost or mixed up", async () => {
  const site = await startSite({ LOG_LEVEL: "error" });
  try {
    const { rows, baseline, peak } = await runLoad(
      site,
      { watches: 50, execs: 20, slowReaders: 3, changes: 3 },
      () => {},
    );
    for (const { what, count, right, wrong } of rows) {
      assert.equal(right, count, `${what}: ${wrong}`);
    }
    assert.ok(peak - baseline < 64 * MB, `workerd grew by ${((peak - baseline) / MB).toFixed(1)} MB`);
  } finally {
    await site.stop();
  }
});
