// What the cluster answers comes back as it was, unless it is not the cluster that answered.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { type Recorder, type Script, startRecorder } from "./recorder.ts";
import { type Answer, assertRefused, type Call, type Stage, startStage, theOnly } from "./stage.ts";
import { acceptance, offer } from "./websocket.ts";

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage({ hasClock: true });
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

const send = (call: Call = {}): Promise<Answer> => stage.call({ token, ...call });
const pod = "/api/v1/namespaces/default/pods/web";
const exec = (): Call => ({ target: `${pod}/exec?command=sh`, lines: offer("v5.channel.k8s.io") });
const html = "<!doctype html><title>cloudflare</title>";

test("case 102: a redirect is the client's to follow, on an upgrade too", async (t) => {
  const elsewhere: Recorder = await startRecorder();
  t.after(() => elsewhere.stop());
  const location = `http://${elsewhere.host}:${elsewhere.port}/stolen`;
  for (const status of ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]) {
    stage.upstream.script((request) => request.answer(status, [`Location: ${location}`], "moved\n"));
    for (const call of [{}, { method: "POST", body: "{}" }, exec(), { target: `${pod}/proxy/x` }]) {
      stage.upstream.received.length = 0;
      const answer = await send(call);
      assert.equal(answer.status, Number(status.slice(0, 3)));
      assert.deepEqual(answer.values("location"), [location]);
      assert.equal(stage.upstream.received.length, 1);
    }
  }
  assert.deepEqual(elsewhere.received, []);
});

test("case 103: what the API server says comes back unchanged", async () => {
  for (const status of [200, 201, 202, 400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504]) {
    const body = JSON.stringify({
      kind: "Status",
      apiVersion: "v1",
      status: "Failure",
      code: status,
      message: "\u00e9",
    });
    const lines = [
      "Content-Type: application/json",
      "Retry-After: 7",
      "Audit-Id: theirs",
      "X-Kubernetes-Pf-Flowschema-Uid: u",
    ];
    lines.push('Warning: 299 - "first"', 'Warning: 299 - "second"');
    stage.upstream.script((request) => request.answer(`${status} Whatever`, lines, body));
    const answer = await send();
    assert.equal(answer.status, status);
    assert.equal(answer.text, body);
    assert.deepEqual(answer.values("retry-after"), ["7"]);
    assert.deepEqual(answer.values("audit-id"), ["theirs"]);
    assert.deepEqual(answer.values("x-kubernetes-pf-flowschema-uid"), ["u"]);
    assert.deepEqual(answer.values("warning").join(", "), '299 - "first", 299 - "second"');
  }
});

test("case 104: an upgrade that the API server declines comes back with its Status", async () => {
  for (const status of ["403 Forbidden", "404 Not Found", "400 Bad Request", "500 Internal Server Error"]) {
    const body = JSON.stringify({ kind: "Status", code: Number(status.slice(0, 3)), message: "no such container" });
    stage.upstream.script((request) => request.answer(status, ["Content-Type: application/json"], body));
    const answer = await send(exec());
    assert.equal(answer.status, Number(status.slice(0, 3)));
    assert.equal(answer.text, body);
  }
});

test("case 105: what a workload could set for the gateway's own origin is taken off", async () => {
  stage.upstream.script((request) => {
    const stripped = ["Set-Cookie: CF_Authorization=x", "Set-Cookie: b=2", 'Alt-Svc: h3=":443"', "Authorization: x"];
    request.answer("200 OK", [...stripped, "Server: nginx", 'Clear-Site-Data: "*"', "X-Kept: yes"], "page");
  });
  const answer = await send({ target: `${pod}/proxy/` });
  assert.equal(answer.text, "page");
  for (const name of ["set-cookie", "alt-svc", "authorization", "server", "clear-site-data"]) {
    assert.deepEqual(answer.values(name), [], name);
  }
  assert.deepEqual(answer.values("x-kept"), ["yes"]);
});

