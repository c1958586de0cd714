// What a rule of RBAC lets the gateway's service account do, measured against what identities.yaml asks for.

import {
  allows,
  type Impersonation,
  identityRules,
  isTaken,
  namesOf,
  ON,
  type Policy,
  type Rule,
} from "../impersonation.ts";

const CONSTRAINED = "impersonate:user-info";
/** What Kubernetes itself lets every account do: ask about oneself, and read the certificates that all may trust. */
const COMMON: [resource: RegExp, verbs: string[]][] = [
  [/^selfsubject(access|rules)?reviews$/, ["create"]],
  [/^clustertrustbundles$/, ["get", "list", "watch"]],
];

/** How the rules let the account impersonate; "both" voids the constraint. */
export function modeOf(rules: Rule[]): Impersonation | "both" {
  const has = (verb: string) => rules.some(({ verbs }) => verbs.includes(verb));
  if (has("impersonate")) {
    return has(CONSTRAINED) ? "both" : "legacy";
  }
  return "constrained";
}

/** What a rule allows beyond what the policy asks for, in words, one for each excess. */
export function excesses(rule: Rule, policy: Policy): string[] {
  const { verbs, resources = [], nonResourceURLs = [] } = rule;
  const actions = verbs.filter((verb) => verb.startsWith(ON)).map((verb) => verb.slice(ON.length));
  const own = verbs.filter((verb) => !verb.startsWith(ON) && verb !== "impersonate" && verb !== CONSTRAINED);
  if (nonResourceURLs.length > 0) {
    const isDiscovery =
      own.every((verb) => verb === "get") && !nonResourceURLs.some((url) => url === "*" || url === "/*");
    return isDiscovery || own.length === 0 ? [] : [`${own.join(",")} of ${nonResourceURLs.join(", ")}`];
  }
  const isCommon = (resource: string) => {
    return COMMON.some(([name, usual]) => name.test(resource) && own.every((verb) => usual.includes(verb)));
  };
  const beyond = resources.filter((resource) => !isCommon(resource));
  const impersonates = verbs.includes("impersonate") || verbs.includes(CONSTRAINED);
  return [
    ...(own.length > 0 && beyond.length > 0 ? [`${own.join(",")} ${beyond.join(", ")}`] : []),
    ...(impersonates ? resources.flatMap((resource) => foreignTo(policy, resource, rule)) : []),
    ...actions.flatMap((verb) => deniedBy(policy, verb, rule)),
  ];
}

/** What the policy asks for and no rule gives, in words. */
export function shortfalls(rules: Rule[], policy: Policy, mode: Impersonation): string[] {
  const missing = identityRules(policy, mode).flatMap((rule) => {
    const [group = "", resource = "", verb = ""] = [rule.apiGroups?.[0], rule.resources?.[0], rule.verbs[0]];
    const names = rule.resourceNames ?? [undefined];
    return names
      .filter((name) => !rules.some((given) => allows(given, verb, group, resource, name)))
      .map((name) => (name === undefined ? `any of ${resource}` : `${resource.replace(/s$/, "")} ${name}`));
  });
  const acts = mode === "legacy" || rules.some(({ verbs }) => verbs.some((verb) => verb.startsWith(ON)));
  return acts ? missing : [...missing, "anybody at all: no rule says what may be done (impersonate-on:user-info:…)"];
}

/** What guards for everybody deny and a rule lets the account do as somebody. */
function deniedBy(policy: Policy, verb: string, { apiGroups = [], resources = [] }: Rule): string[] {
  return apiGroups
    .flatMap((group) => resources.filter((resource) => isTaken(policy, verb, group, resource)))
    .map((resource) => `${verb} ${resource} as somebody, which a guard for everybody denies`);
}

function foreignTo(policy: Policy, resource: string, { resourceNames = [] }: Rule): string[] {
  const { users, groups, uids, extras } = namesOf(policy);
  if (resource.startsWith("userextras/")) {
    return extras.includes(resource.slice("userextras/".length)) ? [] : [`impersonate ${resource}`];
  }
  const kinds: Record<string, string[] | undefined> = { users, groups, uids };
  if (!(resource in kinds)) {
    return [`impersonate ${resource}`];
  }
  const named = kinds[resource];
  if (resourceNames.length === 0) {
    return named === undefined ? [] : [`impersonate all ${resource}`];
  }
  const foreign = named ? resourceNames.filter((name) => !named.includes(name)) : [];
  return foreign.length > 0 ? [`impersonate ${resource} ${foreign.join(", ")}`] : [];
}
