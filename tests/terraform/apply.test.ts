// The whole configuration applied by the real providers: the Kubernetes half to a real API server, the Cloudflare half to a
// stand-in for its REST API. Then `kubectl proxy` runs under the very service account that was made, with the arguments of the
// very Deployment that was made.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type Cluster, startCluster } from "../../dev/cluster.ts";
import { openWorkspace, terraform, type Workspace } from "../../dev/terraform-workspace.ts";
import { until } from "../e2e/cluster/until.ts";
import { type Cloudflare, startCloudflare } from "./cloudflare.ts";
import { kubectl, removeReadyMadeAccount, withControllers } from "./controllers.ts";
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
  await removeReadyMadeAccount(cluster, namespace);
  await writeFile(join(workspace.dir, "terraform.tfvars.json"), JSON.stringify(await variables()));
});

after(async () => {
  await lastHop?.stop();
  await cluster?.stop();
  await cloudflare?.stop();
  await workspace?.remove();
});

test("the plan of a new cluster asks no API server which version it is, since there is none yet", async () => {
  const file = join(workspace.dir, "digitalocean.json");
  const digitalocean = { region: "fra1", kubernetes_version: "1.36.1-do.0" };
  await writeFile(file, JSON.stringify({ cluster: "digitalocean", kubeconfig: null, digitalocean }));
  const credentials = { ...environment(), DIGITALOCEAN_TOKEN: "of-nobody" };
  const plan = await terraform(workspace.dir, ["plan", "-input=false", `-var-file=${file}`], credentials);
  assert.match(plan, /kubernetes_server_version\.this\[0\] will be read during apply/);
});

test("one apply makes everything but the Worker", async () => {
  await run("apply", "-auto-approve");
  assert.deepEqual(collections(), [
    "access/apps",
    "access/apps",
    "access/policies",
    "access/policies",
    "cfd_tunnel",
    "connectivity/directory/services",
    "r2/buckets",
    "storage/kv/namespaces",
  ]);
  assert.match(await run("output", "-raw", "next_steps"), /^npm run deploy$/m);
});

test("a second plan has nothing to do", async () => {
  await run("plan", "-detailed-exitcode");
});

test("the outputs are Cloudflare's own", async () => {
  const outputs = JSON.parse(await run("output", "-json"));
  assert.equal(outputs.access_aud.value, application("kube.example.com").aud);
  assert.equal(outputs.access_machines_aud.value, application("kube-ci.example.com").aud);
  assert.equal(outputs.vpc_service_id.value, made("connectivity/directory/services").service_id);
  assert.equal(outputs.identities_kv_id.value, made("storage/kv/namespaces").id);
  assert.equal(outputs.recordings_bucket.value, made("r2/buckets").name);
  assert.equal(outputs.contact.value, "the platform team");
  assert.deepEqual(
    Object.values<{ sensitive: boolean }>(outputs).filter(({ sensitive }) => sensitive),
    [],
    "a cluster of one's own has no secret to tell",
  );
});

test("people and machines have an application each, with a policy of its own, and neither signs in by WARP unasked", () => {
  assert.deepEqual(decisions("kube.example.com"), ["allow"]);
  assert.deepEqual(decisions("kube-ci.example.com"), ["non_identity"]);
  for (const host of ["kube.example.com", "kube-ci.example.com"]) {
    assert.equal(application(host).allow_authenticate_via_warp, undefined, "the account decides");
  }
});

test("the sign-in by WARP wants the account to say how long it counts", async () => {
  const readme = (await readFile(join(workspace.dir, "README.md"), "utf8")).replaceAll(/\s+/g, " ");
  const refusal = (await failure(run("apply", "-auto-approve", "-var=warp_authentication=true"))).replaceAll(
    /\s+/g,
    " ",
  );
  const [, words = ""] = /"code":12130,"message":"(.*?)"/.exec(refusal) ?? assert.fail(refusal);
  assert.ok(readme.includes(words), "README quotes the API");
  cloudflare.setWarpDuration("24h");
  await run("apply", "-auto-approve", "-var=warp_authentication=true");
  assert.equal(application("kube.example.com").allow_authenticate_via_warp, true);
  assert.equal(application("kube-ci.example.com").allow_authenticate_via_warp, undefined);
  await run("plan", "-detailed-exitcode", "-var=warp_authentication=true");
});