test("case 105: on an upgrade, too, and it still works", async () => {
  stage.upstream.script((request) => {
    request.begin("101 Switching Protocols", [...acceptance(request, "v5.channel.k8s.io"), "Set-Cookie: a=1"]);
  });
  const answer = await send(exec());
  assert.equal(answer.status, 101);
  assert.deepEqual(answer.values("set-cookie"), []);
  assert.deepEqual(answer.values("sec-websocket-protocol"), ["v5.channel.k8s.io"]);
});

test("case 106: a 101 that nobody asked for, or without a WebSocket, is an error", async () => {
  const lines = ["Connection: Upgrade", "Upgrade: websocket"];
  stage.upstream.script((request) => request.begin("101 Switching Protocols", lines));
  assertRefused(await send(), 502);
  stage.upstream.script((request) =>
    request.begin("101 Switching Protocols", [...lines, "Sec-WebSocket-Accept: wrong"]),
  );
  assertRefused(await send(exec()), 502);
});

test("case 108: HEAD, 204 and 304 have no body, and neither has a refusal of HEAD", async () => {
  stage.upstream.script((request) =>
    request.begin("200 OK", ["Content-Length: 5000", "Content-Type: application/json"]),
  );
  assert.equal((await bytesAfterHead({ method: "HEAD" })).length, 0);
  for (const status of ["204 No Content", "304 Not Modified"]) {
    stage.upstream.script((request) => request.begin(status, []));
    assert.equal((await bytesAfterHead({})).length, 0, status);
  }
  for (const call of [
    { method: "HEAD", as: null },
    { method: "HEAD", target: "/api//v1" },
  ]) {
    assert.equal((await bytesAfterHead(call)).length, 0);
  }
});

test("case 109: an error of the way is told as one, with its cause and not as HTML", async () => {
  const page: [string, number, RegExp][] = [
    ["530 <none>", 503, /tunnel to the cluster is down/],
    ["520 <none>", 502, /what no API server answers/],
    ["521 <none>", 502, /what no API server answers/],
    ["522 <none>", 504, /did not answer in time/],
    ["524 <none>", 504, /did not answer in time/],
    ["502 Bad Gateway", 502, /what no API server answers/],
    ["503 Service Unavailable", 503, /the way to the cluster failed/],
    ["504 Gateway Timeout", 504, /did not answer in time/],
  ];
  for (const [status, code, message] of page) {
    stage.upstream.script((request) => request.answer(status, ["Content-Type: text/html; charset=UTF-8"], html));
    for (const call of [{}, exec()]) {
      const answer = await send(call);
      assertRefused(answer, code, message);
      assert.ok(!answer.text.includes("doctype"));
    }
  }
});

test("case 109: a workload's own error page is the workload's", async () => {
  stage.upstream.script((request) => request.answer("502 Bad Gateway", ["Content-Type: text/html"], html));
  const answer = await send({ target: `${pod}/proxy/` });
  assert.deepEqual([answer.status, answer.text], [502, html]);
});

test("case 109, 163: Workers VPC's errors that come as an answer are told as what they are", async () => {
  for (const [code, status, retry] of [
    ["connection_refused", 502, ["1"]],
    ["connection_terminated", 502, []],
    ["connection_timeout", 504, ["1"]],
    ["connection_read_timeout", 504, []],
    ["destination_unavailable", 503, ["1"]],
    ["connection_limit_reached", 503, ["1"]],
    ["rate_limited", 503, ["1"]],
    ["http_request_denied", 502, []],
    ["proxy_internal_error", 503, []],
    ["a_code_of_next_year", 503, []],
  ] as const) {
    stage.upstream.script((request) =>
      request.answer("500 Error", ["Content-Type: text/plain"], `ProxyError: ${code}`),
    );
    const answer = await send({ method: "POST", body: "{}" });
    assertRefused(answer, status, new RegExp(code));
    assert.deepEqual(answer.values("retry-after"), retry, "only where nothing can have been carried out");
  }
});

