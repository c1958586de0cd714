// A gateway that is not configured serves nobody, and says what is missing.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Json } from "../../../dev/gateway.ts";
import { assertStopped, aud, eventually, startStage } from "./stage.ts";

for (const [vars, message] of [
  [{ ACCESS_TEAM_DOMAIN: "" }, /ACCESS_TEAM_DOMAIN is missing/],
  [{ ACCESS_TEAM_DOMAIN: "<TEAM_DOMAIN>" }, /ACCESS_TEAM_DOMAIN is missing/],
  [{ ACCESS_TEAM_DOMAIN: "http://kube-access.cloudflareaccess.com" }, /ACCESS_TEAM_DOMAIN is malformed/],
  [{ ACCESS_AUD: "" }, /ACCESS_AUD is missing/],
  [{ ACCESS_AUD: "<AUD_TAG>" }, /ACCESS_AUD is missing/],
  [{ ACCESS_AUD: "a b" }, /ACCESS_AUD is malformed/],
  [{ LOG_LEVEL: "loud" }, /LOG_LEVEL is malformed/],
  [{ ENABLE_K8S_LOGGING: "perhaps" }, /ENABLE_K8S_LOGGING is malformed/],
  [{ ENABLE_K8S_LOGGING: 1 }, /ENABLE_K8S_LOGGING is a number/],
  [{ LOG_LEVEL: 3 }, /LOG_LEVEL is a number/],
  [{ LOG_LEVEL: true }, /LOG_LEVEL is a boolean/],
  [{ ACCESS_AUD: [] }, /ACCESS_AUD is missing/],
  [{ ACCESS_AUD: [1] }, /ACCESS_AUD is an array of other things than text/],
  [{ ACCESS_TEAM_DOMAIN: ["https://kube-access.cloudflareaccess.com"] }, /ACCESS_TEAM_DOMAIN is an array/],
] as [Record<string, Json>, RegExp][]) {
  test(`case 173: ${Object.entries(vars).map((pair) => pair.join("="))}: every request is refused with the way to set it`, async (t) => {
    const stage = await startStage({ vars });
    t.after(() => stage.stop());
    for (const as of ["alice", null]) {
      const answer = await stage.call({ as });
      assertStopped(stage, answer, 503, message);
      assert.match(answer.text, /set it to/);
      assert.deepEqual(answer.values("retry-after"), [], "a retry does not help");
    }
    assert.equal(stage.certs.requests(), 0);
    const health = await stage.call({ target: "/.kube-access/healthz", as: null });
    assert.deepEqual([health.status, health.text], [200, "ok\n"], "a stranger learns nothing of it");
    const logged = () => stage.gateway.logs().filter((line) => message.test(line));
    await eventually("the log names it", () => logged().length > 0);
    assert.ok(logged().every((line) => JSON.parse(line).level === "error"));
  });
}

test("case 173: a boolean and an array of TOML mean what they say", async (t) => {
  const stage = await startStage({ vars: { ENABLE_K8S_LOGGING: true, ACCESS_AUD: ["another", aud] } });
  t.after(() => stage.stop());
  assert.equal((await stage.call()).status, 200);
  await eventually("an event comes", () => stage.gateway.logs().some((line) => line.includes('"kind":"Event"')));
});
