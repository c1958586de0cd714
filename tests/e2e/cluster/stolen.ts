// A stolen service account, which speaks to the API server by itself: what it must not be able to do, whoever made its rights.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import type { Guard, Policy } from "../../../deploy/impersonation.ts";
import type { Cluster } from "../../../dev/cluster.ts";

export const identities: Policy["identities"] = [
  { email: "Alice@Example.com", user: "{email}", groups: ["platform-admins"], act_as: { users: ["breakglass"] } },
  { email_domain: "contractors.example", user: "contractor", groups: ["contractors"] },
  { service_token: "0123456789abcdef.access", user: "ci-deployer" },
  { idp_group: "g", groups: ["on-call"], act_as: { groups: ["sre"], uids: ["42"], extras: ["example.com/ticket"] } },
];

export const policies: Record<string, Guard[]> = {
  "no guard": [],
  "guards that RBAC cannot say": [
    { name: "some", for: { groups: ["contractors"] }, allow: "read-only" },
    {
      name: "place",
      deny: [
        { resources: ["secrets"], namespaces: ["prod"] },
        { resources: ["pods/exec"], names: ["web"], namespaces: ["prod"] },
      ],
    },
  ],
  "no secrets": [{ name: "no-secrets", deny: [{ resources: ["secrets"], verbs: ["get", "list", "watch"] }] }],
  "no exec, no metrics": [
    { name: "no-exec", deny: [{ resources: ["pods/exec", "*/proxy"], verbs: ["create"] }] },
    { name: "no-metrics", deny: [{ non_resource_urls: ["/metrics", "/debug/*"] }] },
  ],
  "stars and groups": [
    {
      name: "stars",
      deny: [
        { api_groups: ["", "apps*"], resources: ["se*", "deploy*"], verbs: ["delete", "deletecollection", "watch"] },
        { api_groups: ["storage.k8s.io"], resources: ["*"], verbs: ["patch"] },
        { non_resource_urls: ["*"], verbs: ["get", "post"] },
      ],
    },
  ],
  "read-only": [{ name: "read-only", allow: "read-only" }],
  "nothing at all": [{ name: "nothing", deny: [{ resources: ["*"], verbs: ["*"] }, { non_resource_urls: ["*"] }] }],
};

/** Somebody who may do everything, by RBAC. */
export const ADMIN = { "Impersonate-User": "alice@example.com", "Impersonate-Group": "platform-admins" };
const UPGRADE = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "yPc6qyEdVivBFTmdg5VfRA==",
  "Sec-WebSocket-Protocol": "v5.channel.k8s.io",
};
const EXEC = "/api/v1/namespaces/default/pods/shell/exec?command=true&stdout=true";

/** The kubelet's own, through which every pod of the node is reached: it serves them by these methods alone. */
const NODES: [path: string, options: Options][] = [
  ["/api/v1/nodes/local/proxy/exec/default/shell/shell?command=true&output=1", { headers: UPGRADE }],
  ["/api/v1/nodes/local/proxy/exec/default/shell/shell?command=true&output=1", {}],
  ["/api/v1/nodes/local/proxy/run/default/shell/shell?cmd=true", { method: "POST" }],
  ["/api/v1/nodes/local/proxy/containerLogs/default/web/web", {}],
  ["/api/v1/nodes/local/proxy/pods", {}],
];

export const denied: Record<string, [path: string, options: Options][]> = {
  "no secrets": [
    ["/api/v1/secrets", {}],
    ["/api/v1/namespaces/default/secrets", {}],
    ["/api/v1/namespaces/default/secrets/nosuch", {}],
    ["/api/v1/secrets?watch=1&timeoutSeconds=1", {}],
    ["/api/v1/watch/secrets?timeoutSeconds=1", {}],
    ["/api/v1/secrets?fieldSelector=metadata.name%3Dx", {}],
  ],
  "guards that RBAC cannot say": NODES,
  "no exec, no metrics": [
    [EXEC, {}],
    [EXEC, { headers: UPGRADE }],
    [EXEC, { method: "POST" }],
    ...NODES,
    ["/metrics", {}],
    ["/metrics/", {}],
    ["/debug/pprof/", {}],
  ],
  "read-only": [
    [EXEC, { headers: UPGRADE }],
    ["/api/v1/namespaces/default/pods/shell/attach?stdout=true", { headers: UPGRADE }],
    ["/api/v1/namespaces/default/pods/web/portforward?ports=8080", { headers: UPGRADE }],
    ["/api/v1/namespaces/default/services/web/proxy/", {}],
    ...NODES,
    ["/api/v1/nodes/local/proxy/pods", { method: "PUT" }],
    ["/api/v1/namespaces/default/pods/web", { method: "DELETE" }],
    ["/api/v1/namespaces/default/pods", { method: "DELETE" }],
    ["/api/v1/namespaces/default/configmaps", { method: "POST", body: "{}" }],
    ["/api/v1/namespaces/default/pods/web/ephemeralcontainers", { method: "PATCH", body: "{}" }],
    ["/api/v1/namespaces/default/serviceaccounts/default/token", { method: "POST", body: "{}" }],
    ["/api/v1/secrets", {}],
    ["/metrics", {}],
  ],
};

