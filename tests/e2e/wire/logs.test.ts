// What the Worker writes of a request, and what it never writes.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { cluster, kinds, withLines } from "./kinds.ts";
import { type Call, eventually, type Stage, startStage, theOnly } from "./stage.ts";
import { offer } from "./websocket.ts";

const pod = "/api/v1/namespaces/default/pods/web";

let stage: Stage;

before(async () => {
  stage = await startStage({ vars: { LOG_LEVEL: "debug", ENABLE_K8S_LOGGING: "true" } });
});

after(() => stage.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.upstream.script(cluster);
  stage.gateway.logs().length = 0;
});

/** The parts of audit.k8s.io/v1 that are looked at here. */
interface Event {
  kind: string;
  apiVersion: string;
  auditID: string;
  stage: string;
  verb: string;
  user: { username: string; extra: Record<string, string[]> };
  sourceIPs: string[];
  userAgent: string;
  objectRef: { resource: string };
  responseStatus: { code: number };
  annotations: Record<string, string>;
}

interface Logged {
  event: Event;
  line: { auditID: string; status: number; level: string };
  status: number;
}

/** Sends a request, and returns the two lines that it leaves. */
async function logged(call: Call): Promise<Logged> {
  const logs = stage.gateway.logs();
  logs.length = 0;
  const { status } = await stage.call(call);
  await eventually("two lines come", () => logs.length >= 2);
  const lines = logs.map((line) => JSON.parse(line));
  return {
    event: theOnly(lines.filter(({ kind }) => kind === "Event")),
    line: theOnly(lines.filter(({ kind }) => kind === undefined)),
    status,
  };
}

const at = [
  "Cf-Ray: 8f00ba4-FRA",
  "CF-Connecting-IP: 192.0.2.7",
  "User-Agent: kubectl/v1.37",
  "Kubectl-Command: kubectl x",
];

test("case 137: every request that is served leaves one event, with the Audit-ID that the cluster gets", async () => {
  for (const { kind, isUpgrade, call } of kinds) {
    stage.upstream.received.length = 0;
    const { event, line } = await logged(withLines(call(), ...at));
    const [auditID] = theOnly(stage.upstream.received).values("audit-id");
    assert.deepEqual([event.auditID, line.auditID], [auditID, auditID], kind);
    assert.equal(event.apiVersion, "audit.k8s.io/v1");
    assert.deepEqual(event.sourceIPs, ["192.0.2.7"]);
    assert.equal(event.userAgent, "kubectl/v1.37");
    const { user, annotations } = event;
    assert.equal(user.username, "alice");
    assert.deepEqual(user.extra["kube-access.dev/email"], ["alice@example.com"]);
    assert.deepEqual(Object.keys(user.extra).toSorted(), ["kube-access.dev/email", "kube-access.dev/subject"]);
    assert.equal(annotations["kube-access.dev/ray"], "8f00ba4-FRA");
    assert.equal(annotations["kube-access.dev/decision"], "forward");
    assert.equal(annotations["kube-access.dev/client-kubectl-command"], "kubectl x");
    assert.equal(event.stage, isUpgrade || kind === "watch" ? "ResponseStarted" : "ResponseComplete", kind);
    assert.equal(event.responseStatus.code, isUpgrade ? 101 : 200);
    assert.equal(event.objectRef.resource, "pods");
  }
});

test("case 137: every request that is refused leaves one too, with the reason that the caller was not told", async () => {
  const expired = await stage.token("alice", { claims: { exp: 1_000_000_000 } });
  for (const [call, code, detail] of [
    [{ as: null }, 401, /./],
    [{ token: expired }, 401, /expired/],
    [{ as: "mallory" }, 403, /mallory/],
    [{ lines: ["Impersonate-User: root"] }, 403, /impersonation/],
    [{ target: "/api//v1" }, 400, /ambiguous/],
    [{ method: "TRACE" }, 405, /method/],
    [{ target: `/api/v1/${"x".repeat(17_000)}` }, 414, /too long/],
    [{ target: "/.kube-access/x" }, 404, /nothing/],
    [{ method: "POST", lines: ["Upgrade: SPDY/3.1"] }, 400, /SPDY/],
    [{ lines: ["Sec-Fetch-Site: none"] }, 403, /browser/],
  ] as [Call, number, RegExp][]) {
    const { event, line, status } = await logged(call);
    assert.equal(status, code);
    assert.deepEqual([event.responseStatus.code, line.status], [code, code]);
    assert.equal(event.stage, "ResponseComplete");
    assert.equal(event.annotations["kube-access.dev/decision"], "refuse");
    assert.match(event.annotations["kube-access.dev/detail"] ?? "", detail);
    assert.equal(line.level, "warn");
  }
  assert.equal(stage.upstream.received.length, 0);
});

test("case 137: a failure of the way leaves an event, as an error", async () => {
  stage.upstream.script((request) => void request.breakOff());
  const { event, line } = await logged({});
  assert.equal(event.responseStatus.code, 502);
  assert.equal(line.level, "error");
});

