// Nothing that a caller sends changes who they are, nor reaches the cluster unless it is on the list: asserted on the header
// lines that arrive, for every kind of request that kubectl makes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { parse } from "yaml";
import { cluster, kinds, withLines } from "./kinds.ts";
import type { Received } from "./recorder.ts";
import { type Answer, assertStopped, type Call, randomly, type Stage, startStage, theOnly } from "./stage.ts";

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage();
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.upstream.script(cluster);
});

/** What workerd itself writes, and what the gateway says of the caller. */
const always = ["host", "audit-id", "impersonate-user", "impersonate-group", "x-forwarded-for"];
const upgrade = [
  "connection",
  "origin",
  "upgrade",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-protocol",
];
const extras = ["email", "subject"].map((extra) => `impersonate-extra-kube-access.dev%2f${extra}`);

for (const { kind, isUpgrade, call } of kinds) {
  /** Sends the request with more header lines; it must be served as alice, with nothing else in the identity. */
  const served = async (...lines: string[]): Promise<Received> => {
    stage.upstream.received.length = 0;
    const answer = await send(withLines(call(), ...lines));
    assert.equal(answer.status, isUpgrade ? 101 : 200, `${lines}: ${answer.text}`);
    const request = theOnly(stage.upstream.received);
    assertAlice(request, lines.join("; "));
    return request;
  };
  const stopped = async (code: number, message: RegExp, ...lines: string[]): Promise<void> => {
    assertStopped(stage, await send(withLines(call(), ...lines)), code, message);
  };

  test(`case 47, 48, 49, 50, 51, 52, 54, 75: ${kind}: whoever brings an impersonation header is told so`, async () => {
    for (const line of [
      "Impersonate-User: root",
      "Impersonate-Group: system:masters",
      "Impersonate-Uid: 0",
      "Impersonate-Extra-foo: bar",
      "impersonate-user: root",
      "IMPERSONATE-GROUP: system:masters",
      "ImPeRsOnAtE-Uid: 0",
      "Impersonate-Extra-example.org%2Fscope: x",
      "Impersonate-Extra-kube-access.dev%2Femail: root@example.com",
      "Impersonate-Future: ",
      "Impersonate-User:",
      "Impersonate-Uid: ",
      "Impersonate-Group: ",
      "Impersonate: root",
      "Impersonate-: root",
      "Impersonate_User: root",
    ]) {
      await stopped(403, /does not take impersonation/, line);
    }
    await stopped(403, /impersonation/, "Impersonate-Group: a", "Impersonate-Group: b");
    await stopped(403, /impersonation/, "Impersonate-Group: a, b");
    await stopped(403, /impersonation/, "Connection: Impersonate-User", "Impersonate-User: root");
  });

  test(`case 53, 55, 56, 57, 58, 59, 60, 61, 66, 72: ${kind}: what is not on the list does not go on`, async () => {
    const request = await served(
      "X-Impersonate-User: root",
      "Authorization: Bearer secret",
      "Proxy-Authorization: Basic c2VjcmV0",
      // A WebSocket with a cookie is a browser's: see the test of web pages.
      ...(isUpgrade ? [] : [`Cookie: CF_Authorization=${token}; a=b`]),
      "Cf-Access-Authenticated-User-Email: root@example.com",
      "CF-Access-Client-Id: id",
      "CF-Access-Client-Secret: secret",
      "cf-access-token: secret",
      "X-Remote-User: root",
      "X-Remote-Uid: 0",
      "X-Remote-Group: system:masters",
      "X-Remote-Extra-Scopes: all",
      "X-Forwarded-For: 203.0.113.1",
      "X-Forwarded-Host: evil.test",
      "X-Forwarded-Proto: http",
      "X-Forwarded-Uri: /secret",
      "Forwarded: for=203.0.113.1",
      "X-Real-IP: 203.0.113.1",
      "True-Client-IP: 203.0.113.1",
      "X-Original-URL: /secret",
      "X-Rewrite-URL: /secret",
      "cf-connecting-ip: 192.0.2.7",
      "cf-ray: 8f00ba4-FRA",
      "cf-ipcountry: DE",
      "cf-visitor: {}",
      "cdn-loop: cloudflare",
      "cf-worker: example.com",
      "Audit-ID: theirs",
      "X-Kube-Access: theirs",
      "X-Clock-Forward: 9",
      "Keep-Alive: timeout=5",
      "TE: trailers",
      "Proxy-Connection: keep-alive",
      "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
      "X-Http-Method-Override: DELETE",
    );
    const sent = ["content-length", "content-type"].filter(() => kind.startsWith("POST"));
    assert.deepEqual(
      [...new Set(request.names())].sort(),
      [...always, ...extras, ...sent, ...(isUpgrade ? upgrade : [])].sort(),
    );
    assert.deepEqual(request.values("x-forwarded-for"), ["192.0.2.7"]);
    assert.notDeepEqual(request.values("audit-id"), ["theirs"]);
  });

  test(`case 55: ${kind}: a credential in any form stays here`, async () => {
    for (const lines of [
      ["Authorization: Basic cm9vdDpyb290"],
      ["Authorization: Bearer a", "Authorization: Bearer b"],
      ["Authorization:"],
      ["authorization: Negotiate x"],
    ]) {
      const request = await served(...lines);
      assert.deepEqual(request.values("authorization"), []);
    }
  });

  test(`case 62, 63, 64, 65: ${kind}: a Connection header takes nothing of ours away`, async () => {
    const upgrading = isUpgrade ? "Upgrade, " : "";
    for (const tokens of [
      ["Impersonate-User"],
      ["impersonate-user"],
      ["close, ImPeRsOnAtE-GrOuP"],
      ["", "Impersonate-User"],
      ["keep-alive", "impersonate-user, impersonate-group"],
      ["Authorization"],
      ["Audit-ID, Host, X-Forwarded-For"],
      ["Impersonate-Extra-kube-access.dev%2Femail"],
      ["Cf-Access-Jwt-Assertion"],
    ]) {
      const request = await served(...tokens.map((token) => `Connection: ${upgrading}${token}`));
      assert.equal(request.values("audit-id").length, 1);
      assert.deepEqual(request.values("host"), ["localhost"]);
    }
  });

  test(`case 70, 71, 170: ${kind}: a header arrives as it was sent, or is dropped or refused, and nothing breaks`, async () => {
    for (const line of ["User-Agent: caf\xe9", "User-Agent: \xff\xfe", "Accept: \x80"]) {
      const request = await served(line);
      assert.deepEqual(request.values(line.slice(0, line.indexOf(":"))), [], "the runtime cannot read it");
    }
    for (const line of ["User-Agent: caf\xc3\xa9", "Kubectl-Command: kubectl \xf0\x9f\x92\xa9"]) {
      const request = await served(line);
      assert.ok(
        request.head.lines.some((sent) => sent.toLowerCase() === line.toLowerCase()),
        line,
      );
    }
    const odd = await served("N\xe4me: x");
    assert.ok(!odd.head.lines.some((line) => line.startsWith("N\xe4me")), "workerd takes such a name, nobody else may");
    for (const line of ["Bad Name: x", ": x", "Colonless", "A\0B: x", "User-Agent: a\0b"]) {
      stage.upstream.received.length = 0;
      const answer = await send(withLines(call(), line));
      assert.equal(answer.status, 400, line);
      assert.equal(stage.upstream.received.length, 0, line);
    }
  });

  test(`case 73: ${kind}: what a client needs goes on as it came`, async () => {
    const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    const lines = [
      `Accept: ${table},application/vnd.kubernetes.protobuf`,
      "Accept-Encoding: gzip",
      'If-Match: "1"',
      'If-None-Match: "2"',
      "Range: bytes=0-9",
      "User-Agent: kubectl/v1.37.0 (linux/amd64) kubernetes/0000000",
      "Kubectl-Command: kubectl get",
      "Kubectl-Session: 5ce1a1f0-9f0e-4c0e-8c0a-1d7a5f3b1c2d",
    ];
    const request = await served(...lines);
    for (const line of lines) {
      const colon = line.indexOf(":");
      assert.deepEqual(request.values(line.slice(0, colon)), [line.slice(colon + 2)]);
    }
  });

  test(`case 151, 153: ${kind}: a web page's request is refused, a program's with the gateway's own origin is not`, async () => {
    for (const line of [
      "Origin: https://evil.test",
      "Origin: null",
      "Origin: https://kube.example.com",
      "Origin: http://KUBE.example.com",
      "Origin: http://kube.example.com:8080",
      "Origin: http://kube.example.com.evil.test",
      "Sec-Fetch-Site: cross-site",
      "Sec-Fetch-Site: same-origin",
      "Sec-Fetch-Site: none",
      "sec-fetch-mode: navigate",
      "Sec-Fetch-Dest:",
      "Sec-Purpose: prefetch",
      "Purpose: prefetch",
      "Access-Control-Request-Method: GET",
      ...(isUpgrade ? ["Cookie: CF_Authorization=x"] : []),
    ]) {
      await stopped(403, /web pages/, line);
      await stopped(403, /web pages/, line, "X-Forwarded-For: 203.0.113.1, 127.0.0.1");
    }
    const origins = isUpgrade ? ["http://localhost"] : [];
    for (const lines of [
      ["Origin: http://kube.example.com"],
      ["Origin: http://kube.example.com:80"],
      ["Origin: https://kube.example.com", "X-Forwarded-Proto: https"],
    ]) {
      assert.deepEqual((await served(...lines)).values("origin"), origins, "never the caller's");
    }
  });

  test(`case 154: ${kind}: what came through a proxy on the caller's machine is served as that proxy serves it`, async () => {
    for (const first of ["127.0.0.1", "127.1.2.3", "::1"]) {
      await served(
        `X-Forwarded-For: ${first}, 203.0.113.1`,
        "Origin: http://127.0.0.1:8001",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Mode: cors",
        "Cookie: a=b",
      );
    }
  });
}

