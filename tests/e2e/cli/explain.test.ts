// `kubectl access explain --replay` on logs that the gateway and a real API server wrote.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { Kubectl } from "../cluster/kubectl.ts";
import { type Site, startSite } from "../cluster/site.ts";
import { until } from "../cluster/until.ts";
import { built, place } from "./cli.ts";

const policy = resolve(import.meta.dirname, "../../../identities.yaml");
let site: Site;

before(async () => {
  await built();
  site = await startSite();
  await site.as("alice").ok(["get", "pods"]);
  await site.as("alice").ok(["exec", "shell", "--", "true"]);
  await site.as("alice").ok(["get", "services", "--as", "alice", "--as-group", "platform-admins"]);
  await site.as("bob").ok(["exec", "shell", "--", "true"]);
  await site.as("ci").ok(["get", "deployments", "-n", "team-a"]);
  await site.as("carol").ok(["get", "secrets", "-A", "--as", "breakglass"]);
  await site.as("carol").ok(["get", "pods", "--as", "breakglass", "--as-user-extra", "reason=INC-7"]);
  await site.as("carol").ok(["get", "pods"]);
  await site.as("bob").run(["get", "secrets"]);
  await site.as("dave").run(["delete", "pod", "web"]);
  await site.as("mallory").run(["get", "pods"]);
});
after(() => site?.stop());

/** Both logs, each as a file: what the gateway wrote, and what the cluster did. */
async function logs(): Promise<{ gateway: string; cluster: string }> {
  const events = () => site.stack.gateway.logs().filter((line) => line.includes('"kind":"Event"'));
  await until("the last event is there", 30_000, () =>
    events().some((line) => line.includes("mallory@elsewhere.test")),
  );
  const gateway = join(site.dir, "gateway.jsonl");
  await writeFile(gateway, `${events().join("\n")}\n`);
  return { gateway, cluster: site.cluster.auditLog };
}

test("by the policy that it was written under, neither log differs in anything", async (t) => {
  const { access } = await place(t, site);
  const files = await logs();
  for (const file of [files.gateway, files.cluster]) {
    const replay = ["explain", "--policy", policy, "--replay", file, "--against", policy, "-o", "json"];
    const found = JSON.parse(await access().ok(replay));
    assert.ok(found.events >= 10 && found.unreadable === 0 && found.unexplained === 0, JSON.stringify(found));
    assert.deepEqual(found.differ, [], file);
  }
});

test("a policy that takes something away says from whom, by which rule, and fails", async (t) => {
  const { access, home } = await place(t, site);
  const against = join(home, "new.yaml");
  const text = (await readFile(policy, "utf8"))
    .replace("groups: [ci]", "groups: [pipelines]")
    .replace("act_as: { users: [breakglass] }", "act_as: { users: [nobody-else] }")
    .concat(
      "  - name: bob-enters-nothing\n    for: { users: [bob@example.com] }\n    deny: [{ resources: [pods/exec] }]\n",
      "  - name: watched\n    for: { users: [alice] }\n    record: true\n",
    )
    .replace("guards:", "  - email: mallory@elsewhere.test\n    user: mallory\nguards:");
  await writeFile(against, text);
  const files = await logs();
  for (const file of [files.gateway, files.cluster]) {
    const replay = ["explain", "--policy", policy, "--replay", file, "--against", against, "-o", "json"];
    const { code, stdout, stderr } = await access().run(replay);
    assert.equal(code, 1, stderr);
    const rows: { effect: string; caller: string; rule: string; what: string }[] = JSON.parse(stdout).differ;
    const told = rows.map(({ effect, caller, rule, what }) => `${effect} ${caller} ${rule}: ${what}`);
    const isGateways = file === files.gateway;
    for (const row of [
      "loses bob@example.com guard bob-enters-nothing: get pods/exec",
      "loses 0123456789abcdef.access entry service_token: group ci",
      "gains 0123456789abcdef.access entry service_token: group pipelines",
      "loses carol@elsewhere.test act_as: list secrets",
      "changes alice@example.com guard watched: what is recorded or bounded of get pods/exec",
      // Only the gateway knows of whom it let nothing through.
      ...(isGateways ? ["gains mallory@elsewhere.test no entry: list pods"] : []),
    ]) {
      assert.ok(told.includes(row), `${file}: ${row}\n${told.join("\n")}`);
    }
    // RBAC refused bob's secrets, and the guard dave's delete: neither had it, so neither loses it.
    assert.ok(!told.some((row) => /secrets/.test(row) && row.includes("bob")), told.join("\n"));
    assert.ok(!told.some((row) => row.startsWith("loses dave")), told.join("\n"));
  }
});

test("a log that was written under another policy is no success", async (t) => {
  const { access, home } = await place(t, site);
  const another = join(home, "another.yaml");
  await writeFile(another, "identities:\n  - { email: bob@example.com, user: bob, groups: [developers] }\n");
  const { gateway, cluster } = await logs();
  for (const file of [gateway, cluster]) {
    const replay = ["explain", "--policy", another, "--replay", file, "--against", another];
    const { code, stdout } = await access().run(replay);
    assert.equal(code, 1);
    assert.match(stdout, /unexplained +alice@example.com +no entry +list pods/);
    assert.match(stdout, /Whether anything is lost cannot be told\.\n$/);
  }
});

test("the questions that remain are commands, and what the cluster answers is what kubectl then meets", async (t) => {
  const { access, home } = await place(t, site);
  const admin = new Kubectl("bash", site.cluster.adminKubeconfig, home);
  admin.environment.PATH = access().environment.PATH ?? "";
  for (const [who, name, words] of [
    ["bob@example.com", "bob", ["exec", "shell", "-n", "default", "--", "true"]],
    ["bob@example.com", "bob", ["get", "secrets", "-n", "default"]],
    ["0123456789abcdef.access", "ci", ["get", "deployments", "-n", "team-a"]],
    ["0123456789abcdef.access", "ci", ["get", "pods", "-n", "default"]],
    ["alice@example.com", "alice", ["get", "nodes"]],
  ] as const) {
    const explain = ["explain", "--policy", policy, "-o", "json", "--as-caller", who, ...words];
    const { rbac } = JSON.parse(await access().ok(explain)) as { rbac: string[] };
    assert.ok(rbac.length > 0);
    const answers = await Promise.all(rbac.map(async (command) => (await admin.run(["-c", command])).stdout.trim()));
    assert.ok(
      answers.every((answer) => /^(yes|no)$/.test(answer)),
      `${rbac.join("\n")}\n${answers}`,
    );
    const { code, stderr } = await site.as(name).run([...words]);
    assert.equal(
      answers.every((answer) => answer === "yes"),
      code === 0,
      `${who} ${words.join(" ")}: ${answers} ${stderr}`,
    );
  }
});
