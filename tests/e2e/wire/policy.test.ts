// Groups of the identity provider, grants, guards and --as in workerd, with a policy of the tests' own: who is asked, how often, and
// what of it reaches the cluster.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import type { CertsFault } from "../../../dev/access-certs.ts";
import type { Person } from "../../../dev/access-keys.ts";
import { buildWorker } from "../../../dev/build.ts";
import { localApplication } from "../../../dev/users.ts";
import type { Received } from "./recorder.ts";
import {
  type Answer,
  assertRefused,
  assertStopped,
  type Call,
  eventually,
  type Stage,
  startStage,
  theOnly,
} from "./stage.ts";

const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/** Not those of all namespaces: a guard keeps who is on call out of one. */
const PODS = "/api/v1/namespaces/default/pods";

let stage: Stage;

before(async () => {
  const dir = join(import.meta.dirname, "../../../target/worker-of-a-policy");
  const { dir: worker } = await buildWorker({
    log: () => {},
    dir,
    identities: join(import.meta.dirname, "policy.yaml"),
  });
  stage = await startStage({ worker, hasClock: true, identities: {} });
});

after(() => stage.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.certs.identities.fault("none");
});

let people = 0;

/** Somebody whom Access has not seen before, as the provider knows them. */
function somebody(about: Partial<Person> = {}): Person {
  people += 1;
  return { name: `person-${people}`, email: "bob@example.com", ...about };
}

/** A token that was issued a moment ago, by the Worker's clock. */
function tokenOf(person: Person): Promise<string> {
  return stage.certs.keys.token(person, { ...localApplication, claims: { iat: Math.floor(stage.now() / 1000) } });
}

async function callAs(person: Person, call: Call = {}): Promise<Answer> {
  return stage.call({ target: PODS, ...call, token: await tokenOf(person) });
}

function groupsSent(): string[] {
  return theOnly(stage.upstream.received).values("impersonate-group");
}

/** How often get-identity is asked meanwhile. */
async function asked(work: () => Promise<unknown>): Promise<number> {
  const before = stage.certs.identities.requests();
  await work();
  return stage.certs.identities.requests() - before;
}

test("case 179: groups come from get-identity, as objects and as texts, and none of their names reaches the cluster", async () => {
  for (const groups of [
    ["g-on-call", "system:masters", "x,y"],
    [
      { id: "g-on-call", name: "system:masters" },
      { id: "else", name: "admins", email: "admins@example.com" },
    ],
  ]) {
    stage.upstream.reset();
    assert.equal(await asked(async () => assert.equal((await callAs(somebody({ groups }))).status, 200)), 1);
    assert.deepEqual(groupsSent(), ["on-call"]);
  }
});

test("case 179: groups that get-identity tells among the provider's own claims or attributes count as well", async () => {
  for (const groupsIn of ["oidc_fields", "saml_attributes"] as const) {
    stage.upstream.reset();
    assert.equal((await callAs(somebody({ groups: ["g-on-call"], groupsIn }))).status, 200);
    assert.deepEqual(groupsSent(), ["on-call"]);
    stage.upstream.reset();
    assertStopped(stage, await callAs(somebody({ groups: [7], groupsIn })), 503, /cannot be told right now/);
  }
});

test("case 179: a claim of the token saves the question, and one that Access left out for its length does not", async () => {
  const inToken = somebody({ groups: ["g-on-call"], groupsInToken: true });
  assert.equal(await asked(() => callAs(inToken)), 0);
  assert.deepEqual(groupsSent(), ["on-call"]);
  stage.upstream.reset();
  const many = Array.from({ length: 500 }, (_, index) => `00000000-0000-0000-0000-${String(index).padStart(12, "0")}`);
  const trimmed = somebody({ groups: [...many, "g-on-call"], groupsInToken: true });
  assert.equal(await asked(() => callAs(trimmed)), 1);
  assert.deepEqual(groupsSent(), ["on-call"]);
});

test("case 179: who has no groups at the provider is asked about, and enters without", async () => {
  assert.equal((await callAs(somebody())).status, 200);
  assert.deepEqual(groupsSent(), []);
});

test("membership alone lets in where an entry says so, by the login method that it names", async () => {
  const carol = somebody({ email: "carol@elsewhere.test", groups: ["g-guests"] });
  assert.equal((await callAs(carol)).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["guest:carol@elsewhere.test"]);
  stage.upstream.reset();
  const added = somebody({ email: "carol@elsewhere.test", groups: ["g-on-call"] });
  assertStopped(stage, await callAs(added), 403, /in no entry/);
});

test("a service token is never asked about", async () => {
  assert.equal(await asked(() => stage.call({ as: "ci" })), 0);
});

