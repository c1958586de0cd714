// kubectl's streams through the gateway: logs, exec, attach, cp and port-forward.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Kubectl } from "./kubectl.ts";
import { memoryOf } from "./memory.ts";
import { createPod } from "./pods.ts";
import { type Site, startSite } from "./site.ts";
import { hasTerminals, inTerminal, noTerminals } from "./terminal.ts";
import { until } from "./until.ts";

const MB = 1024 * 1024;
const LIMIT_MS = 60_000;

let site: Site;
let bob: Kubectl;

before(async () => {
  site = await startSite();
  bob = site.as("bob");
});
after(() => site?.stop());

test("logs are complete, and logs -f arrive line by line", async () => {
  await createPod(site.admin, "counter", { command: ["sh", "-c", "seq 1 100000; exec sleep 1000"] });
  const complete = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join("");
  await until("the pod has counted", LIMIT_MS, async () => {
    return (await site.admin.ok(["logs", "counter", "--tail=1"])) === "100000\n";
  });
  assert.equal(await bob.ok(["logs", "counter"]), complete);
  assert.equal(await bob.ok(["logs", "counter", "--tail=3"]), "99998\n99999\n100000\n");

  // The pod prints a line only after it was told to, so each must arrive while the stream is silent behind it.
  await createPod(site.admin, "speaker", { command: ["cat"], stdin: true });
  const follow = bob.start(["logs", "-f", "speaker"]);
  for (const line of ["one", "two", "three"]) {
    const speak = site.admin.start(["attach", "-i", "speaker"], { input: `${line}\n` });
    await follow.prints(new RegExp(`^${line}$`, "m"));
    await speak.stop();
  }
  await follow.stop();
});

for (const [code, script] of [
  [0, "exit 0"],
  [1, "exit 1"],
  [7, "echo out; echo err >&2; exit 7"],
  [137, "kill -KILL $$"],
] as const) {
  test(`case 118: exec ends with the command's exit code, ${code}`, async () => {
    const ended = await bob.run(["exec", "shell", "--", "sh", "-c", script]);
    assert.equal(ended.code, code, ended.stderr);
    if (code === 7) {
      assert.equal(ended.stdout, "out\n");
      assert.match(ended.stderr, /^err\ncommand terminated with exit code 7/);
    }
  });
}

test("case 117: the end of stdin reaches the command, and its answer comes back after it", async () => {
  assert.equal(await bob.ok(["exec", "-i", "shell", "--", "cat"], { input: "x\n" }), "x\n");
  assert.equal(await bob.ok(["exec", "-i", "shell", "--", "wc", "-c"], { input: "" }), "0\n");
  const input = randomBytes(3 * MB).toString("base64");
  assert.equal(await bob.ok(["exec", "-i", "shell", "--", "cat"], { input }), input);
});

test("exec -it has a terminal of the caller's size, follows it when it changes, and keeps the exit code", async (t) => {
  if (!hasTerminals) {
    t.skip(noTerminals);
    return;
  }
  // The size follows the start of the command, here as in kubelet.
  const script = 'until stty size | grep "40 100"; do sleep 0.1; done; read line; echo "got $line"; stty size; exit 3';
  const terminal = await inTerminal(bob, ["exec", "-it", "shell", "--", "sh", "-c", script], site.dir);
  const { running } = terminal;
  await running.prints(/^40 100\r$/m);
  await terminal.resize(120, 50);
  await until("the terminal in the pod has the new size", LIMIT_MS, async () => {
    const sizes = await site.admin.run([
      "exec",
      "shell",
      "--",
      "sh",
      "-c",
      "for p in $(pgrep -f 'until stty size'); do stty -F /proc/$p/fd/0 size; done 2>/dev/null",
    ]);
    return sizes.stdout.includes("50 120");
  });
  terminal.type("hello\r");
  await running.prints(/got hello\r\n50 120\r$/m);
  assert.equal(await running.end(), 3);
});

test("case 114: cp carries 20 MB both ways, byte for byte, and workerd's memory stays where it was", async () => {
  const [sent, received] = [join(site.dir, "sent"), join(site.dir, "received")];
  const bytes = randomBytes(20 * MB);
  await writeFile(sent, bytes);
  await bob.ok(["cp", sent, "shell:small"], { limitMs: 60_000 });
  const memory = memoryOf(site.stack.gateway.pid());
  await bob.ok(["cp", sent, "shell:copy"], { limitMs: 60_000 });
  await bob.ok(["cp", "shell:copy", received], { limitMs: 60_000 });
  const { growth } = await memory.stop();
  const digest = (data: Buffer) => createHash("sha256").update(data).digest("hex");
  assert.equal(digest(await readFile(received)), digest(bytes));
  assert.equal((await site.admin.ok(["exec", "shell", "--", "sha256sum", "copy"])).slice(0, 64), digest(bytes));
  assert.ok(growth < 20 * MB, `workerd's memory peaked ${(growth / MB).toFixed(1)} MB higher`);
});

test("attach -i joins the running command's own input and output", async () => {
  await createPod(site.admin, "echo", { command: ["cat"], stdin: true });
  const attached = bob.start(["attach", "-i", "echo"], { input: "first\nsecond\n" });
  await attached.prints(/^first\nsecond\n/m);
  await attached.stop();
  assert.match(await bob.ok(["logs", "echo"]), /first\nsecond\n/);
});

test("case 121: port-forward carries HTTP, 20 requests at a time, each 10 MiB", async () => {
  const forward = bob.start(["port-forward", "pod/web", ":8080"]);
  const [, port] = await forward.prints(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
  const url = `http://127.0.0.1:${port}`;
  assert.equal(await (await fetch(url)).text(), "hello from web\n");
  const sizes = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const response = await fetch(`${url}/bytes/${10 * MB}`, { signal: AbortSignal.timeout(120_000) });
      return (await response.bytes()).length;
    }),
  );
  assert.deepEqual(new Set(sizes), new Set([10 * MB]));
  await forward.stop();
});

test("case 68: kubectl that insists on SPDY is told which kubectl or variable helps", async () => {
  const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false", KUBECTL_PORT_FORWARD_WEBSOCKETS: "false" };
  const [file, sentence] = [
    join(site.dir, "sent"),
    /this gateway carries WebSockets, not SPDY: use kubectl 1\.31 or newer/,
  ];
  for (const args of [
    ["exec", "shell", "--", "true"],
    ["attach", "web"],
    ["cp", file, "shell:x"],
    ["port-forward", "pod/web", ":8080"],
  ]) {
    const { code, stderr } = await bob.run(args, { env });
    assert.equal(code, 1, args.join(" "));
    assert.match(stderr, sentence, args.join(" "));
  }
});

test("exec with a script beyond the limit of a path is told the limit", async () => {
  const { code, stderr } = await bob.run(["exec", "shell", "--", "sh", "-c", `: ${"x".repeat(20 * 1024)}`]);
  assert.equal(code, 1);
  assert.match(stderr, /path and query are too long: at most 16 KiB/);
});
