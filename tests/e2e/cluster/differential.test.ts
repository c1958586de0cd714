// Nothing that a caller sends changes who they are: random requests with a fixed seed. `npm run differential` sends many
// more, with a seed of its own.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runDifferential } from "../../soak/differential-run.ts";
import { startSite } from "./site.ts";

test("case 47, 49, 50, 51, 62, 63, 91, 143: 1,000 hostile requests are done as the caller and as asked, or refused", async (t) => {
  const site = await startSite({ LOG_LEVEL: "error" });
  try {
    const { forwarded, refused, unseen, differences, naked, seed } = await runDifferential(
      site,
      20_261_124,
      1_000,
      () => {},
    );
    t.diagnostic(
      `seed ${seed}: ${forwarded} forwarded, ${refused} refused, ${unseen} answered by kubectl proxy itself`,
    );
    assert.deepEqual(differences, []);
    assert.deepEqual(naked, [], "requests as the service account itself");
    assert.ok(forwarded > 400 && refused > 200, "both happen often enough to mean something");
  } finally {
    await site.stop();
  }
});