test("case 144, 179: however many requests of one person come at once, Access is asked once", async () => {
  const person = somebody({ groups: ["g-on-call"] });
  const token = await tokenOf(person);
  const release = stage.certs.identities.hold();
  const before = stage.certs.identities.requests();
  const answers = Array.from({ length: 50 }, () => stage.call({ target: PODS, token }));
  await eventually("get-identity is asked", () => stage.certs.identities.requests() > before);
  await new Promise((resolve) => setTimeout(resolve, 200));
  release();
  for (const answer of await Promise.all(answers)) {
    assert.equal(answer.status, 200);
  }
  assert.equal(stage.certs.identities.requests() - before, 1);
});

test("case 159, 179: a client that leaves while Access is asked leaves nobody else waiting", async () => {
  const person = somebody({ groups: ["g-on-call"] });
  const token = await tokenOf(person);
  const release = stage.certs.identities.hold();
  const before = stage.certs.identities.requests();
  const leaving = await stage.open({ target: PODS, token });
  await eventually("get-identity is asked", () => stage.certs.identities.requests() > before);
  const waiting = stage.call({ target: PODS, token });
  leaving.socket.resetAndDestroy();
  await new Promise((resolve) => setTimeout(resolve, 200));
  release();
  assert.equal((await waiting).status, 200);
  assert.equal((await callAs(person)).status, 200);
});

test("case 179: groups that changed are seen after five minutes, in whatever tokens the session has", async () => {
  const person = somebody({ groups: [] });
  const groupsNow = async () => {
    stage.upstream.reset();
    assert.equal((await callAs(person)).status, 200);
    return groupsSent();
  };
  assert.deepEqual(await groupsNow(), []);
  person.groups = ["g-on-call"];
  await stage.advance(240);
  assert.deepEqual(await groupsNow(), []);
  await stage.advance(61);
  assert.deepEqual(await groupsNow(), ["on-call"]);
  person.groups = [];
  await stage.advance(301);
  assert.deepEqual(await groupsNow(), []);
});

test("case 179: a claim of the token is believed for five minutes, and then Access is asked once, however many wait", async () => {
  const person = somebody({ groups: ["g-on-call"], groupsInToken: true });
  const token = await tokenOf(person);
  const call = async () => assert.equal((await stage.call({ target: PODS, token })).status, 200);
  person.groups = [];
  for (const [seconds, calls, questions, groups] of [
    [0, 1, 0, ["on-call"]],
    [240, 1, 0, ["on-call"]],
    [61, 20, 1, []],
    [240, 1, 0, []],
    [61, 1, 1, []],
  ] as const) {
    await stage.advance(seconds);
    stage.upstream.reset();
    assert.equal(await asked(() => Promise.all(Array.from({ length: calls }, call))), questions);
    for (const request of stage.upstream.received) {
      assert.deepEqual(request.values("impersonate-group"), groups);
    }
  }
});

