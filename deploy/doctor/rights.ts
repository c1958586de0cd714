// What a rule of RBAC lets the gateway's service account do, measured against what identities.yaml asks for.

import {
  actionRules,
  allows,
  covers,
  type Impersonation,
  identityRules,
  isTaken,
  isUrlTaken,
  namesOf,
  ON,
  type Policy,
  type Rule,
} from "../impersonation.ts";

/** How many of what is wrong are told. */
export const SHOWN = 5;
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
    return [
      ...(isDiscovery || own.length === 0 ? [] : [`${own.join(",")} of ${nonResourceURLs.join(", ")}`]),
      ...denials(actions, nonResourceURLs, (verb, url) => isUrlTaken(policy, verb, url)),
    ];
  }
  const isCommon = (resource: string) => {
    return COMMON.some(([name, usual]) => name.test(resource) && own.every((verb) => usual.includes(verb)));
  };
  const beyond = resources.filter((resource) => !isCommon(resource));
  const impersonates = verbs.includes("impersonate") || verbs.includes(CONSTRAINED);
  return [
    ...(own.length > 0 && beyond.length > 0 ? [`${own.join(",")} ${beyond.join(", ")}`] : []),
    ...(impersonates ? resources.flatMap((resource) => foreignTo(policy, resource, rule)) : []),
    ...(rule.apiGroups ?? []).flatMap((group) =>
      denials(actions, resources, (verb, resource) => isTaken(policy, verb, group, resource)),
    ),
  ];
}

/** Whom the policy names and no rule lets the account impersonate. */
export function missingNames(rules: Rule[], policy: Policy, mode: Impersonation): string[] {
  return identityRules(policy, mode).flatMap((rule) => {
    const [group = "", resource = "", verb = ""] = [rule.apiGroups?.[0], rule.resources?.[0], rule.verbs[0]];
    const names = rule.resourceNames ?? [undefined];
    return names
      .filter((name) => !rules.some((given) => allows(given, verb, group, resource, name)))
      .map((name) => (name === undefined ? `any of ${resource}` : `${resource.replace(/s$/, "")} ${name}`));
  });
}

/** What may be done as anybody by the policy, and by no rule: in constrained impersonation the API server refuses it. */
export function missingActions(rules: Rule[], policy: Policy): string[] {
  if (!rules.some(({ verbs }) => verbs.some((verb) => verb.startsWith(ON)))) {
    return ["do anything: no rule says what (impersonate-on:user-info:…)"];
  }
  return actionRules(policy).flatMap(({ apiGroups = [], resources = [], nonResourceURLs = [], verbs }) =>
    verbs.flatMap((verb) => {
      const isUrlGiven = (url: string) =>
        rules.some((given) => given.verbs.includes(verb) && given.nonResourceURLs?.some((one) => covers(one, url)));
      const isGiven = (group: string, resource: string) => rules.some((given) => allows(given, verb, group, resource));
      const missing = [
        ...nonResourceURLs.filter((url) => !isUrlGiven(url)),
        ...apiGroups.flatMap((group) => resources.filter((resource) => !isGiven(group, resource))),
      ];
      const more = missing.length > SHOWN ? ` and ${missing.length - SHOWN} more` : "";
      const some = missing.slice(0, SHOWN).join(", ");
      return missing.length > 0 ? [`${verb.slice(ON.length)} ${some}${more}`] : [];
    }),
  );
}

/** What guards for everybody deny and a rule lets the account do as somebody. */
function denials(verbs: string[], of: string[], isDenied: (verb: string, of: string) => boolean): string[] {
  return of.flatMap((one) => {
    const denied = verbs.filter((verb) => isDenied(verb, one));
    return denied.length > 0 ? [`${denied.join(",")} ${one} as somebody, which a guard for everybody denies`] : [];
  });
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
