// The whole configuration applied by the real providers: the Kubernetes half to a real API server, the Cloudflare half to a
// stand-in for its REST API. Then `kubectl proxy` runs under the very service account that was made, with the arguments of the
// very Deployment that was made.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type Cluster, startCluster } from "../../dev/cluster.ts";
import { openWorkspace, terraform, type Workspace } from "../../dev/terraform-workspace.ts";
import { type Cloudflare, startCloudflare } from "./cloudflare.ts";
import { kubectl, withControllers } from "./controllers.ts";
import { type LastHop, startLastHop } from "./last-hop.ts";

const namespace = "kube-access";
const accountId = "0123456789abcdef0123456789abcdef";
// Of terraform/tests/identities.yaml.
const alice = { "Impersonate-User": "alice@example.com", "Impersonate-Group": "platform-admins" };

let workspace: Workspace;
let cloudflare: Cloudflare;
let cluster: Cluster;
let lastHop: LastHop | undefined;

before(async () => {
  workspace = await openWorkspace();
  cloudflare = await startCloudflare(accountId);
  cluster = await startCluster();
  await removeReadyMadeAccount();
  await writeFile(join(workspace.dir, "terraform.tfvars.json"), JSON.stringify(await variables()));
});

after(async () => {
  await lastHop?.stop();
  await cluster?.stop();
  await cloudflare?.stop();
  await workspace?.remove();
});

test("the first apply makes everything but the host name", async () => {
  await run("apply", "-auto-approve");
  assert.deepEqual(collections(), [
    "access/apps",
    "access/policies",
    "access/policies",
    "cfd_tunnel",
    "connectivity/directory/services",
    "storage/kv/namespaces",
  ]);
  assert.match(await run("output", "-raw", "next_steps"), /^npm run deploy\nterraform -chdir=terraform apply$/m);
});

test("a second plan has nothing to do", async () => {
  await run("plan", "-detailed-exitcode");
});

test("the outputs are Cloudflare's own", async () => {
  const outputs = JSON.parse(await run("output", "-json"));
  assert.equal(outputs.access_aud.value, made("access/apps").aud);
  assert.equal(outputs.vpc_service_id.value, made("connectivity/directory/services").service_id);
  assert.equal(outputs.identities_kv_id.value, made("storage/kv/namespaces").id);
  assert.deepEqual(
    Object.values<{ sensitive: boolean }>(outputs).filter(({ sensitive }) => sensitive),
    [],
    "a cluster of one's own has no secret to tell",
  );
});

test("the application asks for its policies in order, people first", () => {
  const policies = cloudflare.objects().filter(({ collection }) => collection === "access/policies");
  const decisions = new Map(policies.map(({ fields }) => [fields.id, fields.decision]));
  const asked = made("access/apps").policies as { id: string; precedence: number }[];
  assert.deepEqual(
    asked.map(({ id, precedence }) => [decisions.get(id), precedence]),
    [
      ["allow", 1],
      ["non_identity", 2],
    ],
  );
});

test("once the Worker is deployed, an apply gives it the host name", async () => {
  cloudflare.deployWorker("kube-access");
  await run("apply", "-auto-approve");
  const { hostname, service } = made("workers/domains");
  assert.deepEqual({ hostname, service }, { hostname: "kube.example.com", service: "kube-access" });
  await run("plan", "-detailed-exitcode");
  assert.match(await run("output", "-raw", "next_steps"), /auth whoami/);
});

test("the same cluster by its address and a command that prints credentials has nothing to do either", async () => {
  const config = JSON.parse(await kubectl(cluster, ["config", "view", "--raw", "--minify", "-o", "json"]));
  const status = { token: config.users[0].user.token as string };
  const credential = { apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status };
  const file = join(workspace.dir, "endpoint.json");
  const endpoint = {
    host: cluster.server,
    ca_certificate: await readFile(cluster.caFile, "utf8"),
    exec: { command: "echo", args: [JSON.stringify(credential)] },
  };
  await writeFile(file, JSON.stringify({ cluster: "endpoint", kubeconfig: null, endpoint }));
  await run("plan", "-detailed-exitcode", `-var-file=${file}`);
});