test("case 179: groups that cannot be learnt let nobody in, and the log says why", async () => {
  const faults: [CertsFault, RegExp][] = [
    ["down", /did not answer/],
    ["500", /did not answer/],
    ["garbage", /did not answer with this person's identity/],
    ["huge", /answered too much/],
  ];
  for (const [fault, why] of faults) {
    stage.certs.identities.fault(fault);
    const person = somebody({ groups: ["g-on-call"] });
    assertStopped(stage, await callAs(person), 503, /which groups you are in cannot be told right now/);
    await eventually(`the log names ${fault}`, () => stage.gateway.logs().some((line) => why.test(line)));
    stage.gateway.logs().length = 0;
    stage.certs.identities.fault("none");
    assert.equal((await callAs(person)).status, 200, "a failure is not remembered");
    stage.upstream.reset();
  }
  for (const groups of [[7], [null], [{ name: "g-on-call" }], ["g-on-call", {}]]) {
    assertStopped(stage, await callAs(somebody({ groups })), 503, /cannot be told right now/);
  }
});

test("case 179: a slow provider holds nobody for more than five seconds, and nobody else at all", async () => {
  stage.certs.identities.fault("slow");
  const started = performance.now();
  const waiting = callAs(somebody({ groups: ["g-on-call"] }));
  const service = await stage.call({ as: "ci" });
  assert.equal(service.status, 200);
  stage.upstream.reset();
  const answer = await waiting;
  assertRefused(answer, 503, /cannot be told right now/);
  assert.ok(performance.now() - started > 4_500, "the provider had its five seconds");
  assert.equal(stage.upstream.received.length, 0);
});

test("case 180: grants add groups, each until its own end, and are seen within a minute", async () => {
  const in_ = (seconds: number) => new Date(stage.now() + seconds * 1000).toISOString();
  const bob = somebody();
  const groupsNow = async () => {
    stage.upstream.reset();
    assert.equal((await callAs(bob)).status, 200);
    return groupsSent();
  };
  assert.deepEqual(await groupsNow(), []);
  const grants = [
    { groups: ["sre"], expires: in_(900), id: "grant-1", reason: "INC-1", by: "alice" },
    { groups: ["sre", "agents"], expires: in_(600) },
    { groups: ["past"], expires: "2020-01-01T00:00:00Z", id: "grant-0" },
  ];
  await stage.gateway.setIdentity("email:bob@example.com", JSON.stringify({ grants }));
  await stage.advance(60);
  assert.deepEqual(await groupsNow(), ["sre", "agents"]);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-extra-kube-access.dev%2fgrant"), ["grant-1"]);
  await stage.advance(560);
  assert.deepEqual(await groupsNow(), ["sre"]);
  await stage.advance(300);
  assert.deepEqual(await groupsNow(), []);
  for (const grants of [[{ groups: ["system:masters"], expires: in_(60) }], [{ groups: ["sre"] }], {}, ["sre"]]) {
    await stage.gateway.setIdentity("email:bob@example.com", JSON.stringify({ grants }));
    await stage.advance(60);
    stage.upstream.reset();
    assertStopped(stage, await callAs(bob), 503, /identity store failed/);
  }
  await stage.gateway.setIdentity("email:bob@example.com", undefined);
  await stage.advance(60);
});

test("case 90, 92, 98, 99, 178: guards refuse before anything goes upstream, with their name", async () => {
  for (const target of [
    "/api/v1/secrets",
    "/api/v1/namespaces/default/secrets/s",
    "/api/v1/namespaces/default/%73ecrets",
    "/api/v1/watch/secrets",
    "/api/v1/secrets?watch=1",
    "/api/v1/secrets?%77atch=true",
  ]) {
    for (const accept of [
      "application/json",
      "application/vnd.kubernetes.protobuf",
      "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    ]) {
      const answer = await stage.call({ target, lines: [`Accept: ${accept}`] });
      assertStopped(stage, answer, 403, /the guard "no-secrets" of this gateway/);
    }
  }
  const upgrade = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: yPc6qyEdVivBFTmdg5VfRA==",
  ];
  for (const protocol of ["v4.channel.k8s.io", "v5.channel.k8s.io"]) {
    const lines = [...upgrade, `Sec-WebSocket-Protocol: ${protocol}`];
    const target = "/api/v1/namespaces/default/pods/web/exec?command=sh";
    assertStopped(stage, await stage.call({ target, lines, as: "ci" }), 403, /the guard "agents-read-only"/);
  }
  for (const call of [
    { method: "POST", target: "/api/v1/namespaces/default/pods/web/exec?command=sh", lines: ["Upgrade: SPDY/3.1"] },
    { method: "PATCH", target: "/api/v1/namespaces/default/pods/web/ephemeralcontainers", body: "{}" },
    { method: "DELETE", target: "/api/v1/namespaces/default/pods" },
    { target: "/api/v1/nodes/n/proxy/pods" },
    { target: "/metrics" },
  ]) {
    assertRefusal(await stage.call({ ...call, as: "ci" }), /the guard "agents-read-only"/);
  }
  assert.equal(stage.upstream.received.length, 0);
  for (const target of ["/api/v1/pods", "/version", "/openapi/v3", "/apis/apps/v1"]) {
    assert.equal((await stage.call({ target, as: "ci" })).status, 200);
  }
});

/** A refusal in either form: what is no resource is answered with text. */
function assertRefusal(answer: Answer, words: RegExp): void {
  assert.equal(answer.status, 403, answer.text);
  assert.match(answer.text.replaceAll("\\", ""), words);
}

/** Answers reviews by this rule, and everything else as ever. */
function reviewing(isAllowed: (name: string) => boolean | undefined): void {
  stage.upstream.script(async (request) => {
    if (request.target !== REVIEWS) {
      request.answer("200 OK", ["Content-Type: application/json"], "{}");
      return;
    }
    const allowed = isAllowed(attributesOf(await request.body()).name);
    if (allowed === undefined) {
      request.answer("500 Internal Server Error", [], "{}");
    } else {
      request.answer("201 Created", ["Content-Type: application/json"], JSON.stringify({ status: { allowed } }));
    }
  });
}

function attributesOf(body: Buffer) {
  return JSON.parse(body.toString()).spec.resourceAttributes;
}

const AS_BREAKGLASS = ["Impersonate-User: breakglass", "Impersonate-Group: sre"];

test("case 82, 88: --as asks the cluster as the caller, and then goes up as the other with the caller's name", async () => {
  const names: string[] = [];
  reviewing((name) => names.push(name) > 0);
  const lines = [
    ...AS_BREAKGLASS,
    "Impersonate-Extra-Example.com%2FTicket: INC-1",
    "Impersonate-Extra-Reason: on call, since 3",
  ];
  assert.equal((await stage.call({ lines })).status, 200);
  assert.deepEqual(names.sort(), ["INC-1", "breakglass", "sre"]);
  const [request, ...more] = stage.upstream.received.filter(({ target }) => target !== REVIEWS) as [Received];
  assert.equal(more.length, 0);
  const sent = (name: string) => request.values(name);
  assert.deepEqual([sent("impersonate-user"), sent("impersonate-group")], [["breakglass"], ["sre"]]);
  const extra = (key: string) => sent(`impersonate-extra-${key.replace("/", "%2f")}`);
  assert.deepEqual(extra("kube-access.dev/original-user"), ["alice"]);
  assert.deepEqual(extra("kube-access.dev/original-groups"), ["admins", "devs"]);
  assert.deepEqual(extra("kube-access.dev/email"), ["alice@example.com"]);
  assert.deepEqual(extra("kube-access.dev/reason"), ["on call, since 3"]);
  assert.deepEqual(extra("example.com/ticket"), ["INC-1"]);
  const reviews = stage.upstream.received.filter(({ target }) => target === REVIEWS);
  for (const review of reviews) {
    assert.deepEqual(review.values("impersonate-user"), ["alice"]);
    assert.deepEqual(review.values("impersonate-group"), ["admins", "devs"]);
    assert.deepEqual(review.values("content-type"), ["application/json"]);
  }
  assert.equal(new Set(reviews.map((review) => review.values("audit-id")[0])).size, reviews.length);
  // Remembered for a moment: the next request takes the short way.
  await stage.call({ lines });
  assert.equal(names.length, 3);
});

test("case 83: one no refuses with the name, and no answer is no yes", async () => {
  await stage.advance(11);
  const refused = () => stage.upstream.received.every(({ target }) => target === REVIEWS);
  reviewing((name) => name !== "sre");
  assertRefused(await stage.call({ lines: AS_BREAKGLASS }), 403, /does not let alice act as group "sre"/);
  reviewing((name) => (name === "sre" ? undefined : true));
  assertRefused(await stage.call({ lines: AS_BREAKGLASS }), 503, /cannot be told right now/);
  stage.upstream.script((request) => request.answer("201 Created", [], "<html>"));
  assertRefused(await stage.call({ lines: AS_BREAKGLASS }), 503, /cannot be told right now/);
  stage.upstream.script((request) => void (request.target === REVIEWS && new Promise(() => {})));
  const started = performance.now();
  assertRefused(await stage.call({ lines: AS_BREAKGLASS }), 503, /cannot be told right now/);
  assert.ok(performance.now() - started > 4_500);
  assert.ok(refused(), "nothing but reviews goes upstream");
});

test("case 76, 77, 78, 79, 80, 81, 84, 85, 86: what may not be asked for goes nowhere", async () => {
  for (const [lines, status, words] of [
    [["Impersonate-User: root"], 403, /act as user \\?"root/],
    [
      ["Impersonate-User: breakglass", "Impersonate-Group: sre", "Impersonate-Group: admins"],
      403,
      /act as group \\?"admins/,
    ],
    [["Impersonate-User: breakglass", "Impersonate-Group: system:masters"], 403, /act as group \\?"system:masters/],
    [["Impersonate-User: system:serviceaccount:kube-access:kube-access"], 403, /act as user/],
    [["Impersonate-User: breakglass", "Impersonate-User: alice"], 400, /cannot be read/],
    [["Impersonate-Group: sre"], 400, /add --as/],
    [["Impersonate-User:"], 400, /cannot be read/],
    [["Impersonate-User: alice", "Impersonate-Uid: 1"], 403, /act as user \\?"alice/],
    [["Impersonate-User: breakglass", "Impersonate-Future: x"], 400, /no such header/],
    [["Impersonate-User: breakglass", "Impersonate-Extra-Kube-Access.dev%2Femail: x"], 403, /act as extra/],
    [["Impersonate-User: breakglass", "Impersonate-Extra-Scopes: x"], 400, /the key of an extra/],
  ] as [string[], number, RegExp][]) {
    assertStopped(stage, await stage.call({ lines }), status, words);
  }
  const lines = ["Impersonate-User: alice", "Impersonate-Group: devs"];
  assert.equal((await stage.call({ lines })).status, 200);
  assert.deepEqual(groupsSent(), ["devs"]);
  const bob = await callAs(somebody(), { lines: ["Impersonate-User: breakglass"] });
  assertRefused(bob, 403, /whose entry has no act_as/);
});