test("another 500 in plain text comes back whole", async () => {
  for (const body of ["Internal Server Error: x", "", "x".repeat(100_000), `${"y".repeat(300)} ProxyError: no`]) {
    stage.upstream.script((request) => request.answer("500 Error", ["Content-Type: text/plain"], body));
    const answer = await send();
    assert.deepEqual([answer.status, answer.text], [500, body]);
  }
});

test("a refusal has the form that makes kubectl print its sentence", async () => {
  assertRefused(await send({ as: "mallory", token: await stage.token("mallory") }), 403);
  for (const target of ["/api", "/apis?timeout=32s", "/version", "/openapi/v2", "/openapi/v3"]) {
    const answer = await send({ target, token: await stage.token("mallory") });
    assert.equal(answer.status, 403);
    assert.deepEqual(answer.values("content-type"), ["text/plain; charset=utf-8"]);
    assert.match(answer.text, /^Cloudflare Access let you in, but mallory@elsewhere\.test .*\n$/);
  }
  assertRefused(await send({ target: "/api", token: "none", lines: offer("v5.channel.k8s.io") }), 401);
  assert.deepEqual((await send({ token: "none" })).values("cache-control"), ["no-store"]);
});

test("a connection that breaks before the answer is an error, and repeated only where that is safe", async () => {
  const breaking: Script = (request) => {
    request.breakOff();
  };
  for (const [call, retry] of [
    [{}, ["1"]],
    [{ method: "POST", body: "{}" }, []],
    [{ method: "DELETE", target: pod }, []],
    [exec(), undefined],
  ] as [Call, string[] | undefined][]) {
    stage.upstream.script(breaking);
    stage.upstream.received.length = 0;
    const answer = await send(call);
    assertRefused(answer, 502, /connection to the cluster broke/);
    if (retry) {
      assert.deepEqual(answer.values("retry-after"), retry);
    }
    theOnly(stage.upstream.received);
  }
});

test("an answer of known length that breaks off is not passed off as whole", async () => {
  stage.upstream.script((request) => {
    request.begin("200 OK", ["Content-Type: application/json", "Content-Length: 1000"]);
    request.wire.write("half");
    request.wire.socket.end();
  });
  await assert.rejects(send(), /the connection ended/);
});

test("an answer that is no HTTP is an error", async () => {
  stage.upstream.script((request) => {
    request.wire.write("SSH-2.0-OpenSSH_9.9\r\n\r\n");
  });
  assertRefused(await send(), 502);
});

test("a cluster that never answers: 504 after a minute for a get, all the time in the world for a watch", async () => {
  await stage.hurry(100);
  try {
    stage.upstream.script(() => new Promise(() => {}));
    const started = performance.now();
    assertRefused(await send(), 504, /did not answer in time/);
    assert.ok(performance.now() - started < 30_000);
    // 2 s are more than three of the Worker's hurried minutes.
    stage.upstream.script(async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      request.answer("200 OK", [], "late");
    });
    for (const target of ["/api/v1/pods?watch=1", `${pod}/log?follow=true`]) {
      assert.equal((await send({ target })).text, "late");
    }
  } finally {
    await stage.hurry(1);
  }
});

test("nothing listens where the cluster should be: 502, and service resumes by itself", async (t) => {
  const own = await startStage();
  t.after(() => own.stop());
  assert.equal((await own.call()).status, 200);
  const { port } = own.upstream;
  await own.upstream.stop();
  for (const call of [{}, exec()]) {
    const answer = await own.call(call);
    assertRefused(answer, 502, /the last hop does not answer|connection to the cluster broke/);
  }
  const again = await startRecorder(port);
  t.after(() => again.stop());
  assert.equal((await own.call()).status, 200);
});

async function bytesAfterHead(call: Call): Promise<Buffer> {
  const wire = await stage.open({ token, ...call, lines: ["Connection: close", ...(call.lines ?? [])] });
  assert.ok(await wire.before("\r\n\r\n"));
  wire.socket.end();
  await wire.ended();
  return (await wire.some()) ?? Buffer.alloc(0);
}