test("the last service token, and the last person, can be taken out", async () => {
  const allow = JSON.parse(await readFile(join(workspace.dir, "terraform.tfvars.json"), "utf8")).allow;
  const { service_token_ids, ...people } = allow;
  for (const [left, policies] of [
    [people, [["allow"], []]],
    [{ service_token_ids }, [[], ["non_identity"]]],
    [allow, [["allow"], ["non_identity"]]],
  ] as const) {
    await run("apply", "-auto-approve", `-var=allow=${JSON.stringify(left)}`);
    assert.deepEqual([decisions("kube.example.com"), decisions("kube-ci.example.com")], policies);
  }
});

test("a tunnel and an application that there are already are refused a second time, and imported as README says", async () => {
  const readme = await readFile(join(workspace.dir, "README.md"), "utf8");
  const [, imports = ""] = /^ *```hcl\n( *import .*?)^ *```/ms.exec(readme) ?? [];
  const ids = {
    ACCOUNT_ID: accountId,
    TUNNEL_ID: made("cfd_tunnel").id,
    APPLICATION_ID: application("kube.example.com").id,
  };
  const lost = [...imports.matchAll(/to = (.*)/g)].map(([, address = ""]) => address);
  assert.equal(lost.length, 2);
  await run("state", "rm", ...lost);
  const refusal = await failure(run("apply", "-auto-approve"));
  assert.match(refusal, /"code":1013/);
  assert.match(refusal, /"code":11010/);
  const file = join(workspace.dir, "import.tf");
  await writeFile(
    file,
    imports.replaceAll(/[A-Z]+_ID/g, (name) => String(ids[name as keyof typeof ids])),
  );
  await run("apply", "-auto-approve");
  assert.equal(made("cfd_tunnel").id, ids.TUNNEL_ID);
  assert.equal(application("kube.example.com").id, ids.APPLICATION_ID);
  await run("plan", "-detailed-exitcode");
  await rm(file);
});

test("a host name that an earlier version gave to the Worker is forgotten, and taken away from nobody", async () => {
  const state = JSON.parse(await run("state", "pull"));
  const provider = 'provider["registry.terraform.io/cloudflare/cloudflare"]';
  const hostname = "kube.example.com";
  const domains = [{ hostname }];
  cloudflare.workers.set("kube-access", { modules: {}, bindings: [], domains });
  const fields = { id: hostname, account_id: accountId, hostname, service: "kube-access" };
  const custom = { mode: "managed", type: "cloudflare_workers_custom_domain", name: "this", provider };
  state.resources.push({ module: "module.worker", ...custom, instances: [{ schema_version: 0, attributes: fields }] });
  const file = join(workspace.dir, "earlier.json");
  await writeFile(file, JSON.stringify({ ...state, serial: state.serial + 1 }));
  await run("state", "push", file);
  assert.match(await run("apply", "-auto-approve"), /0 destroyed/);
  assert.doesNotMatch(await run("state", "list"), /custom_domain/);
  assert.deepEqual(domains, [{ hostname }]);
  cloudflare.workers.clear();
});

test("recordings are locked for the days that are said, and for none", async () => {
  const rule = (days: number) => ({
    id: "recordings",
    enabled: true,
    prefix: "recordings/",
    condition: { type: "Age", maxAgeSeconds: days * 86_400 },
  });
  const bucket = String(made("r2/buckets").name);
  assert.deepEqual(cloudflare.locks.get(bucket), [rule(90)]);
  for (const [days, rules] of [
    ["7", [rule(7)]],
    ["0", []],
    ["90", [rule(90)]],
  ] as const) {
    await run("apply", "-auto-approve", `-var=recordings_retention=${days}`);
    assert.deepEqual(cloudflare.locks.get(bucket), rules, days);
    await run("plan", "-detailed-exitcode", `-var=recordings_retention=${days}`);
  }
});

