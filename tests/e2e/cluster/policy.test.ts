// The policy as kubectl and the cluster see it: a login by a group of the identity provider, --as, and a guard.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Site, startSite } from "./site.ts";

let site: Site;

before(async () => {
  site = await startSite();
});
after(() => site?.stop());

interface WhoAmI {
  username: string;
  groups: string[];
  extra: Record<string, string[]>;
}

async function whoAmI(user: string, ...more: string[]): Promise<WhoAmI> {
  return JSON.parse(await site.as(user).ok(["auth", "whoami", "-o", "json", ...more])).status.userInfo;
}

test("a group of the identity provider alone makes somebody an engineer on call", async () => {
  const { username, groups, extra } = await whoAmI("carol");
  assert.equal(username, "on-call-engineer");
  assert.deepEqual(groups.toSorted(), ["on-call", "system:authenticated"]);
  assert.deepEqual(extra["kube-access.dev/email"], ["carol@elsewhere.test"]);
  assert.match(await site.as("carol").ok(["get", "pods"]), /web/);
});

test("case 82, 88: on call, --as breakglass does everything, and both audit logs show both names", async () => {
  const carol = site.as("carol");
  const refused = await carol.run(["get", "secrets", "-A"]);
  assert.match(refused.stderr, /User "on-call-engineer" cannot list resource "secrets"/);
  await carol.ok(["get", "secrets", "-A", "--as", "breakglass"]);
  const event = await site.audit.find(
    "the list of secrets as breakglass",
    ({ verb, objectRef, impersonatedUser }) =>
      verb === "list" && objectRef?.resource === "secrets" && impersonatedUser?.username === "breakglass",
  );
  assert.deepEqual(event.impersonatedUser?.extra?.["kube-access.dev/original-user"], ["on-call-engineer"]);
  assert.deepEqual(event.impersonatedUser?.extra?.["kube-access.dev/original-groups"], ["on-call"]);
  assert.deepEqual(event.impersonatedUser?.extra?.["kube-access.dev/email"], ["carol@elsewhere.test"]);
  const ours = site.stack.gateway
    .logs()
    .filter((line) => line.includes('"kind":"Event"') && line.includes(event.auditID))
    .map((line) => JSON.parse(line));
  assert.equal(ours.length, 1);
  assert.equal(ours[0].user.username, "on-call-engineer");
  const extra = {
    "kube-access.dev/original-groups": ["on-call"],
    "kube-access.dev/original-user": ["on-call-engineer"],
  };
  assert.deepEqual(ours[0].impersonatedUser, { username: "breakglass", extra });
  const reviews = await site.audit.find(
    "the question whether carol may",
    ({ objectRef, impersonatedUser }) =>
      objectRef?.resource === "selfsubjectaccessreviews" && impersonatedUser?.username === "on-call-engineer",
  );
  assert.equal(reviews.responseStatus?.code, 201);
});

test("streams go as the other too, and a reason is told to the cluster", async () => {
  const carol = site.as("carol");
  const as = ["--as", "breakglass", "--as-user-extra", "reason=INC-7"];
  assert.equal(await carol.ok(["exec", "shell", ...as, "--", "echo", "out"]), "out\n");
  const { username, extra } = await whoAmI("carol", ...as);
  assert.equal(username, "breakglass");
  assert.deepEqual(extra["kube-access.dev/reason"], ["INC-7"]);
});

test("case 75, 83: who may not act as somebody else is told why, by kubectl", async () => {
  const { code, stderr } = await site.as("alice").run(["get", "pods", "--as", "breakglass"]);
  assert.equal(code, 1);
  assert.match(stderr, /does not take impersonation from callers whose entry has no act_as: leave out --as/);
  const root = await site.as("carol").run(["get", "pods", "--as", "root"]);
  assert.match(
    root.stderr,
    /you may not act as user "root" through this gateway: act_as of your entry does not name it/,
  );
  const binding = ["clusterrolebinding", "on-call-become-breakglass"];
  const saved = await site.admin.ok(["get", ...binding, "-o", "json"]);
  await site.admin.ok(["delete", ...binding]);
  try {
    // A yes is believed for ten seconds.
    await assert.doesNotReject(async () => {
      for (let tries = 0; tries < 60; tries += 1) {
        const denied = await site.as("carol").run(["get", "pods", "--as", "breakglass"]);
        if (denied.code === 1) {
          assert.match(denied.stderr, /RBAC does not let on-call-engineer act as user "breakglass"/);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      assert.fail("the right is gone, and breakglass still enters");
    });
  } finally {
    const { apiVersion, kind, metadata, roleRef, subjects } = JSON.parse(saved);
    const restored = { apiVersion, kind, metadata: { name: metadata.name }, roleRef, subjects };
    await site.admin.ok(["create", "-f", "-"], { input: JSON.stringify(restored) });
  }
});

test("case 76: with one's own name, --as-group gives up groups for a moment", async () => {
  const fewer = await whoAmI("alice", "--as", "alice", "--as-group", "developers");
  assert.deepEqual([fewer.username, fewer.groups.toSorted()], ["alice", ["developers", "system:authenticated"]]);
  const { stderr } = await site.as("alice").run(["get", "nodes", "--as", "alice", "--as-group", "developers"]);
  assert.match(stderr, /User "alice" cannot list resource "nodes"/);
  const all = await whoAmI("alice", "--as", "alice");
  assert.ok(all.groups.includes("platform-admins"));
});

test("case 98, 178: a guard takes away what RBAC gives, by its name, and kubectl works otherwise", async () => {
  const dave = site.as("dave");
  assert.match(await dave.ok(["get", "pods"]), /web/);
  assert.match(await dave.ok(["logs", "web", "--tail=1"]), /tick/);
  assert.match(await dave.ok(["auth", "whoami"]), /contractor/);
  assert.match(await dave.ok(["api-resources"]), /configmaps/);
  assert.match(await dave.ok(["explain", "pod.spec"]), /DESCRIPTION/);
  assert.match(await dave.ok(["auth", "can-i", "--list"]), /configmaps/);
  const guard = /the guard "contractors-read-only" of this gateway does not let/;
  for (const args of [
    ["exec", "shell", "--", "true"],
    ["attach", "web"],
    ["port-forward", "pod/web", ":8080"],
    ["cp", "shell:/etc/hostname", `${site.dir}/copied`],
    ["get", "secrets"],
    ["delete", "pod", "web"],
    ["run", "x", "--image=x"],
    ["debug", "web", "--image=x", "--target=web"],
    ["create", "configmap", "x"],
    ["get", "--raw", "/metrics"],
    ["get", "--raw", "/api/v1/namespaces/default/services/web/proxy/"],
  ]) {
    const { code, stderr } = await dave.run(args);
    assert.notEqual(code, 0, args.join(" "));
    assert.match(stderr, guard, args.join(" "));
  }
  const events = site.stack.gateway.logs().filter((line) => line.includes("contractors-read-only"));
  assert.ok(events.some((line) => JSON.parse(line).annotations?.["kube-access.dev/decision"] === "refuse"));
});