test("case 73: a patch, and protobuf, keep their content type and their body", async () => {
  const types = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"];
  for (const type of [...types, "vnd.kubernetes.protobuf"].map((name) => `application/${name}`)) {
    stage.upstream.reset();
    let body = Buffer.alloc(0);
    stage.upstream.script(async (request) => {
      body = Buffer.from(await request.body());
      request.answer("200 OK");
    });
    const sent = Buffer.from([0x6b, 0x38, 0x73, 0, 0xff, 0xfe, 10, 13]);
    const target = "/api/v1/namespaces/default/pods/web";
    await send({ method: "PATCH", target, lines: [`Content-Type: ${type}`], body: sent });
    const request = theOnly(stage.upstream.received);
    assert.equal(request.head.start, `PATCH ${target} HTTP/1.1`);
    assert.deepEqual(request.values("content-type"), [type]);
    assert.deepEqual(request.values("content-length"), [String(sent.length)]);
    assert.deepEqual(body, sent);
  }
});

test("case 40: each group of the map has a header line of its own, in the map's order", async () => {
  const map = parse(readFileSync(resolve(import.meta.dirname, "../../../identities.yaml"), "utf8"));
  const alice = map.identities.find((entry: { email?: string }) => entry.email === "alice@example.com");
  await stage.call();
  const request = theOnly(stage.upstream.received);
  assert.deepEqual(request.values("impersonate-group"), alice.groups);
  assert.deepEqual(request.values("impersonate-user"), [alice.user]);
});

