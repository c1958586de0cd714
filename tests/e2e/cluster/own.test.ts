// The gateway's own paths on a real cluster, whose RBAC says who may give what to whom; asked by plain kubectl.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse, stringify } from "yaml";
import type { Grant, Grants, Me } from "../../../page/src/api.ts";
import { type Kubectl, Kubectl as KubectlOf } from "./kubectl.ts";
import { impersonation, type Site, startSite } from "./site.ts";
import { until } from "./until.ts";

/** Workers KV is read anew after half a minute, and a caller is remembered for as long. */
const SEEN_MS = 75_000;

let site: Site;
let alice: Kubectl;
let bob: Kubectl;

before(async () => {
  const variant = { name: `granting-${impersonation}`, guards: [], grants: ["on-call", "ci"] };
  site = await startSite({}, impersonation, { variant });
  alice = site.as("alice");
  bob = site.as("bob");
});

after(() => site?.stop());

async function get<Body>(kubectl: Kubectl, path: string): Promise<Body> {
  return JSON.parse(await kubectl.ok(["get", "--raw", `/.kube-access/${path}`]));
}

function give(kubectl: Kubectl, wish: object) {
  return kubectl.run(["create", "--raw", "/.kube-access/grants", "-f", "-"], { input: JSON.stringify(wish) });
}

function wish(email: string, groups: string[]) {
  return { email, groups, expires: new Date(Date.now() + 3_600_000).toISOString(), reason: "INC-7" };
}

async function groupsOf(kubectl: Kubectl): Promise<string[]> {
  const review = JSON.parse(await kubectl.ok(["auth", "whoami", "-o", "json"]));
  return review.status.userInfo.groups.filter((group: string) => !group.startsWith("system:"));
}

test("kubectl shows its user who they are, and what RBAC gives them less what the guards take", async () => {
  const me = await get<Me>(alice, "me?namespace=team-a");
  assert.deepEqual([me.user, me.rule, me.rights.namespace], ["alice", "email", "team-a"]);
  assert.match(me.cluster.version ?? "", /^v1\.\d+\.\d+/);
  assert.ok(me.namespaces.names.includes("team-a") && me.namespaces.isComplete);
  assert.ok(
    me.rights.wildcards.some(({ resources }) => resources.includes("*")),
    "alice may do everything",
  );
  const dave = await get<Me>(site.as("dave"), "me");
  const row = (resource: string) => dave.rights.rows.find((row) => row.resource === resource)?.verbs ?? {};
  assert.deepEqual(row("pods").get, { is: "yes" });
  assert.deepEqual(row("pods").delete, { is: "taken", by: "contractors-read-only" });
  const refused = await site.as("dave").run(["delete", "pod", "web"]);
  assert.match(refused.stderr, /contractors-read-only/, "and so it is");
  const carol = await get<Me>(site.as("carol"), "me");
  assert.deepEqual(carol.groups, [{ name: "on-call", from: "idp_group" }]);
  assert.deepEqual(carol.actAs?.users, ["breakglass"]);
});

test("the rights that are shown are those that kubectl has, verb by verb", async () => {
  for (const user of ["bob", "ci", "dave"]) {
    const kubectl = site.as(user);
    const namespace = user === "ci" ? "team-a" : "default";
    const { rights } = await get<Me>(kubectl, `me?namespace=${namespace}`);
    assert.ok(rights.isComplete, rights.problem);
    for (const { group, resource, verbs } of rights.rows.filter(({ isUsual }) => isUsual)) {
      for (const verb of ["get", "create", "delete"] as const) {
        const [plain, subresource] = resource.split("/");
        const asked = [
          verb,
          group ? `${plain}.${group}` : plain,
          ...(subresource ? ["--subresource", subresource] : []),
        ];
        const answer = await kubectl.run(["auth", "can-i", ...(asked as string[]), "-n", namespace]);
        // RBAC's word for it, which knows nothing of guards.
        assert.equal(verbs[verb] !== undefined, answer.stdout.trim() === "yes", `${user}: ${asked.join(" ")}`);
      }
    }
  }
});