test("a bucket that holds recordings is not deleted, and is there again when sessions are", async (t) => {
  const bucket = String(made("r2/buckets").name);
  cloudflare.filled.add(bucket);
  t.after(() => cloudflare.filled.clear());
  const refusal = await failure(run("apply", "-auto-approve", "-var=sessions=false"));
  assert.match(refusal, /"code":10008/);
  assert.equal(made("r2/buckets").name, bucket);
  // The lock is as it was: to the provider taking it away is to forget it.
  assert.equal(cloudflare.locks.get(bucket)?.length, 1);
  await run("apply", "-auto-approve");
  await run("plan", "-detailed-exitcode");
});

test("a bucket may be forgotten as docs/recordings-bucket.md says, and is imported again", async () => {
  const docs = await readFile(join(import.meta.dirname, "../../docs/recordings-bucket.md"), "utf8");
  const [, forget = ""] = /terraform -chdir=terraform (state rm .*)$/m.exec(docs) ?? [];
  const [, again = ""] = /terraform -chdir=terraform (import .*)$/m.exec(docs) ?? [];
  const words = (line: string) =>
    line
      .replaceAll("'", "")
      .replace("ACCOUNT_ID", accountId)
      .replace("BUCKET", String(made("r2/buckets").name))
      .split(" ");
  const [state = "", ...args] = words(forget);
  await run(state, ...args);
  assert.match(await failure(run("apply", "-auto-approve")), /"code":10004/);
  const [command = "", ...ids] = words(again);
  await run(command, ...ids);
  await run("apply", "-auto-approve");
  await run("plan", "-detailed-exitcode");
});

test("the last hop may be found by its name", async () => {
  await run("apply", "-auto-approve", "-var=kube_api_host=localhost");
  assert.deepEqual(made("connectivity/directory/services").host, {
    hostname: "localhost",
    resolver_network: { tunnel_id: made("cfd_tunnel").id },
  });
  await run("plan", "-detailed-exitcode", "-var=kube_api_host=localhost");
  await run("apply", "-auto-approve");
});

test("what another tool left in the environment mixes with nothing", async () => {
  const stray = {
    KUBE_HOST: "https://127.0.0.1:1",
    KUBE_TOKEN: "of-another-cluster",
    KUBE_USER: "somebody",
    KUBE_PASSWORD: "secret",
    KUBE_CTX: "another",
    KUBE_CTX_CLUSTER: "another",
    KUBE_CONFIG_PATH: "/nonexistent",
    KUBE_CONFIG_PATHS: "/nonexistent",
    KUBE_PROXY_URL: "http://127.0.0.1:1",
    KUBE_TLS_SERVER_NAME: "another.example.com",
    KUBE_INSECURE: "true",
    KUBE_CLUSTER_CA_CERT_DATA: "another",
    KUBE_CLIENT_CERT_DATA: "another",
    KUBE_CLIENT_KEY_DATA: "another",
  };
  await terraform(workspace.dir, ["plan", "-detailed-exitcode", "-input=false"], { ...environment(), ...stray });
  await writeEndpoint();
  const ofEndpoint = ["plan", "-detailed-exitcode", "-input=false", `-var-file=${endpointFile()}`];
  await terraform(workspace.dir, ofEndpoint, { ...environment(), ...stray });
  // The one that the provider cannot be told to leave alone.
  const another = { ...environment(), KUBE_CTX_AUTH_INFO: "another" };
  const plan = terraform(workspace.dir, ["plan", "-input=false"], another);
  await assert.rejects(plan, /auth info "another" does not exist/);
});

test("the same cluster by its address and a command that prints credentials has nothing to do either", async () => {
  await writeEndpoint();
  await run("plan", "-detailed-exitcode", `-var-file=${endpointFile()}`);
});

