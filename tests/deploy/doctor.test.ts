// The doctor against the local stack: everything in order once, and then each thing that can be wrong, made wrong.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pipeline } from "node:stream";
import { after, before, beforeEach, test } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import type { Finding } from "../../deploy/doctor/check.ts";
import { impersonationRefused, noToken, remedies } from "../../deploy/doctor/refusals.ts";
import { Forwarder } from "../../dev/access-forward.ts";
import { buildWorker } from "../../dev/build.ts";
import { serverCertificate } from "../../dev/certificates.ts";
import { type Cluster, startCluster } from "../../dev/cluster.ts";
import { run } from "../../dev/command.ts";
import { type Listening, listen } from "../../dev/listen.ts";
import { buildPage } from "../../dev/page-build.ts";
import { type Stack, startStack } from "../../dev/stack.ts";
import { localApplication } from "../../dev/users.ts";

const root = resolve(import.meta.dirname, "../..");
const { aud, teamDomain } = localApplication;
const teamHost = new URL(teamDomain).hostname;
/** One authority for every door of these tests. */
const { ca, cert, key } = serverCertificate(["127.0.0.1", teamHost]);

let dir: string;
let cluster: Cluster;
/** The gateway in front of the cluster, and another one in front of an API server that misbehaves as a test wants. */
let stack: Stack;
let odd: Stack;
let oddServer: Listening;
let answerOddly: (request: IncomingMessage, response: ServerResponse) => void;
/** What the doctor is pointed at, and the team's host, over TLS. */
let door: Edge;
let oddDoor: Edge;
let team: Edge;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-doctor-"));
  await buildWorker({ log: () => {} });
  cluster = await startCluster({ log: () => {}, auditLog: false });
  const page = await buildPage({ log: () => {} });
  stack = await startStack({ upstream: cluster.proxy, page: page.dir });
  const server = createHttpServer((request, response) => answerOddly(request, response));
  server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nno socket"));
  oddServer = await listen(server);
  odd = await startStack({ upstream: oddServer });
  team = await startEdge(stack.access.certs);
  door = await startDoor(stack);
  oddDoor = await startDoor(odd);
  await writeFile(join(dir, "ca.crt"), ca);
  await writeConfig("wrangler.toml", {});
});

after(async () => {
  for (const part of [door, oddDoor, team, odd, oddServer, stack, cluster]) {
    await part?.stop();
  }
  await rm(dir, { recursive: true, force: true });
});

beforeEach(() => {
  answerOddly = wellBehaved;
});

