// What RBAC has to let the gateway's service account do, as terraform/modules/k8s makes it of identities.yaml; a test compares the two.
// The local cluster is given these rights, and the doctor measures a cluster by them.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** How the account impersonates: `impersonation` in Terraform. */
export const IMPERSONATIONS = ["constrained", "legacy"] as const;
export type Impersonation = (typeof IMPERSONATIONS)[number];

/** identities.yaml, as far as names and guards go. */
export interface Policy {
  identities: Entry[];
  guards?: Guard[];
  grants?: { users?: string[]; groups?: string[] };
}

/** An entry of identities.yaml. */
export interface Entry {
  email?: string;
  email_domain?: string;
  service_token?: string;
  idp_group?: string;
  user?: string;
  groups?: string[];
  act_as?: { users?: string[]; groups?: string[]; uids?: string[]; extras?: string[] };
  expires?: string;
}

export interface Guard {
  name: string;
  for?: object;
  allow?: string;
  deny?: Denial[];
  /** What it asks of sessions, which RBAC cannot say. */
  record?: true | "input";
  max_session?: string;
  max_bytes?: string;
  streams?: { namespaces?: string[]; names?: string[] };
}

interface Denial {
  api_groups?: string[];
  resources?: string[];
  verbs?: string[];
  namespaces?: string[];
  names?: string[];
  non_resource_urls?: string[];
}

export interface Rule {
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
  verbs: string[];
}

/** Whose names the account may impersonate; `users` is undefined where that is anybody. */
export interface Names {
  users: string[] | undefined;
  groups: string[];
  uids: string[];
  extras: string[];
}

export const ANY_USER = "{email}";
export const ON = "impersonate-on:user-info:";
export const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const URL_VERBS = ["get", "head", "post", "put", "patch", "delete"];
const STREAMS = ["attach", "exec", "portforward"];

/** What a node's kubelet serves of every pod of the node, in every namespace: who reaches it needs no right to the pod. */
const OF_NODES: Record<string, string[]> = {
  pods: ["get", "list", "watch"],
  "pods/attach": ["create"],
  "pods/exec": ["create"],
  "pods/log": ["get"],
  "pods/portforward": ["create"],
};

/** What a guard that denies any of that denies beside, by the verbs that a kubelet serves. */
const NO_NODES: Denial = { api_groups: [""], resources: ["nodes/proxy"], verbs: ["create", "get"] };

/** What the Worker tells the cluster's audit log beside user and groups. */
const EXTRAS = ["email", "grant", "original-groups", "original-user", "reason", "subject"].map(
  (key) => `kube-access.dev/${key}`,
);

const DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version", "/version/"];
const OTHER_URLS = [
  "/",
  "/.well-known/*",
  "/debug/*",
  "/healthz",
  "/healthz/*",
  "/livez",
  "/livez/*",
  "/logs",
  "/logs/*",
  "/metrics",
  "/metrics/*",
  "/openid/v1/jwks",
  "/readyz",
  "/readyz/*",
];
const SELF_REVIEWS: [group: string, resource: string][] = [
  ["authentication.k8s.io", "selfsubjectreviews"],
  ["authorization.k8s.io", "selfsubjectaccessreviews"],
  ["authorization.k8s.io", "selfsubjectrulesreviews"],
];

/** Kubernetes' own resources and subresources, by API group. */
const OWN_RESOURCES: Record<string, string[]> = JSON.parse(
  readFileSync(join(import.meta.dirname, "../terraform/modules/k8s/api-resources.json"), "utf8"),
);

/** Every name that the policy can give. A domain's "{email}" stands for names that nobody knows yet. */
export function namesOf({ identities, grants = {} }: Policy): Names {
  const given = identities.flatMap(({ user, email }) =>
    user === undefined ? [] : [email === undefined ? user : user.replace(ANY_USER, () => email.toLowerCase())],
  );
  const acting = <Kind extends "users" | "groups" | "uids" | "extras">(kind: Kind) =>
    identities.flatMap(({ act_as }) => act_as?.[kind] ?? []);
  const groups = identities.flatMap((entry) => entry.groups ?? []);
  return {
    // Everywhere else the placeholder stands for nobody: the build refuses it.
    users: given.some((user) => user.includes(ANY_USER))
      ? undefined
      : distinct([...given, ...acting("users"), ...(grants.users ?? [])]),
    groups: distinct([...groups, ...acting("groups"), ...(grants.groups ?? [])]),
    uids: distinct(acting("uids")),
    extras: distinct([...EXTRAS, ...acting("extras")]),
  };
}