test("the same cluster by its address and KUBE_TOKEN has nothing to do either", async () => {
  const { endpoint, token } = await endpointOf();
  const file = join(workspace.dir, "token.json");
  await writeFile(file, JSON.stringify({ cluster: "endpoint", kubeconfig: null, endpoint }));
  const args = ["plan", "-detailed-exitcode", "-input=false", `-var-file=${file}`];
  await terraform(workspace.dir, args, { ...environment(), KUBE_TOKEN: token });
});

async function endpointOf() {
  const config = JSON.parse(await kubectl(cluster, ["config", "view", "--raw", "--minify", "-o", "json"]));
  const token = config.users[0].user.token as string;
  return { endpoint: { host: cluster.server, ca_certificate: await readFile(cluster.caFile, "utf8") }, token };
}

const endpointFile = () => join(workspace.dir, "endpoint.json");

async function writeEndpoint(): Promise<void> {
  const { endpoint, token } = await endpointOf();
  const credential = { apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token } };
  const exec = { command: "echo", args: [JSON.stringify(credential)] };
  const variables = { cluster: "endpoint", kubeconfig: null, endpoint: { ...endpoint, exec } };
  await writeFile(endpointFile(), JSON.stringify(variables));
}

test("the Secret holds the tunnel's token", async () => {
  const secret = await get("secret", "tunnel-token");
  const token = Buffer.from(secret.data.token, "base64").toString();
  assert.equal(token, cloudflare.tokenOf(String(made("cfd_tunnel").id)));
});

