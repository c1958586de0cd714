// The stand-in for Access must treat callers as Access does: every other end-to-end test leans on it. The gateway behind it
// is a server that keeps what it is sent.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { after, before, beforeEach, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, errors, jwtVerify } from "jose";
import { type Access, CALLERS_ADDRESS, startAccess } from "../../dev/access.ts";
import { type Certs, startCerts } from "../../dev/access-certs.ts";
import { type Listening, listen } from "../../dev/listen.ts";
import { localApplication, localUsers } from "../../dev/users.ts";

const { aud, teamDomain } = localApplication;

let certs: Certs;
let access: Access;
let gateway: Listening;
let received: IncomingMessage[];
/** Lets the answer to /watch have its body. */
let event: () => void;

before(async () => {
  const server = createServer((request, response) => {
    received.push(request);
    if (request.url === "/echo") {
      request.pipe(response);
    } else if (request.url === "/watch") {
      response.flushHeaders();
      event = () => response.end("event\n");
    } else {
      response.writeHead(200, ["Set-Cookie", "a=1", "Set-Cookie", "b=2"]).end("hello\n");
    }
  });
  server.on("upgrade", (request: IncomingMessage, socket) => {
    received.push(request);
    if (request.url === "/declined") {
      socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n");
      return;
    }
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    socket.pipe(socket);
  });
  gateway = await listen(server);
  certs = await startCerts();
  access = await startAccess({ certs, gateway, aud, teamDomain, users: localUsers });
});

after(async () => {
  await access.stop();
  await certs.stop();
  await gateway.stop();
});

beforeEach(() => {
  received = [];
  access.fault("none");
});

test("a stranger is sent to the login page and does not reach the gateway", async () => {
  for (const headers of [{}, { authorization: "Bearer guessed" }, { "cf-access-jwt-assertion": "x.y.z" }]) {
    const answer = await call("/api/v1/pods", headers);
    assert.equal(answer.status, 302);
    assert.match(answer.headers.location ?? "", new RegExp(`^${teamDomain}/cdn-cgi/access/login/127\\.0\\.0\\.1`));
  }
  assert.equal((await call("/", { "x-requested-with": "XMLHttpRequest" })).status, 401);
  assert.equal(received.length, 0);
});

