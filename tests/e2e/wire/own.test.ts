// The gateway's own paths in workerd: the page's files, who one is, a kubeconfig, and grants that an object keeps.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { parse } from "yaml";
import { buildPage } from "../../../dev/page-build.ts";
import { PAGE_HEADERS } from "../../../dev/page-server.ts";
import { buildVariant } from "../../../dev/variant.ts";
import type { Grant, Grants, Me } from "../../../page/src/api.ts";
import type { Received } from "./recorder.ts";
import { type Answer, assertRefused, assertStopped, type Call, eventually, type Stage, startStage } from "./stage.ts";

let stage: Stage;
/** What the API server lets: the names after the verb. */
let allowed: (attributes: { verb: string; resource: string; name: string }) => boolean;

before(async () => {
  const log = () => {};
  const variant = await buildVariant({ name: "grants", guards: [], grants: ["on-call", "developers"] }, log);
  const page = await buildPage({ log });
  stage = await startStage({
    ...{ worker: variant.dir, page: page.dir, hasClock: true, hasGrants: true, identities: {} },
    vars: { CONTACT: "the platform team, #platform", LOG_LEVEL: "info" },
  });
});

after(() => stage?.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.upstream.script(apiServer);
  allowed = () => true;
});

const JSON_LINE = "Content-Type: application/json";
const RULES = {
  incomplete: false,
  resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }],
  nonResourceRules: [],
};

async function apiServer(request: Received): Promise<void> {
  const answer = (status: string, body: object) => request.answer(status, [JSON_LINE], JSON.stringify(body));
  const { target } = request;
  if (target === "/version") {
    return answer("200 OK", { gitVersion: "v1.37.2" });
  }
  if (target.startsWith("/api/v1/namespaces")) {
    return answer("200 OK", {
      metadata: {},
      rows: [{ cells: ["default", "Active"] }, { cells: ["team-a", "Active"] }],
    });
  }
  if (target.endsWith("selfsubjectrulesreviews")) {
    return answer("201 Created", { status: RULES });
  }
  if (target.endsWith("selfsubjectaccessreviews")) {
    const { spec } = JSON.parse((await request.body()).toString());
    return answer("201 Created", { status: { allowed: allowed(spec.resourceAttributes) } });
  }
  return answer("200 OK", {});
}

async function json<Body>(call: Call): Promise<Body> {
  const answer = await stage.call(call);
  assert.ok(answer.status < 300, `${answer.status} ${answer.text}`);
  return JSON.parse(answer.text);
}

function give(wish: object, as = "alice"): Promise<Answer> {
  return stage.call({
    as,
    method: "POST",
    target: "/.kube-access/grants",
    lines: [JSON_LINE],
    body: JSON.stringify(wish),
  });
}