test("the API server takes the pod template under the restricted standard without a warning", async () => {
  await assertPodIsTaken();
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
  const named = (resource: string, names: string[]) =>
    names.map((name) => `${resource}.authentication.k8s.io [] [${name}] [impersonate:user-info]`);
  const extras = ["email", "grant", "original-groups", "original-user", "reason", "subject"];
  assert.deepEqual(
    own.filter((right) => !right.includes("impersonate-on:")),
    [
      ...named("groups", ["ci", "developers", "on-call", "platform-admins"]),
      ...extras.map((key) => `userextras.authentication.k8s.io/kube-access.dev/${key} [] [] [impersonate:user-info]`),
      ...named("users", ["alice@example.com", "bob", "breakglass", "ci-deployer", "contractor"]),
    ],
  );
  const actions = own.filter((right) => right.includes("impersonate-on:"));
  assert.ok(actions.length > 0);
  for (const action of actions) {
    assert.match(action, /\[(impersonate-on:user-info:\w+ ?)+\]$/);
  }
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
    // As in the container: no kubeconfig, and no folder to write to.
    const here: string[] = lastHop.here(args);
    const { stdout } = await promisify(execFile)(cluster.kubectl, here, {
      env: { HOME: "/nonexistent" },
    });
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
  ["an extra of ours that the Worker does not send", { ...alice, "Impersonate-Extra-Kube-Access.dev%2fray": "8f" }],
  ["a UID", { ...alice, "Impersonate-Uid": "1" }],
] as const) {
  test(`case 130: ${what} is refused`, async () => {
    const { status, text } = await ask("/api/v1/pods", headers);
    assert.equal(status, 403, text);
    assert.match(text, /cannot impersonate|not allowed/);
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

test("case 135: nobody is bound to any role but those of the gateway's account", async () => {
  const state = JSON.parse(await run("show", "-json"));
  const resources = state.values.root_module.child_modules.flatMap(
    (module: { resources: { type: string; values: { role_ref?: { name: string }[] } }[] }) => module.resources,
  );
  const bindings = resources.filter(({ type }: { type: string }) => /_binding/.test(type));
  assert.deepEqual(
    bindings.map(({ values }: { values: { role_ref: { name: string }[] } }) => values.role_ref[0]?.name).toSorted(),
    ["kube-access-actions", "kube-access-impersonator"],
  );
});

test("the roles for people say what they allow, of the gateway's own resources, and are bound to nobody", async (t) => {
  const rules = async (role: string) => (await get("clusterrole", role)).rules;
  const apiGroups = ["kube-access.dev"];
  assert.deepEqual(await rules("kube-access:auditor"), [
    { apiGroups, resources: ["sessions"], verbs: ["get", "list", "delete"] },
  ]);
  assert.deepEqual(await rules("kube-access:granter"), [
    { apiGroups, resources: ["grants"], verbs: ["create", "get", "list", "delete"] },
  ]);
  const mayList = () => isAllowed(["--as=alice"], { resource: "sessions", verb: "list" });
  assert.equal(await mayList(), false);
  const bind = ["create", "clusterrolebinding", "auditors", "--clusterrole=kube-access:auditor", "--user=alice"];
  await kubectl(cluster, bind);
  t.after(() => kubectl(cluster, ["delete", "clusterrolebinding", "auditors"]));
  // The API server learns of a binding a moment after it has it.
  await until("the binding's effect", 30_000, mayList);
});

test("docs/policy.md's two ways to let people give groups are what the API server takes them for", async (t) => {
  const docs = await readFile(join(import.meta.dirname, "../../docs/policy.md"), "utf8");
  const [, forAll = ""] =
    /^kubectl (create clusterrolebinding \S+ --clusterrole=kube-access:granter .*)$/m.exec(docs) ?? [];
  const [, forOne = ""] = /^```yaml\n(apiVersion: rbac\..*?)^```/ms.exec(docs) ?? [];
  await kubectl(cluster, forAll.split(" "));
  await kubectl(cluster, ["apply", "-f", "-"], forOne);
  t.after(async () => {
    await kubectl(cluster, ["delete", "clusterrolebinding", forAll.split(" ")[2] ?? ""]);
    await kubectl(cluster, ["delete", "-f", "-"], forOne);
  });
  const may = (group: string, verb: string, name?: string) =>
    isAllowed(["--as=somebody", `--as-group=${group}`], { resource: "grants", verb, ...(name && { name }) });
  await until(
    "the bindings' effect",
    30_000,
    async () => (await may("leads", "list")) && (await may("seniors", "list")),
  );
  for (const [group, verb, name, allowed] of [
    ["leads", "create", "on-call", true],
    ["leads", "create", "whatever-else", true],
    ["leads", "get", "on-call", true],
    ["leads", "delete", "on-call", true],
    ["leads", "update", "on-call", false],
    ["seniors", "create", "on-call", true],
    ["seniors", "get", "on-call", true],
    ["seniors", "delete", "on-call", true],
    ["seniors", "create", "whatever-else", false],
    ["seniors", "delete", "whatever-else", false],
    ["seniors", "create", undefined, false],
    ["developers", "list", undefined, false],
    ["developers", "create", "on-call", false],
  ] as const) {
    assert.equal(await may(group, verb, name), allowed, [group, verb, name].join(" "));
  }
});

/** What the API server says of a resource of the gateway's own. */
async function isAllowed(
  as: string[],
  attributes: { resource: string; verb: string; name?: string },
): Promise<boolean> {
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { group: "kube-access.dev", ...attributes } },
  };
  const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  const answer = await kubectl(cluster, ["create", "--raw", path, "-f", "-", ...as], JSON.stringify(review));
  return JSON.parse(answer).status.allowed;
}

test("case 126, 127: the guarded last hop carries what is signed by the key that was made, as the same account", async () => {
  await lastHop?.stop();
  await run("apply", "-auto-approve", "-var=last_hop=guarded");
  await run("plan", "-detailed-exitcode", "-var=last_hop=guarded");
  lastHop = await startLastHop(cluster, namespace);
  const unsigned = await ask("/api/v1/pods", alice);
  assert.deepEqual([unsigned.status, JSON.parse(unsigned.text).reason], [403, "Forbidden"]);
  const { key, ask: askSigned } = lastHop;
  assert.equal(key, JSON.parse(await run("output", "-json")).last_hop_key.value);
  const signed = await askSigned("/api/v1/pods", signature(key, "/api/v1/pods"));
  assert.equal(signed.status, 200, signed.text);
  for (const [program, ...args] of [lastHop.readinessCommand, lastHop.livenessCommand]) {
    assert.equal(program, "node");
    await promisify(execFile)(process.execPath, lastHop.here(args), { env: { HOME: "/nonexistent" } });
  }
  await assertPodIsTaken();
});

test("a VPC service that a Worker binds stays: wrangler delete comes before destroy", async () => {
  const { service_id } = made("connectivity/directory/services");
  const binding = { type: "vpc_service", name: "KUBE_API", service_id };
  cloudflare.workers.set("kube-access", { modules: {}, bindings: [binding], domains: [] });
  const service = "-target=module.worker.cloudflare_connectivity_directory_service.kube_api";
  await assert.rejects(run("destroy", "-auto-approve", service), /bound by a Worker/);
  cloudflare.workers.clear();
});

test("case 135: destroy ends the pods before their tunnel, and leaves nothing behind, no ClusterRoleBinding either", async () => {
  cloudflare.connection(async () => {
    const namespaces = await kubectl(cluster, ["get", "namespaces", "-o", "name"]);
    return namespaces.includes(`namespace/${namespace}\n`);
  });
  await withControllers(cluster, namespace, run("destroy", "-auto-approve"));
  assert.deepEqual(collections(), []);
  const roles = await kubectl(cluster, ["get", "clusterroles,clusterrolebindings,namespaces", "-o", "name"]);
  assert.doesNotMatch(roles, /kube-access/);
});

/** The API server takes the pod template under the restricted standard, without a warning. */
async function assertPodIsTaken(): Promise<void> {
  const { spec } = await get("deployment", "kube-access");
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "dry-run", namespace }, spec: spec.template.spec };
  await kubectl(cluster, ["create", "--dry-run=server", "--warnings-as-errors", "-f", "-"], JSON.stringify(pod));
}

