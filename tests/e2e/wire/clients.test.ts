// What clients send by themselves, and what Kubernetes' own API server would make of it.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { assertStopped, type Call, eventually, readAnswer, type Stage, startStage, theOnly } from "./stage.ts";
import { accept, offer } from "./websocket.ts";

const workload = "/api/v1/namespaces/default/services/echo:http/proxy";
const pod = "/api/v1/namespaces/default/pods/web";

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage();
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

const call = (call: Call = {}) => stage.call({ token, ...call });

test("case 166: a GET with a body is refused with a sentence, a DELETE takes its body along", async () => {
  for (const target of ["/api/v1/pods", `${workload}/_search`]) {
    for (const method of ["GET", "HEAD"]) {
      stage.upstream.reset();
      const answer = await call({ method, target, body: '{"query":{}}' });
      assert.equal(answer.status, 400);
      assert.deepEqual(stage.upstream.received, [], "nothing may go upstream");
      if (method === "GET") assertStopped(stage, answer, 400, /send it as a POST/);
    }
    stage.upstream.script(async (request) => {
      const body = await request.body();
      request.answer("200 OK", [], body);
    });
    const answer = await call({ method: "DELETE", target, body: '{"propagationPolicy":"Background"}' });
    assert.deepEqual([answer.status, answer.text], [200, '{"propagationPolicy":"Background"}']);
  }
});

test("case 167: headers that only workloads know arrive at workloads", async () => {
  const lines = [
    "X-Scope-OrgID: tenant-1",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "kbn-xsrf: true",
    "X-Requested-With: XMLHttpRequest",
    "X-B3-TraceId: 1",
    "Referer: http://grafana/",
  ];
  assert.equal((await call({ target: `${workload}/x`, lines })).status, 200);
  const request = theOnly(stage.upstream.received);
  for (const line of lines) {
    assert.ok(
      request.head.lines.some((sent) => sent.toLowerCase() === line.toLowerCase()),
      line,
    );
  }
  stage.upstream.reset();
  const secrets = [
    "Authorization: Bearer SECRET",
    "Cookie: CF_Authorization=SECRET",
    "Cf-Access-Client-Secret: SECRET",
    "X-Remote-User: SECRET",
    "X_Remote_User: SECRET",
    "X-Forwarded-User: SECRET",
    "Proxy-Authorization: SECRET",
  ];
  assert.equal((await call({ target: `${workload}/x`, lines: secrets })).status, 200);
  assert.ok(!theOnly(stage.upstream.received).head.lines.some((line) => line.includes("SECRET")));
  stage.upstream.reset();
  assert.equal((await call({ lines })).status, 200);
  assert.ok(!theOnly(stage.upstream.received).names().includes("kbn-xsrf"), "the API server has no use for it");
});

test("case 168: raw characters arrive in the spelling that was ruled on", async () => {
  for (const [target, sent] of [
    [`/q?query=up{job="x"}`, "/q?query=up{job=%22x%22}"],
    ["/q?a=<b>&c='d'", "/q?a=%3Cb%3E&c=%27d%27"],
    ["/a|b{c}", "/a%7Cb%7Bc%7D"],
    [`/"<>`, "/%22%3C%3E"],
    ["//a//b/", "//a//b/"],
    ["/%E9/%2F", "/%E9/%2F"],
    ["/caf\xc3\xa9", "/caf%C3%A9"],
  ]) {
    stage.upstream.reset();
    const answer = await call({ target: `${workload}${target}` });
    assert.equal(answer.status, 200, `${target}: ${answer.text}`);
    assert.equal(theOnly(stage.upstream.received).target, `${workload}${sent}`);
  }
  // Whatever bytes come, what is sent is what any URL parser would send.
  for (let byte = 0x21; byte < 0x7f; byte += 1) {
    for (const place of ["/a", "/a?b="]) {
      stage.upstream.reset();
      const answer = await call({ target: `${workload}${place}${String.fromCharCode(byte)}z` });
      if (answer.status !== 200) {
        assert.ok([0x25].includes(byte), `${place} ${byte}: ${answer.text}`);
        continue;
      }
      const { target } = theOnly(stage.upstream.received);
      const url = new URL(`http://localhost${target}`);
      assert.equal(url.pathname + url.search, target, "no parser rewrites it");
    }
  }
});

