// The last hop is harmless without the gateway: the service account behind `kubectl proxy` may impersonate whom the
// identity map names, and nothing else.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import { namesOf } from "../../../deploy/impersonation.ts";
import { Kubectl } from "./kubectl.ts";
import { impersonation, type Site, startSite } from "./site.ts";
import { EXEC, openWebSocket, PORT_FORWARD } from "./websocket.ts";

const identitiesFile = join(import.meta.dirname, "../../../identities.yaml");
const isLegacy = impersonation === "legacy";

let site: Site;
let account: Kubectl;

before(async () => {
  site = await startSite();
  account = new Kubectl(site.cluster.kubectl, join(site.cluster.dir, "gateway.kubeconfig"), site.dir);
});
after(() => site?.stop());

test("case 129: the service account may impersonate and do nothing else", async () => {
  const own = await account.ok(["auth", "can-i", "--list", "--no-headers"]);
  // What Kubernetes lets every service account do: ask who it is, what it may do, and what the API offers.
  const anybody = ["--as", "system:serviceaccount:kube-access:nobody", "--as-group", "system:serviceaccounts"];
  const everybodys = await site.admin.ok([
    "auth",
    "can-i",
    "--list",
    "--no-headers",
    ...anybody,
    "--as-group",
    "system:authenticated",
  ]);
  const lines = (text: string) =>
    text
      .trim()
      .split("\n")
      .map((line) => line.replace(/ +/g, " ").trim());
  const granted = lines(own).filter((line) => !lines(everybodys).includes(line));
  assert.ok(granted.length > 0);
  for (const line of granted) {
    assert.match(
      line,
      isLegacy ? /\[impersonate\]$/ : /\[(impersonate:user-info|(impersonate-on:user-info:\w+ ?)+)\]$/,
    );
  }
  assert.doesNotMatch(everybodys, /pods|secrets|\*\.\*/);

  const refused = /User "system:serviceaccount:kube-access:kube-access" cannot/;
  for (const args of [
    ["get", "pods"],
    ["get", "secrets", "-A"],
    ["exec", "shell", "--", "true"],
    ["logs", "web"],
  ]) {
    const { code, stderr } = await account.run(args);
    assert.equal(code, 1, args.join(" "));
    assert.match(stderr, refused);
  }
});

test("case 130: whom the service account can impersonate is the identity map, no more", async () => {
  const { users = [], groups, extras } = namesOf(parse(await readFile(identitiesFile, "utf8")));
  assert.ok(users.includes("breakglass") && users.includes("bob@example.com"));
  const may = {
    ...{ users, groups },
    ...Object.fromEntries(extras.map((key) => [`userextras/${key}`, ["x"]])),
  };
  const mayNot = {
    groups: ["system:masters", "system:authenticated", "system:nodes", "admins", "*"],
    serviceaccounts: ["default", "kube-access"],
    uids: ["1"],
    "userextras/scopes": ["view"],
    "userextras/kube-access.dev/ray": ["8f"],
    "userextras/kube-access.dev/other": ["x"],
    pods: ["web"],
  };
  for (const [resource, names] of Object.entries(may)) {
    for (const name of names) {
      assert.equal(await mayImpersonate(resource, name), true, `${resource} ${name}`);
    }
  }
  for (const [resource, names] of Object.entries(mayNot)) {
    for (const name of names) {
      assert.equal(await mayImpersonate(resource, name), false, `${resource} ${name}`);
    }
  }
  const asMaster = await account.run(["get", "pods", "--as", "alice", "--as-group", "system:masters"]);
  const refusal = isLegacy
    ? /User "system:serviceaccount:kube-access:kube-access" cannot impersonate/
    : /impersonating the system:masters group is not allowed/;
  assert.match(asMaster.stderr, refusal);
});

