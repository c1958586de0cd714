// `kubectl access whoami`, `grant`, `revoke`, `grants` and `sessions`: the gateway's own answers, on a real cluster, as kubectl's plugin.

import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Kubectl } from "../cluster/kubectl.ts";
import { impersonation, type Site, startSite } from "../cluster/site.ts";
import { hasTerminals, inTerminal, noTerminals } from "../cluster/terminal.ts";
import { until } from "../cluster/until.ts";
import { built, place } from "./cli.ts";

let site: Site;
/** Somebody's `kubectl`, which finds `kubectl access`. */
let as: (user: string) => Kubectl;

before(async () => {
  await built();
  const guards = [{ name: "recorded", for: { groups: ["developers"] }, record: true as const, max_session: "4h" }];
  site = await startSite({}, impersonation, { variant: { name: "cli", guards, grants: ["on-call"] } });
  const { access, home } = await place({ after: () => {} } as never, site);
  const { PATH = "" } = access().environment;
  as = (user) => {
    const kubectl = new Kubectl(join(home, "bin/kubectl"), join(site.dir, `${user}.kubeconfig`), home);
    kubectl.environment.PATH = PATH;
    return kubectl;
  };
});
after(() => site?.stop());

test("whoami tells who one is, why, and what one may do", async () => {
  const alice = await as("alice").ok(["access", "whoami"]);
  assert.match(
    alice,
    /^User: +alice \(alice@example\.com\)\nLet in by: +the entry email\nGroups: +platform-admins, by email\n/,
  );
  assert.match(alice, /Guard: +recorded: .*records output, ends streams after 4h00m/);
  assert.match(alice, /Cluster: +127\.0\.0\.1:\d+ v1\.\d+\.\d+/);
  assert.match(alice, /\npods\/exec .*yes, recorded/);
  const dave = await as("dave").ok(["access", "whoami", "-n", "default"]);
  assert.match(dave, /\npods +yes +yes +yes +\S.*no \(contractors-read-only\)/);
  const json = JSON.parse(await as("ci").ok(["access", "whoami", "-n", "team-a", "-o", "json"]));
  assert.deepEqual(
    [json.user, json.serviceToken, json.rights.namespace],
    ["ci-deployer", "0123456789abcdef.access", "team-a"],
  );
  const { code, stderr } = await as("mallory").run(["access", "whoami"]);
  assert.deepEqual([code, /is in no entry of this gateway's identity map/.test(stderr)], [1, true], stderr);
});

test("a grant is given, listed and taken back; whoever may not is told by whom they could", async () => {
  const grant = ["access", "grant", "bob@example.com", "--groups", "on-call", "--for", "2h", "--reason", "INC-7"];
  const given = await as("alice").ok(grant);
  const [, id = ""] = given.match(/^(g-\S+): bob@example\.com has on-call until 20\d\d-\S+Z\n/) ?? [];
  assert.notEqual(id, "", given);
  assert.match(await as("alice").ok(["access", "grants"]), new RegExp(`${id} +bob@example\\.com +on-call .* INC-7`));
  assert.match(await as("bob").ok(["access", "grants"]), new RegExp(id), "one's own");
  const refused = await as("bob").run(grant);
  assert.deepEqual(
    [refused.code, /takes the ClusterRole kube-access:granter/.test(refused.stderr)],
    [1, true],
    refused.stderr,
  );
  await as("alice").ok(["access", "revoke", id]);
  assert.doesNotMatch(await as("alice").ok(["access", "grants"]), new RegExp(id));
  const again = await as("alice").run(["access", "revoke", id]);
  assert.notEqual(again.code, 0);
  for (const wrong of [
    ["--for", "31d"],
    ["--for", "soon"],
  ]) {
    const { code, stderr } = await as("alice").run([
      "access",
      "grant",
      "x@y.z",
      "--groups",
      "on-call",
      "--reason",
      "x",
      ...wrong,
    ]);
    assert.deepEqual([code, /expected days, hours and minutes/.test(stderr)], [2, true], stderr);
  }
});

test("a recorded session is listed, shown, played, saved and verified", async () => {
  const { stdout } = await as("bob").run([
    "exec",
    "shell",
    "--",
    "sh",
    "-c",
    "printf '\\033[1mhello\\033[0m\\n'; exit 3",
  ]);
  assert.match(stdout, /hello/);
  const sessions = (...args: string[]) => as("bob").ok(["access", "sessions", ...args]);
  const listed = await until("it has ended", 60_000, async () => {
    const { sessions: all } = JSON.parse(await sessions("list", "-o", "json"));
    return all.find(
      ({ state, exit_code }: { state: string; exit_code?: number }) => state === "ended" && exit_code === 3,
    );
  });
  assert.match(
    await sessions("list", "--pod", "shell"),
    new RegExp(`${listed.id} +ended +bob@example\\.com +default/shell +exec .* 3\n`),
  );
  assert.match(
    await sessions("show", listed.id),
    /Command: +sh -c .*\n[\s\S]*Exit code: +3\n[\s\S]*Chain ends: +[0-9a-f]{64}/,
  );
  assert.match(await sessions("verify", listed.id), /^ok: \d+ chunks?, \d+ bytes?, chain ends in [0-9a-f]{64}\n$/);
  const played = await sessions("play", listed.id, "--speed", "100");
  assert.ok(played.includes("\x1b[1mhello\x1b[0m") && played.endsWith("\x1b[0m"), JSON.stringify(played));
  const file = join(site.dir, "saved.cast");
  assert.match(await sessions("play", listed.id, "--save", file), /^Saved \d+ bytes/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.match(await readFile(file, "utf8"), /^\{"version": ?2/);
  const twice = await as("bob").run(["access", "sessions", "play", listed.id, "--save", file]);
  assert.match(twice.stderr, /name another file/);
  const strange = await as("dave").run(["access", "sessions", "show", listed.id]);
  assert.deepEqual(
    [strange.code, /it takes the ClusterRole kube-access:auditor/.test(strange.stderr)],
    [1, true],
    strange.stderr,
  );
  const path = await as("bob").run(["access", "sessions", "show", "../../api/v1/secrets"]);
  assert.deepEqual([path.code, /no ID of a session/.test(path.stderr)], [2, true]);
});

test("Ctrl-C ends what is played, and the terminal is put right", { skip: !hasTerminals && noTerminals }, async () => {
  const slow = "printf '\\033[?1049h\\033[?25lone'; sleep 1; printf two; exit 4";
  await as("bob").run(["exec", "shell", "--", "sh", "-c", slow]);
  const { id } = await until("it has ended", 60_000, async () => {
    const { sessions } = JSON.parse(await as("bob").ok(["access", "sessions", "list", "-o", "json"]));
    return sessions.find(({ exit_code }: { exit_code?: number }) => exit_code === 4);
  });
  const play = ["access", "sessions", "play", id, "--speed", "0.001", "--idle", "1000"];
  const { running, type } = await inTerminal(as("bob"), play, site.dir);
  await running.prints(/one/);
  // What a terminal would answer is not typed into a shell.
  type("\x1b[1;1R");
  type("\x03");
  assert.equal(await running.end(), 0, running.stdout);
  assert.ok(
    running.stdout.includes("\x1b[?1049l") && running.stdout.includes("\x1b[?25h") && !running.stdout.includes("two"),
  );
});

test("a live session is ended by whoever may, and its user is told why", async () => {
  const running = as("bob").start(["exec", "shell", "--", "sh", "-c", "echo ready; sleep 60"]);
  await running.prints(/ready/);
  const live = await until("it is listed", 30_000, async () => {
    const { sessions } = JSON.parse(await as("alice").ok(["access", "sessions", "list", "--live", "-o", "json"]));
    return sessions.find(({ user }: { user: string }) => user === "bob@example.com");
  });
  await as("alice").ok(["access", "sessions", "end", live.id, "--reason", "lunch & learn"]);
  assert.equal(await running.end(), 1);
  assert.match(running.stderr, /lunch & learn/);
});