test("the Secret holds the tunnel's token", async () => {
  const secret = await get("secret", "tunnel-token");
  const token = Buffer.from(secret.data.token, "base64").toString();
  assert.equal(token, cloudflare.tokenOf(String(made("cfd_tunnel").id)));
});

test("the API server takes the pod template under the restricted standard without a warning", async () => {
  const { spec } = await get("deployment", "kube-access");
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "dry-run", namespace }, spec: spec.template.spec };
  await kubectl(cluster, ["create", "--dry-run=server", "--warnings-as-errors", "-f", "-"], JSON.stringify(pod));
});

test("case 129: without Impersonate-User the service account may do nothing", async () => {
  lastHop = await startLastHop(cluster, namespace);
  for (const path of ["/api/v1/pods", "/api/v1/namespaces/kube-access/secrets", "/apis/apps/v1/deployments"]) {
    const { status, text } = await ask(path, {});
    assert.equal(status, 403, text);
    assert.match(text, /User \\"system:serviceaccount:kube-access:kube-access\\" cannot list/);
  }
});

test("case 129, 130: of rights it has the impersonations more than any other service account", async () => {
  const common = await rights("somebody-else");
  const own = (await rights("kube-access")).filter((right) => !common.includes(right));
  assert.deepEqual(own, [
    ...["ci", "developers", "on-call", "platform-admins"].map((group) => `groups [] [${group}] [impersonate]`),
    ...["email", "subject"].map((key) => `userextras.authentication.k8s.io/kube-access.dev/${key} [] [] [impersonate]`),
    ...["alice@example.com", "bob", "ci-deployer", "contractor"].map((user) => `users [] [${user}] [impersonate]`),
  ]);
});

test("case 128: the proxy listens on the pod's own address alone", async () => {
  const elsewhere = new URL(lastHop?.url ?? "");
  elsewhere.hostname = "127.0.0.2"; // answers too when a server listens on every address
  await assert.rejects(fetch(elsewhere), (error: Error) => (error.cause as { code?: string }).code === "ECONNREFUSED");
});

test("the probes' own commands succeed through the proxy, with the rights that every account has", async () => {
  assert.ok(lastHop);
  for (const [program, ...args] of [lastHop.readinessCommand, lastHop.livenessCommand]) {
    assert.equal(program, "kubectl");
    const here = args.map((arg) => (arg.startsWith("--server=") ? `--server=${lastHop?.url}` : arg));
    // As in the container: no kubeconfig, and no folder to write to.
    const { stdout } = await promisify(execFile)(cluster.kubectl, here, { env: { HOME: "/nonexistent" } });
    assert.equal(stdout.trim(), "ok");
  }
});

test("a user and a group of the map are impersonated, with the extras", async () => {
  const { status, text } = await ask("/api/v1/pods", {
    ...alice,
    "Impersonate-Extra-Kube-Access.dev%2femail": "alice@example.com",
    "Impersonate-Extra-Kube-Access.dev%2fsubject": "7f1a",
  });
  assert.equal(status, 200, text);
});

for (const [what, headers] of [
  ["a user that is not in the map", { "Impersonate-User": "mallory" }],
  ["a group that is not in the map", { ...alice, "Impersonate-Group": "system:masters" }],
  ["another service account", { "Impersonate-User": "system:serviceaccount:kube-system:default" }],
  ["an extra that is not ours", { ...alice, "Impersonate-Extra-Scopes": "all" }],
  ["an extra of ours that differs with each request", { ...alice, "Impersonate-Extra-Kube-Access.dev%2fray": "8f" }],
  ["a UID", { ...alice, "Impersonate-Uid": "1" }],
] as const) {
  test(`case 130: ${what} is refused`, async () => {
    const { status, text } = await ask("/api/v1/pods", headers);
    assert.equal(status, 403, text);
    assert.match(text, /cannot impersonate/);
  });
}