test("case 67, 68: an upgrade that is no WebSocket is refused, and SPDY with the way out", async () => {
  const exec = "/api/v1/namespaces/default/pods/web/exec?command=sh";
  const spdy = ["Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"];
  for (const target of ["/api/v1/pods", "/version", "/api/v1/namespaces/n/services/s/proxy/exec"]) {
    const answer = await send({ method: "POST", target, lines: [...spdy, "Content-Length: 0"] });
    assert.equal(answer.status, 400);
    assert.match(answer.text, /KUBECTL_REMOTE_COMMAND_WEBSOCKETS/);
    assert.match(answer.text, /kubectl 1\.31/);
    assert.deepEqual(stage.upstream.received, []);
  }
  for (const value of ["h2c", "TLS/1.0", "websocket, h2c", "WebSocket/13", "http/2.0"]) {
    const answer = await send({ target: exec, lines: ["Connection: Upgrade", `Upgrade: ${value}`] });
    assertStopped(stage, answer, 400);
  }
  assertStopped(stage, await send({ method: "POST", target: exec, lines: ["Upgrade: websocket"] }), 400, /by GET/);
});

test("case 68, 104: who may open a stream is told of SPDY, who may not is told that by the API server", async () => {
  const exec = "/api/v1/namespaces/default/pods/web/exec?command=sh";
  const lines = ["Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io"];
  const status = (code: number, message: string) =>
    JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", reason: "x", message, code });
  for (const [upstream, message, code, expected] of [
    ["400 Bad Request", "Upgrade request required", 400, /KUBECTL_REMOTE_COMMAND_WEBSOCKETS/],
    ["403 Forbidden", 'cannot create resource "pods/exec"', 403, /cannot create resource/],
    ["404 Not Found", 'pods "web" not found', 404, /not found/],
    ["400 Bad Request", "container c is not valid", 400, /is not valid/],
  ] as const) {
    stage.upstream.reset();
    stage.upstream.script((request) => {
      request.answer(upstream, ["Content-Type: application/json"], status(code, message));
    });
    const answer = await send({ method: "POST", target: exec, lines: [...lines, "Content-Length: 0"] });
    assert.equal(answer.status, code);
    assert.match(answer.text, expected);
    const request = theOnly(stage.upstream.received);
    assert.deepEqual([request.values("upgrade"), request.values("impersonate-user")], [[], ["alice"]]);
  }
  stage.upstream.reset();
});