function inSeconds(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

const started = () => stage.upstream.received.map(({ head }) => head.start.split(" ").slice(0, 2).join(" "));

test("the page is there for who enters, and each answer says that no other page may have it", async () => {
  const root = await stage.call({ target: "/", lines: ["Accept: text/html,*/*;q=0.8"] });
  assert.deepEqual([root.status, root.values("location")], [302, ["/.kube-access/"]]);
  for (const [name, type] of [
    ["", /^text\/html/],
    ["assets/page.js", /^(text|application)\/javascript/],
    ["assets/page.css", /^text\/css/],
    ["assets/player.js", /javascript/],
    ["assets/icon.svg", /^image\/svg\+xml/],
  ] as const) {
    const answer = await stage.call({ target: `/.kube-access/${name}` });
    assert.equal(answer.status, 200, name);
    assert.match(answer.values("content-type")[0] ?? "", type);
    for (const [header, value] of Object.entries(PAGE_HEADERS)) {
      assert.deepEqual(answer.values(header), [value], "as `npm run page` says it, where the page is tested");
    }
    assert.ok(!PAGE_HEADERS["content-security-policy"].includes("unsafe"));
    const [tag = ""] = answer.values("etag");
    const again = await stage.call({ target: `/.kube-access/${name}`, lines: [`If-None-Match: ${tag}`] });
    assert.deepEqual([again.status, again.text], [304, ""], `${name} is fetched once`);
    const head = await stage.call({ method: "HEAD", target: `/.kube-access/${name}` });
    assert.equal(head.status, 200);
  }
  assertRefusedInText(await stage.call({ target: "/.kube-access/assets/nothing.js" }), 404);
  assertRefusedInText(await stage.call({ target: "/.kube-access/assets/.inputs.sha256" }), 404);
  assert.deepEqual(started(), [], "nothing of it reaches the cluster");
});

function assertRefusedInText(answer: Answer, status: number): void {
  assert.deepEqual([answer.status, answer.values("content-type")[0]], [status, "text/plain; charset=utf-8"]);
  assert.deepEqual(answer.values("content-security-policy"), ["default-src 'none'; frame-ancestors 'none'"]);
}

test("a stranger is told whom to ask, and gets no file but that page's style", async () => {
  const html = ["Accept: text/html"];
  const page = await stage.call({ as: "mallory", target: "/.kube-access/", lines: html });
  assert.deepEqual([page.status, page.values("content-type")[0]], [403, "text/html; charset=utf-8"]);
  assert.match(page.text, /mallory@elsewhere\.test/);
  assert.match(page.text, /Ask the platform team, #platform/);
  assert.match(
    page.values("content-security-policy")[0] ?? "",
    /^default-src 'none'; style-src 'self';.*frame-ancestors 'none'/,
  );
  const style = /href="([^"]+)"/.exec(page.text)?.[1] ?? "";
  assert.equal((await stage.call({ as: "mallory", target: style })).status, 200);
  for (const target of ["/.kube-access/assets/page.js", "/.kube-access/assets/player.js"]) {
    assertRefusedInText(await stage.call({ as: "mallory", target }), 403);
  }
  for (const target of ["me", "kubeconfig", "grants", "sessions"]) {
    assertRefused(await stage.call({ as: "mallory", target: `/.kube-access/${target}` }), 403, /in no entry/);
  }
  const none = await stage.call({ as: null, target: style, lines: html });
  assert.equal(none.status, 401);
  assert.deepEqual(started(), [], "nothing of it reaches the cluster");
});

test("who asks about themselves costs three requests at most, sent at once, as them", async () => {
  let waiting = 0;
  stage.upstream.script(async (request) => {
    waiting += 1;
    await eventually("all three are there before one is answered", () => waiting === 3);
    await apiServer(request);
  });
  const me = await json<Me>({ target: "/.kube-access/me?namespace=team-a", as: "dave" });
  assert.deepEqual(started().sort(), [
    "GET /api/v1/namespaces?limit=500&includeObject=None",
    "GET /version",
    "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
  ]);
  for (const request of stage.upstream.received) {
    assert.deepEqual(request.values("impersonate-user"), ["contractor"]);
  }
  assert.deepEqual([me.user, me.email, me.rule], ["contractor", "dave@contractors.example", "email_domain"]);
  assert.deepEqual(me.groups, [{ name: "contractors", from: "email_domain" }]);
  assert.deepEqual(me.guards, [{ name: "contractors-read-only", allow: "read-only" }]);
  assert.deepEqual(me.cluster, { host: "kube.example.com", version: "v1.37.2" });
  assert.deepEqual(me.namespaces, { names: ["default", "team-a"], isComplete: true });
  assert.deepEqual(me.features, { sessions: false, recordings: false, grants: true });
  assert.equal(me.contact, "the platform team, #platform");
  const pods = me.rights.rows.find(({ resource }) => resource === "pods");
  assert.deepEqual(pods?.verbs.get, { is: "yes" });
  assert.deepEqual(pods?.verbs.delete, { is: "taken", by: "contractors-read-only" });
});

test("what the API server does not say of a caller is told as that, and the rest is told all the same", async () => {
  stage.upstream.script((request) => request.answer("403 Forbidden", [JSON_LINE], "{}"));
  const me = await json<Me>({ target: "/.kube-access/me" });
  assert.equal(me.user, "alice");
  assert.match(me.cluster.problem ?? "", /version/);
  assert.match(me.namespaces.problem ?? "", /Type one/);
  assert.deepEqual([me.rights.isComplete, me.rights.rows], [false, []]);
  stage.upstream.script((request) => request.answer("200 OK", [JSON_LINE], " ".repeat(1024 * 1024 + 1)));
  assert.equal((await json<Me>({ target: "/.kube-access/me" })).rights.isComplete, false);
});

