// Terraform and deploy/impersonation.ts make the same rights of a policy: what modules/k8s makes of it before any provider is asked.

import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { ANY_USER, actionRules, identityRules, type Policy, type Rule } from "../../deploy/impersonation.ts";
import { terraform } from "../../dev/terraform-workspace.ts";
import { identities } from "../e2e/cluster/stolen.ts";
import { compared, custom, expanded, grants } from "./compared.ts";
import { k8sRefusals } from "./refusals-k8s.ts";

const k8s = resolve(import.meta.dirname, "../../terraform/modules/k8s");
const mapped = { identities, grants };
const policies: Record<string, Policy> = {
  ...Object.fromEntries(Object.entries(compared).map(([name, guards]) => [name, { ...mapped, guards }])),
  "any user": { identities: [{ email_domain: "example.com", user: "sso:{email}", groups: ["developers"] }] },
  "no group, and a fixed user": {
    identities: [{ email_domain: "example.com", user: "a$&b", act_as: { users: ["$1"] } }],
  },
  "an address with signs": { identities: [{ email: "A$$b@Example.com", user: "u-{email}" }] },
};

/** As the rules of a role are made of the locals: main.tf and rbac.tf, which need providers. */
const OUTPUT = `output "rules" {
  value = {
    identities = [for rule in local.impersonations : merge(
      { apiGroups = [rule.api_group], resources = [rule.resource], verbs = [local.impersonate] },
      rule.names == null ? {} : { resourceNames = rule.names },
    )]
    actions = concat(
      [for rule in local.actions : { apiGroups = [rule.api_group], resources = rule.resources, verbs = rule.verbs }],
      [for rule in local.urls : { apiGroups = [], nonResourceURLs = rule.urls, verbs = rule.verbs } if length(rule.urls) > 0],
    )
  }
}
`;

let dir: string;
let made: Record<string, { identities: Rule[]; actions: Rule[] }>;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-readers-"));
  await mkdir(join(dir, "k8s"));
  for (const file of ["variables.tf", "names.tf", "actions.tf", "api-resources.json"]) {
    await cp(join(k8s, file), join(dir, "k8s", file));
  }
  await writeFile(join(dir, "k8s", "outputs.tf"), OUTPUT);
  const modules = Object.entries(policies).map(([, policy], index) => [`p${index}`, variables(policy)] as const);
  const main = {
    module: Object.fromEntries(modules),
    output: { made: { value: Object.fromEntries(modules.map(([name]) => [name, `\${module.${name}.rules}`])) } },
  };
  await writeFile(join(dir, "main.tf.json"), JSON.stringify(main));
  await terraform(dir, ["init", "-input=false"]);
  await terraform(dir, ["apply", "-auto-approve", "-input=false"]);
  const rules = JSON.parse(await terraform(dir, ["output", "-json", "made"]));
  made = Object.fromEntries(Object.keys(policies).map((name, index) => [name, rules[`p${index}`]]));
});

after(() => rm(dir, { recursive: true, force: true }));

for (const [name, policy] of Object.entries(policies)) {
  test(`case 131: ${name}: both readers make the same rights of it`, () => {
    assert.deepEqual(expanded(made[name]?.identities ?? []), expanded(identityRules(policy, "constrained")));
    assert.deepEqual(expanded(made[name]?.actions ?? []), expanded(actionRules(policy, custom)));
  });
}

/** What the module is given, as JSON that Terraform reads as values. */
function variables({ identities, guards = [], grants = {} }: Policy): object {
  const { account_id, tunnel_name, cloudflared_image, kubectl_image, node_image, replicas } = k8sRefusals.valid;
  const given = {
    identities,
    guards: guards.map(({ for: whom, ...guard }) => ({ ...guard, ...(whom && { whom }) })),
    grants,
    custom_resources: custom,
    impersonate_any_user: identities.some(({ email, user }) => email === undefined && user?.includes(ANY_USER)),
  };
  return { source: "./k8s", account_id, tunnel_name, cloudflared_image, kubectl_image, node_image, replicas, ...given };
}
