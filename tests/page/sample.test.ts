// The sample says what the gateway would: in the same fields, and with recordings whose verdicts are those of the command line.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chunksOf, chunksPath, listPath, manifestOf, pageOf, sessionPath } from "../../deploy/sessions/answers.ts";
import { type Found, sha256, verdictOn } from "../../deploy/sessions/verdict.ts";
import { type Answer, SampleGateway } from "../../page/sample/gateway.ts";
import { isState, STATES, type State } from "../../page/sample/states.ts";
import {
  chunkPath,
  endGrantPath,
  endSessionPath,
  type Grant,
  type Grants,
  grantsPath,
  kubeconfigPath,
  type Me,
  mePath,
  VERBS,
} from "../../page/src/api.ts";

const now = Date.parse("2026-11-26T12:00:00Z");
const told = (Object.keys(STATES) as State[]).filter(
  (state) => !["slow", "failing", "denied", "expired", "stranger"].includes(state),
);

function gateway() {
  const sample = new SampleGateway(() => now);
  const ask = (state: State, target: string, body?: object, type = "application/json") =>
    sample.answer(state, {
      method: body ? "POST" : "GET",
      target,
      headers: body ? { "content-type": type } : {},
      body: JSON.stringify(body ?? {}),
    });
  const json = async (state: State, target: string, body?: object) => {
    const { body: text } = await ask(state, target, body);
    return JSON.parse(String(text));
  };
  return { ask, json };
}