test("a kubeconfig is a file for the address by which the caller came", async () => {
  const answer = await stage.call({ target: "/.kube-access/kubeconfig", lines: ["X-Forwarded-Proto: https"] });
  assert.deepEqual(answer.values("content-disposition"), ['attachment; filename="kube.example.com.kubeconfig"']);
  const { clusters, users, contexts, "current-context": current } = parse(answer.text);
  assert.deepEqual(clusters, [{ name: "kube.example.com", cluster: { server: "https://kube.example.com" } }]);
  assert.deepEqual(users, [{ name: "kube.example.com", user: { token: "access" } }]);
  assert.deepEqual([contexts[0].name, current], ["kube.example.com", "kube.example.com"]);
});

test("a grant is on the record: a line, and an event, when it is given and when it is taken back", async () => {
  const lines = stage.gateway.logs();
  const before = lines.length;
  const wish = { serviceToken: "0f.access", groups: ["developers"], expires: inSeconds(7200) };
  const { note, ...grant }: Grant = JSON.parse((await give({ ...wish, reason: "INC-8 \u202e<b>" })).text);
  assert.match(note ?? "", /no entry of the policy lets them in/);
  const end = { method: "POST", target: `/.kube-access/grants/${grant.id}/end`, lines: [JSON_LINE], body: "{}" };
  assert.equal((await stage.call(end)).status, 200);
  const written = () => lines.slice(before).map((line) => JSON.parse(line));
  await eventually(
    "four lines are written",
    () => written().filter(({ kind, message }) => kind || message).length >= 4,
  );
  const [given, event, taken, endEvent] = written();
  assert.deepEqual([given.message, given.user, given.grant.id, given.status], ["grant given", "alice", grant.id, 201]);
  assert.deepEqual([taken.message, taken.user, taken.grant.reason], ["grant taken back", "alice", grant.reason]);
  for (const [found, verb] of [
    [event, "create"],
    [endEvent, "delete"],
  ] as const) {
    assert.deepEqual(
      [found.kind, found.apiVersion, found.level, found.verb],
      ["Event", "audit.k8s.io/v1", "Request", verb],
    );
    assert.deepEqual(found.objectRef, { resource: "grants", apiGroup: "kube-access.dev", name: grant.id });
    assert.deepEqual(found.requestObject, grant);
    assert.equal(found.user.username, "alice");
  }
  assert.ok(!lines.slice(before).some((line) => line.includes("\u202e")), "nothing turns a line around");
  assertRefused(await stage.call(end), 404, /no grant/);
});

