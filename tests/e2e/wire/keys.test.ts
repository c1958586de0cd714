// The team's keys: fetched once, kept while Access is down, renewed when it rotates. The Worker's clock is put forward where
// minutes and hours matter; the rules have their tables beside src/keys.rs.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startCerts } from "../../../dev/access-certs.ts";
import { ownTime } from "../../own-time.ts";
import { assertRefused, assertStopped, aud, type Stage, type StageOptions, startStage } from "./stage.ts";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
/** The least time between two fetches, and how long fetched keys are used without asking again (docs: src/keys.rs). */
const COOL_DOWN = 30;
const FRESH = 5 * MINUTE;
const STALE = 6 * HOUR;

/** A stage for one test, since each begins with an isolate that has no keys. */
async function cold(t: TestContext, options: StageOptions = {}): Promise<Stage> {
  const stage = await startStage({ hasClock: true, ...options });
  t.after(() => stage.stop());
  return stage;
}

test("case 144: a thousand requests at once to a cold isolate fetch the keys once", async (t) => {
  const stage = await cold(t);
  const token = await stage.token("alice");
  const answers = await Promise.all(Array.from({ length: 1000 }, () => stage.call({ token })));
  assert.deepEqual(
    answers.filter(({ status }) => status !== 200).map(({ text }) => text),
    [],
  );
  assert.equal(stage.certs.requests(), 1);
  assert.equal(stage.upstream.received.length, 1000);
});

test("case 8: a hundred unknown keys cause one fetch for each cool-down, and no more", async (t) => {
  const stage = await cold(t);
  assert.equal((await stage.call()).status, 200);
  stage.upstream.reset();
  assert.equal(stage.certs.requests(), 1);
  const hundred = async (round: string) => {
    for (let index = 0; index < 100; index++) {
      const token = await stage.token("alice", { header: { kid: `${round}-${index}` } });
      assertStopped(stage, await stage.call({ token }), 401);
    }
  };
  await hundred("within the first cool-down");
  assert.equal(stage.certs.requests(), 1);
  await stage.advance(COOL_DOWN);
  await hundred("after it");
  assert.equal(stage.certs.requests(), 2);
  assert.equal((await stage.call()).status, 200, "who is known stays known");
});

test("case 19: without keys nobody is recognised, and the answer says why", async (t) => {
  const stage = await cold(t);
  for (const fault of ["down", "500", "garbage", "huge"] as const) {
    stage.certs.fault(fault);
    const answer = await stage.call();
    assertStopped(stage, answer, 503, /keys of Cloudflare Access/);
    assert.deepEqual(answer.values("retry-after"), ["1"], "kubectl may try again");
    await stage.advance(COOL_DOWN);
  }
  stage.certs.fault("none");
  assert.equal((await stage.call()).status, 200, "service resumes by itself");
});

test("case 19, 23: a certs endpoint that does not answer in time is given up, and asked again later", async (t) => {
  const stage = await cold(t);
  stage.certs.fault("slow");
  const started = ownTime();
  const answers = await Promise.all([stage.call(), stage.call(), stage.call()]);
  const seconds = (ownTime() - started) / 1000;
  for (const answer of answers) {
    assertStopped(stage, answer, 503, /keys of Cloudflare Access/);
  }
  assert.ok(seconds < 15, `gave up after ${seconds} s`);
  assert.equal(stage.certs.requests(), 1);
  stage.certs.fault("none");
  await stage.advance(COOL_DOWN);
  assert.equal((await stage.call()).status, 200);
});

