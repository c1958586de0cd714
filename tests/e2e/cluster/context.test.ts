// `npm start -- --context`: the gateway in front of a cluster that there is. The cluster is a local one, but all that the program
// knows of it is a kubeconfig.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { parse, stringify } from "yaml";
import { type Cluster, startCluster } from "../../../dev/cluster.ts";
import { Kubectl, Running } from "./kubectl.ts";

const START = resolve(import.meta.dirname, "../../../dev/start.ts");
/** The Worker may have to be built first. */
const UP_MS = 300_000;
const LIMIT_MS = 60_000;

let cluster: Cluster;
let dir: string;
let kubeconfig: string;
/** A PATH with what `npm start` needs of it on the way down, and without kubectl. */
let bin: string;
const programs: Running[] = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-context-test-"));
  cluster = await startCluster({ log: () => {} });
  kubeconfig = await contexts();
  bin = join(dir, "bin");
  await mkdir(bin);
  const ps = (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, "ps"));
  await symlink(ps.find(existsSync) ?? "ps", join(bin, "ps"));
});

after(async () => {
  for (const program of programs) {
    await program.stop("SIGTERM");
  }
  await cluster?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** A kubeconfig of a person with several contexts; the current one is none of those that the tests name. */
async function contexts(): Promise<string> {
  const admin = parse(await readFile(cluster.adminKubeconfig, "utf8"));
  const gateway = parse(await readFile(join(cluster.dir, "gateway.kubeconfig"), "utf8"));
  const names = ["admin", "limited", "gone", "current"];
  const file = join(dir, "config");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "current",
    clusters: [
      { name: "local", cluster: admin.clusters[0].cluster },
      { name: "gone", cluster: { server: "https://127.0.0.1:1" } },
    ],
    users: [
      { name: "admin", user: admin.users[0].user },
      { name: "limited", user: gateway.users[0].user },
    ],
    contexts: names.map((name) => {
      const [cluster, user] = name === "gone" || name === "current" ? ["gone", "admin"] : ["local", name];
      return { name, context: { cluster, user } };
    }),
  };
  await writeFile(file, stringify(config), { mode: 0o600 });
  return file;
}

function start(context: string, env: Record<string, string> = {}): Running {
  const path = `${dirname(cluster.kubectl)}:${process.env.PATH}`;
  const child = spawn(process.execPath, [START, "--context", context], {
    env: { ...process.env, PATH: path, KUBECONFIG: kubeconfig, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const program = new Running(child, `npm start -- --context ${context}`);
  programs.push(program);
  return program;
}

test("callers reach the cluster of a context as themselves, and nothing is left when it stops", async () => {
  const program = start("admin");
  const [, combined = ""] = await program.prints(/export KUBECONFIG=(\S+)\n/, UP_MS);
  assert.match(program.stdout, /with the credentials of the context admin/);
  assert.doesNotMatch(program.stdout, /WARNING/);
  const [, proxyPort] = await program.prints(/kubectl proxy {2}http:\/\/127\.0\.0\.1:(\d+)/, LIMIT_MS);
  const kubectl = new Kubectl(cluster.kubectl, combined, dir);
  assert.equal(
    await kubectl.ok(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"], { limitMs: LIMIT_MS }),
    "alice",
  );
  assert.equal(await kubectl.ok(["get", "pod", "web", "-o", "name"], { limitMs: LIMIT_MS }), "pod/web\n");
  assert.match(await kubectl.ok(["get", "--raw", "/"], { limitMs: LIMIT_MS }), /"paths"/);
  const exec = await kubectl.run(["exec", "shell", "--", "sh", "-c", "echo ran; exit 7"], { limitMs: LIMIT_MS });
  assert.deepEqual([exec.code, exec.stdout], [7, "ran\n"]);
  const refused = await kubectl.run(["--context", "mallory", "get", "pods"], { limitMs: LIMIT_MS });
  assert.equal(refused.code, 1);
  program.child.kill("SIGINT");
  assert.equal(await program.end(LIMIT_MS), 0);
  await assert.rejects(fetch(`http://127.0.0.1:${proxyPort}/`));
});

test("credentials that may not impersonate everybody are named, with what to do", async () => {
  const program = start("limited");
  await program.prints(/export KUBECONFIG=/, UP_MS);
  assert.match(program.stdout, /WARNING: these credentials may not impersonate all users and groups/);
  assert.match(program.stdout, /Use the context of an administrator/);
  program.child.kill("SIGINT");
  assert.equal(await program.end(LIMIT_MS), 0);
});

test("a context that cannot be used is a sentence, before anything is built", async () => {
  for (const [context, sentence, env] of [
    ["nowhere", /There is no context nowhere in your kubeconfig \(KUBECONFIG=.*\): it has .*admin.*limited/, {}],
    ["gone", /The API server of the context gone does not answer as it should: .*refused/, {}],
    ["admin", /There is no kubectl on PATH: install it .*Or run `npm start` once/, { PATH: bin, XDG_CACHE_HOME: bin }],
  ] as const) {
    const program = start(context, env);
    assert.equal(await program.end(LIMIT_MS), 1);
    assert.match(program.stderr, sentence);
    assert.match(program.stderr, /stopped\n$/);
    assert.doesNotMatch(program.stderr, /building|compiling|Worker/);
  }
});

test("without kubectl on PATH the one that npm start has built is used", async () => {
  const program = start("nowhere", { PATH: bin });
  assert.equal(await program.end(LIMIT_MS), 1);
  assert.match(program.stderr, /There is no context nowhere/);
});
