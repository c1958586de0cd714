// `kubectl access setup`: the kubeconfig that kubectl itself would write, by every kubectl of this machine.

import assert from "node:assert/strict";
import { chmod, chown, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import { findKubectls } from "../cluster/kubectls.ts";
import { type Site, startSite } from "../cluster/site.ts";
import { hasTerminals, inTerminal, noTerminals } from "../cluster/terminal.ts";
import { built, place } from "./cli.ts";

let site: Site;

before(async () => {
  await built();
  site = await startSite();
});
after(() => site?.stop());

const HOST = "https://kube.example.com";
const OTHERS = `apiVersion: v1
kind: Config
clusters:
- name: work
  cluster: {server: https://work.example.com, certificate-authority: ca.crt, proxy-url: http://proxy.example.com}
users:
- name: work
  user: {token: TOP-SECRET}
contexts:
- name: work
  context: {cluster: work, user: work, namespace: mine}
current-context: work
`;

test("a new machine gets a kubeconfig, once, and it is kubectl's own", async (t) => {
  for (const { path } of await findKubectls(site.cluster.kubectl)) {
    const { access, home } = await place(t, site, path);
    const cli = access({ KUBECONFIG: "" });
    assert.match(
      await cli.ok(["setup", HOST, "--yes"]),
      /\+ {4}server: https:\/\/kube\.example\.com[\s\S]*Next: kubectl auth whoami/,
    );
    const file = join(home, ".kube/config");
    const config = parse(await readFile(file, "utf8"));
    assert.deepEqual(config.users, [{ name: "kube.example.com", user: { token: "access" } }]);
    assert.equal(config["current-context"], "kube.example.com");
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.match(await cli.ok(["setup", HOST, "--yes"]), /^Nothing to change/, path);
    assert.deepEqual(await readdir(join(home, ".kube")), ["config"]);
  }
});

test("what is there stays, the file as it was is kept, and no secret is shown", async (t) => {
  const { access, home } = await place(t, site);
  const file = join(home, "config");
  await writeFile(file, OTHERS, { mode: 0o640 });
  const cli = access();
  const shown = await cli.ok(["setup", HOST, "--context", "kube", "--keep-current", "-n", "team-a", "--yes"]);
  assert.doesNotMatch(shown, /TOP-SECRET/);
  const config = parse(await readFile(file, "utf8"));
  const { clusters, users, contexts } = parse(OTHERS);
  const others = (list: { name: string }[]) => list.filter(({ name }) => name !== "kube");
  assert.deepEqual(
    [others(config.clusters), others(config.users), others(config.contexts)],
    [clusters, users, contexts],
  );
  assert.equal(config["current-context"], "work");
  assert.equal(config.contexts.find(({ name }: { name: string }) => name === "kube").context.namespace, "team-a");
  const [, backup = ""] = shown.match(/The file as it was: (\S+)/) ?? [];
  assert.equal(await readFile(backup, "utf8"), OTHERS);
  assert.equal((await stat(file)).mode & 0o777, 0o640);
});

test("another kind of setup takes the place of the one before, and of nothing else", async (t) => {
  const { access, home } = await place(t, site);
  const cli = access();
  const user = async () => parse(await readFile(join(home, "config"), "utf8")).users[0].user;
  await cli.ok(["setup", HOST, "--login", "--yes"]);
  const { exec, token } = await user();
  assert.deepEqual(
    [exec.apiVersion, exec.interactiveMode, exec.args, token],
    ["client.authentication.k8s.io/v1", "IfAvailable", ["token", HOST], undefined],
  );
  assert.ok(exec.command.startsWith("/"), "a path that needs no PATH");
  assert.match(await cli.ok(["setup", HOST, "--login", "--yes"]), /^Nothing to change/);
  await cli.ok(["setup", HOST, "--service-token", "--yes"]);
  assert.match((await user()).tokenFile, /secret$/);
  assert.equal((await stat((await user()).tokenFile)).mode & 0o777, 0o600);
  assert.match(await cli.ok(["setup", HOST, "--service-token", "--yes"]), /^Nothing to change/);
  await cli.ok(["setup", HOST, "--yes"]);
  const config = parse(await readFile(join(home, "config"), "utf8"));
  assert.deepEqual(config.users[0].user, { token: "access" });
  assert.deepEqual(config.clusters[0].cluster, { server: HOST });
});

test("with a list of files kubectl chooses which, and a link stays one", async (t) => {
  const { access, home } = await place(t, site);
  await mkdir(join(home, "real"));
  await writeFile(join(home, "real/second"), OTHERS);
  await symlink("real/second", join(home, "second"));
  const list = [join(home, "first"), join(home, "second")].join(":");
  await access({ KUBECONFIG: list }).ok(["setup", HOST, "--yes"]);
  assert.ok((await lstat(join(home, "second"))).isSymbolicLink());
  assert.match(await readFile(join(home, "real/second"), "utf8"), /kube\.example\.com/);
  await assert.rejects(stat(join(home, "first")));
});

/** As `aws eks update-kubeconfig` and other programs write it: kubectl adds what it assumes, and leaves out what says nothing. */
const EKS = `apiVersion: v1
kind: Config
clusters:
- cluster: {server: https://eks.example.com, insecure-skip-tls-verify: false, disable-compression: no}
  name: arn:aws:eks:eu-west-1:1:cluster/c
contexts:
- {name: c, context: {cluster: arn:aws:eks:eu-west-1:1:cluster/c, user: c}}
preferences: {colors: false}
users:
- name: c
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args: [--region, eu-west-1, eks, get-token, --cluster-name, c]
      command: aws
      env: null
`;

test("what other programs write stays as kubectl reads it, by every kubectl of this machine", async (t) => {
  for (const { path } of await findKubectls(site.cluster.kubectl)) {
    const { access, home } = await place(t, site, path);
    const file = join(home, "config");
    await writeFile(file, EKS);
    await access().ok(["setup", HOST, "--yes"]);
    const { users, contexts } = parse(await readFile(file, "utf8"));
    assert.deepEqual(users[0].user.exec.args, parse(EKS).users[0].user.exec.args, path);
    assert.equal(contexts.length, 2);
    assert.match(await access().ok(["setup", HOST, "--yes"]), /^Nothing to change/, path);
  }
});

/** A kubeconfig with nothing but a user. */
const onlyUser = (user: object) =>
  JSON.stringify({ apiVersion: "v1", kind: "Config", users: [{ name: "kube", user }] });

test("what other kinds of setup left in several files goes from all of them", async (t) => {
  const { access, home } = await place(t, site);
  const files = [join(home, "a"), join(home, "b")] as const;
  await writeFile(files[0], onlyUser({ token: "access" }));
  await writeFile(files[1], onlyUser({ exec: { apiVersion: "client.authentication.k8s.io/v1beta1", command: "x" } }));
  const setup = [HOST, "--context", "kube", "--yes"];
  const cli = access({ KUBECONFIG: [...files, files[0]].join(":") });
  const users = async () => {
    const read = files.map(async (file) => parse(await readFile(file, "utf8")).users ?? []);
    return (await Promise.all(read)).flat().map(({ user }) => user);
  };
  for (const [kind, members] of [
    ["--login", ["exec"]],
    ["--service-token", ["tokenFile"]],
    ["--keep-current", ["token"]],
  ] as const) {
    await cli.ok(["setup", ...setup, kind]);
    assert.deepEqual((await users()).map(Object.keys), [members], kind);
    assert.match(await cli.ok(["setup", ...setup, kind]), /^Nothing to change/, kind);
  }
});

test("of several files none is changed unless all can be", async (t) => {
  const { access, home } = await place(t, site);
  const files = [join(home, "a"), join(home, "b")] as const;
  const text = onlyUser({ password: "x", username: "x" });
  await Promise.all(files.map((file) => writeFile(file, text)));
  const cli = access({ KUBECONFIG: files.join(":") });
  const refused = async (words: RegExp) => {
    const { code, stderr } = await cli.run(["setup", HOST, "--context", "kube", "--yes"]);
    assert.deepEqual([code, words.test(stderr)], [1, true], stderr);
    for (const file of files) {
      assert.equal(await readFile(file, "utf8"), text);
    }
  };
  for (const file of files) {
    await writeFile(`${file}.lock`, "");
    await refused(/another kubectl writes this file, and nothing was changed/);
    await rm(`${file}.lock`);
    await chmod(file, 0o400);
    await refused(/is read-only: nothing was changed/);
    await chmod(file, 0o600);
  }
  assert.deepEqual((await readdir(home)).filter((name) => /^[ab]/.test(name)).sort(), ["a", "b", "bin"]);
});

test("a name that kubectl would take for something else is told so before anything is made", async (t) => {
  const { access, home } = await place(t, site);
  const refused = await access().run(["setup", HOST, "--service-token", "--context", "a.token", "--yes"]);
  assert.deepEqual(
    [refused.code, /reads token as a field: name another with --context/.test(refused.stderr)],
    [2, true],
  );
  await assert.rejects(stat(join(home, "state")));
  await access().ok(["setup", HOST, "--service-token", "--context", "token.a", "--yes"]);
  await access().ok(["setup", HOST, "--context", "a.token", "--yes"]);
});

const isRoot = process.getuid?.() === 0;

test("the file of somebody else stays theirs", { skip: !isRoot && "only root may write it" }, async (t) => {
  const { access, home } = await place(t, site);
  const file = join(home, "config");
  await writeFile(file, OTHERS);
  await chown(file, 12_345, 12_346);
  await access().ok(["setup", HOST, "--yes"]);
  const copies = (await readdir(home)).filter((name) => name.startsWith("config"));
  assert.equal(copies.length, 2);
  for (const name of copies) {
    const { uid, gid } = await stat(join(home, name));
    assert.deepEqual([uid, gid], [12_345, 12_346], name);
  }
});

test("a file that cannot be written or read is left as it is, with a sentence", async (t) => {
  const { access, home } = await place(t, site);
  const file = join(home, "config");
  const cli = access();
  const refused = async (text: string, words: RegExp, args: string[] = ["--yes"]) => {
    await writeFile(file, text);
    const { code, stderr } = await cli.run(["setup", HOST, ...args]);
    assert.notEqual(code, 0);
    assert.match(stderr, words);
    assert.equal(await readFile(file, "utf8"), text);
  };
  await refused("clusters: [", /kubectl does not take the kubeconfig, and nothing was changed.*config/);
  await refused(`${OTHERS}\nextra: {a: b}\n`, /kubectl would leave out something/);
  await refused(
    `${OTHERS}current-context: work\n`,
    /kubectl would leave out something of line \d+, such as a key that is there twice/,
  );
  await refused(OTHERS, /nobody can be asked here\. Say --yes/, []);
  await writeFile(`${file}.lock`, "");
  await refused(OTHERS, /another kubectl writes this file.*remove .*config\.lock/);
  await rm(`${file}.lock`);
  await chmod(file, 0o400);
  const { code, stderr } = await cli.run(["setup", HOST, "--yes"]);
  assert.deepEqual([code, /is read-only: nothing was changed/.test(stderr)], [1, true], stderr);
  await symlink("nowhere", join(home, "dangling"));
  const dangling = await cli.run(["setup", HOST, "--yes", "--kubeconfig", join(home, "dangling")]);
  assert.match(dangling.stderr, /is a link that leads nowhere/);
});

test("in a terminal it asks, and nothing but a yes is one", { skip: !hasTerminals && noTerminals }, async (t) => {
  const { access, home } = await place(t, site);
  for (const [answer, code, words] of [
    ["no\n", 1, /Nothing was changed/],
    ["\n", 1, /Nothing was changed/],
    ["y\n", 0, /Next: kubectl auth whoami/],
  ] as const) {
    const { running, type } = await inTerminal(access(), ["setup", HOST], home);
    await running.prints(/Write this\? \[y\/N\] /);
    type(answer);
    assert.equal(await running.end(), code, running.stdout);
    assert.match(running.stdout, words);
  }
  assert.match(await readFile(join(home, "config"), "utf8"), /kube\.example\.com/);
});
