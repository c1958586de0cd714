// What the local cluster holds: two pods, a namespace for a team, and the rights of the test users and of the gateway.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { actionRules, type Impersonation, identityRules, type Policy, type Rule } from "../deploy/impersonation.ts";

export const gatewayUser = "system:serviceaccount:kube-access:kube-access";

const rbac = "rbac.authorization.k8s.io";
const identitiesFile = join(import.meta.dirname, "..", "identities.yaml");

interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  [field: string]: unknown;
}

/** Every object, in an order in which they can be created. */
export async function clusterObjects(mode: Impersonation, identities = identitiesFile): Promise<KubernetesObject[]> {
  const policy = parse(await readFile(identities, "utf8")) as Policy;
  return [
    ...["default", "team-a", "kube-access"].map(namespace),
    ...gatewayAccount(policy, mode),
    bind("ClusterRoleBinding", "platform-admins", group("platform-admins"), "cluster-admin"),
    bind("RoleBinding", "developers-view", group("developers"), "view", "default"),
    podAccess,
    bind("RoleBinding", "developers-pod-access", group("developers"), podAccess, "default"),
    bind("RoleBinding", "ci-edit", group("ci"), "edit", "team-a"),
    bind("RoleBinding", "on-call-view", group("on-call"), "view", "default"),
    // Whoever is on call may become breakglass, who may do everything.
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name: "become-breakglass" },
      rules: [{ apiGroups: [""], resources: ["users"], resourceNames: ["breakglass"], verbs: ["impersonate"] }],
    },
    bind("ClusterRoleBinding", "on-call-become-breakglass", group("on-call"), "become-breakglass"),
    bind("ClusterRoleBinding", "breakglass", user("breakglass"), "cluster-admin"),
    // More than the guard lets them do.
    bind("RoleBinding", "contractors-edit", group("contractors"), "edit", "default"),
    pod("web", {
      command: ["$(DEV_NODE)", "web"],
      ports: [{ containerPort: 8080 }],
    }),
    pod("shell", {}),
  ];
}

/**
 * The rules of view, edit and admin, which a controller manager would collect from the roles labelled for them. This
 * cluster has none, and these three roles are empty until somebody does it.
 */
export function aggregate(roles: (KubernetesObject & { rules?: Rule[] })[]): KubernetesObject[] {
  const collected: Record<string, Rule[]> = {};
  for (const [name, includes] of [["view"], ["edit", "view"], ["admin", "edit"]] as const) {
    const own = roles.find((role) => role.metadata.name === `system:aggregate-to-${name}`)?.rules ?? [];
    collected[name] = [...own, ...((includes && collected[includes]) || [])];
  }
  return Object.entries(collected).map(([name, rules]) => ({
    apiVersion: `${rbac}/v1`,
    kind: "ClusterRole",
    metadata: { name },
    rules,
  }));
}

/** The gateway may impersonate whom identities.yaml names, and do nothing else: as in production. */
function gatewayAccount(policy: Policy, mode: Impersonation): KubernetesObject[] {
  const metadata = { name: "kube-access", namespace: "kube-access" };
  const account = { kind: "ServiceAccount", ...metadata };
  const role = (name: string, rules: Rule[]): KubernetesObject[] => [
    { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name }, rules },
    bind("ClusterRoleBinding", name, account, name),
  ];
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata },
    ...role("kube-access-impersonator", identityRules(policy, mode)),
    ...(mode === "constrained" ? role("kube-access-actions", actionRules(policy)) : []),
  ];
}

const podAccess: KubernetesObject = {
  apiVersion: `${rbac}/v1`,
  kind: "Role",
  metadata: { name: "pod-access", namespace: "default" },
  rules: [
    {
      apiGroups: [""],
      resources: ["pods/exec", "pods/attach", "pods/portforward", "pods/log"],
      verbs: ["create", "get"],
    },
  ],
};

function bind(
  kind: "ClusterRoleBinding" | "RoleBinding",
  name: string,
  subject: object,
  role: string | KubernetesObject,
  namespace?: string,
): KubernetesObject {
  const roleRef =
    typeof role === "string"
      ? { apiGroup: rbac, kind: "ClusterRole", name: role }
      : { apiGroup: rbac, kind: role.kind, name: role.metadata.name };
  const metadata = { name, ...(namespace ? { namespace } : {}) };
  return { apiVersion: `${rbac}/v1`, kind, metadata, subjects: [subject], roleRef };
}

function group(name: string): object {
  return { apiGroup: rbac, kind: "Group", name };
}

function user(name: string): object {
  return { apiGroup: rbac, kind: "User", name };
}

function namespace(name: string): KubernetesObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name } };
}

function pod(name: string, container: object): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default" },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [{ name, image: `local/${name}`, ...container }],
    },
  };
}
