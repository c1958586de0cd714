// Who a verified token is to the cluster, and who does not enter: by the map that is compiled into the built Worker.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { assertStopped, type Stage, startStage, theOnly } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

test("each of the local users is who the map says", async () => {
  for (const [user, name, groups] of [
    ["alice", "alice", ["platform-admins", "developers"]],
    ["bob", "bob@example.com", ["developers"]],
    ["ci", "ci-deployer", ["ci"]],
  ] as const) {
    stage.upstream.reset();
    assert.equal((await stage.call({ as: user })).status, 200);
    const request = theOnly(stage.upstream.received);
    assert.deepEqual(request.values("impersonate-user"), [name]);
    assert.deepEqual(request.values("impersonate-group"), groups);
  }
});

test("case 31: whoever is in no entry is told so by name, and stays outside", async () => {
  assertStopped(stage, await stage.call({ as: "mallory" }), 403, /mallory@elsewhere\.test is in no entry/);
});

test("case 24, 25: a service token is never taken for a person, nor a person for a service token", async () => {
  for (const claims of [
    { common_name: "alice@example.com" },
    { common_name: "alice@example.com", email: "" },
    { common_name: "other.access" },
    { common_name: "0123456789ABCDEF.access" },
    { common_name: "0123456789abcdef.access.example.com" },
  ]) {
    const answer = await stage.call({ token: await stage.token("ci", { claims }) });
    assertStopped(stage, answer, answer.status === 401 ? 401 : 403);
  }
  const person = await stage.call({
    token: await stage.token("mallory", { claims: { common_name: "0123456789abcdef.access" } }),
  });
  assertStopped(stage, person, person.status === 401 ? 401 : 403);
});

test("case 26: a token that names nobody is nobody", async () => {
  for (const claims of [{ email: undefined }, { email: "" }, { email: undefined, common_name: "" }]) {
    const answer = await stage.call({ token: await stage.token("alice", { claims }) });
    assertStopped(stage, answer, answer.status === 401 ? 401 : 403);
  }
});

test("case 27: an address is compared whole, and only its letter case is forgiven", async () => {
  for (const email of [
    "alice@example.com.evil.test",
    "alice@sub.example.com",
    "alice@example.co",
    "alice@EXAMPLE.C\u041eM",
    "alice@example.com ",
    " alice@example.com",
    "alice@example.com\n",
    "alice@example.com,root@example.com",
    "@example.com",
    "example.com",
  ]) {
    const answer = await stage.call({ token: await stage.token("alice", { claims: { email } }) });
    assertStopped(stage, answer, answer.status === 401 ? 401 : 403);
  }
  const upper = await stage.token("alice", { claims: { email: "Alice@Example.COM" } });
  assert.equal((await stage.call({ token: upper })).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["alice"]);
});

test("case 43: names that mean something to JavaScript mean nothing here", async () => {
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
    assertStopped(stage, await stage.call({ token: await stage.token("ci", { claims: { common_name: name } }) }), 403);
    const email = `x@${name}`;
    assertStopped(stage, await stage.call({ token: await stage.token("bob", { claims: { email } }) }), 403);
  }
});
