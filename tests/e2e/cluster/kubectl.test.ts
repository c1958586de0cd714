// kubectl through the gateway to a real API server: what needs no streams. The users and their rights are those of
// identities.yaml and of the local cluster.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Kubectl } from "./kubectl.ts";
import { type Site, startSite } from "./site.ts";

let site: Site;
let alice: Kubectl;
let bob: Kubectl;
let ci: Kubectl;
let mallory: Kubectl;

before(async () => {
  site = await startSite();
  [alice, bob, ci, mallory] = ["alice", "bob", "ci", "mallory"].map((user) => site.as(user)) as [
    Kubectl,
    Kubectl,
    Kubectl,
    Kubectl,
  ];
});
after(() => site?.stop());

function configMap(name: string, data: Record<string, string> = {}): string {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data });
}

test("get and list answer in every form that kubectl asks for", async () => {
  assert.match(
    await alice.ok(["get", "pods"]),
    /^NAME +READY +STATUS[^\n]*\nshell +1\/1 +Running .*\nweb +1\/1 +Running /,
  );
  assert.equal(await alice.ok(["get", "pod", "web", "-o", "jsonpath={.metadata.name}"]), "web");
  assert.match(await alice.ok(["get", "pods", "-A", "-o", "name"]), /pod\/shell\npod\/web/);
  assert.match(await alice.ok(["describe", "pod", "web"]), /Name: +web\n/);
  assert.match(await alice.ok(["api-resources"]), /configmaps +cm +v1 +true/);
  assert.match(await alice.ok(["explain", "pod.spec"]), /DESCRIPTION/);
  assert.match(await alice.ok(["version"]), /Server Version: v1\./);
});

test("case 107: events of a watch arrive one by one, each before the next one happens", async () => {
  const watch = alice.start(["get", "configmaps", "--watch-only", "--output-watch-events", "-l", "watched=yes"]);
  const events = ["create", "label", "delete"];
  const happen = {
    create: () => site.admin.ok(["create", "-f", "-"], { input: watched("first") }),
    label: () => site.admin.ok(["label", "configmap", "first", "more=yes"]),
    delete: () => site.admin.ok(["delete", "configmap", "first"]),
  };
  const shown = { create: /ADDED +first/, label: /MODIFIED +first/, delete: /DELETED +first/ };
  await site.audit.find("the watch", (event) => event.verb === "watch" && event.requestURI.includes("watched"));
  for (const event of events as (keyof typeof happen)[]) {
    await happen[event]();
    await watch.prints(shown[event]);
  }
  await watch.stop();
  assert.equal(watch.stdout.trim().split("\n").length, 4, "a heading and three events");
});

function watched(name: string): string {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { watched: "yes" } } });
}

test("case 73: apply, server-side apply, patch, replace and delete change what they say", async () => {
  const value = () => alice.ok(["get", "configmap", "c", "-o", "jsonpath={.data.a}"]);
  assert.match(await alice.ok(["apply", "-f", "-"], { input: configMap("c", { a: "1" }) }), /configmap\/c created/);
  assert.match(await alice.ok(["apply", "-f", "-"], { input: configMap("c", { a: "2" }) }), /configmap\/c configured/);
  assert.equal(await value(), "2");
  const serverSide = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
  assert.match(await alice.ok(serverSide, { input: configMap("c", { a: "3" }) }), /configmap\/c serverside-applied/);
  assert.equal(await value(), "3");
  const patches = { merge: { data: { a: "4" } }, strategic: { data: { a: "5" } } };
  for (const [type, patch] of Object.entries(patches)) {
    await alice.ok(["patch", "configmap", "c", "--type", type, "-p", JSON.stringify(patch)]);
    assert.equal(await value(), patch.data.a);
  }
  const jsonPatch = JSON.stringify([{ op: "replace", path: "/data/a", value: "6" }]);
  await alice.ok(["patch", "configmap", "c", "--type", "json", "-p", jsonPatch]);
  assert.equal(await value(), "6");
  await alice.ok(["replace", "-f", "-"], { input: configMap("c", { a: "7" }) });
  assert.match(await alice.ok(["diff", "-f", "-"], { input: configMap("c", { a: "7" }) }), /^$/);
  assert.match(await alice.ok(["delete", "configmap", "c"]), /configmap "c" deleted/);
  assert.match(
    (await alice.run(["get", "configmap", "c"])).stderr,
    /Error from server \(NotFound\): configmaps "c" not found/,
  );
});

