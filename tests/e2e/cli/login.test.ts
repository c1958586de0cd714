// `kubectl access login`, `token` and `logout`: managed OAuth, with a real authorization server in front of the stand-in for Access.

import assert from "node:assert/strict";
import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Agent, request } from "undici";
import type { ManagedOAuth } from "../../../dev/access-oauth.ts";
import { Kubectl, type Running } from "../cluster/kubectl.ts";
import { findKubectls } from "../cluster/kubectls.ts";
import { impersonation, type Site, startSite } from "../cluster/site.ts";
import { built, type Place, place } from "./cli.ts";

let site: Site;
let oauth: ManagedOAuth;

before(async () => {
  await built();
  site = await startSite({}, impersonation, { hasOAuth: true });
  assert.ok(site.stack.access.oauth);
  oauth = site.stack.access.oauth;
});
after(() => site?.stop());

const NO_KEYRING = { KUBE_ACCESS_KEYRING: "off" };

/** A browser of few words: keeps cookies, follows redirects within the server, and fills in the server's two forms. */
async function browse(start: string, user: string, onward = true): Promise<string> {
  const cookies = new Map<string, string>();
  let [address, body]: [string, URLSearchParams | undefined] = [start, undefined];
  for (let step = 0; step < 20; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(address, {
      redirect: "manual",
      headers: { cookie },
      ...(body && { method: "POST", body }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = line.match(/^([^=]+)=([^;]*)/) ?? [];
      cookies.set(name, value);
    }
    const location = response.headers.get("location");
    body = undefined;
    if (location) {
      address = new URL(location, address).href;
      if (!address.startsWith(oauth.issuer)) {
        return onward ? await (await fetch(address)).text() : address;
      }
      continue;
    }
    const page = await response.text();
    const [, action] = page.match(/<form[^>]* action="([^"]+)"/) ?? [];
    assert.ok(action, `${response.status} ${page}`);
    address = new URL(action, address).href;
    const prompt = page.match(/name="prompt" value="([^"]+)"/)?.[1] ?? "";
    body = new URLSearchParams({ prompt, login: user, password: "any" });
  }
  throw new Error("the server asks for ever");
}

async function addressOf(running: Running): Promise<string> {
  const [, address = ""] = await running.prints(/\n {2}(http\S+)\n/);
  return address;
}

async function logIn({ access }: Place, user: string): Promise<void> {
  const running = access(NO_KEYRING).start(["login", "--no-browser"]);
  const page = await browse(await addressOf(running), user);
  assert.match(page, /You are logged in/);
  assert.equal(await running.end(), 0, running.stderr);
}

/** The file of this kind that is kept of a login. */
async function fileOf({ home }: Place, kind: string): Promise<string> {
  const folder = join(home, "state/kube-access/logins");
  return join(folder, (await readdir(folder)).find((name) => name.endsWith(`.${kind}`)) ?? kind);
}

test("a stranger is answered 401, and told where tokens come from", async (t) => {
  const { url, ca } = site.stack.access;
  const dispatcher = new Agent({ connect: { ca } });
  t.after(() => dispatcher.close());
  const stranger = await request(`${url}/api`, { dispatcher });
  assert.equal(stranger.statusCode, 401);
  const [, metadata = ""] =
    String(stranger.headers["www-authenticate"]).match(/^Bearer resource_metadata="(.*)"$/) ?? [];
  const { body } = await request(metadata, { dispatcher });
  assert.deepEqual(await body.json(), { resource: url, authorization_servers: [oauth.issuer] });
  const wrong = await request(`${url}/api`, { dispatcher, headers: { authorization: "Bearer oauth:wrong" } });
  assert.equal(wrong.statusCode, 401);
});

test("after a login every kubectl gets tokens by itself, and acts as whoever logged in", async (t) => {
  for (const { path, minor } of await findKubectls(site.cluster.kubectl)) {
    const there = await place(t, site, path);
    await logIn(there, "alice");
    const { access, home } = there;
    const { url, caFile } = site.stack.access;
    await access(NO_KEYRING).ok(["setup", url, "--login", "--certificate-authority", caFile, "--yes"]);
    const kubectl = new Kubectl(path, join(home, "config"), home);
    Object.assign(kubectl.environment, access(NO_KEYRING).environment);
    assert.match(await kubectl.ok(["get", "pods"]), /web +1\/1 +Running/, path);
    if (minor >= 31) {
      assert.match(await kubectl.ok(["auth", "whoami"]), /Username +alice\n/);
      assert.equal(await kubectl.ok(["exec", "shell", "--", "echo", "hello"]), "hello\n");
    }
  }
});

test("what is kept is for its user alone, and no secret is printed", async (t) => {
  const there = await place(t, site);
  const running = there.access(NO_KEYRING).start(["login", "--no-browser"]);
  await browse(await addressOf(running), "bob");
  await running.end();
  const folder = join(there.home, "state/kube-access/logins");
  const names = (await readdir(folder)).filter((name) => !name.endsWith(".lock"));
  assert.deepEqual(names.map((name) => name.replace(/.*\./, "")).sort(), ["json", "refresh"]);
  for (const name of names) {
    assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
  }
  const credential = JSON.parse(await there.access(NO_KEYRING).ok(["token"]));
  assert.deepEqual([credential.apiVersion, credential.kind], ["client.authentication.k8s.io/v1", "ExecCredential"]);
  assert.ok(Date.parse(credential.status.expirationTimestamp) > Date.now());
  const refresh = await readFile(join(folder, names.find((name) => name.endsWith("refresh")) ?? ""), "utf8");
  for (const secret of [credential.status.token, refresh]) {
    assert.ok(secret.length > 20 && !running.stderr.includes(secret) && !running.stdout.includes(secret));
  }
});

