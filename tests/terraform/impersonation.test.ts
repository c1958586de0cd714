// What a stolen service account can do, in a cluster whose rights Terraform made of a policy by the real providers: nothing by itself,
// and as somebody whom the policy names nothing that a guard for everybody denies. And whether deploy/impersonation.ts, by which the
// local cluster and the doctor go, says of each policy what Terraform made of it.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { actionRules, type Guard, type Impersonation, identityRules } from "../../deploy/impersonation.ts";
import { type ApiResources, apiResources, apiResourcesFile } from "../../dev/api-resources.ts";
import { type Cluster, startCluster } from "../../dev/cluster.ts";
import { openWorkspace, terraform, type Workspace } from "../../dev/terraform-workspace.ts";
import { ADMIN, denied, identities, policies, Stolen } from "../e2e/cluster/stolen.ts";
import { until } from "../e2e/cluster/until.ts";
import { type Cloudflare, startCloudflare } from "./cloudflare.ts";
import { compared, custom, expanded, grants } from "./compared.ts";
import { kubectl, removeReadyMadeAccount } from "./controllers.ts";

const accountId = "0123456789abcdef0123456789abcdef";
const namespace = "kube-access";
let workspace: Workspace;
let cloudflare: Cloudflare;
let cluster: Cluster;

before(async () => {
  workspace = await openWorkspace();
  cloudflare = await startCloudflare(accountId);
  cluster = await startCluster();
  await removeReadyMadeAccount(cluster, namespace);
});

after(async () => {
  await cluster?.stop();
  await cloudflare?.stop();
  await workspace?.remove();
});

for (const [name, guards] of Object.entries(compared)) {
  test(`case 131: ${name}: the cluster holds to it as the module says, and a second plan has nothing to do`, async () => {
    await applied(guards, "constrained");
    assert.deepEqual(
      await made("impersonator"),
      expanded(identityRules({ identities, guards, grants }, "constrained")),
    );
    assert.deepEqual(await made("actions"), expanded(actionRules({ identities, guards }, custom)));
  });
}

test("the older kind knows no actions, and there is a way there and back, without a moment in which nobody enters", async () => {
  await applied([], "constrained");
  const there = await applied([], "legacy");
  const [modified, destroyed] = ["kubernetes_cluster_role_v1.this: Modifications complete", "actions[0]: Destroying"];
  assert.ok(there.includes(modified) && there.indexOf(modified) < there.indexOf(destroyed), there);
  assert.deepEqual(await made("impersonator"), expanded(identityRules({ identities, grants }, "legacy")));
  const roles = await kubectl(cluster, ["get", "clusterroles,clusterrolebindings", "-o", "name"]);
  assert.doesNotMatch(roles, /kube-access-actions/);
  const { status, text } = await (await steal()).ask("/api/v1/pods", {}, ADMIN);
  assert.equal(status, 200, text);
  const back = await applied([], "constrained");
  const [created, changed] = ["binding_v1.actions[0]: Creation complete", "kubernetes_cluster_role_v1.this: Modifying"];
  assert.ok(back.includes(created) && back.indexOf(created) < back.indexOf(changed), back);
});

for (const impersonation of ["legacy", "constrained"] as const) {
  test(`the ${impersonation} kind lets the account be who is given for a time, and nobody else`, async () => {
    await applied([], impersonation);
    const thief = await steal();
    // The API server learns of a rule a moment after it has it.
    await until(
      "the rule's effect",
      30_000,
      async () => (await thief.ask("/version", {}, given("on-call-for-a-time"))).status === 200,
    );
    const { status, text } = await thief.ask("/version", {}, given("on-call-for-ever"));
    assert.equal(status, 403, text);
  });
}

test("the catalogue has every resource that the local cluster serves", async () => {
  const catalogue: ApiResources = JSON.parse(await readFile(apiResourcesFile, "utf8"));
  assert.deepEqual(await apiResources(cluster), catalogue, "node dev/run.mjs dev/api-resources.ts");
});

test("case 129, 181: a stolen account may do nothing by itself", async () => {
  await applied(policies["no secrets"] ?? [], "constrained");
  await (await steal()).mayDoNothing();
});

test("case 130, 181: nor be anybody whom the policy does not name", async () => {
  await (await steal()).canBeNobodyElse();
});

for (const name of Object.keys(denied)) {
  test(`case 98, 131, 181: ${name}: a stolen account cannot do it as somebody who may do everything`, async () => {
    await applied(policies[name] ?? [], "constrained");
    // What was allowed a moment ago is believed for ten seconds.
    await new Promise((resolve) => setTimeout(resolve, 11_000));
    await (await steal()).isHeldTo(name);
  });
}

/** Somebody of the map in a group that no entry has. */
function given(group: string): Record<string, string> {
  return { ...ADMIN, "Impersonate-Group": group };
}

/** What `terraform apply` says. */
async function applied(guards: Guard[], impersonation: Impersonation): Promise<string> {
  // JSON is YAML.
  await writeFile(join(workspace.dir, "policy.yaml"), JSON.stringify({ identities, guards, grants }));
  await writeFile(join(workspace.dir, "terraform.tfvars.json"), JSON.stringify(await variables(impersonation)));
  const said = await run("apply", "-auto-approve", "-no-color");
  await run("plan", "-detailed-exitcode");
  return said;
}

async function variables(impersonation: Impersonation): Promise<object> {
  return {
    account_id: accountId,
    team_domain: "https://acme.cloudflareaccess.com",
    hostname: "kube.example.com",
    identities_file: "policy.yaml",
    cluster: "kubeconfig",
    kubeconfig: {
      path: cluster.adminKubeconfig,
      context: (await kubectl(cluster, ["config", "current-context"])).trim(),
    },
    wait_for_rollout: false, // nothing here makes pods of a Deployment
    allow: { emails: ["alice@example.com"] },
    impersonation,
    custom_resources: custom,
    sessions: true, // for the guards that record or bound
    identities_kv: true, // for the grants
  };
}

function run(command: string, ...args: string[]): Promise<string> {
  const environment = { CLOUDFLARE_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: cloudflare.apiToken };
  return terraform(workspace.dir, [command, "-input=false", ...args], environment);
}

/** The rules of a role that Terraform made. */
async function made(role: string): Promise<string[]> {
  return expanded(
    JSON.parse(await kubectl(cluster, ["get", "clusterrole", `kube-access-${role}`, "-o", "json"])).rules,
  );
}

/** The service account that Terraform made, in a thief's hands. */
async function steal(): Promise<Stolen> {
  return new Stolen(
    cluster,
    (await kubectl(cluster, ["create", "token", "kube-access", "--namespace", namespace])).trim(),
  );
}