test("whoever has the key of the login says who they are, and a cookie says so from then on", async () => {
  const login = new URL(access.loginUrl);
  const page = await call(login.pathname + login.search, {});
  assert.deepEqual([page.status, page.headers["cache-control"]], [200, "no-store"]);
  assert.match(page.body, /as=alice">alice</);
  for (const path of [login.pathname, `${login.pathname}?key=guessed&as=alice`]) {
    assert.deepEqual([(await call(path, {})).status, (await call(path, {})).headers["set-cookie"]], [403, undefined]);
  }
  assert.equal((await call(`${login.pathname}${login.search}&as=nobody`, {})).status, 404);
  const answer = await call(`${login.pathname}${login.search}&as=bob`, {});
  assert.deepEqual([answer.status, answer.headers.location], [302, "/.kube-access/"]);
  const [cookie = ""] = answer.headers["set-cookie"] ?? [];
  assert.match(cookie, /; HttpOnly; Secure; SameSite=Lax$/);
  assert.equal(received.length, 0);
  await call("/", { cookie: `other=1; ${cookie.split(";")[0]}` });
  assert.equal(decodeJwt(assertionOf(theOnly(received).headers)).email, "bob@example.com");
});

test("a stranger's upgrade is turned away as well", async () => {
  const answer = await upgrade("/echo", "Bearer guessed");
  assert.match(answer, /^HTTP\/1\.1 302 Found\r\n/);
  assert.equal(received.length, 0);
});

test("what a caller says in the edge's name is replaced by what the edge says", async () => {
  await call("/", {
    ...session("alice"),
    "Cf-Access-Jwt-Assertion": "forged",
    "cf-access-authenticated-user-email": "root@example.com",
    "Cf-Access-Client-Secret": "secret",
    "Cf-Connecting-Ip": "203.0.113.7",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "http",
    "Cf-Ray": "forged",
  });
  const { headers } = theOnly(received);
  assert.equal(decodeJwt(assertionOf(headers)).email, "alice@example.com");
  assert.equal(headers["cf-access-authenticated-user-email"], "alice@example.com");
  assert.equal(headers["cf-access-client-secret"], undefined);
  assert.equal(headers["cf-connecting-ip"], CALLERS_ADDRESS);
  assert.equal(headers["x-forwarded-for"], `203.0.113.7, ${CALLERS_ADDRESS}`, "what came is kept");
  assert.equal(headers["x-forwarded-proto"], "https");
  assert.match(String(headers["cf-ray"]), /^[0-9a-f]{16}-FRA$/);
  assert.equal(headers.authorization, undefined, "the session token is the stand-in's own");
});

test("other header lines pass unchanged, duplicates included", async () => {
  const answer = await call("/", { ...session("bob"), "X-Two": ["a", "b"], "Impersonate-User": "root" });
  const lines = theOnly(received).rawHeaders;
  assert.deepEqual(valuesOf(lines, "X-Two"), ["a", "b"]);
  assert.deepEqual(valuesOf(lines, "Impersonate-User"), ["root"]);
  assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
  assert.equal(answer.body, "hello\n");
});

test("a person's token has the claims of Access and verifies against the published keys", async () => {
  await call("/", session("alice"));
  const token = assertionOf(theOnly(received).headers);
  const { payload, protectedHeader } = await verified(token);
  assert.deepEqual(protectedHeader, { alg: "RS256", kid: access.kid(), typ: "JWT" });
  assert.deepEqual(Object.keys(payload).sort(), [
    ...["aud", "country", "email", "exp", "iat", "identity_nonce", "iss", "nbf", "sub", "type"],
  ]);
  assert.deepEqual(payload.aud, [aud]);
  assert.equal(payload.type, "app");
  assert.match(payload.sub ?? "", /^[0-9a-f]{8}-[0-9a-f]{4}-/);
});

test("a service token has a common name, an empty subject and no email", async () => {
  await call("/", session("ci"));
  const { headers } = theOnly(received);
  const { payload } = await verified(assertionOf(headers));
  assert.deepEqual(Object.keys(payload).sort(), ["aud", "common_name", "exp", "iat", "iss", "sub", "type"]);
  assert.equal(payload.common_name, "0123456789abcdef.access");
  assert.equal(payload.sub, "");
  assert.equal(headers["cf-access-authenticated-user-email"], undefined);
});

test("after a rotation the new key signs and the old one stays published until it is dropped", async () => {
  const old = await access.mint("alice");
  await access.rotate();
  const fresh = await access.mint("alice");
  assert.notEqual(decodeProtectedHeader(old).kid, decodeProtectedHeader(fresh).kid);
  await verified(old);
  await verified(fresh);
  access.drop();
  await verified(fresh);
  await assert.rejects(verified(old), errors.JWKSNoMatchingKey);
});

test("tokens can be made wrong on purpose", async () => {
  const token = await access.mint("alice", { claims: { email: undefined, aud: "text" }, header: { kid: "other" } });
  assert.equal("email" in decodeJwt(token), false);
  assert.equal(decodeJwt(token).aud, "text");
  assert.equal(decodeProtectedHeader(token).kid, "other");
  const raw = await access.signRaw({ alg: "RS256", kid: access.kid() }, '{"aud":["a"],"aud":["b"]}');
  assert.equal(Buffer.from(raw.split(".")[1] ?? "", "base64url").toString(), '{"aud":["a"],"aud":["b"]}');
});

test("the certs endpoint counts its requests and fails as told", async () => {
  const count = access.certsRequests();
  access.fault("500");
  assert.equal((await fetch(certsUrl())).status, 500);
  access.fault("garbage");
  assert.match((await fetch(certsUrl())).headers.get("content-type") ?? "", /html/);
  access.fault("huge");
  assert.ok((await (await fetch(certsUrl())).text()).length > 64 * 1024);
  access.fault("slow");
  await assert.rejects(fetch(certsUrl(), { signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
  access.fault("down");
  await assert.rejects(fetch(certsUrl()), TypeError);
  access.fault("none");
  const published = (await (await fetch(certsUrl())).json()) as { keys: unknown[]; public_certs: unknown[] };
  assert.equal(published.keys.length, published.public_certs.length);
  assert.equal(access.certsRequests(), count + 6);
});

test("a response's head arrives before its body", async () => {
  const request = open("/watch", session("alice"));
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  event();
  assert.equal((await response.toArray()).join(""), "event\n");
});

test("bodies stream both ways without being held back", async () => {
  const request = open("/echo", session("alice"), "POST");
  request.write("first\n");
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const [chunk] = await once(response, "data");
  assert.equal(String(chunk), "first\n");
  request.end("last\n");
  const [rest] = await once(response, "data");
  assert.equal(String(rest), "last\n");
});

test("an upgrade becomes a pipe, and a declined one returns the gateway's answer", async () => {
  const bearer = `Bearer ${access.session("alice")}`;
  assert.match(await upgrade("/", bearer, "ping"), /^HTTP\/1\.1 101 [\s\S]*\r\n\r\nping$/);
  assert.match(await upgrade("/declined", bearer), /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*\r\n\r\nno\n$/);
});

function session(user: string): { authorization: string } {
  return { authorization: `Bearer ${access.session(user)}` };
}

function open(path: string, headers: Record<string, string | string[]>, method = "GET") {
  return httpsRequest(`${access.url}${path}`, { method, headers, ca: access.ca, agent: false });
}

async function call(path: string, headers: Record<string, string | string[]> = {}) {
  const request = open(path, headers);
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = (await response.toArray()).join("");
  return { status: response.statusCode, headers: response.headers, body };
}

/** Asks for a WebSocket, sends some bytes once it is open, and returns all that comes back until the end or an echo. */
async function upgrade(path: string, authorization: string, bytes = ""): Promise<string> {
  const { hostname, port } = new URL(access.url);
  const socket = tlsConnect({ host: hostname, port: Number(port), ca: access.ca });
  socket.write(`GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\nAuthorization: ${authorization}\r\n`);
  socket.write("Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  let text = "";
  for await (const chunk of socket) {
    text += chunk;
    if (bytes && text.endsWith("\r\n\r\n")) {
      socket.write(bytes);
    }
    if (bytes && text.endsWith(bytes)) {
      break;
    }
  }
  return text;
}

function assertionOf(headers: IncomingHttpHeaders): string {
  return String(headers["cf-access-jwt-assertion"]);
}

function verified(token: string) {
  const keys = createRemoteJWKSet(certsUrl());
  return jwtVerify(token, keys, { issuer: teamDomain, audience: aud, algorithms: ["RS256"] });
}

function certsUrl(): URL {
  return new URL(`http://${access.certs.host}:${access.certs.port}/cdn-cgi/access/certs`);
}

function valuesOf(lines: string[], name: string): string[] {
  return lines.filter((_, index) => index % 2 === 1 && lines[index - 1] === name);
}

function theOnly<Item>(items: Item[]): Item {
  assert.equal(items.length, 1);
  return items[0] as Item;
}