test("case 104: a stream that is asked for without its upgrade is asked for once more when the connection breaks, and nothing else is", async () => {
  const exec = "/api/v1/namespaces/default/pods/web/exec?command=sh";
  const spdy = ["Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0"];
  for (const [breaks, lines, target, status, times] of [
    [1, spdy, exec, 403, 2],
    [2, spdy, exec, 502, 2],
    [1, ["Content-Length: 0"], exec, 502, 1],
    [1, ["Content-Length: 0"], "/api/v1/namespaces/default/pods", 502, 1],
  ] as const) {
    stage.upstream.reset();
    stage.upstream.script((request) => {
      if (stage.upstream.received.length <= breaks) request.breakOff();
      else request.answer("403 Forbidden", ["Content-Type: application/json"], "{}");
    });
    const answer = await send({ method: "POST", target, lines: [...lines] });
    assert.deepEqual([answer.status, stage.upstream.received.length], [status, times], `${lines} ${target}`);
    for (const request of stage.upstream.received) {
      assert.deepEqual([request.values("upgrade"), request.values("impersonate-user")], [[], ["alice"]]);
    }
  }
  stage.upstream.reset();
});

test("case 72, 74, 100: whatever a caller's headers are, the identity is the map's", async () => {
  const parts = ["Impersonate", "X", "Remote", "User", "Group", "Extra", "Authorization", "Connection", "Accept", "Cf"];
  const random = randomly();
  const pick = <Item>(items: Item[]): Item => items[random(items.length)] as Item;
  const onTheList = ["accept", "content-length", ...always, ...extras];
  for (let round = 0; round < 300; round++) {
    stage.upstream.received.length = 0;
    const lines = Array.from({ length: 1 + random(6) }, () => {
      const name = Array.from({ length: 1 + random(3) }, () => pick(parts)).join(pick(["-", "_", ""]));
      const value = pick(["", "root", "a, b", "Impersonate-User", "close", "system:masters", "Bearer x"]);
      return `${random(2) ? name : name.toLowerCase()}: ${value}`;
    });
    const answer = await send({ lines });
    const isImpersonation = lines.some((line) => /^impersonate/i.test(line));
    assert.equal(answer.status, isImpersonation ? 403 : 200, lines.join("; "));
    if (isImpersonation) {
      assert.equal(stage.upstream.received.length, 0);
    } else {
      const request = theOnly(stage.upstream.received);
      assertAlice(request, lines.join("; "));
      assert.deepEqual(
        request.names().filter((name) => !onTheList.includes(name)),
        [],
        lines.join("; "),
      );
    }
  }
});

function send(call: Call): Promise<Answer> {
  return stage.call({ token, ...call });
}

test("case 72: no request takes over a header of another, whoever sends it and when", async () => {
  const random = randomly();
  const names = ["Accept", "If-Match", "Kubectl-Session", "Range", "User-Agent"];
  const tokens: Record<string, string> = { alice: token, bob: await stage.token("bob") };
  for (let round = 0; round < 40; round++) {
    stage.upstream.received.length = 0;
    const requests = Array.from({ length: 16 }, (_, index) => {
      const as = random(2) ? "alice" : "bob";
      const method = ["GET", "POST", "DELETE"][random(3)] ?? "";
      const lines = names.filter(() => random(2)).map((name) => `${name}: ${random(3)}`);
      return { as, method, target: `/api/v1/pods?n=${index}`, lines };
    });
    // Concurrently, so that one is prepared while others wait.
    const answers = await Promise.all(
      requests.map((request) => stage.call({ ...request, token: tokens[request.as] ?? "" })),
    );
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
    assert.equal(stage.upstream.received.length, requests.length);
    for (const received of stage.upstream.received) {
      const sent = requests[Number(received.target.split("=")[1])];
      assert.ok(sent);
      const [user] = received.values("impersonate-user");
      const lines = names.flatMap((name) => received.values(name.toLowerCase()).map((value) => `${name}: ${value}`));
      const { method, target } = received;
      assert.deepEqual({ as: user?.split("@")[0], method, target, lines: lines.toSorted() }, sent);
    }
  }
});

function assertAlice(request: Received, context: string): void {
  const identity = request.head.lines.filter((line) => /^(impersonate|x-remote)/i.test(line));
  const expected = [
    /^Impersonate-Extra-kube-access\.dev%2Femail: alice@example\.com$/,
    /^Impersonate-Extra-kube-access\.dev%2Fsubject: [0-9a-f-]{36}$/,
    /^Impersonate-User: alice$/,
  ];
  const others = identity.filter((line) => !/^Impersonate-Group: /.test(line));
  assert.equal(others.length, expected.length, `${context}: ${identity}`);
  expected.forEach((pattern, index) => {
    assert.match(others[index] ?? "", pattern, context);
  });
  assert.ok(request.values("impersonate-group").includes("platform-admins"), context);
  assert.ok(!identity.some((line) => /root|system:|mallory/.test(line)), `${context}: ${identity}`);
}
