// The sample says what the gateway would: in the same fields and words, and with recordings whose verdicts are those of the command
// line.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { chunksOf, chunksPath, listPath, manifestOf, pageOf, sessionPath } from "../../deploy/sessions/answers.ts";
import { type Found, sha256, verdictOn } from "../../deploy/sessions/verdict.ts";
import { type Answer, anotherPage, SampleGateway, strangersPage } from "../../page/sample/gateway.ts";
import { USUAL } from "../../page/sample/people.ts";
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
  type Right,
  VERBS,
} from "../../page/src/api.ts";

const root = join(import.meta.dirname, "../..");
/** The Worker's source. */
const source = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".rs"))
  .map((name) => readFileSync(join(root, "src", name), "utf8"))
  .join("\n");
/** Every "no" of the Worker's, as a pattern. */
const sentences = [...source.matchAll(/#\[error\(\s*("(?:[^"\\]|\\.)+")/g)]
  .map(([, text = ""]) => JSON.parse(text).split(/\{[^}]*\}/) as string[])
  .filter((parts) => parts.join("").length > 10)
  .map((parts) => new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".+")}$`));

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
    assert.match(me.login, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const ends = [me.login, ...me.groups.flatMap(({ expires }) => expires ?? [])].sort();
    assert.deepEqual([me.until, me.why], [ends[0], ends[0] === me.login ? "token" : "policy"], state);
    assert.equal(me.rights.namespace, "team-a");
    assert.ok(me.cluster.version !== undefined || me.cluster.problem !== undefined);
    const usual = me.rights.rows.map(({ isUsual }) => isUsual);
    assert.deepEqual(
      usual,
      usual.toSorted((one, other) => Number(other) - Number(one)),
      "the usual ones come first",
    );
    for (const right of me.rights.rows.flatMap(({ verbs }) => Object.values(verbs))) {
      assert.ok(right.is === "yes" || (right.is === "taken" ? right.by : right.names), JSON.stringify(right));
      const guards = [right.by, right.except].filter((guard) => guard !== undefined);
      const held = me.guards.map(({ name }) => name);
      assert.ok(state === "hostile" || guards.every((guard) => held.includes(guard)), `${state}: ${guards}`);
    }
  }
});

test("one of everything that a right can be is in it, also by verbs that have no column", async () => {
  const { json } = gateway();
  const seen = new Set<string>();
  for (const state of told.filter((state) => state !== "hostile")) {
    const { rights }: Me = await json(state, mePath());
    for (const [verb, right] of rights.rows.flatMap(({ verbs }) => Object.entries<Right>(verbs))) {
      const kind = (VERBS as readonly string[]).includes(verb) ? "column" : "other";
      for (const key of [right.is, ...Object.keys(right)]) {
        seen.add(`${kind} ${key}`);
      }
    }
    if (rights.wildcards.some(({ names = [] }) => names.length > 0)) {
      seen.add("wildcard names");
    }
  }
  for (const one of [
    ...["yes", "some", "taken", "except", "recorded", "someRecorded"].map((key) => `column ${key}`),
    ...["yes", "some", "taken"].map((key) => `other ${key}`),
    "wildcard names",
  ]) {
    assert.ok(seen.has(one), one);
  }
});

test("the usual resources are the Worker's, in its order", () => {
  const [, list = ""] = /const USUAL: .*? = \[([\s\S]*?)\];/.exec(source) ?? [];
  const usual = [...list.matchAll(/\("([^"]*)", "([^"]*)"\)/g)].map(([, group, resource]) => [group, resource]);
  assert.ok(usual.length > 10);
  assert.deepEqual(USUAL, usual);
});

test("the page of refusals is filled, and only where it has a place for something", () => {
  const template = readFileSync(join(root, "page/refused.html"), "utf8");
  const places = new Set(template.match(/\{\w*\}/g));
  assert.deepEqual([...places].sort(), ["{facts}", "{heading}", "{remedy}", "{sentence}", "{style}"]);
  const page = strangersPage(now);
  assert.doesNotMatch(page, /[{}]/);
  assert.match(page, /<h1>You are in no entry<\/h1>[\s\S]*time: 2026-11-26T12:00:00Z/);
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
  assert.deepEqual(refusal(await end()), [404, "NotFound"]);
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

test("whoever gives to nobody gets the Worker's note", async () => {
  const { json } = gateway();
  const wish = { email: "eve@elsewhere.test", groups: ["sre"], expires: "2026-11-26T16:00:00Z", reason: "INC-8" };
  const { note }: Grant = await json("auditor", grantsPath, wish);
  assert.ok(note && source.includes(`const NOTE: &str = "${note}";`), note);
});

test("what may not be given is refused with a sentence", async () => {
  const { ask } = gateway();
  const wish = { email: "eve@example.com", groups: ["sre"], expires: "2026-11-26T16:00:00Z", reason: "INC-8" };
  for (const [state, change, code] of [
    ["developer", {}, 403],
    ["auditor", { groups: ["auditors"] }, 403],
    ["auditor", { groups: ["system:masters"] }, 400],
    ["auditor", { groups: [] }, 400],
    ["auditor", { reason: "" }, 400],
    ["auditor", { reason: "a".repeat(201) }, 400],
    ["auditor", { expires: "2026-11-26T11:00:00Z" }, 400],
    ["auditor", { expires: "2027-11-26T11:00:00Z" }, 400],
    ["auditor", { serviceToken: "x.access" }, 400],
  ] as [State, object, number][]) {
    const answer = await ask(state, grantsPath, { ...wish, ...change });
    assert.equal(refusal(answer)[0], code, JSON.stringify(change));
    const [, what] = /^this grant cannot be given: (.*)$/.exec(JSON.parse(String(answer.body)).message) ?? [];
    assert.ok(what === undefined || source.includes(`"${what}"`), what);
  }
  assert.deepEqual(refusal(await ask("auditor", grantsPath, wish, "text/plain")), [400, "BadRequest"]);
});

test("what is others' and what a gateway does not have is refused as the Worker refuses it", async () => {
  const { ask, json } = gateway();
  const [other] = pageOf(await json("auditor", listPath({ user: "alice", limit: 1 }))).sessions;
  assert.ok(other);
  for (const [state, target, body, expected] of [
    ["developer", listPath({ user: "alice", limit: 1 }), undefined, [403, "Forbidden"]],
    ["developer", sessionPath(other.id), undefined, [403, "Forbidden"]],
    ["developer", endSessionPath(other.id), {}, [403, "Forbidden"]],
    ["developer", endGrantPath("g-2f81c0"), {}, [403, "Forbidden"]],
    ["auditor", sessionPath(other.id.replace(/.$/, "f")), undefined, [404, "NotFound"]],
    ["auditor", mePath("Not/One"), undefined, [400, "BadRequest"]],
    ["contractor", grantsPath, undefined, [404, "NotFound"]],
    ["agent", listPath({ limit: 1 }), undefined, [404, "NotFound"]],
    ["halting", listPath({ limit: 1 }), undefined, [503, "ServiceUnavailable"]],
    ["halting", grantsPath, undefined, [503, "ServiceUnavailable"]],
  ] as [State, string, object | undefined, [number, string]][]) {
    assert.deepEqual(refusal(await ask(state, target, body)), expected, `${state} ${target}`);
  }
  assert.deepEqual(refusal(anotherPage()), [403, "Forbidden"]);
});

test("a session of Access that is over is answered with a redirect, and everything else with a Status", async () => {
  const { ask } = gateway();
  assert.equal((await ask("expired", mePath())).status, 302);
  assert.deepEqual(refusal(await ask("failing", mePath())), [503, "ServiceUnavailable"]);
  assert.deepEqual(refusal(await ask("denied", mePath())), [403, "Forbidden"]);
  assert.deepEqual(refusal(await ask("auditor", "/.kube-access/nothing")), [404, "NotFound"]);
  const { headers, body } = await ask("auditor", kubeconfigPath);
  assert.equal(headers["content-disposition"], 'attachment; filename="kube.example.com.kubeconfig"');
  assert.match(String(body), /token: access/);
  assert.ok(isState("auditor") && !isState("toString"));
});

function refusal({ status, body }: Answer): [number, string] {
  const { kind, message, reason, code } = JSON.parse(String(body));
  assert.deepEqual([kind, code], ["Status", status]);
  assert.ok(
    sentences.some((sentence) => sentence.test(message)),
    `the Worker does not say: ${message}`,
  );
  return [status, reason];
}
