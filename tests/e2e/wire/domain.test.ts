// Who a verified token of a whole domain is, in a Worker whose map gives each of them their own address for a user name. The map that is
// shipped has no such entry.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { buildWorker } from "../../../dev/build.ts";
import { assertStopped, type Stage, startStage, theOnly } from "./stage.ts";

let stage: Stage;

before(async () => {
  const dir = join(import.meta.dirname, "../../../target/worker-of-a-domain");
  const identities = join(import.meta.dirname, "domain.yaml");
  const { dir: worker } = await buildWorker({ log: () => {}, dir, identities });
  stage = await startStage({ worker });
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

test("case 27: an address that only looks like the administrator's is somebody else", async () => {
  for (const [email, user] of [
    ["evil+alice@example.com", "evil+alice@example.com"],
    ["alice@x@example.com", undefined],
    ["\u0430lice@example.com", undefined],
  ] as const) {
    stage.upstream.reset();
    const answer = await stage.call({ token: await stage.token("alice", { claims: { email } }) });
    if (answer.status === 200) {
      const request = theOnly(stage.upstream.received);
      assert.deepEqual(request.values("impersonate-user"), [user]);
      assert.deepEqual(request.values("impersonate-group"), ["developers"]);
    } else {
      assertStopped(stage, answer, answer.status === 401 ? 401 : 403);
    }
  }
});

test("case 34, 36: no address makes a reserved user, or a second header line", async () => {
  for (const email of [
    "system:admin@example.com",
    "x\r\nImpersonate-Group: system:masters@example.com",
    "x\0@example.com",
    `${"x".repeat(300)}@example.com`,
  ]) {
    stage.upstream.reset();
    const answer = await stage.call({ token: await stage.token("bob", { claims: { email } }) });
    assertStopped(stage, answer, answer.status === 401 ? 401 : 403);
  }
});