test("case 20: keys at hand serve for hours while Access is down, and not for ever", async (t) => {
  const stage = await cold(t);
  const [known, fresh] = [await stage.token("alice"), await stage.token("bob")];
  assert.equal((await stage.call({ token: known })).status, 200);
  let elapsed = 0;
  for (const fault of ["down", "500", "garbage", "huge"] as const) {
    stage.certs.fault(fault);
    await stage.advance(HOUR);
    elapsed += HOUR;
    const before = stage.certs.requests();
    assert.equal((await stage.call({ token: known })).status, 200, `${fault}: who was recognised before`);
    assert.equal(stage.certs.requests(), before + 1, `${fault}: Access is asked again`);
    assert.equal((await stage.call({ token: fresh })).status, 200, `${fault}: and who was not`);
    assert.equal(stage.certs.requests(), before + 1, `${fault}: but not for each request`);
  }
  await stage.advance(STALE - elapsed);
  stage.upstream.reset();
  for (const token of [known, fresh]) {
    assertStopped(stage, await stage.call({ token }), 503, /keys of Cloudflare Access/);
  }
  stage.certs.fault("none");
  await stage.advance(COOL_DOWN);
  assert.equal((await stage.call({ token: known })).status, 200);
});

test("case 21: a new key is accepted at once, a withdrawn one until the keys are asked for again", async (t) => {
  const stage = await cold(t);
  const old = await stage.token("alice");
  assert.equal((await stage.call({ token: old })).status, 200);
  await stage.advance(COOL_DOWN);
  await stage.certs.keys.rotate();
  const fresh = await stage.token("alice");
  assert.equal((await stage.call({ token: fresh })).status, 200, "the new key needs one fetch");
  assert.equal(stage.certs.requests(), 2);
  assert.equal((await stage.call({ token: old })).status, 200, "the old key is still published");
  stage.certs.keys.drop();
  await stage.advance(FRESH);
  stage.upstream.reset();
  assertStopped(stage, await stage.call({ token: old }), 401);
  assert.equal((await stage.call({ token: fresh })).status, 200);
});

test("case 12: a token that was accepted is refused once it has expired", async (t) => {
  const stage = await cold(t);
  const exp = Math.floor(Date.now() / 1000) + 10 * MINUTE;
  const token = await stage.token("alice", { claims: { exp } });
  assert.equal((await stage.call({ token })).status, 200);
  await stage.advance(9 * MINUTE);
  assert.equal((await stage.call({ token })).status, 200);
  await stage.advance(3 * MINUTE);
  stage.upstream.reset();
  assertStopped(stage, await stage.call({ token }), 401);
});

test("case 19: many different callers wait for the same keys, and all get in", async (t) => {
  const stage = await cold(t);
  const tokens = await Promise.all(Array.from({ length: 50 }, (_, index) => stage.token(index % 2 ? "alice" : "bob")));
  const unknown = await stage.token("alice", { header: { kid: "unknown" } });
  const [stranger, ...answers] = await Promise.all([
    stage.call({ token: unknown }),
    ...tokens.map((token) => stage.call({ token })),
  ]);
  assert.ok(answers.every(({ status }) => status === 200));
  assertRefused(stranger, 401);
  assert.equal(stage.certs.requests(), 1);
});

test("case 29: a token for one cluster's application opens no other cluster of the team", async (t) => {
  const certs = await startCerts();
  t.after(() => certs.stop());
  const [first, second] = await Promise.all([cold(t, { certs }), cold(t, { certs, aud: "another-application" })]);
  const token = await first.token("alice");
  assert.equal((await first.call({ token })).status, 200);
  assertStopped(second, await second.call({ token }), 401);
  const theirs = await first.token("alice", { claims: { aud: ["another-application"] } });
  first.upstream.reset();
  assert.equal((await second.call({ token: theirs })).status, 200);
  assertStopped(first, await first.call({ token: theirs }), 401);
});

test("case 29: a gateway of several applications takes the tokens of each, and of no third", async (t) => {
  const stage = await cold(t, { aud: `another-application, ${aud}` });
  assert.equal((await stage.call()).status, 200);
  const other = await stage.token("alice", { claims: { aud: ["another-application"] } });
  assert.equal((await stage.call({ token: other })).status, 200);
  stage.upstream.reset();
  const third = await stage.token("alice", { claims: { aud: [`another-application, ${aud}`] } });
  assertStopped(stage, await stage.call({ token: third }), 401);
});
