// `npm start -- --record`, typed as it says: streams that are recorded, listed, played and ended.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { buildCluster } from "../../../dev/cluster.ts";
import { Kubectl, Running } from "./kubectl.ts";
import { until } from "./until.ts";

const root = resolve(import.meta.dirname, "../../..");
/** The Worker may have to be built first. */
const UP_MS = 300_000;
const LIMIT_MS = 60_000;

let dir: string;
let program: Running;
let kubectl: Kubectl;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-record-"));
  const { kubectl: binary } = await buildCluster(() => {});
  program = node("dev/start.ts", "--record");
  await program.prints(/Ctrl-C stops everything/, UP_MS);
  const [, combined = ""] = await program.prints(/export KUBECONFIG=(\S+)/);
  kubectl = new Kubectl(binary, combined, dir);
});

after(async () => {
  await program?.stop("SIGINT");
  await rm(dir, { recursive: true, force: true });
});

function node(script: string, ...args: string[]): Running {
  const child = spawn(process.execPath, [join(root, script), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  return new Running(child, `${script} ${args.join(" ")}`);
}

/** Types what was printed, such as "bob list"; the kubectl of the stack instead of the PATH's. */
async function sessions(user: string, command: string, id = ""): Promise<Running> {
  const line = new RegExp(`npm run sessions -- (.* --context ${user} ${command})\\b`);
  const [, words] = program.stdout.match(line) ?? [];
  assert.ok(words, `${line} was printed:\n${program.stdout}`);
  return await run(...words.replace("ID", id).split(" "));
}

async function run(...words: string[]): Promise<Running> {
  const running = node("deploy/sessions.ts", ...words, "--kubectl", kubectl.binary);
  assert.equal(await running.end(), 0, `${words.join(" ")}:\n${running.stderr}${running.stdout}`);
  return running;
}

test("exec as bob is recorded, and what was printed lists, plays and ends it", async () => {
  const bob = ["--context", "bob", "exec", "shell", "--", "sh", "-c"];
  assert.equal(await kubectl.ok([...bob, "echo 'shown to bob'"]), "shown to bob\n");
  const listed = (state: string) =>
    until(`a session that is ${state} is listed`, LIMIT_MS, async () => {
      return (await sessions("bob", "list")).stdout.match(new RegExp(`^([0-9a-f-]{47}) +${state}`, "m"))?.[1];
    });
  const id = await listed("ended");
  assert.match((await sessions("bob", "play ID", id)).stdout, /^shown to bob$/m);

  const open = kubectl.start([...bob, "echo started; exec sleep 1000"]);
  await open.prints(/started/);
  await run("--kubeconfig", kubectl.environment.KUBECONFIG ?? "", "--context", "bob", "end", await listed("live"));
  assert.equal(await open.end(), 1);
  assert.match(open.stderr, /this session ended: bob@example.com ended it/);
});

test("alice, an auditor, sees what bob did; she is not recorded, and others see no more than their own", async () => {
  await kubectl.ok(["--context", "alice", "exec", "shell", "--", "true"]);
  const all = (await sessions("alice", "list")).stdout;
  assert.match(all, /bob@example\.com/);
  assert.doesNotMatch(all, / alice /);
  const own = await run("--kubeconfig", kubectl.environment.KUBECONFIG ?? "", "--context", "dave", "list");
  assert.equal(own.stdout, "");
  assert.match(own.stderr, /Only your own/);
});

test("Ctrl-C ends it, recordings and all", async () => {
  program.child.kill("SIGINT");
  assert.equal(await program.end(), 0);
});
