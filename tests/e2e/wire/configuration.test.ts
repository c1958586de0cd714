// A gateway that is not configured serves nobody, and says what is missing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertStopped, startStage } from "./stage.ts";

for (const [vars, message] of [
  [{ ACCESS_TEAM_DOMAIN: "" }, /ACCESS_TEAM_DOMAIN is missing/],
  [{ ACCESS_TEAM_DOMAIN: "<TEAM_DOMAIN>" }, /ACCESS_TEAM_DOMAIN is missing/],
  [{ ACCESS_TEAM_DOMAIN: "http://kube-access.cloudflareaccess.com" }, /ACCESS_TEAM_DOMAIN is malformed/],
  [{ ACCESS_AUD: "" }, /ACCESS_AUD is missing/],
  [{ ACCESS_AUD: "<AUD_TAG>" }, /ACCESS_AUD is missing/],
  [{ ACCESS_AUD: "a b" }, /ACCESS_AUD is malformed/],
  [{ LOG_LEVEL: "loud" }, /LOG_LEVEL is malformed/],
  [{ ENABLE_K8S_LOGGING: "perhaps" }, /ENABLE_K8S_LOGGING is malformed/],
] as [Record<string, string>, RegExp][]) {
  test(`${Object.entries(vars).map((pair) => pair.join("="))}: every request is refused with the way to set it`, async (t) => {
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
    const logged = stage.gateway.logs().filter((line) => message.test(line));
    assert.ok(logged.length > 0 && logged.every((line) => JSON.parse(line).level === "error"));
  });
}