test("case 169: whoever brings a bearer token is told that it was not used, but for the placeholder", async () => {
  for (const [lines, warns] of [
    [["Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.c2ln"], true],
    [["authorization: bearer x"], true],
    [["Authorization: Bearer access"], false],
    [["Authorization: Basic YTpi"], false],
    [[], false],
  ] as const) {
    for (const target of ["/api/v1/pods", "/api?timeout=32s"]) {
      stage.upstream.script((request) => request.answer("200 OK", ['Warning: 299 - "theirs"'], "{}"));
      const answer = await call({ target, lines: [...lines] });
      assert.equal(answer.status, 200);
      const warnings = answer.values("warning");
      assert.equal(
        warnings.some((warning) => /^299 - "the bearer token was not used/.test(warning)),
        warns,
        `${lines}`,
      );
      assert.ok(
        warnings.some((warning) => warning.includes('299 - "theirs"')),
        "the cluster's own stay",
      );
    }
  }
  stage.upstream.script((request) => void accept(request, "v5.channel.k8s.io"));
  const lines = [...offer("v5.channel.k8s.io"), "Authorization: Bearer real"];
  const wire = await stage.open({ token, target: `${pod}/exec?command=x`, lines });
  assert.equal((await readAnswer(wire)).status, 101, "a stream opens all the same");
  wire.socket.destroy();
});

test("case 170: bytes beyond ASCII in an answer's headers arrive as they were sent", async () => {
  stage.upstream.script((request) => request.answer("200 OK", ['Warning: 299 - "b\xe4r"', "X-Name: b\xc3\xa4r"], "{}"));
  const answer = await call();
  assert.deepEqual(answer.values("warning"), ['299 - "b\xe4r"']);
  assert.deepEqual(answer.values("x-name"), ["b\xc3\xa4r"]);
});

test("case 155: what a workload answers has an origin of its own, whatever it says, but for a local proxy", async () => {
  for (const type of ["text/html", "image/svg+xml", "application/xml", "application/pdf", "text/plain", ""]) {
    const headers = [
      ...(type ? [`Content-Type: ${type}`] : []),
      "Content-Security-Policy: default-src *",
      "Content-Security-Policy-Report-Only: default-src *; report-uri /x",
      "X-Content-Type-Options: off",
      "Access-Control-Allow-Origin: *",
      "Set-Cookie: a=b",
      "Service-Worker-Allowed: /",
    ];
    for (const status of ["200 OK", "404 Not Found", "500 Error", "302 Found"]) {
      stage.upstream.script((request) => request.answer(status, headers, "<script>"));
      const answer = await call({ target: `${workload}/` });
      assert.equal(answer.status, Number(status.slice(0, 3)));
      assert.deepEqual(answer.values("content-security-policy"), ["sandbox"], `${type} ${status}`);
      assert.deepEqual(answer.values("x-content-type-options"), ["nosniff"]);
      for (const name of ["content-security-policy-report-only", "access-control-allow-origin", "set-cookie"]) {
        assert.deepEqual(answer.values(name), [], name);
      }
      const local = await call({ target: `${workload}/`, lines: ["X-Forwarded-For: 127.0.0.1"] });
      assert.deepEqual(local.values("content-security-policy"), ["default-src *"]);
    }
  }
  stage.upstream.reset();
  assert.deepEqual((await call()).values("content-security-policy"), [], "the API server's answers are its own");
});

test("case 171: equal requests of one user are equal to the API server", async () => {
  for (let round = 0; round < 3; round += 1) {
    assert.equal((await call({ lines: [`Cf-Ray: 8f00ba${round}-FRA`, "Cf-Connecting-IP: 192.0.2.7"] })).status, 200);
  }
  await eventually("all arrive", () => stage.upstream.received.length === 3);
  const identity = (index: number) =>
    stage.upstream.received[index]?.head.lines.filter((line) => /^impersonate/i.test(line));
  assert.deepEqual(identity(0), identity(1));
  assert.deepEqual(identity(1), identity(2));
});
