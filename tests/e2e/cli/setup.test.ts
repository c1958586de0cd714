// `kubectl access setup`: the kubeconfig that kubectl itself would write, by every kubectl of this machine.

import assert from "node:assert/strict";
import { chmod, lstat, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
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
