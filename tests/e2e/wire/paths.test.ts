// What a request asks for: whatever could be read in two ways is refused, and what goes on is byte for byte what came.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { cluster } from "./kinds.ts";
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
import { offer } from "./websocket.ts";

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage({ vars: { ENABLE_K8S_LOGGING: "true" } });
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.upstream.script(cluster);
});

const send = (call: Call): Promise<Answer> => stage.call({ token, ...call });

test("what is forwarded is byte for byte what came", async () => {
  for (const target of [
    "/",
    "/api",
    "/api?timeout=32s",
    "/api/v1/namespaces/default/pods/",
    "/api/v1/namespaces/default/pods?labelSelector=a%3Db%2Cc%20in%20%28d%29&limit=500&limit=1",
    "/api/v1/pods?fieldSelector=metadata.name%3Dx&a=b;c=d&&=&%zz",
    "/api/v1/pods?x=../..&y=//evil.test/&z=http://evil.test/",
    "/api/v1/pods?q=%00%0d%0a",
    "/api/v1/pods?",
    "/api/v1/namespaces/default/pods/web:8080",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:admin",
    "/api/v1/namespaces/d/services/https:web:8443/proxy/a%2Fb?c=d%2F",
    "/api/v1/namespaces/default/%70ods/w%65b",
    "/api/v1/nodes/n/proxy/a//b".replace("//", "/"),
    "/openapi/v3/apis/apps/v1?hash=0123ABCD",
  ]) {
    stage.upstream.received.length = 0;
    const answer = await send({ target });
    assert.equal(answer.status, 200, `${target}: ${answer.text}`);
    assert.equal(theOnly(stage.upstream.received).head.start, `GET ${target} HTTP/1.1`);
  }
});

test("case 91: a path that could be read in two ways is refused, or goes on as what it is read as", async () => {
  for (const target of [
    "//api/v1/pods",
    "/api//v1/pods",
    "/api/v1/../v1/pods",
    "/api/v1/./pods",
    "/api/v1/%2e%2e/v1/pods",
    "/api/v1/.%2E/pods",
    "/api/v1/namespaces/default/pods/web%2Fexec",
    "/api/v1/namespaces/default/pods%2fweb",
    "/api/v1/namespaces/default/pods/web%252Fexec",
    "/api/v1/namespaces/default\\pods",
    "/api/v1/namespaces/default%5cpods",
    "/api/v1/pods%00",
    "/api/v1/pods%0a",
    "/api/v1/pods%zz",
    "/api/v1/pods%",
    "/api/v1/pods%ff",
    "/api/v1/pods//",
    "/..",
    "/api/v1/nodes/n/proxy/../../secrets",
    "/api/v1/namespaces/d/pods/p/proxy/%2e%2e/%2E%2e/secrets",
    "/.",
  ]) {
    stage.upstream.received.length = 0;
    const answer = await send({ target });
    // workerd's URL parser may have resolved the dots or turned the backslash; then that, and nothing else, is decided on
    // and sent.
    if (answer.status === 200) {
      const { head } = theOnly(stage.upstream.received);
      const normalised = new URL(`http://localhost${target}`);
      assert.equal(head.start, `GET ${normalised.pathname} HTTP/1.1`, target);
      assert.ok(!/\.\.|%2e|\/\/|\\|%5c|%2f|%25/i.test(normalised.pathname), target);
    } else {
      assertStopped(stage, answer, 400, /ambiguous/);
    }
  }
});

test("case 90, 91: exec is exec however it is spelt, by GET and by POST", async () => {
  const pod = "/api/v1/namespaces/default/pods/web";
  const spellings = [`${pod}/exec/?command=ls`, `${pod}/exec?command=ls`, `${pod}/%65xec?command=ls`];
  for (const target of spellings) {
    stage.upstream.received.length = 0;
    assert.equal((await send({ target, lines: offer("v5.channel.k8s.io") })).status, 101);
    assert.equal(theOnly(stage.upstream.received).target, target);
    stage.upstream.received.length = 0;
    assertRefused(await send({ method: "POST", target, lines: ["Upgrade: SPDY/3.1"] }), 400, /SPDY/);
    assert.deepEqual(theOnly(stage.upstream.received).target, target);
  }
  const seen = () =>
    stage.gateway
      .logs()
      .filter((line) => line.includes('"Event"'))
      .map((line) => JSON.parse(line))
      .filter(({ objectRef }) => objectRef?.subresource === "exec");
  await eventually("each is audited as exec", () => seen().length >= 2 * spellings.length);
  assert.equal(seen().length, 2 * spellings.length);
});

test("case 95: a method that the API does not have is refused", async () => {
  for (const method of ["TRACE", "OPTIONS", "PURGE", "PROPFIND", "LOCK", "SEARCH", "REPORT"]) {
    const answer = await send({ method });
    assertStopped(stage, answer, 405, /no such method/);
  }
  for (const method of ["CONNECT", "BREW", "get", "Get", "GET2"]) {
    const answer = await send({ method });
    // workerd itself turns these away.
    assert.ok([400, 405, 500, 501].includes(answer.status), `${method}: ${answer.status}`);
    assert.equal(stage.upstream.received.length, 0, method);
  }
});

test("each method of the API goes on as itself", async () => {
  for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]) {
    stage.upstream.received.length = 0;
    stage.upstream.script((request) => {
      request.begin("200 OK", ["Content-Length: 0"]);
    });
    const body = ["POST", "PUT", "PATCH", "DELETE"].includes(method) ? { body: "{}" } : {};
    assert.equal((await send({ method, ...body })).status, 200);
    assert.equal(theOnly(stage.upstream.received).method, method);
  }
});