async function mayImpersonate(what: string, name: string): Promise<boolean> {
  const [resource = "", ...key] = what.split("/");
  const group = isLegacy && !["uids", "userextras"].includes(resource) ? "" : "authentication.k8s.io";
  const verb = isLegacy ? "impersonate" : "impersonate:user-info";
  const resourceAttributes = { verb, group, resource, subresource: key.join("/"), name };
  const user = "system:serviceaccount:kube-access:kube-access";
  const groups = ["system:serviceaccounts", "system:serviceaccounts:kube-access", "system:authenticated"];
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: { user, groups, resourceAttributes },
  };
  const answer = await site.admin.ok(["create", "-f", "-", "-o", "json"], { input: JSON.stringify(review) });
  return JSON.parse(answer).status.allowed;
}

test("case 132: kubectl proxy lets exec and attach pass, answers no other Host, and listens on loopback alone", async () => {
  const { port } = site.kubectlProxy;
  assert.equal(await statusOf("/version", { host: `127.0.0.1:${port}` }), 200);
  assert.equal(await statusOf("/version", { host: "localhost" }), 200);
  for (const host of ["kube.example.com", "evil.test", "127.0.0.1.evil.test", "10.0.0.1", "localhost.evil.test"]) {
    assert.equal(await statusOf("/version", { host }), 403, host);
  }
  // Not refused by the proxy, which knows no rights; refused by RBAC, since nobody is impersonated.
  const { stderr } = await site.as("bob").run(["exec", "shell", "--", "true"]);
  assert.equal(stderr, "");
  const sockets = `${await readFile("/proc/net/tcp", "utf8")}${await readFile("/proc/net/tcp6", "utf8")}`;
  const listening = sockets
    .split("\n")
    .filter((line) => new RegExp(`:${port.toString(16).toUpperCase().padStart(4, "0")} \\S+ 0A `).test(line));
  assert.deepEqual(
    listening.map((line) => line.trim().split(/\s+/)[1]?.split(":")[0]),
    ["0100007F"],
  );
});

function statusOf(path: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const { host, port } = site.kubectlProxy;
    request({ host, port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
}

for (const subresource of ["exec", "attach", "portforward"]) {
  test(`case 90, 104: a WebSocket to ${subresource} needs the right to create, and the API server's refusal comes back whole`, async () => {
    // The right to get is enough for a WebSocket's GET on old API servers, not on this one.
    await grantToCi([
      { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
      { apiGroups: [""], resources: [`pods/${subresource}`], verbs: ["get"] },
    ]);
    const path = `/api/v1/namespaces/default/pods/shell/${subresource}?command=true&stdout=true`;
    const refused = await openWebSocket(site, "ci", path, subresource === "portforward" ? PORT_FORWARD : EXEC);
    assert.equal(refused.status, 403);
    const { message, ...status } = JSON.parse(refused.body);
    assert.match(message, /^pods "shell" is forbidden/);
    assert.equal(status.kind, "Status");
    assert.equal(status.reason, "Forbidden");
    assert.equal(status.code, 403);
  });
}

test("case 104: kubectl prints why the API server declined an upgrade, and nothing about protocols", async () => {
  await grantToCi([{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }]);
  const ci = site.as("ci");
  for (const args of [
    ["exec", "shell", "--", "true"],
    ["attach", "web"],
    ["port-forward", "pod/web", ":8080"],
  ]) {
    const { code, stderr } = await ci.run(["-n", "default", ...args]);
    assert.equal(code, 1, args.join(" "));
    assert.match(
      stderr,
      /User "ci-deployer" cannot (get|create) resource "pods\/(exec|attach|portforward)"/,
      args.join(" "),
    );
  }
  const { code, stderr } = await site.as("bob").run(["exec", "shell", "-c", "nosuch", "--", "true"]);
  assert.equal(code, 1);
  assert.match(stderr, /container not found|container nosuch is not valid for pod shell/);
});

async function grantToCi(rules: object[]): Promise<void> {
  const name = "granted-to-ci";
  const metadata = { name, namespace: "default" };
  const rbac = "rbac.authorization.k8s.io";
  const subjects = [{ kind: "Group", name: "ci", apiGroup: rbac }];
  const items = [
    { apiVersion: `${rbac}/v1`, kind: "Role", metadata, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata,
      subjects,
      roleRef: { kind: "Role", name, apiGroup: rbac },
    },
  ];
  await site.admin.ok(["apply", "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "List", items }) });
}
