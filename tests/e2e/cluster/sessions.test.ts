// Recorded sessions as kubectl makes them, on a real cluster: whatever way into a container, there is a manifest and a recording.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { recording } from "../../../dev/recorded.ts";
import { type Kubectl, Running } from "./kubectl.ts";
import { findKubectls } from "./kubectls.ts";
import { createPod } from "./pods.ts";
import { lastHop, type Site, startSite } from "./site.ts";
import { until } from "./until.ts";
import { openWebSocket } from "./websocket.ts";

const LIMIT_MS = 60_000;
const MAX_STREAMS = 3;
const SHELL = "/api/v1/namespaces/default/pods/shell";
const V5 = "v5.channel.k8s.io";

let site: Site;
let bob: Kubectl;

before(async () => {
  site = await startSite({ MAX_STREAMS: String(MAX_STREAMS) }, undefined, { variant: recording });
  bob = site.as("bob");
});

after(() => site?.stop());

afterEach(() => until("nothing is open", LIMIT_MS, async () => (await list("&state=live")).length === 0));

interface Session {
  id: string;
  state: string;
  by?: string;
  reason?: string;
  exit_code?: number;
  record: string;
  bytes: Record<string, number>;
  target: { kind: string; pod: string; command: string[]; tty: boolean };
}

async function list(more = ""): Promise<Session[]> {
  const path = `/.kube-access/sessions?user=bob@example.com&limit=100${more}`;
  return JSON.parse(await bob.ok(["get", "--raw", path])).sessions;
}

/** The session that ended while `work` was done, and what was recorded of it. */
async function recorded(
  work: () => Promise<unknown>,
): Promise<{ manifest: Session; events: string[][]; text: string }> {
  const before = new Set((await list()).map(({ id }) => id));
  await work();
  const id = await until("there is a new session, and it has ended", LIMIT_MS, async () => {
    return (await list("&state=ended")).find((session) => !before.has(session.id))?.id;
  });
  const [manifest, cast] = await Promise.all(
    ["", "/cast"].map((path) => bob.ok(["get", "--raw", `/.kube-access/sessions/${id}${path}`])),
  );
  const [, ...lines] = (cast ?? "").trimEnd().split("\n");
  const events: string[][] = lines.map((line) => JSON.parse(line).slice(1));
  const text = events.flatMap(([code, shown]) => (code === "o" ? [shown] : [])).join("");
  return { manifest: JSON.parse(manifest ?? ""), events, text };
}

test("case 125: exec without a terminal: both outputs are told apart, and the exit code is known", async () => {
  const command = "echo out; echo err >&2; exit 3";
  const { manifest, events } = await recorded(async () => {
    const ended = await bob.run(["exec", "shell", "--", "sh", "-c", command]);
    assert.deepEqual([ended.code, ended.stdout], [3, "out\n"]);
    assert.match(ended.stderr, /^err\n/);
  });
  assert.deepEqual(manifest.target.command, ["sh", "-c", command]);
  assert.deepEqual([manifest.by, manifest.exit_code, manifest.bytes.stdout], ["command", 3, 4]);
  const shown = events.map(([code, text]) => `${code} ${text}`);
  assert.ok(shown.includes("o out\n") && shown.indexOf("e 4") + 1 === shown.indexOf("o err\n"), shown.join("|"));
});

test("case 125: exec -it is recorded with its sizes", async (t) => {
  if (process.platform !== "linux") {
    t.skip("makes its terminal with the script command of util-linux");
    return;
  }
  const { manifest, events, text } = await recorded(async () => {
    const command = `stty rows 40 cols 100; exec "$KUBECTL" exec -it shell -- sh -c 'until stty size | grep "40 100"; do sleep 0.1; done; echo "caf\u00e9"'`;
    const env = { ...bob.environment, KUBECTL: bob.binary, SHELL: "/bin/sh" };
    const terminal = spawn("script", ["--quiet", "--return", "--command", command, "/dev/null"], { env });
    assert.equal(await new Running(terminal, "kubectl exec -it in a terminal").end(), 0);
  });
  assert.ok(manifest.target.tty);
  assert.ok(events.some(([code, size]) => code === "r" && size === "100x40"));
  assert.match(text, /40 100\r\ncaf\u00e9\r\n/);
});