test("case 40: whoami shows the user, every group and every extra that the gateway set, and no others", async () => {
  const expected = {
    alice: {
      username: "alice",
      groups: ["platform-admins", "developers", "system:authenticated"],
      email: "alice@example.com",
    },
    bob: { username: "bob@example.com", groups: ["developers", "system:authenticated"], email: "bob@example.com" },
    ci: { username: "ci-deployer", groups: ["ci", "system:authenticated"], email: undefined },
  };
  for (const [user, { username, groups, email }] of Object.entries(expected)) {
    const review = JSON.parse(await site.as(user).ok(["auth", "whoami", "-o", "json"]));
    const { extra, ...info } = review.status.userInfo;
    assert.deepEqual({ ...info, groups: info.groups.toSorted() }, { username, groups: groups.toSorted() });
    const keys = ["kube-access.dev/email", "kube-access.dev/subject"];
    assert.deepEqual(Object.keys(extra).sort(), email ? keys : keys.slice(1));
    assert.deepEqual(extra["kube-access.dev/email"], email && [email]);
  }
  assert.match(
    await alice.ok(["auth", "whoami"]),
    /Username +alice\nGroups +\[platform-admins developers system:authenticated\]/,
  );
});

test("RBAC decides: each user may do what their groups may, and is told what they may not", async () => {
  assert.match(await bob.ok(["get", "pods"]), /web/);
  const secrets = await bob.run(["get", "secrets"]);
  assert.equal(secrets.code, 1);
  assert.equal(
    secrets.stderr.trim(),
    'Error from server (Forbidden): secrets is forbidden: User "bob@example.com" cannot list resource "secrets" in API group "" in the namespace "default"',
  );
  assert.match(
    (await bob.run(["delete", "pod", "web"])).stderr,
    /pods "web" is forbidden: User "bob@example.com" cannot delete/,
  );
  assert.match(await ci.ok(["create", "-f", "-"], { input: configMap("deployed") }), /configmap\/deployed created/);
  assert.match(
    (await ci.run(["get", "pods", "-n", "default"])).stderr,
    /User "ci-deployer" cannot list resource "pods"/,
  );
  assert.match(await alice.ok(["get", "secrets", "-A"]), /^/);
  assert.equal((await bob.run(["auth", "can-i", "list", "secrets"])).stdout, "no\n");
  assert.equal(await bob.ok(["auth", "can-i", "create", "pods", "--subresource=exec"]), "yes\n");
});

test("case 47, 75, 81: without act_as, --as is refused with a sentence, whatever else is asked", async () => {
  const sentence =
    /Error from server \(Forbidden\): .*this gateway does not take impersonation from callers whose entry has no act_as: leave out --as/;
  for (const flags of [
    ["--as", "bob@example.com"],
    ["--as", "breakglass", "--as-group", "platform-admins"],
    ["--as", "alice", "--as-group", "ci"],
    ["--as", "alice", "--as-uid", "1"],
    ["--as", "alice", "--as-user-extra", "reason=x"],
  ]) {
    for (const command of [
      ["get", "pods"],
      ["get", "--raw", "/version"],
    ]) {
      const { code, stdout, stderr } = await alice.run([...command, ...flags]);
      assert.deepEqual([code, stdout], [1, ""], flags.join(" "));
      assert.match(stderr, sentence);
    }
  }
  const streamed = await alice.run(["exec", "shell", "--as", "root", "--", "true"]);
  assert.equal(streamed.code, 1);
  assert.match(streamed.stderr, /leave out --as/);
});

test("case 31: whom no identity matches is told so by kubectl, on discovery as on resources", async () => {
  for (const args of [
    ["get", "pods"],
    ["version"],
    ["api-resources"],
    ["get", "--raw", "/api/v1/pods"],
    ["logs", "web"],
  ]) {
    const { code, stderr } = await mallory.run(args);
    assert.equal(code, 1, args.join(" "));
    assert.match(stderr, /mallory@elsewhere\.test/, `${args.join(" ")}: ${stderr}`);
  }
  const events = await site.audit.events();
  assert.ok(!events.some((event) => JSON.stringify(event).includes("mallory")), "nothing of it reached the cluster");
});