test("the kubeconfig that is downloaded is kubectl's own", async () => {
  const text = await alice.ok(["get", "--raw", "/.kube-access/kubeconfig"]);
  const config = parse(text);
  assert.equal(config.clusters[0].cluster.server, site.stack.access.url);
  // What WARP and a public certificate are in production.
  config.clusters[0].cluster["certificate-authority-data"] = Buffer.from(site.stack.access.ca).toString("base64");
  config.users[0].user.token = site.stack.access.session("alice");
  const file = join(site.dir, "downloaded.kubeconfig");
  await writeFile(file, stringify(config), { mode: 0o600 });
  const kubectl = new KubectlOf(site.cluster.kubectl, file, site.dir);
  assert.match(await kubectl.ok(["get", "pods"]), /web/);
});

test("a grant is given by whom RBAC lets, is seen within a minute by kubectl and in the cluster's audit log, and is taken back", async () => {
  assert.deepEqual(await groupsOf(bob), ["developers"]);
  const answer = await give(alice, wish("bob@example.com", ["on-call"]));
  assert.equal(answer.code, 0, answer.stderr);
  const grant: Grant = JSON.parse(answer.stdout);
  const has = async (group: string) => (await groupsOf(bob)).includes(group);
  await until("bob is on call", SEEN_MS, () => has("on-call"));
  const event = await site.audit.find("a request by that grant", ({ impersonatedUser }) =>
    Boolean(impersonatedUser?.extra?.["kube-access.dev/grant"]?.includes(grant.id)),
  );
  assert.equal(event.impersonatedUser?.username, "bob@example.com");
  const mine = (await get<Me>(bob, "me")).groups.find(({ from }) => from === "grant");
  assert.deepEqual(mine, { name: "on-call", from: "grant", grant: grant.id, expires: grant.expires });
  assert.match(await alice.ok(["delete", "--raw", `/.kube-access/grants/${grant.id}`]), /Success/);
  await until("bob is no longer on call", SEEN_MS, async () => !(await has("on-call")));
});

test("whoever RBAC does not let is told by kubectl who may, and a rule for one name is for that group alone", async () => {
  const refused = await give(bob, wish("dave@contractors.example", ["on-call"]));
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /does not let bob@example\.com give grants of the group on-call: it takes the ClusterRole kube-access:granter/,
  );
  await site.admin.ok(["apply", "-f", "-"], {
    input: stringify({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "give-ci" },
      rules: [
        { apiGroups: ["kube-access.dev"], resources: ["grants"], resourceNames: ["ci"], verbs: ["create", "delete"] },
      ],
    }),
  });
  await site.admin.ok(["create", "clusterrolebinding", "give-ci", "--clusterrole=give-ci", "--user=bob@example.com"]);
  const given = await until("RBAC has the rule", SEEN_MS, async () => {
    const answer = await give(bob, wish("dave@contractors.example", ["ci"]));
    return answer.code === 0 ? answer : undefined;
  });
  const grant: Grant = JSON.parse(given.stdout);
  const both = await give(bob, wish("dave@contractors.example", ["ci", "on-call"]));
  assert.match(both.stderr, /the group on-call/, "not even together with one that they may");
  const { scope, groups } = await get<Grants>(bob, "grants");
  assert.equal(scope, "own");
  assert.deepEqual(groups, [
    { name: "on-call", mayGive: false, mayTake: false },
    { name: "ci", mayGive: true, mayTake: true },
  ]);
  const elsewhere = await give(alice, wish("bob@example.com", ["platform-admins"]));
  assert.match(elsewhere.stderr, /platform-admins is not for granting/);
  assert.equal((await bob.run(["delete", "--raw", `/.kube-access/grants/${grant.id}`])).code, 0);
  assert.deepEqual((await get<Grants>(alice, "grants")).grants, []);
});

test("the gateway's own paths answer nobody as somebody else", async () => {
  const asOther = await site.as("carol").run(["--as", "breakglass", "get", "--raw", "/.kube-access/me"]);
  assert.equal(asOther.code, 1);
  assert.match(asOther.stderr, /answer you as yourself/);
});