test("case 125: cp, both ways: counted and hashed, and byte for byte as ever", async () => {
  const [sent, received] = [join(site.dir, "sent"), join(site.dir, "received")];
  const bytes = randomBytes(3_000_000);
  await writeFile(sent, bytes);
  const up = await recorded(() => bob.ok(["cp", sent, "shell:recorded"]));
  assert.ok(up.manifest.target.command[0] === "tar" && (up.manifest.bytes.stdin ?? 0) > bytes.length);
  const down = await recorded(() => bob.ok(["cp", "shell:recorded", received]));
  assert.ok((down.manifest.bytes.stdout ?? 0) > bytes.length);
  assert.ok(down.events.some(([code, text]) => code === "m" && text?.startsWith("more than is kept")));
  assert.ok((await readFile(received)).equals(bytes));
});

test("case 125: attach, and so run -it and the container that debug brings", async () => {
  await createPod(site.admin, "listener", { command: ["cat"], stdin: true });
  const { manifest, text } = await recorded(async () => {
    const attached = bob.start(["attach", "-i", "listener"], { input: "one\ntwo\n" });
    await attached.prints(/one\ntwo\n/);
    await attached.stop();
  });
  assert.deepEqual([manifest.target.kind, manifest.target.pod], ["attach", "listener"]);
  assert.match(text, /one\ntwo\n/);
});

test("case 125: port-forward has its bytes counted", async () => {
  const { manifest, text } = await recorded(async () => {
    const forward = bob.start(["port-forward", "pod/web", ":8080"]);
    const [, port] = await forward.prints(/127\.0\.0\.1:(\d+)/);
    const page = await fetch(`http://127.0.0.1:${port}/`);
    assert.equal(page.status, 200);
    await page.text();
    await forward.stop();
  });
  assert.deepEqual([manifest.target.kind, text], ["portforward", ""]);
  assert.ok((manifest.bytes.stdin ?? 0) > 0 && (manifest.bytes.stdout ?? 0) > 0);
});

for (const [what, path, protocol, headers] of [
  ["v4", `${SHELL}/exec?command=echo&command=hello&stdout=true`, "v4.channel.k8s.io", {}],
  ["an odd case of Upgrade", `${SHELL}/exec?command=echo&command=hello&stdout=true`, V5, { Upgrade: "WebSocket" }],
  [
    "kubectl's word for cp",
    `${SHELL}/exec?command=echo&command=hello&stdout=true`,
    V5,
    { "Kubectl-Command": "kubectl cp" },
  ],
  ["command=tar", `${SHELL}/exec?command=tar&command=--version&stdout=true`, V5, {}],
  ["a terminal that says yes, and no size", `${SHELL}/exec?command=echo&command=hello&stdout=true&tty=yes`, V5, {}],
] as const) {
  test(`case 125: ${what}`, async () => {
    const { manifest, text } = await recorded(async () => {
      const { status, socket, body } = await openWebSocket(site, "bob", path, protocol, headers);
      assert.equal(status, 101, body);
      await socket.drain();
    });
    assert.equal(manifest.exit_code, 0);
    assert.equal(manifest.target.tty, path.includes("tty"));
    assert.match(text, /hello|tar/);
  });
}

test("case 125: a slash at the end, and a plain request, open nothing", async () => {
  const before = (await list()).length;
  const path = `${SHELL}/exec/?command=touch&command=/tmp/slash&stdout=true`;
  const { status } = await openWebSocket(site, "bob", path, V5);
  // The API server takes it or leaves it; what it takes is recorded.
  assert.ok(status === 101 ? (await list()).length > before : status >= 400, String(status));
  const plain = await bob.run(["get", "--raw", `${SHELL}/exec?command=echo&stdout=true`]);
  assert.notEqual(plain.code, 0);
});

