// Every state of every view: nothing that axe-core minds, in light and dark, on a desktop and on a phone; nothing wider than the
// window; no complaint of Chromium's; and nothing that moves by itself.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { STATES, type State } from "../../page/sample/states.ts";
import { ids, type Stage, settled, sizes, startStage, TEST_LIMIT_MS, type Visit } from "./stage.ts";

/** Long enough that what is coming is seen by every check. */
const NEVER_MS = 600_000;

let stage: Stage;
let axe: string;

before(async () => {
  axe = await readFile(new URL(import.meta.resolve("axe-core/axe.min.js")), "utf8");
  stage = await startStage({ slowMs: NEVER_MS });
});

after(() => stage?.stop());

const session = `#sessions/${ids.whole}`;
const edited = `#sessions/${ids.edited}`;

/** The views of each state, and the heading that stands above each. */
const views: Record<State, Record<string, string>> = {
  auditor: {
    "": "You are alice",
    "#sessions": "Sessions",
    [session]: "default/web-7d4b9c6f5d-x2x9k",
    [edited]: "team-a/worker-0",
    "#grants": "Grants",
  },
  developer: { "": "You are bob@example.com", "#sessions": "Sessions", [session]: "Session", "#grants": "Grants" },
  contractor: { "": "You are contractor", "#sessions": "Sessions", "#grants": "Nothing is granted here" },
  agent: { "": "You are agent:triage", "#sessions": "No sessions are kept here" },
  empty: { "": "You are alice", "#sessions": "Sessions", "#grants": "Grants" },
  partial: { "": "You are alice" },
  hostile: { "": 'You are "><img', "#sessions": "Sessions", "#grants": "Grants" },
  ending: { "": "You are alice" },
  slow: { "": "" },
  failing: { "": "The gateway does not answer as it should" },
  halting: { "": "You are alice", "#sessions": "Sessions", [session]: "Session", "#grants": "Grants" },
  denied: { "": "You may not enter" },
  expired: { "": "Your session has ended", "#sessions": "Your session has ended" },
  stranger: { "": "You are in no entry" },
};

test("every state has its views here", () => {
  assert.deepEqual(Object.keys(views), Object.keys(STATES));
});

for (const [state, of] of Object.entries(views)) {
  describe(`as ${state}`, () => {
    for (const [hash, heading] of Object.entries(of)) {
      test(`${hash || "the first view"}: ${heading || "what is coming"}`, { timeout: TEST_LIMIT_MS }, async () => {
        const [{ page, assertCalm, close }, phone] = [await arrive(state, hash, heading), sizes.phone];
        await assertCalm();
        for (const [size, viewport] of Object.entries(sizes)) {
          await page.setViewportSize(viewport);
          for (const colorScheme of ["light", "dark"] as const) {
            await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
            assert.deepEqual(await violations(page), [], `${size}, ${colorScheme}`);
          }
          const excess = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
          assert.ok(Number(excess) <= 0, `${size}: ${excess} px wider than the window`);
        }
        await close();
        // On a phone from the beginning: what moves there moves by itself, and not for having been turned.
        const again = await arrive(state, hash, heading, phone);
        await again.assertCalm();
        await again.close();
      });
    }
  });
}

async function arrive(state: string, hash: string, heading: string, viewport = sizes.desktop): Promise<Visit> {
  const visit = await stage.visit(state, hash, { viewport });
  if (heading !== "") {
    await visit.page.getByRole("heading", { level: 1, name: heading }).first().waitFor();
    await settled(visit.page);
  }
  return visit;
}

/** What axe-core minds, with where and why. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(`${axe}; 0`);
  return (await page.evaluate(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => [id, target, failureSummary].join(" "))))`)) as string[];
}
