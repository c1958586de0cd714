// Workers KV, where it is bound: it gives and takes identities without a deploy, and wins over the compiled map.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { assertStopped, eventually, type Stage, startStage, theOnly } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage({
    hasClock: true,
    identities: {
      "email:mallory@elsewhere.test": JSON.stringify({ user: "guest", groups: ["a", "b"] }),
      "service-token:0123456789abcdef.access": JSON.stringify({ deny: true }),
    },
  });
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

test("an entry gives what the map does not", async () => {
  assert.equal((await stage.call({ as: "mallory" })).status, 200);
  const request = theOnly(stage.upstream.received);
  assert.deepEqual(request.values("impersonate-user"), ["guest"]);
  assert.deepEqual(request.values("impersonate-group"), ["a", "b"]);
});

test("who has no entry is whom the map says", async () => {
  assert.equal((await stage.call({ as: "bob" })).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["bob@example.com"]);
});

test("case 45: an entry takes what the map gives, and says so", async () => {
  assertStopped(stage, await stage.call({ as: "ci" }), 403, /withdrawn the access of service token 0123456789abcdef/);
});

test("case 45: an identity that is taken away is refused within a minute, whatever token it has", async () => {
  const token = await stage.token("alice");
  assert.equal((await stage.call({ token })).status, 200);
  await stage.gateway.setIdentity("email:alice@example.com", JSON.stringify({ deny: true }));
  await stage.advance(60);
  stage.upstream.reset();
  assertStopped(stage, await stage.call({ token }), 403, /withdrawn/);
  await stage.gateway.setIdentity("email:alice@example.com", undefined);
  assert.equal((await stage.call({ token })).status, 200);
});

test("an entry ends when it says, and the map decides again", async () => {
  const inTwoMinutes = new Date(Date.now() + 120_000 + 60_000).toISOString();
  await stage.gateway.setIdentity("email:bob@example.com", JSON.stringify({ user: "admin", expires: inTwoMinutes }));
  await stage.advance(60);
  assert.equal((await stage.call({ as: "bob" })).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["admin"]);
  stage.upstream.reset();
  await stage.advance(180);
  assert.equal((await stage.call({ as: "bob" })).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["bob@example.com"]);
});

test("case 32, 176: an entry that cannot be read refuses its caller, and the log names key and field", async () => {
  for (const [entry, what] of [
    ["{", "expected a JSON object"],
    ['["admin",["g"],false]', "expected a JSON object"],
    ['"admin"', "expected a JSON object"],
    ["null", "expected a JSON object"],
    ['{"user":"system:admin"}', "user: it is reserved"],
    ['{"user":"x","grups":["y"]}', "expected a JSON object with no fields but user, groups, "],
    ['{"user":"x","groups":["a,b"]}', "groups: expected 1 to 256 printable ASCII characters"],
    ['{"user":"x","groups":"a"}', "groups: expected one list of texts"],
    ['{"deny":"true"}', "deny: expected true or false"],
    ['{"user":"x","expires":null}', "expires: expected a time by RFC 3339"],
    ['{"user":"x","act_as":{"users":"y"}}', "act_as.users: expected one list of texts"],
    ['{"grants":[{"groups":["y"]}]}', "grants.expires: expected when it ends"],
  ] as const) {
    await stage.gateway.setIdentity("email:carol@example.com", entry);
    const token = await stage.token("bob", { claims: { email: "carol@example.com" } });
    assertStopped(stage, await stage.call({ token }), 503, /identity store failed/);
    const named = `the KV entry email:carol@example.com cannot be read: ${what}`;
    await eventually(named, () => stage.gateway.logs().some((line) => line.includes(named)));
    stage.gateway.logs().length = 0;
  }
});

test("case 32: a store that fails refuses everybody, and nothing goes upstream", async () => {
  const broken = await startStage({ vars: { IDENTITIES: "no namespace" } });
  try {
    assertStopped(broken, await broken.call(), 503, /identity store failed/);
  } finally {
    await broken.stop();
  }
});
