// What fails around the gateway while it serves: clear words, never a hang, and service again without a restart of it.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { after, afterEach, before, test } from "node:test";
import type { Kubectl, Outcome } from "./kubectl.ts";
import { residentBytes } from "./memory.ts";
import { type Site, startSite } from "./site.ts";
import { until } from "./until.ts";
import { EXEC, openWebSocket, STDERR, STDOUT } from "./websocket.ts";

const MB = 1024 * 1024;
/** No fault may make a caller wait longer. */
const HANG_MS = 60_000;

let site: Site;
let bob: Kubectl;
let gatewayPid: number;

before(async () => {
  site = await startSite();
  bob = site.as("bob");
  gatewayPid = site.stack.gateway.pid();
});
after(() => site?.stop());

afterEach(async () => {
  await servesAgain();
  assert.ok((await residentBytes(gatewayPid)) > 0, "the same workerd still runs");
});

/** The gateway serves, without anybody having touched it. */
async function servesAgain(): Promise<void> {
  await until("the gateway serves again", HANG_MS, async () => (await bob.run(["get", "pod", "web"])).code === 0);
}

/** A command that must fail, soon, with these words. */
async function fails(args: string[], words: RegExp): Promise<Outcome> {
  const outcome = await bob.run(args, { limitMs: HANG_MS });
  assert.notEqual(outcome.code, 0, `kubectl ${args.join(" ")} succeeded`);
  assert.match(outcome.stderr, words, `kubectl ${args.join(" ")}`);
  return outcome;
}

test("the last hop is killed in the middle of a watch and started again", async () => {
  const watch = bob.start(["get", "pods", "--watch"]);
  const follow = bob.start(["logs", "-f", "web"]);
  const shell = bob.start(["exec", "shell", "--", "sh", "-c", "echo started; sleep 60"]);
  await Promise.all([watch.prints(/web/), follow.prints(/tick/), shell.prints(/started/)]);
  await site.cluster.stopProxy();
  try {
    const [, , status] = await Promise.all([watch.end(HANG_MS), follow.end(HANG_MS), shell.end(HANG_MS)]);
    assert.notEqual(status, 0, "a command that was cut off has not succeeded");
    assert.match(shell.stderr, /error/);
    const words = /the last hop does not answer behind the tunnel|the connection to the cluster broke/;
    await Promise.all([
      fails(["get", "--raw", "/api/v1/namespaces/default/pods?limit=1"], words),
      fails(["get", "--raw", "/version"], words),
      fails(["exec", "shell", "--", "true"], words),
    ]);
  } finally {
    await site.cluster.startProxy();
  }
});

test("the API server stops and starts", async () => {
  const watch = bob.start(["get", "pods", "--watch"]);
  await watch.prints(/web/);
  await site.cluster.stopApiServer();
  try {
    await watch.end(HANG_MS);
    // Of a 503 on discovery, kubectl shows nothing but its own words.
    const words = /the API server|the cluster|the server is currently unable to handle the request/;
    await Promise.all([
      fails(["get", "--raw", "/api/v1/namespaces/default/pods?limit=1"], words),
      fails(["get", "--raw", "/version"], words),
      fails(["exec", "shell", "--", "true"], words),
    ]);
  } finally {
    await site.cluster.startApiServer();
  }
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("case 119: a client that vanishes in the middle of an exec: the command's stdin ends, and its process", async () => {
  for (const [name, command] of [
    ["reads", "echo $$ started; cat >/dev/null; echo ended > vanished"],
    ["waits", "echo $$ started; sleep 300"],
    ["writes", "echo $$ started; yes"],
  ] as const) {
    const exec = bob.start(["exec", "-i", "shell", "--", "sh", "-c", command], { input: new PassThrough() });
    const [, pid] = await exec.prints(/^(\d+) started/m);
    await exec.stop("SIGKILL");
    await until(`the command that ${name} has ended`, 5_000, () => !isAlive(Number(pid)));
  }
});

test("case 119: a client that vanishes in the middle of a port-forward or of logs -f leaves nothing behind", async () => {
  const watched = async () =>
    (await site.audit.events()).filter(
      (event) => event.stage === "ResponseComplete" && event.requestURI.includes("follow=true"),
    ).length;
  const earlier = await watched();
  const follow = bob.start(["logs", "-f", "web"]);
  await follow.prints(/tick/);
  await follow.stop("SIGKILL");
  await until("the API server has seen the end of logs -f", 5_000, async () => (await watched()) > earlier);
});

test("case 115: a slow reader holds the sender up, and workerd's memory does not grow with what is left unread", async () => {
  const baseline = await residentBytes(gatewayPid);
  const path =
    "/api/v1/namespaces/default/pods/shell/exec?command=sh&command=-c&command=yes%20|%20head%20-c%20200000000&stdout=true&stderr=true";
  const { status, socket } = await openWebSocket(site, "bob", path.replaceAll("|", "%7C"), EXEC);
  assert.equal(status, 101);
  socket.socket.pause();
  // Until the sender has been held up for a while: nothing more arrives at this socket, read or not.
  let peak = 0;
  for (const deadline = Date.now() + 6_000; Date.now() < deadline; ) {
    peak = Math.max(peak, await residentBytes(gatewayPid));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.ok(
    peak - baseline < 32 * MB,
    `workerd grew by ${((peak - baseline) / MB).toFixed(1)} MB while its client read nothing`,
  );
  const { channels, close } = await socket.drain();
  assert.equal(channels.get(STDOUT)?.length, 200_000_000, "and nothing was lost");
  assert.equal(channels.get(STDERR), undefined);
  assert.equal(close, 1000);
});
