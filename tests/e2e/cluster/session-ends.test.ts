// How what stays open ends on a real cluster, on command and in its time: kubectl says why, and what it ran ends too.

import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { after, afterEach, before, type TestContext, test } from "node:test";
import { buildCluster } from "../../../dev/cluster.ts";
import type { Kubectl } from "./kubectl.ts";
import { findKubectls } from "./kubectls.ts";
import { hasEnded, live, nothingLive, recorded, recordings, SESSIONS } from "./recordings.ts";
import { impersonation, type Site, startSite } from "./site.ts";
import { hasTerminals, inTerminal, noTerminals } from "./terminal.ts";

const BOB = "bob@example.com";
/** dave, as whom the guard `short` holds. */
const CONTRACTOR = "contractor";
const SHORT = /this session ended: a session here lasts at most 10 s/;
const SHORT_S = 10;
/** On however busy a machine. */
const LATE_S = 30;
const OLDEST = 30;
const ENV = { KUBECTL_PORT_FORWARD_WEBSOCKETS: "true" };
const WAITS = ["shell", "--", "sh", "-c", "echo $$; exec cat"];

const kubectls = (await findKubectls((await buildCluster(() => {})).kubectl)).filter(({ minor }) => minor >= OLDEST);
let site: Site;
let bob: Kubectl;

before(async () => {
  site = await startSite({}, impersonation, { variant: recorded });
  bob = site.as("bob");
});
after(() => site?.stop());

afterEach(async () => {
  site.stack.access.setLifetime("bob", 3600);
  await nothingLive(bob, BOB);
});

function assertInTime(seconds: number, least = SHORT_S): void {
  assert.ok(seconds > least - 3 && seconds < least + LATE_S, `it lasted ${seconds.toFixed(1)} s`);
}

for (const { minor, path, version } of kubectls) {
  const title = (what: string) => `kubectl 1.${minor}: ${what}`;

  test(title("a session that is ended says who ended it and why, exits with 1, and its command ends"), async (t) => {
    t.diagnostic(version);
    const kubectl = site.as("bob", path);
    const shell = kubectl.start(["exec", "-i", ...WAITS], { input: new PassThrough() });
    const [, pid = ""] = await shell.prints(/^(\d+)$/m);
    const { id } = await live(bob, BOB);
    await kubectl.ok(["delete", "--raw", `${SESSIONS}/${id}?reason=lunch`]);
    assert.equal(await shell.end(), 1);
    assert.match(shell.stderr, /this session ended: bob@example\.com ended it: lunch/);
    await hasEnded(site.admin, pid);
    const again = await kubectl.run(["delete", "--raw", `${SESSIONS}/${id}`]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /has ended already/);
  });

  test(title("max_session ends exec -i, exec -it and port-forward in time, with the sentence"), async (t) => {
    const kubectl = site.as("dave", path);
    const found = await recordings(kubectl, CONTRACTOR, async () => {
      await Promise.all([endsShell(kubectl), hasTerminals ? endsTerminal(kubectl) : skipped(t), endsPort(kubectl)]);
    });
    assert.deepEqual(new Set(found.map(({ manifest }) => manifest.by)), new Set(["policy"]));
    assert.deepEqual(
      found
        .map(({ manifest }) => manifest.target.kind)
        .sort()
        .at(-1),
      "portforward",
    );
  });
}

async function endsShell(kubectl: Kubectl): Promise<void> {
  const shell = kubectl.start(["exec", "-i", ...WAITS], { input: new PassThrough() });
  const [, pid = ""] = await shell.prints(/^(\d+)$/m);
  assert.equal(await shell.end(), 1, shell.stderr);
  assert.match(shell.stderr, SHORT);
  assertInTime(shell.seconds);
  await hasEnded(site.admin, pid);
}

async function endsTerminal(kubectl: Kubectl): Promise<void> {
  const { running } = await inTerminal(kubectl, ["exec", "-it", ...WAITS], site.dir);
  const [, pid = ""] = await running.prints(/^(\d+)\r$/m);
  assert.equal(await running.end(), 1, running.stdout);
  assert.match(running.stdout, SHORT);
  assertInTime(running.seconds);
  await hasEnded(site.admin, pid);
}

/** kubectl shows no reason of a port's: it says that the pod was lost. */
async function endsPort(kubectl: Kubectl): Promise<void> {
  const forward = kubectl.start(["port-forward", "pod/web", ":8080"], { env: ENV });
  await forward.prints(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
  assert.equal(await forward.end(), 1, forward.stderr);
  assert.match(forward.stderr, /lost connection to pod/);
  assertInTime(forward.seconds);
}

async function skipped(t: TestContext): Promise<void> {
  t.diagnostic(`exec -it was left out: the test ${noTerminals}`);
}

test("max_session ends logs -f and get -w in time, whatever streams say", async () => {
  await endTogether(site.as("dave"), SHORT_S);
});

test("the end of the login ends exec, logs -f and get -w", async () => {
  site.stack.access.setLifetime("bob", SHORT_S);
  const shell = bob.start(["exec", "-i", ...WAITS], { input: new PassThrough() });
  const [, pid = ""] = await shell.prints(/^(\d+)$/m);
  await endTogether(bob, SHORT_S);
  assert.equal(await shell.end(), 1);
  assert.match(shell.stderr, /this session ended: your login at Cloudflare Access ends/);
  assertInTime(shell.seconds);
  await hasEnded(site.admin, pid);
});

async function endTogether(kubectl: Kubectl, seconds: number): Promise<void> {
  const watch = kubectl.start(["get", "pods", "--watch"]);
  const follow = kubectl.start(["logs", "-f", "web"]);
  await Promise.all([watch.prints(/web/), follow.prints(/tick/)]);
  await Promise.all([watch.end(), follow.end()]);
  assertInTime(watch.seconds, seconds);
  assertInTime(follow.seconds, seconds);
}