test("a deployment that is in order: every check is ok", async () => {
  const report = await doctor(door.url, { ...as("alice"), args: ["--kubeconfig", cluster.adminKubeconfig] });
  assert.deepEqual(
    report.checks.filter(({ result }) => result !== "ok"),
    [],
  );
  assert.equal(report.status, 0);
  assert.equal(report.checks.length, 16);
  assert.match(report.detail("identity"), /^user alice, group platform-admins/);
  assert.match(report.detail("watch"), /^an event of \/api\/v1\/namespaces after/);
  assert.match(report.detail("websocket"), /^port-forward to pod default\//);
});

test("a caller with few rights: what is forbidden is tried elsewhere", async () => {
  const bob = await doctor(door.url, as("bob"));
  assert.match(bob.detail("identity"), /^user bob@example\.com, group developers/);
  assert.match(bob.detail("watch"), /^an event of \/api\/v1\/namespaces\/default\/pods after/);
  assert.equal(bob.result("account"), "not checked");
  assert.equal(bob.status, 0);
  const ci = await doctor(door.url, as("ci"));
  assert.match(ci.detail("identity"), /^user ci-deployer, group ci/);
  assert.match(ci.detail("watch"), /can watch nothing: \/api\/v1\/namespaces is forbidden/);
  assert.match(ci.detail("websocket"), /may not list pods/);
  const kubectl = (...args: string[]) => run(cluster.kubectl, ["--kubeconfig", cluster.adminKubeconfig, ...args]);
  await kubectl("create", "rolebinding", "ci-view", "--clusterrole=view", "--group=ci");
  const viewer = await doctor(door.url, as("ci"));
  await kubectl("delete", "rolebinding", "ci-view");
  assert.match(viewer.detail("websocket"), /^log of pod default\//);
});

test("without credentials, what a stranger can see is checked, and the rest is said to be unchecked", async () => {
  const report = await doctor(door.url);
  assert.deepEqual([report.result("access"), report.result("audience"), report.result("keys")], ["ok", "ok", "ok"]);
  for (const id of ["cluster", "identity", "impersonation", "browsers", "page", "watch", "websocket"]) {
    assert.equal(report.result(id), "not checked", id);
    assert.match(report.fix(id), /WARP.*CF_ACCESS_CLIENT_ID/);
  }
  assert.equal(report.status, 0);
});

test("a device with a WARP session is let in without credentials, and is told that it is no stranger", async (t) => {
  const token = await stack.access.mint("alice");
  const warp = await startEdge(stack.gateway, ["Cf-Access-Jwt-Assertion", token]);
  t.after(() => warp.stop());
  const report = await doctor(warp.url);
  assert.match(report.fix("access"), /from a device without WARP/);
  assert.deepEqual([report.result("access"), report.result("identity")], ["not checked", "ok"]);
});

test("a host name that does not resolve", async () => {
  const report = await doctor("https://kube.invalid", as("alice"));
  assert.match(report.detail("dns"), /^kube\.invalid does not resolve/);
  assert.equal(report.result("tls"), "not checked");
  assert.equal(report.status, 1);
});

test("a certificate that nobody vouches for", async () => {
  const report = await doctor(door.url, { ...as("alice"), trusts: false });
  assert.match(report.detail("tls"), /not trusted/);
  assert.match(report.fix("tls"), /--ca-file/);
  assert.equal(report.result("cluster"), "not checked");
});

test("nothing listens, and what listens does not speak TLS", async (t) => {
  const silent = createTcpServer((socket) => socket.on("error", () => {}));
  silent.listen(0);
  await once(silent, "listening");
  t.after(() => silent.close());
  const { port } = silent.address() as { port: number };
  const late = await doctor(`https://127.0.0.1:${port}`, { args: ["--timeout", "0.5"] });
  assert.equal(late.detail("tls"), "not done after 0.5 s");
  const refused = await doctor("https://127.0.0.1:1");
  assert.match(refused.detail("tls"), /ECONNREFUSED/);
});

test("no Access in front: the Worker answers a stranger itself", async (t) => {
  const naked = await startEdge(stack.gateway);
  t.after(() => naked.stop());
  const report = await doctor(naked.url, as("alice"));
  assert.match(report.detail("access"), /^the Worker itself answered a stranger/);
  assert.equal(report.result("cluster"), "failed");
  assert.equal(report.status, 1);
});

test("something else at the host name", async (t) => {
  const page = await listen(createHttpServer((_, response) => response.end("\u001b[2J<h1>It works!</h1>")));
  const edge = await startEdge(page);
  t.after(() => Promise.all([edge.stop(), page.stop()]));
  const report = await doctor(edge.url);
  assert.match(report.detail("access"), /^neither Access nor the gateway answered \(200: {2}\[2J<h1>It works!/);
});

test("credentials that Access does not take", async () => {
  const report = await doctor(door.url, { env: { CF_ACCESS_TOKEN: "expired-long-ago" } });
  assert.match(report.detail("cluster"), /^Access turned the credentials away/);
});

test("wrangler.toml of another application, of another team, and not filled in", async () => {
  const another = await writeConfig("another.toml", { aud: "f".repeat(64) });
  const application = await doctor(door.url, { config: another });
  assert.match(application.detail("audience"), new RegExp(`application in front is ${aud}`));
  const elsewhere = await writeConfig("elsewhere.toml", { team: "https://elsewhere.cloudflareaccess.com" });
  assert.match((await doctor(door.url, { config: elsewhere })).detail("audience"), /team in front is kube-access\./);
  const placeholders = await doctor(door.url, { config: join(root, "wrangler.toml") });
  for (const id of ["audience", "keys"]) {
    assert.match(placeholders.detail(id), /not filled in/);
    assert.match(placeholders.fix(id), /npm run deploy/);
  }
});

test("the deployed Worker expects another application", async (t) => {
  const token = await stack.access.mint("alice", { claims: { aud: ["another"] } });
  const edge = await startEdge(stack.gateway, ["Cf-Access-Jwt-Assertion", token]);
  t.after(() => edge.stop());
  const report = await doctor(edge.url, as("alice"));
  assert.match(report.detail("cluster"), new RegExp(noToken));
  assert.match(report.fix("cluster"), /ACCESS_AUD/);
});

test("the team's keys: an error, no JSON, no connection, no answer", async () => {
  for (const [fault, detail] of [
    ["500", /answered no keys \(status 500\)/],
    ["garbage", /answered no keys \(status 200\)/],
    ["down", /answered no keys \(status 502\)/],
    ["slow", /not done after 1 s/],
  ] as const) {
    stack.access.fault(fault);
    const report = await doctor(door.url, { args: fault === "slow" ? ["--timeout", "1"] : [] });
    stack.access.fault("none");
    assert.match(report.detail("keys"), detail, fault);
  }
});

test("a deployed Worker without its page", async () => {
  const report = await doctor(oddDoor.url, as("alice", odd));
  assert.match(report.detail("page"), /was answered 404: this gateway has no page/);
  assert.match(report.fix("page"), /\[assets\].*npm run deploy/);
});

test("doors beside the host name", async () => {
  const config = await writeConfig("doors.toml", { workersDev: true });
  const report = await doctor(door.url, { config });
  assert.match(report.detail("doors"), /leaves workers_dev and preview_urls on/);
});

test("logs and traces that hold the arguments of exec", async () => {
  const inOrder = await readFile(join(dir, "wrangler.toml"), "utf8");
  const config = join(dir, "talkative.toml");
  await writeFile(
    config,
    inOrder.replace(/^redact_query_string.*\n/m, "").replace(/^(enabled) = false$/m, "$1 = true"),
  );
  const report = await doctor(door.url, { config });
  assert.match(
    report.fix("logs"),
    /^Say \[observability\] redact_query_string = true and \[observability\.traces\] enabled/,
  );
});

test("guards and grants that need what wrangler.toml does not bind", async () => {
  const identities = join(dir, "recorded.yaml");
  await writeFile(
    identities,
    `identities:
  - { email: alice@example.com, user: alice, groups: [platform-admins, developers] }
guards:
  - { name: recorded, record: true }
grants: { groups: [on-call] }`,
  );
  const without = await doctor(door.url, { args: ["--identities", identities] });
  assert.match(
    without.detail("bindings"),
    /does not bind SESSIONS, ROLL, RECORDINGS.*does not bind IDENTITIES, GRANTS$/,
  );
  assert.match(without.fix("bindings"), /^Set sessions = true.*Set identities_kv = true/);
  const object = (name: string) => `[[durable_objects.bindings]]\nname = "${name}"\nclass_name = "${name}"\n`;
  const objects = ["SESSIONS", "ROLL", "GRANTS"].map(object).join("");
  const stores =
    '[[r2_buckets]]\nbinding = "RECORDINGS"\nbucket_name = "b"\n[[kv_namespaces]]\nbinding = "IDENTITIES"\nid = "0f"\n';
  const config = await writeConfig("bound.toml", { more: objects + stores });
  const bound = await doctor(door.url, { config, args: ["--identities", identities] });
  assert.equal(bound.result("bindings"), "ok");
});

test("nothing at the tunnel's end", async () => {
  await cluster.stopProxy();
  const report = await doctor(door.url, as("alice"));
  await cluster.startProxy();
  assert.match(report.detail("cluster"), /answered 502: the connection to the cluster broke/);
  assert.match(report.fix("cluster"), /deployment\/kube-access in namespace kube-access/);
  assert.equal(report.result("identity"), "not checked");
});

test("a caller whom the map does not name", async () => {
  const report = await doctor(door.url, as("mallory"));
  assert.match(report.detail("cluster"), /mallory@elsewhere\.test is in no entry/);
  assert.match(report.fix("cluster"), /Add the caller to identities\.yaml/);
});

test("groups that something on the way joins", async () => {
  const report = await doctor(oddDoor.url, as("alice", odd));
  assert.match(report.detail("identity"), /several groups arrive as one: "platform-admins, developers"/);
});

test("a Worker built from another identities.yaml", async () => {
  const identities = join(dir, "identities.yaml");
  await writeFile(
    identities,
    `identities:
  - { email: alice@example.com, user: alice.a, groups: [platform-admins, developers, auditors] }
  - { email_domain: example.com, user: "{email}" }`,
  );
  const args = ["--identities", identities];
  const alice = await doctor(door.url, { ...as("alice"), args });
  assert.equal(
    alice.detail("identity"),
    "alice@example.com arrives as user alice, and should arrive as alice.a; group auditors is missing",
  );
  const bob = await doctor(door.url, { ...as("bob"), args });
  assert.equal(
    bob.detail("identity"),
    "bob@example.com arrives as user bob@example.com, and group developers is not in the map",
  );
  const ci = await doctor(door.url, { ...as("ci"), args });
  assert.match(ci.detail("identity"), /identities\.yaml has no entry for it/);
  const config = await writeConfig("kv.toml", { more: '[[kv_namespaces]]\nbinding = "IDENTITIES"\nid = "0f"\n' });
  const granted = await doctor(door.url, { ...as("ci"), args, config });
  assert.deepEqual([granted.result("identity"), granted.status], ["not checked", 0]);
});

test("an API server in the gateway's place, a watch that is held back, an upgrade that is refused", async () => {
  answerOddly = (request, response) => {
    if (request.url?.includes("watch=1")) {
      response.writeHead(200).flushHeaders(); // and the events only when all have been collected
    } else if (request.url?.endsWith("/selfsubjectreviews")) {
      send(response, 201, {
        status: { userInfo: { username: "system:anonymous", groups: ["system:unauthenticated"] } },
      });
    } else {
      wellBehaved(request, response);
    }
  };
  const report = await doctor(oddDoor.url, { ...as("alice", odd), args: ["--timeout", "8"] });
  assert.match(report.detail("identity"), /arrives as system:anonymous, without a sign of the gateway/);
  assert.match(report.detail("watch"), /^no event of \/api\/v1\/namespaces within 8 s/);
  assert.match(report.detail("websocket"), /was answered 400: no socket/);
  assert.match(report.fix("websocket"), /not on the Worker/);
});

test("a gateway that takes impersonation from its callers", async (t) => {
  const edge = await startEdge(oddServer);
  t.after(() => edge.stop());
  const report = await doctor(edge.url, as("alice"));
  assert.match(report.detail("impersonation"), /^a request with Impersonate-User was answered 200/);
});

test("a service account that may do more, and one that may do too little", async () => {
  const kubectl = (...args: string[]) => run(cluster.kubectl, ["--kubeconfig", cluster.adminKubeconfig, ...args]);
  const args = ["--kubeconfig", cluster.adminKubeconfig];
  const account = "--serviceaccount=kube-access:kube-access";
  await kubectl("create", "rolebinding", "mighty", "--clusterrole=view", account, "--namespace=team-a");
  const reader = await doctor(door.url, { args });
  assert.match(reader.detail("account"), /it may do more: .*\(RoleBinding team-a\/mighty\)/);
  await kubectl("delete", "rolebinding", "mighty", "--namespace=team-a");

  const role = join(dir, "anybody.json");
  const rule = { apiGroups: ["authentication.k8s.io"], resources: ["groups"], verbs: ["impersonate:user-info"] };
  const metadata = { name: "anybody" };
  const apiVersion = "rbac.authorization.k8s.io/v1";
  await writeFile(role, JSON.stringify({ apiVersion, kind: "ClusterRole", metadata, rules: [rule] }));
  await kubectl("apply", "-f", role);
  await kubectl("create", "clusterrolebinding", "anybody", "--clusterrole=anybody", "--group=system:serviceaccounts");
  const impersonator = await doctor(door.url, { args });
  assert.equal(impersonator.detail("account"), "it may do more: impersonate all groups (ClusterRoleBinding anybody)");
  await kubectl("delete", "clusterrolebinding/anybody", "clusterrole/anybody");

  const identities = join(dir, "more.yaml");
  await writeFile(
    identities,
    (await readFile(join(root, "identities.yaml"), "utf8")).replace(
      "identities:\n",
      "identities:\n  - { email: eve@corp.test, user: eve, groups: [auditors] }\n",
    ),
  );
  const late = await doctor(door.url, { args: [...args, "--identities", identities] });
  assert.equal(late.detail("account"), "it may not impersonate user eve, group auditors");
  const unreadable = await doctor(door.url, { args: ["--kubeconfig", join(dir, "none")] });
  assert.match(unreadable.detail("account"), /^kubectl get: /);
  assert.match(unreadable.fix("account"), /may list roles and bindings/);
});

test("case 181: which kind of impersonation a cluster has, and a rule of the one beside the other", async () => {
  const kubectl = (...args: string[]) => run(cluster.kubectl, ["--kubeconfig", cluster.adminKubeconfig, ...args]);
  const args = ["--kubeconfig", cluster.adminKubeconfig];
  const plain = await doctor(door.url, { args });
  assert.match(plain.detail("account"), /^constrained impersonation; \d+ rules looked at/);
  await kubectl("create", "clusterrole", "older", "--verb=impersonate", "--resource=users", "--resource-name=alice");
  await kubectl(
    "create",
    "clusterrolebinding",
    "older",
    "--clusterrole=older",
    "--serviceaccount=kube-access:kube-access",
  );
  const both = await doctor(door.url, { args });
  assert.equal(
    both.detail("account"),
    "a rule of legacy impersonation stands beside those of constrained impersonation, and voids them: ClusterRoleBinding older",
  );
  assert.match(both.fix("account"), /Remove that binding/);
  await kubectl("delete", "clusterrolebinding/older", "clusterrole/older");
  const identities = join(dir, "guarded.yaml");
  const guard = "  - { name: no-secrets, deny: [{ resources: [secrets], verbs: [list] }] }";
  await writeFile(identities, `${await readFile(join(root, "identities.yaml"), "utf8")}\n${guard}`);
  const late = await doctor(door.url, { args: [...args, "--identities", identities] });
  assert.match(late.detail("account"), /^it may do more: list \* as somebody, which a guard for everybody denies/);

  const role = "kube-access-actions";
  await kubectl("patch", "clusterrole", role, "--type=json", '--patch=[{"op":"remove","path":"/rules/0/verbs/0"}]');
  const less = await doctor(door.url, { args });
  assert.equal(less.detail("account"), "whoever it impersonates may not get *");
  assert.match(less.fix("account"), /terraform -chdir=terraform apply/);
  const verb = '{"op":"add","path":"/rules/0/verbs/0","value":"impersonate-on:user-info:get"}';
  await kubectl("patch", "clusterrole", role, "--type=json", `--patch=[${verb}]`);
});

test("in words: every line says what, and how to fix it, and no secret is printed", async () => {
  const secret = "cfast_not-to-be-seen-anywhere";
  answerOddly = (request, response) => send(response, 500, { message: `you sent ${request.headers["x-echo"]}` });
  const echo = await startEdge(oddServer, ["X-Echo", secret]);
  const env = { CF_ACCESS_CLIENT_ID: "0123456789abcdef.access", CF_ACCESS_CLIENT_SECRET: secret };
  const { status, stdout, stderr } = await command([echo.url, "--ca-file", join(dir, "ca.crt")], env);
  await echo.stop();
  assert.equal(status, 1);
  assert.match(
    stdout,
    /^FAILED {7}A request of a caller reaches the API server \[cluster\]\n.*500: you sent \[secret\]\n +Fix: /m,
  );
  assert.match(stdout, /^\d ok, \d failed, \d not checked$/m);
  assert.ok(!`${stdout}${stderr}`.includes(secret));
});

test("a command line that is wrong is explained, with exit status 2", async () => {
  for (const [args, env, reason] of [
    [[], {}, /expected one address/],
    [["http://kube.example.com"], {}, /https/],
    [["https://u:p@kube.example.com"], {}, /credentials come by the environment/],
    [["https://a.example", "--timeout", "soon"], {}, /--timeout soon/],
    [["https://a.example", "--token", "t"], {}, /--token/],
    [["https://a.example", "--ca-file", "/nowhere"], {}, /nowhere/],
    [["https://a.example", "--connect-to", "b"], {}, /HOST=ADDRESS:PORT/],
    [["https://a.example", "--namespace", "../x"], {}, /--namespace/],
    [["https://a.example", "--header-env", "NOT_SET"], {}, /NOT_SET/],
    [["https://a.example"], { CF_ACCESS_CLIENT_ID: "x" }, /set together/],
  ] as [string[], NodeJS.ProcessEnv, RegExp][]) {
    const { status, stdout, stderr } = await command(args, env);
    assert.equal(status, 2, args.join(" "));
    assert.match(stderr, reason);
    assert.match(stderr, /usage: npm run doctor/);
    assert.equal(stdout, "");
  }
  const help = await command(["--help"], {});
  assert.equal(help.status, 0);
  assert.match(help.stdout, /Exit status: 0 nothing failed/);
});

test("the sentences by which the gateway is recognised are those it speaks", async () => {
  const paths = ["refusal", "answer/error", "identity", "guard", "impersonation", "target", "protocol", "browser"];
  const sources = paths.map((path) => readFile(join(root, "src", `${path}.rs`), "utf8"));
  const lastHop = readFile(join(root, "terraform/modules/k8s/last-hop.mjs"), "utf8");
  const source = (await Promise.all([...sources, lastHop])).join("\n");
  for (const [sentence] of [...remedies, [noToken], ...impersonationRefused.map((refused) => [refused])]) {
    const isOurs = sentence !== "cannot impersonate"; // the API server's
    assert.equal(source.includes(sentence ?? ""), isOurs, sentence);
  }
});

/** What a healthy cluster answers, but for the groups, which arrive joined. */
function wellBehaved(request: IncomingMessage, response: ServerResponse): void {
  const path = request.url ?? "";
  if (path.endsWith("/selfsubjectreviews")) {
    const extra = { "kube-access.dev/email": ["alice@example.com"] };
    const groups = ["platform-admins, developers", "system:authenticated"];
    send(response, 201, { status: { userInfo: { username: "alice", groups, extra } } });
  } else if (path.startsWith("/api/v1/")) {
    send(response, 200, { items: [{ metadata: { name: "one" }, status: { phase: "Running" } }] });
  } else {
    send(response, 200, { gitVersion: "v1.37.2" });
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

interface Edge extends Listening {
  url: string;
}

/** A TLS server that passes every request on, with header lines of its own. */
async function startEdge(onward: { host: string; port: number }, lines: string[] = []): Promise<Edge> {
  const server = createHttpsServer({ cert, key, allowHalfOpen: true });
  const forwarder = new Forwarder(onward, server);
  const more = ({ rawHeaders }: IncomingMessage) => [...rawHeaders, ...lines];
  server.on("request", (request, response) => forwarder.request(request, response, more(request)));
  server.on("upgrade", (request, socket, head) => forwarder.upgrade(request, socket, head, more(request)));
  const listening = await listen(server);
  const stop = async () => {
    forwarder.stop();
    await listening.stop();
  };
  return { ...listening, url: `https://127.0.0.1:${listening.port}`, stop };
}

/** A way to the stack's Access under the certificate of these tests: bytes in, bytes out. */
async function startDoor({ access }: Stack): Promise<Edge> {
  const { hostname: host, port } = new URL(access.url);
  const server = createHttpsServer({ cert, key });
  server.removeAllListeners("secureConnection");
  server.on("secureConnection", (caller: TLSSocket) => {
    const inner = connect({ host, port: Number(port), ca: access.ca });
    pipeline(caller, inner, caller, () => {});
  });
  const listening = await listen(server);
  return { ...listening, url: `https://127.0.0.1:${listening.port}` };
}

/** wrangler.toml as `npm run deploy` fills it in, or filled in wrongly. */
async function writeConfig(
  name: string,
  { aud: audience = aud, team: origin = teamDomain, workersDev = false, more = "" },
): Promise<string> {
  const toml = (await readFile(join(root, "wrangler.toml"), "utf8"))
    .replace(/^ACCESS_TEAM_DOMAIN = .*$/m, `ACCESS_TEAM_DOMAIN = "${origin}"`)
    .replace(/^ACCESS_AUD = .*$/m, `ACCESS_AUD = "${audience}"`)
    .replace(/^(workers_dev|preview_urls) = .*$/gm, (_, setting) => `${setting} = ${workersDev}`);
  const file = join(dir, name);
  await writeFile(file, toml + more);
  return file;
}

interface DoctorOptions {
  args?: string[];
  env?: NodeJS.ProcessEnv;
  config?: string;
  /** Whether the authority of these tests is trusted. */
  trusts?: boolean;
}

/** As one of the local users, whom the stand-in for Access knows by a bearer token. */
function as(user: string, { access }: Stack = stack): { args: string[]; env: NodeJS.ProcessEnv } {
  return { args: [], env: { SIGN_IN: `Authorization: Bearer ${access.session(user)}` } };
}

async function doctor(url: string, options: DoctorOptions = {}) {
  const { args = [], env = {}, config = join(dir, "wrangler.toml"), trusts = true } = options;
  const signIn = "SIGN_IN" in env ? ["--header-env", "SIGN_IN"] : [];
  const trusted = trusts ? ["--ca-file", join(dir, "ca.crt")] : [];
  const toTeam = ["--connect-to", `${teamHost}=127.0.0.1:${team.port}`];
  const { status, stdout, stderr } = await command(
    [url, "--json", "--config", config, "--timeout", "60", ...toTeam, ...trusted, ...signIn, ...args],
    env,
  );
  assert.equal(stderr, "");
  const { checks } = JSON.parse(stdout) as { checks: Finding[] };
  const named = (id: string) => checks.find((check) => check.id === id) ?? assert.fail(`no check ${id}: ${stdout}`);
  return {
    status,
    checks,
    result: (id: string) => named(id).result,
    detail: (id: string) => named(id).detail,
    fix: (id: string) => named(id).fix ?? "",
  };
}

async function command(args: string[], env: NodeJS.ProcessEnv) {
  const path = [dirname(cluster.kubectl), process.env.PATH].join(":");
  const child = spawn(process.execPath, [join(root, "deploy/doctor.ts"), ...args], {
    env: { PATH: path, HOME: dir, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [status]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, "close") as Promise<[number]>,
  ]);
  return { status, stdout: stdout.join(""), stderr: stderr.join("") };
}