test("case 132: the proxy accepts exec, and no Host but its own", async () => {
  const exec = await ask("/api/v1/namespaces/default/pods/web/exec?command=true", alice);
  assert.equal(exec.status, 400, exec.text); // "Upgrade request required": the API server's answer, not the proxy's 403
  const root = await ask("/", {});
  assert.match(root.text, /cannot get path/, root.text); // the API server's own 403, to an account without rights
  const elsewhere = await ask("/version", alice, "kube.example.com");
  assert.equal(elsewhere.status, 403, elsewhere.text);
});

test("case 135: nobody is bound to any role but the impersonator's", async () => {
  const state = JSON.parse(await run("show", "-json"));
  const resources = state.values.root_module.child_modules.flatMap(
    (module: { resources: { type: string; values: { role_ref?: { name: string }[] } }[] }) => module.resources,
  );
  const bindings = resources.filter(({ type }: { type: string }) => /_binding/.test(type));
  assert.deepEqual(
    bindings.map(({ values }: { values: { role_ref: { name: string }[] } }) => values.role_ref[0]?.name),
    ["kube-access-impersonator"],
  );
});

test("case 135: destroy leaves nothing behind, no ClusterRoleBinding either", async () => {
  await withControllers(cluster, namespace, run("destroy", "-auto-approve"));
  assert.deepEqual(collections(), []);
  const roles = await kubectl(cluster, ["get", "clusterroles,clusterrolebindings,namespaces", "-o", "name"]);
  assert.doesNotMatch(roles, /kube-access/);
});

function run(command: string, ...args: string[]): Promise<string> {
  const settings = ["output", "show"].includes(command) ? [] : ["-input=false"];
  const env = { CLOUDFLARE_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: cloudflare.apiToken };
  return terraform(workspace.dir, [command, ...settings, ...args], env);
}

async function variables(): Promise<object> {
  return {
    account_id: accountId,
    team_domain: "https://acme.cloudflareaccess.com",
    hostname: "kube.example.com",
    identities_file: "tests/identities.yaml",
    identities_kv: true,
    cluster: "kubeconfig",
    kubeconfig: {
      path: cluster.adminKubeconfig,
      context: (await kubectl(cluster, ["config", "current-context"])).trim(),
    },
    // Nothing here makes pods of a Deployment.
    wait_for_rollout: false,
    allow: {
      emails: ["alice@example.com", "bob@example.com"],
      email_domains: ["contractors.example"],
      group_ids: ["77777777-7777-4777-8777-777777777777"],
      service_token_ids: ["88888888-8888-4888-8888-888888888888"],
    },
  };
}

/** The local cluster brings the gateway's account along: here Terraform must make it. */
async function removeReadyMadeAccount(): Promise<void> {
  await kubectl(cluster, ["delete", "serviceaccount", "kube-access", "--namespace", namespace]);
  await kubectl(cluster, ["delete", "clusterrolebinding,clusterrole", "kube-access"]);
  await withControllers(cluster, namespace, kubectl(cluster, ["delete", "namespace", namespace]));
}

function ask(path: string, headers: object, host?: string): Promise<{ status: number; text: string }> {
  assert.ok(lastHop, "the last hop is not running: an earlier test failed");
  return lastHop.ask(path, headers, host);
}

async function rights(account: string): Promise<string[]> {
  const user = `--as=system:serviceaccount:${namespace}:${account}`;
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"];
  const list = await kubectl(cluster, [
    "auth",
    "can-i",
    "--list",
    user,
    ...groups.map((group) => `--as-group=${group}`),
  ]);
  const [, ...lines] = list.trim().split("\n");
  return lines.map((line) => line.trim().replaceAll(/ {2,}/g, " ")).sort();
}

async function get(kind: string, name: string) {
  return JSON.parse(await kubectl(cluster, ["get", kind, name, "--namespace", namespace, "-o", "json"]));
}

function collections(): string[] {
  return cloudflare
    .objects()
    .map(({ collection }) => collection)
    .sort();
}

/** The one object of a collection. */
function made(collection: string): Record<string, unknown> {
  const found = cloudflare.objects().filter((object) => object.collection === collection);
  assert.equal(found.length, 1, collection);
  return found[0]?.fields ?? {};
}