/** Whom the account may impersonate. An empty list of names would mean all of them. */
export function identityRules(policy: Policy, mode: Impersonation): Rule[] {
  const isConstrained = mode === "constrained";
  const verbs = [isConstrained ? "impersonate:user-info" : "impersonate"];
  const core = isConstrained ? "authentication.k8s.io" : "";
  const { users, groups, uids, extras } = namesOf(policy);
  const named = (apiGroup: string, resource: string, names: string[]): Rule[] =>
    names.length > 0 ? [{ apiGroups: [apiGroup], resources: [resource], resourceNames: names, verbs }] : [];
  return [
    ...(users ? named(core, "users", users) : [{ apiGroups: [core], resources: ["users"], verbs }]),
    ...named(core, "groups", isConstrained ? groups.filter((group) => group !== "system:masters") : groups),
    ...named("authentication.k8s.io", "uids", uids),
    ...extras.map((key) => ({ apiGroups: ["authentication.k8s.io"], resources: [`userextras/${key}`], verbs })),
  ];
}

/**
 * What may be done as anybody: everything, less what guards for everybody take away. RBAC only adds. So a verb of which nothing is
 * taken is given for whatever there is, and any other for each resource by itself: Kubernetes' own, and `custom` ones.
 */
export function actionRules(policy: Policy, custom: Record<string, string[]> = {}): Rule[] {
  const catalogue = merged(OWN_RESOURCES, custom);
  const touched = VERBS.filter((verb) => isTaken(policy, verb, "*", "*"));
  const free = VERBS.filter((verb) => !touched.includes(verb));
  const rules: Rule[] = free.length > 0 ? [{ apiGroups: ["*"], resources: ["*"], verbs: free.map(on) }] : [];
  for (const [group, resources] of Object.entries(catalogue)) {
    const byVerbs = new Map<string, string[]>();
    for (const resource of resources) {
      const verbs = touched.filter((verb) => !isTaken(policy, verb, group, resource)).map(on);
      if (verbs.length > 0) {
        const key = verbs.join();
        byVerbs.set(key, [...(byVerbs.get(key) ?? []), resource]);
      }
    }
    for (const [verbs, same] of byVerbs) {
      rules.push({ apiGroups: [group], resources: same, verbs: verbs.split(",") });
    }
  }
  return [...rules, ...urlRules(policy)];
}

/**
 * Whether guards for everybody take a verb away from a resource, or from some of what a rule of RBAC means by `*` and by `*\/scale`;
 * from the resource "*", whether they take it from anything.
 */
export function isTaken(policy: Policy, verb: string, group: string, resource: string): boolean {
  const { denials, isReadOnly } = everybodys(policy);
  if (resource === "*") {
    return isReadOnly || denials.some((denial) => touches(denial, verb));
  }
  if (SELF_REVIEWS.some(([own, review]) => own === group && review === resource)) {
    return isReadOnly && verb !== "create";
  }
  return (isReadOnly && !isRead(verb, resource)) || denials.some((denial) => denies(denial, verb, group, resource));
}

/** Whether guards for everybody take a verb away from some of the URLs of a pattern. */
export function isUrlTaken(policy: Policy, verb: string, url: string): boolean {
  const { denials, isReadOnly } = everybodys(policy);
  if ((verb === "get" || verb === "head") && DISCOVERY.some((open) => covers(open, url))) {
    return false;
  }
  // To a server of such URLs a slash at the end changes nothing.
  const isAmong = (denied: string) => overlap(denied, url) || (!denied.endsWith("*") && overlap(`${denied}/`, url));
  const isDenied = ({ verbs, non_resource_urls = [] }: Denial) => isAny(verbs, verb) && non_resource_urls.some(isAmong);
  return isReadOnly || denials.some(isDenied);
}

/** Whether a rule lets somebody do something; without a name, whatever the name is. */
export function allows(rule: Rule, verb: string, group: string, resource: string, name?: string): boolean {
  const { apiGroups = [], resources = [], resourceNames, verbs } = rule;
  const has = (texts: string[], text: string) => texts.includes(text) || texts.includes("*");
  const isNamed = resourceNames === undefined || (name !== undefined && resourceNames.includes(name));
  return has(verbs, verb) && has(apiGroups, group) && has(resources, resource) && isNamed;
}

function everybodys({ guards = [] }: Policy): { denials: Denial[]; isReadOnly: boolean } {
  const held = guards.filter((guard) => guard.for === undefined);
  return {
    denials: held.flatMap(({ deny = [] }) => (deny.some(isServedByNodes) ? [...deny, NO_NODES] : deny)),
    isReadOnly: held.some(({ allow }) => allow === "read-only"),
  };
}