test("case 119, 125: a client that is killed, and one that never reads", async () => {
  const killed = await recorded(async () => {
    const exec = bob.start(["exec", "-i", "shell", "--", "sh", "-c", "echo here; exec cat"]);
    await exec.prints(/here/).catch(() => undefined);
    exec.child.kill("SIGKILL");
  });
  assert.match(String(killed.manifest.by), /client|command/);
  const silent = await recorded(async () => {
    const path = `${SHELL}/exec?command=sh&command=-c&command=${encodeURIComponent("yes | head -c 3000000")}&stdout=true`;
    const { socket } = await openWebSocket(site, "bob", path, V5);
    socket.socket.pause();
    await until("all of it is in the recording", LIMIT_MS, async () => {
      const [live] = await list("&state=live");
      const text = live && (await bob.run(["get", "--raw", `/.kube-access/sessions/${live.id}`])).stdout;
      return !live || (text && JSON.parse(text).bytes?.stdout === 3_000_000);
    });
    socket.socket.destroy();
  });
  assert.equal(silent.manifest.bytes.stdout, 3_000_000);
});

test("case 123: every kubectl from 1.30 on prints why it was ended, and exits with 1", async () => {
  const kubectls = (await findKubectls(site.cluster.kubectl)).filter(({ minor }) => minor >= 30);
  assert.ok(kubectls.length > 0);
  for (const { path, version, minor } of kubectls) {
    const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "true" };
    const exec = site
      .as("bob", path)
      .start(["exec", "-i", "shell", "--", "sh", "-c", "echo ready; exec sleep 100"], { env });
    await exec.prints(/ready/);
    const [live] = await list("&state=live");
    await bob.ok(["delete", "--raw", `/.kube-access/sessions/${live?.id}?reason=enough`]);
    assert.equal(await exec.end(), 1, `${version}: ${exec.stderr}`);
    assert.match(exec.stderr, /this session ended: bob@example\.com ended it: enough/, `1.${minor}`);
  }
});

test("others' sessions are for whom RBAC lets", async () => {
  const { manifest } = await recorded(() => bob.ok(["exec", "shell", "--", "true"]));
  const path = `/.kube-access/sessions/${manifest.id}`;
  const dave = await site.as("dave").run(["get", "--raw", path]);
  assert.match(dave.stderr, /Forbidden.*kube-access:auditor, bound to you/);
  assert.equal(JSON.parse(await site.as("alice").ok(["get", "--raw", path])).id, manifest.id);
  const own = JSON.parse(await site.as("dave").ok(["get", "--raw", "/.kube-access/sessions"]));
  assert.deepEqual([own.scope, own.sessions], ["own", []]);
});

test("case 147: kubectl prints that there are too many, and a place comes back", async () => {
  const open = Array.from({ length: MAX_STREAMS }, () =>
    bob.start(["exec", "-i", "shell", "--", "sh", "-c", "echo ready; exec sleep 100"]),
  );
  await Promise.all(open.map((exec) => exec.prints(/ready/)));
  const refused = await bob.run(["exec", "shell", "--", "true"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /you have 3 streams open that are recorded or bounded, and may have no more/);
  await open[0]?.stop();
  await until(
    "there is a place again",
    LIMIT_MS,
    async () => (await bob.run(["exec", "shell", "--", "true"])).code === 0,
  );
  await Promise.all(open.slice(1).map((exec) => exec.stop()));
});

test("case 164: exec that ends early: the client is told what came back, and behind the guarded last hop all of it does", async () => {
  const command = "head -c 100000 >/dev/null; echo reason >&2; exit 3";
  const input = Buffer.alloc(20_000_000);
  for (let round = 0; round < 8; round++) {
    let told = { code: false, reason: false };
    const { manifest } = await recorded(async () => {
      const { code, stderr } = await bob.run(["exec", "-i", "shell", "--", "sh", "-c", command], { input });
      told = { code: code === 3, reason: /^reason$/m.test(stderr) };
    });
    assert.deepEqual(told, { code: manifest.exit_code === 3, reason: (manifest.bytes.stderr ?? 0) > 0 });
    // kubectl proxy loses some of it, before it comes to the gateway: `npm run early-end` counts how often.
    assert.ok(lastHop !== "guarded" || (told.code && told.reason), `round ${round}`);
  }
});
