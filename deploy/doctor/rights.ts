// What a rule of RBAC lets the gateway's service account do, measured against identities.yaml.

import type { Entry, Project } from "./project.ts";

export interface Rule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

const ANY_USER = "{email}";
/** What the gateway sends beside user and groups. */
const EXTRAS = ["email", "subject"].map((key) => `userextras/kube-access.dev/${key}`);
/** What Kubernetes itself lets every account do: ask about oneself, and read the certificates that all may trust. */
const COMMON: [resource: RegExp, verbs: string[]][] = [
  [/^selfsubject(access|rules)?reviews$/, ["create"]],
  [/^clustertrustbundles$/, ["get", "list", "watch"]],
];

/** What a rule allows beyond impersonating the map's users and groups; in words, one for each excess. */
export function excesses(rule: Rule, project: Project): string[] {
  const { verbs, resources = [], nonResourceURLs = [] } = rule;
  if (nonResourceURLs.length > 0) {
    const isDiscovery =
      verbs.every((verb) => verb === "get") && !nonResourceURLs.some((url) => url === "*" || url === "/*");
    return isDiscovery ? [] : [`${verbs.join(",")} of ${nonResourceURLs.join(", ")}`];
  }
  const others = verbs.filter((verb) => verb !== "impersonate");
  const isCommon = (resource: string) => {
    return COMMON.some(([name, usual]) => name.test(resource) && others.every((verb) => usual.includes(verb)));
  };
  const beyond = resources.filter((resource) => !isCommon(resource));
  return [
    ...(others.length > 0 && beyond.length > 0 ? [`${others.join(",")} ${beyond.join(", ")}`] : []),
    ...(verbs.includes("impersonate") ? resources.flatMap((resource) => foreignTo(project, resource, rule)) : []),
  ];
}

/** Whom the map names and no rule lets the account impersonate. */
export function shortfalls(rules: Rule[], { identities }: Project): string[] {
  const may = (resource: string, name: string) => {
    return rules.some(({ verbs, resources, resourceNames }) => {
      const isMeant = verbs.includes("impersonate") && resources?.includes(resource);
      return isMeant && (resourceNames === undefined || resourceNames.includes(name));
    });
  };
  return [
    ...[...usersOf(identities)].filter((user) => !may("users", user)).map((user) => `user ${user}`),
    ...[...groupsOf(identities)].filter((group) => !may("groups", group)).map((group) => `group ${group}`),
  ];
}

function foreignTo({ identities, hasKv }: Project, resource: string, { resourceNames = [] }: Rule): string[] {
  if (EXTRAS.includes(resource)) {
    return [];
  }
  if (resource !== "users" && resource !== "groups") {
    return [`impersonate ${resource}`];
  }
  const mapped = resource === "users" ? usersOf(identities) : groupsOf(identities);
  if (resourceNames.length === 0) {
    return resource === "users" && mapped.has(ANY_USER) ? [] : [`impersonate all ${resource}`];
  }
  // A KV entry may hand out names that Terraform was told and the map does not hold, but none of Kubernetes' own.
  const foreign = resourceNames.filter((name) => !mapped.has(name) && !(hasKv && !name.startsWith("system:")));
  return foreign.length > 0 ? [`impersonate ${resource} ${foreign.join(", ")}`] : [];
}

/** The user names of the map. A domain's "{email}" stays as it is: it stands for names that nobody knows yet. */
function usersOf(identities: Entry[]): Set<string> {
  return new Set(identities.map(({ user, email }) => user.replace(ANY_USER, email?.toLowerCase() ?? ANY_USER)));
}

function groupsOf(identities: Entry[]): Set<string> {
  return new Set(identities.flatMap(({ groups = [] }) => groups));
}