test("case 96: a path or query that is too long is refused, and one that is just not goes on", async () => {
  for (const target of [`/api/v1/namespaces/${"n".repeat(17_000)}`, `/api/v1/pods?x=${"y".repeat(17_000)}`]) {
    const answer = await send({ target });
    assertStopped(stage, answer, 414, /at most 16 KiB/);
  }
  const target = `/api/v1/pods?x=${"y".repeat(16_000)}`;
  assert.equal((await send({ target })).status, 200);
  assert.equal(theOnly(stage.upstream.received).target, target);
});

test("case 96: letters beyond ASCII are refused in a path", async () => {
  for (const target of ["/api/v1/namespaces/caf\xc3\xa9/pods", "/api/v1/namespaces/\xff/pods"]) {
    stage.upstream.received.length = 0;
    const answer = await send({ target });
    if (answer.status === 200) {
      const { target: sent } = theOnly(stage.upstream.received);
      assert.match(sent, /^\/api\/v1\/namespaces\/[\w%]+\/pods$/);
    } else {
      assert.equal(answer.status, 400);
      assert.equal(stage.upstream.received.length, 0);
    }
  }
});

test("case 97: no request chooses where it goes", async () => {
  const plain = "GET /api/v1/pods HTTP/1.1";
  for (const [call, start] of [
    [{ target: "http://evil.test/api/v1/pods" }, plain],
    [{ target: "https://evil.test:8443/api/v1/pods" }, plain],
    [{ target: "/@evil.test" }, "GET /@evil.test HTTP/1.1"],
    [{ lines: ["Host: evil.test"] }, plain],
    [{ lines: ["Host: evil.test:81"] }, plain],
    [{ lines: ["Host: user@evil.test"] }, plain],
    [{ lines: ["Host: evil.test/api/v1/secrets?"] }, plain],
    [{ lines: ["Host: evil.test#"] }, plain],
    [{ lines: ["Host: a.test", "Host: b.test"] }, plain],
    [{ lines: ["Host:"] }, plain],
  ] as [Call, string][]) {
    stage.upstream.received.length = 0;
    const answer = await send(call);
    if (answer.status === 200) {
      const request = theOnly(stage.upstream.received);
      assert.deepEqual(request.values("host"), ["localhost"]);
      assert.equal(request.head.start, start, JSON.stringify(call));
    } else {
      assert.ok(answer.status >= 400 && answer.status < 600, JSON.stringify(call));
      assert.equal(stage.upstream.received.length, 0, JSON.stringify(call));
    }
  }
});

test("the gateway's own prefix is never the cluster's", async () => {
  for (const target of [
    "/.kube-access",
    "/.kube-access/",
    "/.kube-access/x",
    "/.kube-access/healthz/x",
    "/.kube-access%2Fhealthz",
    "/.kube-access/..%2f",
  ]) {
    const answer = await send({ target });
    assert.ok([400, 404].includes(answer.status), `${target}: ${answer.status}`);
    assert.equal(stage.upstream.received.length, 0, target);
  }
  const post = await send({ method: "POST", target: "/.kube-access/healthz" });
  assert.equal(post.status, 404);
  // Another spelling is no path of the gateway's, and goes to the cluster like any other.
  assert.equal((await send({ target: "/%2Ekube-access/healthz" })).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["alice"]);
});

test("the health check answers everybody the same", async () => {
  for (const as of [null, "alice", "mallory"]) {
    const answer = await stage.call({ target: "/.kube-access/healthz", as });
    assert.deepEqual([answer.status, answer.text], [200, "ok\n"]);
  }
  const head = await stage.call({ target: "/.kube-access/healthz", method: "HEAD", as: null });
  assert.equal(head.status, 200);
  assert.equal(stage.upstream.received.length, 0);
});

test("case 92, 94: node, pod and service proxies and debug paths go on as the caller, for RBAC to decide", async () => {
  for (const target of [
    "/api/v1/nodes/n/proxy/pods",
    "/api/v1/namespaces/d/pods/p/proxy/",
    "/debug/pprof/",
    "/metrics",
    "/logs/",
    "/configz",
    "/openapi/v2",
    "/version",
    "/healthz",
  ]) {
    stage.upstream.received.length = 0;
    assert.equal((await send({ target })).status, 200, target);
    const request = theOnly(stage.upstream.received);
    assert.equal(request.target, target);
    assert.deepEqual(request.values("impersonate-user"), ["alice"]);
  }
});

test("case 150: a bomb of headers or of parameters is refused or goes on, at once", async () => {
  const lines = Array.from({ length: 2500 }, (_, index) => `X-Bomb-${index}: ${"y".repeat(40)}`);
  const started = performance.now();
  const bomb = await send({ lines });
  assert.ok(bomb.status >= 400 && bomb.status < 500, `${bomb.status}`);
  assert.equal(stage.upstream.received.length, 0);
  const query = Array.from({ length: 10_000 }, () => "a").join("&");
  assertRefused(await send({ target: `/api/v1/pods?${query}` }), 414);
  const shorter = Array.from({ length: 5_000 }, () => "watch=1")
    .join("&")
    .slice(0, 16_000);
  assert.equal((await send({ target: `/api/v1/pods?${shorter}` })).status, 200);
  assert.ok(performance.now() - started < 30_000);
  assert.equal((await send({})).status, 200, "and the gateway goes on serving");
});