test("case 139: a stream that lasts leaves its event when its answer begins, not when it ends", async () => {
  const { event } = await logged({ target: `${pod}/exec?command=sh`, lines: offer("v5.channel.k8s.io") });
  assert.equal(event.stage, "ResponseStarted");
  assert.equal(event.verb, "get");
  const web = { resource: "pods", namespace: "default", name: "web", apiVersion: "v1" };
  assert.deepEqual(event.objectRef, { ...web, subresource: "exec" });
});

test("case 138: no secret is in any line or any answer, at the most talkative level", async () => {
  const canary = "c4n4ry";
  const secret = `${canary}-${"x".repeat(8)}`;
  const bearer = `base64url.bearer.authorization.k8s.io.${Buffer.from(secret).toString("base64url")}`;
  const secrets = [canary, Buffer.from(secret).toString("base64url")];
  const lines = [
    `Authorization: Bearer ${secret}`,
    `Proxy-Authorization: Basic ${secret}`,
    `Cookie: CF_Authorization=${secret}; session=${secret}`,
    `CF-Access-Client-Secret: ${secret}`,
    `cf-access-token: ${secret}`,
    `X-Api-Key: ${secret}`,
  ];
  const good = await stage.token("alice", { claims: { custom: canary } });
  const [, payload = "", signature = ""] = good.split(".");
  secrets.push(signature, payload.slice(0, 60));
  const answers: string[] = [];
  for (const token of [
    good,
    `${good}x`,
    secret,
    `a.${Buffer.from(secret).toString("base64url")}.c`,
    await stage.token("mallory"),
  ]) {
    for (const call of [
      { target: `/api/v1/pods?access_token=${secret}&token=${secret}&${secret}` },
      { target: `/api/v1/namespaces/d/services/s/proxy/login?password=${secret}` },
      { target: `/api//v1?password=${secret}` },
      { target: `/api/v1/pods?x=${secret}${"y".repeat(17_000)}` },
      { method: "POST", target: "/api/v1/namespaces/default/secrets", body: JSON.stringify({ data: secret }) },
      { method: "POST", target: `${pod}/exec?command=${secret}`, lines: ["Upgrade: SPDY/3.1"] },
      { method: "TRACE", target: `/api/v1/pods?x=${secret}` },
      {
        target: `${pod}/exec?command=sh&command=${secret}&%63ommand=${secret}`,
        lines: offer(`v5.channel.k8s.io, ${bearer}`),
      },
      { target: `${pod}/exec?command=${secret}`, lines: offer(bearer) },
    ] as Call[]) {
      const withSecrets = withLines(call, ...lines);
      const answer = await stage.call({ ...withSecrets, token });
      answers.push(answer.head.lines.join("\n"), answer.text);
    }
  }
  // Failures of the way, with a body that is a secret.
  for (const script of [
    (request: Parameters<typeof cluster>[0]) => void request.breakOff(),
    (request: Parameters<typeof cluster>[0]) => request.answer("502 Bad Gateway", ["Content-Type: text/html"], secret),
  ]) {
    stage.upstream.script(script);
    const answer = await stage.call(withLines({ token: good, method: "POST", body: secret }, ...lines));
    answers.push(answer.text);
  }
  const logs = stage.gateway.logs();
  await eventually("all lines come", () => logs.length >= 2 * 47);
  for (const text of [...logs, ...answers]) {
    for (const part of secrets) {
      assert.ok(!text.includes(part), text);
    }
  }
});

test("case 140: nothing that a caller sends breaks a line or its JSON", async () => {
  const odd = '"}\x1b[31m\t\\"{"level":"error"}';
  for (const call of [
    { lines: [`User-Agent: ${odd}`, `Kubectl-Command: ${odd}`] },
    { lines: ["User-Agent: \xe2\x80\xa8caf\xe9\xff"] },
    { target: "/api/v1/pods%22%7d%0a%1b" },
    { target: `/api/v1/pods?limit="},{"&pretty=%0a{"level":"error"}` },
    { token: await stage.token("mallory", { claims: { email: 'x\n\u2028"{}@elsewhere.test' } }) },
    { token: await stage.token("mallory", { claims: { email: "\x1b[31m@elsewhere.test" } }) },
  ] as Call[]) {
    // `logged` reads each line as JSON, and wants exactly one of each kind.
    const { event } = await logged(call);
    assert.equal(event.kind, "Event");
    for (const line of stage.gateway.logs()) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
      assert.doesNotMatch(line, /[\x00-\x1f\x7f]/);
    }
  }
});

test("a quiet gateway writes no line for what it serves, and no event unless told to", async (t) => {
  const quiet = await startStage({ vars: { LOG_LEVEL: "warn" } });
  t.after(() => quiet.stop());
  assert.equal((await quiet.call()).status, 200);
  assert.equal((await quiet.call({ as: null })).status, 401);
  await eventually("the refusal is logged", () => quiet.gateway.logs().length > 0);
  assert.equal(JSON.parse(theOnly(quiet.gateway.logs())).status, 401);
});
