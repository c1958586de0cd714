// Access's keys cannot be had: callers are told so, and service comes back by itself. These tests wait for a cool-down of
// half a minute, so they wait side by side, each with a gateway of its own.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { request } from "undici";
import { type Stack, startStack } from "../../../dev/stack.ts";
import { type Site, startSite } from "./site.ts";
import { until } from "./until.ts";

/** Keys are asked for at most every 30 s, so much can pass between the end of a fault and its last effect. */
const COOL_DOWN_MS = 90_000;

let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site?.stop());

suite("Access fails", { concurrency: true }, () => {
  for (const mode of ["500", "garbage", "huge", "down", "slow"] as const) {
    test(`case 19, 23: JWKS ${mode} before any key is known: refused with the cause, served once it answers`, async () => {
      await using stack = await ownStack();
      stack.access.fault(mode);
      const refused = await ask(stack, `cold-${mode}`);
      assert.equal(refused.status, 503);
      const { message } = (await refused.json()) as { message: string };
      assert.match(message, /the keys of Cloudflare Access cannot be had, so nobody can be recognised: /);
      assert.ok(!(await site.audit.events()).some(({ userAgent }) => userAgent === `cold-${mode}`));
      stack.access.fault("none");
      await until("the gateway serves", COOL_DOWN_MS, async () => (await ask(stack, "served")).status === 200);
    });

    test(`case 20: JWKS ${mode} when the keys are known: served as before`, async () => {
      await using stack = await ownStack();
      assert.equal((await ask(stack, "warm")).status, 200);
      stack.access.fault(mode);
      assert.equal((await ask(stack, `warm-${mode}`)).status, 200);
    });
  }

  test("case 21: a key that appears while JWKS is down is taken once it is back", async () => {
    await using stack = await ownStack();
    assert.equal((await ask(stack, "first key")).status, 200);
    stack.access.fault("down");
    await stack.access.rotate();
    assert.ok([401, 503].includes((await ask(stack, "unknown key")).status));
    stack.access.fault("none");
    await until("the new key is taken", COOL_DOWN_MS, async () => (await ask(stack, "second key")).status === 200);
  });
});

async function ownStack(): Promise<Stack & AsyncDisposable> {
  const stack = await startStack({ upstream: site.cluster.proxy });
  return { ...stack, [Symbol.asyncDispose]: () => stack.stop() };
}

/** Straight at the gateway, as bob, with a token of this moment. Node's `fetch` would say of itself that it is a browser's. */
async function ask(
  { access, gateway }: Stack,
  userAgent: string,
): Promise<{ status: number; json(): Promise<unknown> }> {
  const headers = { "cf-access-jwt-assertion": await access.mint("bob"), "user-agent": userAgent };
  const url = `${gateway.url}/api/v1/namespaces/default/pods/web`;
  const { statusCode, body } = await request(url, { headers, signal: AbortSignal.timeout(60_000) });
  const text = await body.text();
  return { status: statusCode, json: async () => JSON.parse(text) };
}