/** Whether a denial is of something, in whatever namespace and of whatever name, that a node's proxy would give all the same. */
function isServedByNodes({ api_groups = ["*"], resources = [], verbs }: Denial): boolean {
  const isDenied = ([resource, ways]: [string, string[]]) =>
    resources.some((pattern) => isResource(pattern, resource)) && ways.some((verb) => isAny(verbs, verb));
  return api_groups.some((group) => covers(group, "")) && Object.entries(OF_NODES).some(isDenied);
}

function urlRules(policy: Policy): Rule[] {
  const free = URL_VERBS.filter((verb) => !isUrlTaken(policy, verb, "*"));
  const rules: Rule[] = free.length > 0 ? [{ nonResourceURLs: ["*"], verbs: free.map(on) }] : [];
  for (const verb of URL_VERBS.filter((verb) => !free.includes(verb))) {
    const urls = [...DISCOVERY, ...OTHER_URLS].filter((url) => !isUrlTaken(policy, verb, url));
    if (urls.length > 0) {
      rules.push({ nonResourceURLs: urls, verbs: [on(verb)] });
    }
  }
  return rules;
}

/** Whether RBAC can say a denial: it knows no exception for a namespace or a name. */
function isSayable({ resources, namespaces, names }: Denial): boolean {
  return resources !== undefined && namespaces === undefined && names === undefined;
}

/** Whether a denial takes a verb away from anything. kubectl's exec is a GET, which `get` of everything would let through. */
function touches(denial: Denial, verb: string): boolean {
  const opensStreams = verb === "get" && isAny(denial.verbs, "create") && hasStreams(denial);
  return isSayable(denial) && (isAny(denial.verbs, verb) || opensStreams);
}

/** Whether a stream may be among what a denial names. Of Kubernetes' own groups only the core group has any; a custom one may. */
function hasStreams({ api_groups = ["*"], resources = [] }: Denial): boolean {
  const own = Object.keys(OWN_RESOURCES).filter((group) => group !== "");
  const ofStream = (resource: string) => {
    const subresource = subresourceOf(resource);
    return subresource !== undefined && STREAMS.some((stream) => covers(subresource, stream));
  };
  return api_groups.some((group) => !own.includes(group)) && resources.some(ofStream);
}

function denies(denial: Denial, verb: string, group: string, resource: string): boolean {
  const isStream = STREAMS.includes(resource.split("/")[1] ?? "");
  return (
    isSayable(denial) &&
    // A stream is authorised as create, whatever the method.
    isAny(denial.verbs, verb === "get" && isStream ? "create" : verb) &&
    (denial.api_groups?.some((pattern) => overlap(pattern, group)) ?? true) &&
    (denial.resources?.some((pattern) => isResource(pattern, resource)) ?? false)
  );
}

function isRead(verb: string, resource: string): boolean {
  const [name, subresource = ""] = resource.split("/");
  return ["get", "list", "watch"].includes(verb) && name !== "secrets" && ![...STREAMS, "proxy"].includes(subresource);
}

/** Whether two patterns of resources have one in common: pods*, *\/scale. */
function isResource(pattern: string, resource: string): boolean {
  const [one, other] = [pattern, resource].map(subresourceOf);
  const ofAny = pattern.startsWith("*/") || resource.startsWith("*/");
  return ofAny ? one !== undefined && other !== undefined && overlap(one, other) : overlap(pattern, resource);
}

/** The subresource of a pattern; any, where its star may stand for a slash too. */
function subresourceOf(pattern: string): string | undefined {
  const slash = pattern.indexOf("/");
  return slash < 0 ? (pattern.endsWith("*") ? "*" : undefined) : pattern.slice(slash + 1);
}

function isAny(verbs: string[] | undefined, verb: string): boolean {
  return verbs === undefined || verbs.includes("*") || verbs.includes(verb);
}

/** Whether every text of a pattern is one of another's. */
export function covers(whole: string, part: string): boolean {
  return whole.endsWith("*") ? part.startsWith(whole.slice(0, -1)) : part === whole;
}

/** Whether two patterns have a text in common. */
function overlap(one: string, other: string): boolean {
  return covers(one, other.replace(/\*$/, "")) || covers(other, one.replace(/\*$/, ""));
}

function merged(own: Record<string, string[]>, custom: Record<string, string[]>): Record<string, string[]> {
  const groups = [...new Set([...Object.keys(own), ...Object.keys(custom)])].sort();
  return Object.fromEntries(
    groups.map((group) => [group, distinct([...(own[group] ?? []), ...(custom[group] ?? [])])]),
  );
}

function on(verb: string): string {
  return `${ON}${verb}`;
}

function distinct(texts: string[]): string[] {
  return [...new Set(texts)].sort();
}