function run(command: string, ...args: string[]): Promise<string> {
  const settings = ["output", "show", "state"].includes(command) ? [] : ["-input=false"];
  return terraform(workspace.dir, [command, ...settings, ...args], environment());
}

/** What a command that must fail says. */
function failure(command: Promise<unknown>): Promise<string> {
  return command.then(() => assert.fail("it succeeded"), String);
}

function environment() {
  return { CLOUDFLARE_BASE_URL: cloudflare.url, CLOUDFLARE_API_TOKEN: cloudflare.apiToken };
}

/** What the Worker's signature of a GET for alice would be. */
function signature(key: string, path: string): object {
  const seconds = Math.floor(Date.now() / 1000);
  const names = Object.entries(alice).map(([name, value]) => `${name.toLowerCase()}:${value}`);
  const text = [seconds, "GET", path, "id-1", ...names].join("\n");
  const mac = createHmac("sha256", key).update(text).digest("base64url");
  return { ...alice, "Audit-ID": "id-1", "Kube-Access-Signature": `${seconds} ${mac}` };
}

async function variables(): Promise<object> {
  return {
    account_id: accountId,
    team_domain: "https://acme.cloudflareaccess.com",
    hostname: "kube.example.com",
    machines_hostname: "kube-ci.example.com",
    contact: "the platform team",
    identities_file: "tests/identities.yaml",
    identities_kv: true,
    sessions: true,
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

/** The Access application of a host name. */
function application(host: string): Record<string, unknown> {
  const found = cloudflare
    .objects()
    .find(({ collection, fields }) => collection === "access/apps" && fields.domain === host);
  assert.ok(found, host);
  return found.fields;
}

/** What the policies of an application decide, in their order. */
function decisions(host: string): unknown[] {
  const policies = cloudflare.objects().filter(({ collection }) => collection === "access/policies");
  const asked = application(host).policies as { id: string; precedence: number }[];
  return asked.map(({ id }) => policies.find(({ fields }) => fields.id === id)?.fields.decision);
}

/** The one object of a collection. */
function made(collection: string): Record<string, unknown> {
  const found = cloudflare.objects().filter((object) => object.collection === collection);
  assert.equal(found.length, 1, collection);
  return found[0]?.fields ?? {};
}
