// Whom the gateway believes: signatures and claims as WebCrypto and workerd see them. The rules have their tables beside
// src/token.rs; here it is that nothing forged gets through the whole of it.

import assert from "node:assert/strict";
import { constants, createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { startCerts } from "../../../dev/access-certs.ts";
import { AccessKeys } from "../../../dev/access-keys.ts";
import { type Answer, assertStopped, aud, type Stage, startStage, teamDomain, theOnly } from "./stage.ts";

let stage: Stage;
let strangers: AccessKeys;

before(async () => {
  [stage, strangers] = await Promise.all([startStage(), AccessKeys.generate()]);
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

test("a token as Access signs it is accepted, and names the caller", async () => {
  assert.equal((await stage.call()).status, 200);
  assert.deepEqual(theOnly(stage.upstream.received).values("impersonate-user"), ["alice"]);
});

test("case 1, 2, 28: without the header nobody enters, and the cookie is not a header", async () => {
  refused(await stage.call({ as: null }));
  const token = await stage.token("alice");
  for (const lines of [
    [`Cookie: CF_Authorization=${token}`],
    [`Authorization: Bearer ${token}`],
    [`Cf-Access-Token: ${token}`],
    ["Cf-Access-Authenticated-User-Email: alice@example.com"],
    ["Cf-Access-Jwt-Assertion:"],
  ]) {
    refused(await stage.call({ as: null, lines }));
  }
});

test("a signature by another key is refused, under our key's ID too", async () => {
  refused(await stage.call({ token: await stage.token("alice", { keys: strangers }) }));
  const header = { kid: stage.certs.keys.current.kid };
  refused(await stage.call({ token: await stage.token("alice", { keys: strangers, header }) }));
});

test("case 145: a token that was accepted is accepted whole or not at all", async () => {
  const token = await stage.token("alice");
  assert.equal((await stage.call({ token })).status, 200);
  stage.upstream.reset();
  const [header, payload, signature = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload ?? "", "base64url").toString());
  const bob = Buffer.from(JSON.stringify({ ...claims, email: "bob@example.com" })).toString("base64url");
  const flipped = (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
  for (const forged of [
    `${header}.${bob}.${signature}`,
    `${header}.${payload}.${flipped}`,
    `${header}.${payload}.`,
    `${header}.${payload}`,
    `${header}.${payload}.${signature.slice(0, 4)}`,
    `${token}.${signature}`,
  ]) {
    refused(await stage.call({ token: forged }));
  }
});

test("case 3, 4: alg none, and HS256 with the public key for a secret, are refused", async () => {
  const publicKey = createPublicKey(stage.certs.keys.current.privateKey);
  const pem = publicKey.export({ type: "spki", format: "pem" });
  const der = publicKey.export({ type: "spki", format: "der" });
  const { n = "" } = publicKey.export({ format: "jwk" });
  for (const alg of ["none", "None", "NONE", ""]) {
    refused(await stage.call({ token: `${input({ alg })}.` }));
    refused(await stage.call({ token: stage.certs.keys.signRaw({ ...header(), alg }, claims()) }));
  }
  for (const secret of [pem, der, n, Buffer.from(n, "base64url"), ""]) {
    const text = input({ alg: "HS256" });
    refused(await stage.call({ token: `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}` }));
  }
});

test("case 3: no other algorithm is accepted, whatever the header calls it", async () => {
  const { privateKey } = stage.certs.keys.current;
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
  const signatures: [string, (text: string) => Buffer][] = [
    ["PS256", (text) => sign("sha256", Buffer.from(text), { key: privateKey, ...pss })],
    ["ES256", (text) => sign("sha256", Buffer.from(text), { key: ec, dsaEncoding: "ieee-p1363" })],
    ["RS384", (text) => sign("sha384", Buffer.from(text), privateKey)],
    ["RS512", (text) => sign("sha512", Buffer.from(text), privateKey)],
    ["RS1", (text) => sign("sha1", Buffer.from(text), privateKey)],
  ];
  for (const [alg, signature] of signatures) {
    for (const called of [alg, "RS256"]) {
      const text = input({ alg: called });
      refused(await stage.call({ token: `${text}.${signature(text).toString("base64url")}` }));
    }
  }
});

test("case 6: a token that asks for an extension to be understood is refused", async () => {
  for (const crit of [["b64"], [], "exp"]) {
    refused(await stage.call({ token: stage.certs.keys.signRaw({ ...header(), crit, b64: true }, claims()) }));
  }
});

test("case 7: the key is the team's, never one that the token brings or points at", async () => {
  const theirs = await startCerts();
  try {
    const jwk = createPublicKey(theirs.keys.current.privateKey).export({ format: "jwk" });
    const url = `http://${theirs.host}:${theirs.port}/cdn-cgi/access/certs`;
    const x5c = [certificateOf(theirs.keys.current.certificate)];
    for (const brought of [{ jku: url }, { x5u: url }, { jwk }, { x5c }, { jku: url, jwk, x5c }]) {
      for (const kid of [theirs.keys.current.kid, stage.certs.keys.current.kid]) {
        refused(await stage.call({ token: theirs.keys.signRaw({ ...header(), ...brought, kid }, claims()) }));
      }
      const ours = stage.certs.keys.signRaw({ ...header(), ...brought }, claims());
      assert.equal((await stage.call({ token: ours })).status, 200);
      stage.upstream.reset();
    }
    assert.equal(theirs.requests(), 0);
  } finally {
    await theirs.stop();
  }
});

test("case 9, 17, 18: a malformed token is refused though its signature is good", async () => {
  const keys = stage.certs.keys;
  const text = JSON.stringify(claims());
  const twice = `${text.slice(0, -1)},"email":"root@example.com"}`;
  const good = await stage.token("alice");
  for (const token of [
    keys.signRaw({ alg: "RS256" }, claims()),
    keys.signRaw({ alg: "RS256", kid: 7 }, claims()),
    keys.signRaw(header(), twice),
    keys.signRaw(header(), `${text} {}`),
    keys.signRaw(header(), "[]"),
    keys.signRaw(header(), "not JSON"),
    `${good}=`,
    good.replace(".", ". "),
    `Bearer ${good}`,
    "a.b.c",
  ]) {
    refused(await stage.call({ token }));
  }
});

test("case 10, 29: the audience must name this application", async () => {
  for (const wrong of [undefined, "other", ["other"], [], [aud.slice(1)], [`${aud}x`], { 0: aud }, null, 7, [[aud]]]) {
    refused(await stage.call({ token: await stage.token("alice", { claims: { aud: wrong } }) }));
  }
  for (const right of [aud, [aud], ["other", aud]]) {
    assert.equal((await stage.call({ token: await stage.token("alice", { claims: { aud: right } }) })).status, 200);
  }
});

test("case 11: the issuer must be the team, to the letter", async () => {
  const host = teamDomain.slice("https://".length);
  for (const iss of [undefined, `${teamDomain}/`, `http://${host}`, host, "https://other.cloudflareaccess.com", ""]) {
    refused(await stage.call({ token: await stage.token("alice", { claims: { iss } }) }));
  }
});

test("case 12, 13: a token is good from its beginning to its end, give or take a minute", async () => {
  const now = Math.floor(Date.now() / 1000);
  for (const wrong of [
    ...[undefined, now - 120, -1, 0, String(now + 600), now + 600.5, 1e300, null, true].map((exp) => ({ exp })),
    ...[now + 300, String(now)].map((nbf) => ({ nbf })),
    ...[now + 300, String(now)].map((iat) => ({ iat })),
  ]) {
    refused(await stage.call({ token: await stage.token("alice", { claims: wrong }) }));
  }
  for (const right of [{ exp: now + 60 }, { nbf: now + 30 }, { iat: now + 30 }]) {
    const answer = await stage.call({ token: await stage.token("alice", { claims: right }) });
    assert.equal(answer.status, 200, JSON.stringify(right));
  }
});

test("case 14: only the token of an application is accepted", async () => {
  for (const type of [undefined, "org", "APP", "", null, ["app"]]) {
    refused(await stage.call({ token: await stage.token("alice", { claims: { type } }) }));
  }
});

test("case 15: two tokens are no token, even twice the same", async () => {
  const [alice, bob] = [await stage.token("alice"), await stage.token("bob")];
  for (const pair of [
    [alice, alice],
    [alice, bob],
    [alice, ""],
    ["", alice],
    ["junk", alice],
  ]) {
    const lines = pair.map((token) => `Cf-Access-Jwt-Assertion: ${token}`);
    refused(await stage.call({ as: null, lines }));
  }
  refused(await stage.call({ token: `${alice}, ${alice}` }));
  refused(await stage.call({ token: `${alice},${bob}` }));
});

test("case 16: an oversized token is refused though it is signed", async () => {
  refused(await stage.call({ token: await stage.token("alice", { claims: { custom: "x".repeat(16 * 1024) } }) }));
  const large = await stage.token("alice", { claims: { custom: "x".repeat(8 * 1024) } });
  assert.equal((await stage.call({ token: large })).status, 200);
});

function refused(answer: Answer): void {
  assertStopped(stage, answer, 401, /Cloudflare Access token/);
}

function header(): { alg: string; kid: string; typ: string } {
  return { alg: "RS256", kid: stage.certs.keys.current.kid, typ: "JWT" };
}

function claims(): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  const times = { iat: now, nbf: now, exp: now + 600 };
  return { aud: [aud], iss: teamDomain, type: "app", email: "alice@example.com", sub: "s", ...times };
}

/** The part of a token that is signed. */
function input(change: Record<string, unknown>): string {
  return [{ ...header(), ...change }, claims()]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
}

function certificateOf(pem: string): string {
  return pem.replace(/-----[^-]+-----|\s/g, "");
}