test("of many kubectls at once one gets a new token, and the others wait for it", async (t) => {
  const there = await place(t, site);
  oauth.setLifetime(1);
  t.after(() => oauth.setLifetime(900));
  await logIn(there, "alice");
  oauth.setLifetime(900);
  const before_ = oauth.refreshes();
  const tokens = await Promise.all(Array.from({ length: 8 }, () => there.access(NO_KEYRING).ok(["token"])));
  assert.equal(oauth.refreshes() - before_, 1);
  assert.equal(new Set(tokens).size, 1);
  // Each use of a refresh token gives a new one, and ends the login if an old one comes again.
  oauth.setLifetime(1);
  await logIn(there, "alice");
  for (let turn = 0; turn < 3; turn += 1) {
    await there.access(NO_KEYRING).ok(["token"]);
  }
  assert.equal(oauth.refreshes() - before_, 4);
});

test("a callback that is not this login's is told so, and waited past", async (t) => {
  const there = await place(t, site);
  const running = there.access(NO_KEYRING).start(["login", "--no-browser"]);
  const callback = new URL(await browse(await addressOf(running), "alice", false));
  const forged = new URL(callback);
  forged.searchParams.set("state", "another");
  for (const address of [forged, new URL("/", callback), new URL("/callback", callback)]) {
    assert.ok((await fetch(address)).status >= 400, String(address));
  }
  assert.equal((await fetch(callback)).status, 200);
  assert.equal(await running.end(), 0);
});

test("nobody is logged in before, nor after logout, and a program that cannot ask is told what to do", async (t) => {
  const there = await place(t, site);
  const sentence = /nobody is logged in at https:.*: run `kubectl access login https:/;
  const first = await there.access(NO_KEYRING).run(["token"]);
  assert.deepEqual([first.code, sentence.test(first.stderr), first.stdout], [1, true, ""]);
  await logIn(there, "alice");
  const { status } = JSON.parse(await there.access(NO_KEYRING).ok(["token"]));
  const folder = join(there.home, "state/kube-access/logins");
  const kept = await readFile(await fileOf(there, "refresh"), "utf8");
  const { client_id } = JSON.parse(await readFile(await fileOf(there, "json"), "utf8"));
  await there.access(NO_KEYRING).ok(["logout"]);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => !name.endsWith(".lock")),
    [],
  );
  assert.match((await there.access(NO_KEYRING).run(["token"])).stderr, sentence);
  const form = new URLSearchParams({ grant_type: "refresh_token", refresh_token: kept, client_id });
  const again = await fetch(`${oauth.issuer}/token`, { method: "POST", body: form });
  assert.match(await again.text(), /"error":"invalid_grant"/, "it was revoked");
  assert.notEqual(status.token, "");
  assert.match((await there.access(NO_KEYRING).run(["logout"])).stderr, /Nobody was logged in/);
});

test("an application without managed OAuth is a sentence that says how to switch it on", async (t) => {
  const plain = await startSite();
  t.after(() => plain.stop());
  const { code, stderr } = await (await place(t, plain)).access(NO_KEYRING).run(["login", "--no-browser"]);
  assert.equal(code, 1);
  assert.match(stderr, /has no managed OAuth: .*without_warp = true in Terraform/);
});

test("whoever waits for a login says so", async (t) => {
  const there = await place(t, site);
  const login = there.access(NO_KEYRING).start(["login", "--no-browser"]);
  await addressOf(login);
  const waiting = there.access(NO_KEYRING).start(["token"]);
  await waiting.prints(/Waiting for another `kubectl access` on this machine, which logs in at https:/);
  await login.stop();
  assert.equal(await waiting.end(), 1);
});

test("a client that the server has forgotten, and what is damaged here, are told as a login that has ended", async (t) => {
  const there = await place(t, site);
  oauth.setLifetime(1);
  t.after(() => oauth.setLifetime(900));
  await logIn(there, "alice");
  const json = await fileOf(there, "json");
  const kept = JSON.parse(await readFile(json, "utf8"));
  const refused = async (words: RegExp) => {
    const { code, stderr } = await there.access(NO_KEYRING).run(["token"]);
    assert.deepEqual([code, words.test(stderr)], [1, true], stderr);
  };
  await writeFile(json, JSON.stringify({ ...kept, client_id: "forgotten" }));
  await refused(/your login has ended at https:.*: run `kubectl access login/);
  await writeFile(json, JSON.stringify({ ...kept, token_endpoint: "no address" }));
  await refused(/nobody is logged in at https:.*: run `kubectl access login/);
  await writeFile(json, JSON.stringify(kept));
  await writeFile(await fileOf(there, "refresh"), Buffer.from([0xff]));
  await refused(/nobody is logged in at https:.*: run `kubectl access login/);
});

test("logout says what it could not have the server forget", async (t) => {
  const there = await place(t, site);
  const logout = async () => (await there.access(NO_KEYRING).run(["logout"])).stderr;
  await logIn(there, "alice");
  await writeFile(await fileOf(there, "json"), "{");
  assert.match(await logout(), /Forgotten here; the server was not told: what was kept of it cannot be read/);
  assert.match(await logout(), /Nobody was logged in/);
  await logIn(there, "alice");
  await rm(await fileOf(there, "refresh"));
  assert.match(await logout(), /Forgotten here; the server was not told: its refresh token is not here/);
});

test("a login that has ended at the server is not asked for twice", async (t) => {
  const there = await place(t, site);
  oauth.setLifetime(1);
  t.after(() => oauth.setLifetime(900));
  await logIn(there, "alice");
  await oauth.forget();
  const ended = await there.access(NO_KEYRING).run(["token"]);
  assert.deepEqual([ended.code, /your login has ended at https:/.test(ended.stderr)], [1, true], ended.stderr);
});