test("a client that goes away while its change is made takes nothing off the record", async () => {
  const target = "/.kube-access/grants";
  const last = 19;
  const written = (): Grant[] =>
    stage.gateway.logs().flatMap((line) => {
      const { message, grant } = JSON.parse(line);
      return message === "grant given" ? [grant] : [];
    });
  for (let place = 0; place <= last; place++) {
    const body = JSON.stringify({
      email: "eve@example.com",
      groups: ["on-call"],
      expires: inSeconds(600),
      reason: `r${place}`,
    });
    const wire = await stage.open({ method: "POST", target, lines: [JSON_LINE], body });
    // At a time of its own each; the last when its grant is given.
    if (place < last) {
      await new Promise((done) => setTimeout(done, place));
    } else {
      await eventually("it is given", () => written().some(({ reason }) => reason === `r${last}`));
    }
    wire.socket.destroy();
  }
  let [seen, same] = ["", 0];
  let grants: Grant[] = [];
  while (same < 5) {
    ({ grants } = await json<Grants>({ target }));
    same = JSON.stringify(grants) === seen ? same + 1 : 0;
    seen = JSON.stringify(grants);
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.ok(grants.length > 0);
  for (const { id } of grants) {
    await eventually("it is on the record", () => written().some((grant) => grant.id === id));
    assert.equal((await stage.call({ method: "DELETE", target: `${target}/${id}` })).status, 200);
  }
});

test("a grant whose writing failed may hold all the same: it is listed, on the record, and taken back", async () => {
  const target = "/.kube-access/grants";
  const of = (id: string) =>
    stage.gateway.logs().flatMap((line) => {
      const { message, grant, status } = JSON.parse(line);
      return grant?.id === id ? [[message, status]] : [];
    });
  const groups = async (nonce: string) => {
    stage.upstream.received.length = 0;
    await stage.call({ token: await stage.token("bob", { claims: { identity_nonce: nonce } }) });
    return stage.upstream.received[0]?.values("impersonate-group");
  };
  await stage.breakIdentities(true);
  try {
    const wish = { email: "bob@example.com", groups: ["on-call"], expires: inSeconds(600), reason: "INC-9" };
    assertRefused(await give(wish), 503, /see then what holds/);
  } finally {
    await stage.breakIdentities(false);
  }
  assert.deepEqual(await groups("it came through"), ["developers", "on-call"]);
  const [grant] = (await json<Grants>({ target })).grants;
  assert.ok(grant, "what holds is listed");
  await eventually("it is on the record", () => of(grant.id).length === 1);
  assert.equal((await stage.call({ method: "DELETE", target: `${target}/${grant.id}` })).status, 200);
  await eventually("its end is as well", () => of(grant.id).length === 2);
  assert.deepEqual(of(grant.id), [
    ["grant given", 503],
    ["grant taken back", 200],
  ]);
  assert.deepEqual((await json<Grants>({ target })).grants, []);
  assert.deepEqual(await groups("it is taken back"), ["developers"]);
});

test("whoever RBAC does not let gives and takes nothing back, and sees their own alone", async () => {
  const wish = { email: "bob@example.com", groups: ["on-call", "developers"], expires: inSeconds(600), reason: "r" };
  allowed = ({ verb, name }) => !(verb === "create" && name === "developers");
  assertRefused(await give(wish, "ci"), 403, /ci-deployer give grants of the group developers/);
  allowed = () => true;
  const grant: Grant = JSON.parse((await give(wish)).text);
  allowed = () => false;
  const end = { method: "DELETE", target: `/.kube-access/grants/${grant.id}` };
  assertRefused(await stage.call({ ...end, as: "ci" }), 403, /take back grants/);
  const list = (as: string) => json<Grants>({ target: "/.kube-access/grants", as });
  assert.deepEqual([(await list("ci")).scope, (await list("ci")).grants], ["own", []]);
  assert.deepEqual(
    (await list("bob")).grants.map(({ id }) => id),
    [grant.id],
  );
  stage.upstream.script((request) => request.answer("500 Internal Server Error", [], ""));
  assertRefused(await give(wish, "ci"), 503, /API server did not answer/);
  assertRefused(await stage.call({ ...end, as: "ci" }), 503, /API server did not answer/);
  stage.upstream.reset();
  assert.equal((await stage.call({ ...end, as: "bob" })).status, 200, "fewer rights are free");
  assert.deepEqual(started(), []);
});

test("what cannot be given is refused with what to do, and nothing is asked or kept", async () => {
  const good = { email: "bob@example.com", groups: ["on-call"], expires: inSeconds(600), reason: "r" };
  for (const [change, words] of [
    [{ groups: ["platform-admins"] }, /not for granting/],
    [{ groups: ["system:masters"] }, /not for granting/],
    [{ groups: [] }, /groups are 1 to 16/],
    [{ email: "bob" }, /no address/],
    [{ serviceToken: "x" }, /one person/],
    [{ expires: inSeconds(-5) }, /expires/],
    [{ expires: inSeconds(31 * 86_400) }, /30 days/],
    [{ reason: "" }, /reason/],
    [{ user: "root" }, /JSON object/],
  ] as const) {
    assertStopped(stage, await give({ ...good, ...change }), 400, words);
  }
  const target = "/.kube-access/grants";
  for (const [lines, body] of [
    [["Cookie: a=b"], JSON.stringify(good)],
    [["Content-Type: text/plain"], JSON.stringify(good)],
    [[JSON_LINE], "no JSON"],
    [[JSON_LINE], `${JSON.stringify(good)}${" ".repeat(20_000)}`],
    [[JSON_LINE], ""],
  ] as const) {
    assertStopped(stage, await stage.call({ method: "POST", target, lines: [...lines], body }), 400);
  }
  assert.deepEqual((await json<Grants>({ target })).grants, []);
});

test("changes that come at the same moment are made one after the other, and none is lost", async () => {
  const many = Array.from({ length: 20 }, (_, place) => place);
  const wishes = many.map((place) => ({
    email: `user-${place % 4}@example.com`,
    groups: ["on-call"],
    expires: inSeconds(600),
    reason: `${place}`,
  }));
  const given = await Promise.all(wishes.map((wish) => give(wish)));
  assert.ok(
    given.every(({ status }) => status === 201),
    given.map(({ text }) => text).join(),
  );
  const target = "/.kube-access/grants";
  const { grants } = await json<Grants>({ target });
  assert.deepEqual(
    grants.map(({ reason }) => Number(reason)).sort((a, b) => a - b),
    many,
  );
  const ended = await Promise.all(grants.map(({ id }) => stage.call({ method: "DELETE", target: `${target}/${id}` })));
  assert.ok(ended.every(({ status }) => status === 200));
  assert.deepEqual((await json<Grants>({ target })).grants, []);
});

test("without what they need, the page and grants say what is missing", async () => {
  const bare = await startStage();
  try {
    const page = await bare.call({ target: "/.kube-access/", lines: ["Accept: text/html"] });
    assert.equal(page.status, 404);
    assert.match(page.text, /ASSETS in wrangler\.toml/);
    assertRefused(await bare.call({ target: "/.kube-access/grants" }), 404, /identities_kv = true/);
    bare.upstream.script(apiServer);
    const me: Me = JSON.parse((await bare.call({ target: "/.kube-access/me" })).text);
    assert.deepEqual(me.features, { sessions: false, recordings: false, grants: false });
  } finally {
    await bare.stop();
  }
});

test("case 151: another page's request for the gateway's own paths gets nothing, and changes nothing", async () => {
  const wish = { email: "bob@example.com", groups: ["on-call"], expires: inSeconds(600), reason: "r" };
  const body = JSON.stringify(wish);
  for (const lines of [
    ["Sec-Fetch-Site: cross-site", "Origin: https://evil.test"],
    ["Sec-Fetch-Site: same-site", "Origin: https://sibling.example.com"],
    ["Sec-Fetch-Site: cross-site", "Origin: null"],
    ["Sec-Fetch-Site: same-origin"],
  ]) {
    const call = { method: "POST", target: "/.kube-access/grants", lines: [...lines, JSON_LINE], body };
    assertStopped(stage, await stage.call(call), 403, /its own page alone/);
    for (const target of ["me", "grants", "kubeconfig", "sessions"]) {
      if (lines.length > 1) {
        assertStopped(stage, await stage.call({ target: `/.kube-access/${target}`, lines }), 403, /its own page alone/);
      }
    }
  }
  const own = ["Sec-Fetch-Site: same-origin", "Origin: http://kube.example.com"];
  const given = await stage.call({ method: "POST", target: "/.kube-access/grants", lines: [...own, JSON_LINE], body });
  assert.equal(given.status, 201, given.text);
  const target = `/.kube-access/grants/${JSON.parse(given.text).id}/end`;
  const ended = await stage.call({ method: "POST", target, lines: [...own, JSON_LINE], body: "{}" });
  assert.equal(ended.status, 200, ended.text);
});

// The last, since it puts the clock forward.
test("a grant gives groups at once to who was not known, and within a minute to who was, until its end", async () => {
  // Tokens of one second and one login are equal, and with them what is remembered: these are of logins of their own.
  const login = (nonce: string) => stage.token("bob", { claims: { identity_nonce: nonce } });
  const token = await login("before it");
  assert.equal((await stage.call({ token })).status, 200);
  const wish = { email: "Bob@example.com", groups: ["on-call"], expires: inSeconds(3600), reason: "INC-7" };
  const answer = await give(wish);
  assert.equal(answer.status, 201, answer.text);
  const grant: Grant = JSON.parse(answer.text);
  assert.deepEqual(
    [grant.email, grant.groups, grant.reason, grant.by],
    ["bob@example.com", ["on-call"], "INC-7", "alice"],
  );
  const groupsOf = async (call: Call) => {
    stage.upstream.received.length = 0;
    await stage.call(call);
    const [request] = stage.upstream.received;
    return {
      groups: request?.values("impersonate-group"),
      id: request?.values("impersonate-extra-kube-access.dev%2fgrant"),
    };
  };
  assert.deepEqual(await groupsOf({ token }), { groups: ["developers"], id: [] }, "remembered for half a minute");
  assert.deepEqual(await groupsOf({ token: await login("after it") }), {
    groups: ["developers", "on-call"],
    id: [grant.id],
  });
  await stage.advance(60);
  assert.deepEqual(await groupsOf({ token }), { groups: ["developers", "on-call"], id: [grant.id] });
  const me = await json<Me>({ target: "/.kube-access/me", token });
  assert.deepEqual(me.groups[1], { name: "on-call", from: "grant", grant: grant.id, expires: grant.expires });
  assert.deepEqual([me.why, me.until], ["policy", grant.expires]);
  await stage.advance(3600);
  assert.deepEqual(await groupsOf({ token: await login("at its end") }), { groups: ["developers"], id: [] });
  const { grants } = await json<Grants>({ target: "/.kube-access/grants" });
  assert.deepEqual(grants, [], "what has ended is listed no more");
});