const allowed: Record<string, [path: string, options: Options][]> = {
  "guards that RBAC cannot say": [
    ["/api/v1/namespaces/prod/secrets", {}],
    ["/api/v1/nodes/local", {}],
    ["/api/v1/namespaces/default/pods/web/log?tailLines=1", {}],
  ],
  "no secrets": [
    ["/api/v1/pods", {}],
    ["/apis/apps/v1/deployments?watch=1&timeoutSeconds=1", {}],
    ["/version", {}],
    ["/metrics", {}],
  ],
  "no exec, no metrics": [
    ["/api/v1/secrets", {}],
    ["/healthz", {}],
    ["/api/v1/namespaces/default/pods/web/log?tailLines=1", {}],
  ],
  "read-only": [
    ["/api/v1/pods", {}],
    ["/api/v1/namespaces/default/pods/web/log?tailLines=1", {}],
    ["/apis/apps/v1", {}],
    ["/openapi/v3", {}],
    ["/version", {}],
  ],
};

interface Options {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
}

/** With the account's token, straight at the API server of a cluster. */
export class Stolen {
  readonly #cluster: Cluster;
  readonly #token: string;

  constructor(cluster: Cluster, token: string) {
    this.#cluster = cluster;
    this.#token = token;
  }

  async mayDoNothing(): Promise<void> {
    for (const [path, options] of [
      ["/api/v1/pods", {}],
      ["/api/v1/namespaces/kube-access/secrets", {}],
      ["/api/v1/nodes", {}],
      ["/api/v1/namespaces/default/pods/shell", { method: "DELETE" }],
      [EXEC, {}],
      [EXEC, { method: "POST" }],
      [EXEC, { headers: UPGRADE }],
      ["/api/v1/nodes/local/proxy/pods", {}],
      ["/apis/rbac.authorization.k8s.io/v1/clusterroles", {}],
      ["/metrics", {}],
    ] as [string, Options][]) {
      const { status, text } = await this.ask(path, options);
      assert.equal(status, 403, `${path}: ${text}`);
    }
  }

  async canBeNobodyElse(): Promise<void> {
    for (const [who, headers] of Object.entries<Record<string, string>>({
      "a user": { "Impersonate-User": "mallory" },
      "the group of masters": { ...ADMIN, "Impersonate-Group": "system:masters" },
      "a group": { ...ADMIN, "Impersonate-Group": "admins" },
      "a part of the control plane": { "Impersonate-User": "system:kube-controller-manager" },
      "a node": { "Impersonate-User": "system:node:local" },
      "a service account": { "Impersonate-User": "system:serviceaccount:kube-system:default" },
      "a UID": { ...ADMIN, "Impersonate-Uid": "1" },
      "an extra": { ...ADMIN, "Impersonate-Extra-Example.com%2fother": "x" },
    })) {
      const { status, text } = await this.ask("/api/v1/pods", {}, headers);
      assert.equal(status, 403, `${who}: ${text}`);
      assert.match(text, /cannot impersonate|not allowed/, who);
    }
  }

  /** As somebody who may do everything: what this policy denies is denied, and what it does not deny works. */
  async isHeldTo(policy: string): Promise<void> {
    for (const [path, options] of denied[policy] ?? []) {
      const { status, text } = await this.ask(path, options, ADMIN);
      assert.equal(status, 403, `${path} ${JSON.stringify(options)}: ${text}`);
      assert.match(text, /impersonate-on:user-info|cannot impersonate/, path);
    }
    for (const [path, options] of allowed[policy] ?? []) {
      const { status, text } = await this.ask(path, options, ADMIN);
      assert.equal(status, 200, `${path}: ${text}`);
    }
    const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
    const reviewing = { method: "POST", body: JSON.stringify(review) };
    const { status, text } = await this.ask("/apis/authentication.k8s.io/v1/selfsubjectreviews", reviewing, ADMIN);
    assert.equal(status, 201, text);
  }

  async ask(path: string, options: Options, identity: Record<string, string> = {}) {
    const ca = await readFile(this.#cluster.caFile);
    const authorization = `Bearer ${this.#token}`;
    const headers = {
      Authorization: authorization,
      "Content-Type": "application/json",
      ...options.headers,
      ...identity,
    };
    return new Promise<{ status: number; text: string }>((resolve, reject) => {
      const sent = request(new URL(path, this.#cluster.server), { ca, method: options.method ?? "GET", headers });
      sent.on("error", reject);
      sent.on("upgrade", (response, socket) => {
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, text: "upgraded" });
      });
      sent.on("response", (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      });
      sent.end(options.body);
    });
  }
}