test("who is there is told in the fields of the contract, in every state", async () => {
  const { json } = gateway();
  for (const state of told) {
    const me: Me = await json(state, mePath("team-a"));
    const address = me.email ?? me.serviceToken;
    assert.ok(me.user !== "" && address !== undefined, state);
    assert.ok(me.groups.every(({ name, from }) => name !== "" && from.length > 0));
    assert.match(me.until, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(me.rights.namespace, "team-a");
    assert.ok(me.cluster.version !== undefined || me.cluster.problem !== undefined);
    const usual = me.rights.rows.map(({ isUsual }) => isUsual);
    assert.deepEqual(
      usual,
      usual.toSorted((one, other) => Number(other) - Number(one)),
      "the usual ones come first",
    );
    for (const { verbs } of me.rights.rows) {
      for (const [verb, right] of Object.entries(verbs)) {
        assert.ok((VERBS as readonly string[]).includes(verb));
        assert.ok(right.is === "yes" || (right.is === "taken" ? right.by : right.names), JSON.stringify(right));
      }
    }
  }
});

test("lists, manifests and chunks are those that the command line takes too", async () => {
  const { json } = gateway();
  for (const state of ["auditor", "developer", "hostile", "empty"] as State[]) {
    let cursor: string | undefined;
    const seen: string[] = [];
    do {
      const page = pageOf(await json(state, listPath({ limit: 20, cursor })));
      assert.equal(page.scope, state === "developer" ? "own" : "all");
      seen.push(...page.sessions.map(({ id }) => id));
      cursor = page.cursor;
    } while (cursor !== undefined);
    assert.equal(new Set(seen).size, seen.length);
    assert.equal(seen.length > 0, state !== "empty");
    const [first = ""] = seen;
    if (first !== "") {
      assert.equal(manifestOf(await json(state, sessionPath(first)), "it").id, first);
    }
  }
});

test("its recordings are whole, edited, missing a chunk and have one more, and the verdict tells each", async () => {
  const { ask, json } = gateway();
  const verdicts = new Set<string>();
  for (const { id } of pageOf(await json("auditor", listPath({ limit: 8 }))).sessions) {
    const manifest = manifestOf(await json("auditor", sessionPath(id)), "it");
    const found: Found[] = [];
    for (const { name, size } of chunksOf(await json("auditor", chunksPath(id)))) {
      const { body } = await ask("auditor", chunkPath(id, name));
      assert.equal(Buffer.from(body).length, size);
      found.push({ name, size, sha256: await sha256(new Uint8Array(Buffer.from(body))) });
    }
    const { problems } = await verdictOn(manifest, found);
    verdicts.add(problems.map((problem) => problem.replace(/: it had.*/, "")).join("; "));
  }
  assert.deepEqual([...verdicts].sort(), [
    "",
    "chunk 00000 was edited",
    "chunk 00001 is missing",
    "chunk 00002 was added",
  ]);
});

test("a session that is ended has ended, and not twice", async () => {
  const { ask, json } = gateway();
  const live = async () =>
    pageOf(await json("auditor", listPath({ limit: 1 }))).sessions.filter(({ state }) => state === "live");
  const [first] = await live();
  assert.ok(first);
  const end = () => ask("auditor", endSessionPath(first.id), { reason: "INC-7" });
  assert.equal((await end()).status, 200);
  assert.ok(!(await live()).some(({ id }) => id === first.id));
  assert.equal(manifestOf(await json("auditor", sessionPath(first.id)), "it").reason, "alice ended it: INC-7");
  assert.deepEqual(refusal(await end()), [409, "Conflict"]);
});

test("what is given stands in the list until it is taken back", async () => {
  const { ask, json } = gateway();
  const wish = { email: "eve@example.com", groups: ["sre"], expires: "2026-11-26T16:00:00Z", reason: "INC-8" };
  const grant: Grant = await json("auditor", grantsPath, wish);
  const ids = async (state: State) => ((await json(state, grantsPath)) as Grants).grants.map(({ id }) => id);
  assert.ok((await ids("auditor")).includes(grant.id));
  assert.ok(!(await ids("developer")).includes(grant.id), "another state is another gateway");
  assert.equal((await ask("auditor", endGrantPath(grant.id), {})).status, 200);
  assert.ok(!(await ids("auditor")).includes(grant.id));
  assert.deepEqual(refusal(await ask("auditor", endGrantPath(grant.id), {})), [404, "NotFound"]);
});

test("what may not be given is refused with a sentence", async () => {
  const { ask } = gateway();
  const wish = { email: "eve@example.com", groups: ["sre"], expires: "2026-11-26T16:00:00Z", reason: "INC-8" };
  for (const [state, change, code] of [
    ["developer", {}, 403],
    ["auditor", { groups: ["auditors"] }, 403],
    ["auditor", { groups: ["system:masters"] }, 403],
    ["auditor", { reason: "" }, 422],
    ["auditor", { reason: "a".repeat(201) }, 422],
    ["auditor", { expires: "2026-11-26T11:00:00Z" }, 422],
    ["auditor", { expires: "2027-11-26T11:00:00Z" }, 422],
    ["auditor", { serviceToken: "x.access" }, 422],
  ] as [State, object, number][]) {
    assert.equal(refusal(await ask(state, grantsPath, { ...wish, ...change }))[0], code, JSON.stringify(change));
  }
  assert.deepEqual(refusal(await ask("auditor", grantsPath, wish, "text/plain")), [415, "UnsupportedMediaType"]);
});

test("a session of Access that is over is answered with a redirect, and everything else with a Status", async () => {
  const { ask } = gateway();
  assert.equal((await ask("expired", mePath())).status, 302);
  assert.deepEqual(refusal(await ask("failing", mePath())), [503, "ServiceUnavailable"]);
  assert.deepEqual(refusal(await ask("denied", mePath())), [403, "Forbidden"]);
  assert.deepEqual(refusal(await ask("auditor", "/.kube-access/nothing")), [404, "NotFound"]);
  const { headers, body } = await ask("auditor", kubeconfigPath);
  assert.equal(headers["content-disposition"], "attachment; filename=kube.example.com.kubeconfig");
  assert.match(String(body), /token: access/);
  assert.ok(isState("auditor") && !isState("toString"));
});

function refusal({ status, body }: Answer): [number, string] {
  const { kind, message, reason, code } = JSON.parse(String(body));
  assert.deepEqual([kind, code], ["Status", status]);
  assert.ok(message.length > 10, message);
  return [status, reason];
}
