// The module that turns the identity map into rights: what it must not take.

import type { Module, Refusal } from "./refusals.ts";

const alice = { email: "alice@example.com", user: "alice", groups: ["platform-admins"] };
const digest = `sha256:${"0".repeat(64)}`;

const names: Refusal[] = ["", " alice", "alice ", "alice,bob", "älice", "alice\nbob", "a".repeat(257)].map((user) => ({
  values: { identities: [{ ...alice, user }] },
  says: "users, groups and UIDs must be 1 to 256 printable ASCII characters",
}));

const reserved: Refusal[] = [
  { ...alice, user: "system:admin" },
  { ...alice, user: "System:Masters" },
  { email: "system:node@example.com", user: "{email}" },
  { ...alice, groups: ["system:masters"] },
  { ...alice, groups: ["system:authenticated"], allow_system_masters: true },
  { ...alice, act_as: { users: ["system:admin"] } },
].map((identity) => ({
  values: { identities: [identity] },
  says: 'names that begin with "system:" are Kubernetes\' own',
}));

const callers: Refusal[] = [
  { user: "alice" },
  { ...alice, email_domain: "example.com" },
  { ...alice, service_token: "0123456789abcdef.access" },
].map((identity) => ({
  values: { identities: [identity] },
  says: "each entry must have exactly one of email, email_domain, service_token and idp_group",
}));

const group = { idp_group: "g", groups: ["on-call"] };
const secrets = { resources: ["secrets"] };
const guard = { name: "g", deny: [secrets] };

/** Values of one field of a guard that is for sessions, and what is said against them. */
const sessions: Refusal[] = [
  {
    field: "record",
    wrong: [false, "output", "Input", ""],
    says: "record must be true, or input, which keeps what is typed as well",
  },
  {
    field: "max_session",
    wrong: ["9s", "168h1s", "604801s", "1d", "4H", "4 h", "1m1h", "1h1h", "1.5h", "9999999h", "h", "+4h", "", "3600"],
    says: "max_session must be hours, minutes and seconds, such as 4h, 90m or 1h30m, from 10s to 168h",
  },
  {
    field: "max_bytes",
    wrong: ["63KiB", "97MiB", "98305KiB", "64MB", "64 MiB", "67108864", "MiB", "1GiB", ""],
    says: "max_bytes must be KiB or MiB, such as 512KiB or 64MiB, from 64KiB to 96MiB",
  },
  {
    field: "streams",
    wrong: [{}, { names: [] }, { namespaces: [], names: ["a"] }],
    says: "streams must have namespaces or names, and no empty list, which can never match",
  },
  {
    field: "streams",
    wrong: [
      { namespaces: ["Prod"] },
      { namespaces: ["p*d"] },
      { names: ["a/b"] },
      { names: ["a", ""] },
      { names: ["a b"] },
    ],
    says: "namespaces and names of streams must be the name of one, or with a * at its end",
  },
].flatMap(({ field, wrong, says }) =>
  wrong.map((value) => ({ values: { guards: [{ ...guard, record: true, [field]: value }] }, says })),
);

const alone: Refusal[] = [{ max_bytes: "1MiB" }, { streams: { names: ["web"] } }].map((fields) => ({
  values: { guards: [{ ...guard, ...fields }] },
  says: "max_bytes and streams take nothing away by themselves",
}));

/** Rules that could never match, and what is said against them. */
const denials: Refusal[] = [
  {
    wrong: [
      { resources: ["(secrets"] },
      { resources: ["deployments.apps"] },
      { resources: ["secrets.v1"] },
      { resources: ["p*ds"] },
      { resources: ["pods/"] },
      { resources: ["pods/exec/x"] },
    ],
    says: "guards: resources must be plurals in lower case",
  },
  {
    wrong: [
      { ...secrets, api_groups: ["apps/v1"] },
      { ...secrets, api_groups: ["Apps"] },
      { ...secrets, api_groups: [".x"] },
    ],
    says: "guards: api_groups must be in lower case",
  },
  {
    wrong: [
      { ...secrets, namespaces: ["-a-"] },
      { ...secrets, namespaces: ["a", ""] },
    ],
    says: "guards: namespaces of a rule must be the name of one",
  },
  {
    wrong: ["metrics", "/metrics//x", "/a/../metrics", "/a/.", "/metrics/", "/a*b", "/%6detrics", "**"].map((url) => ({
      non_resource_urls: [url],
    })),
    says: "guards: non_resource_urls must be paths",
  },
].flatMap(({ wrong, says }) => wrong.map((rule) => ({ values: { guards: [{ ...guard, deny: [rule] }] }, says })));

const policy: Refusal[] = [
  ...[{ email: "alice@example.com" }, { ...alice, idp: "x" }].map((identity) => ({
    values: { identities: [identity] },
    says: "an entry must have a user unless it has idp_group",
  })),
  ...[group, { email_domain: "example.com", user: "x", groups: ["system:masters"] }].map((identity) => ({
    values: { identities: [{ ...identity, allow_system_masters: true }] },
    says: "allow_system_masters goes with email or service_token alone",
  })),
  {
    values: { identities: [{ ...alice, act_as: { extras: ["scopes"] } }] },
    says: "an extra of act_as must be a path below a domain",
  },
  {
    values: { identities: [{ ...alice, act_as: { extras: ["kube-access.dev/email"] } }] },
    says: "an extra of act_as must be a path below a domain",
  },
  { values: { guards: [{ ...guard, allow: "nothing" }] }, says: 'guards: allow must be "read-only"' },
  ...[{}, { whom: { groups: ["on-call"] } }].map((fields) => ({
    values: { guards: [{ name: "g", ...fields }] },
    says: "a guard that takes nothing away: it must have deny, allow, record or max_session",
  })),
  ...sessions,
  ...alone,
  { values: { guards: [{ ...guard, deny: [{ verbs: ["get"] }] }] }, says: "either resources or non_resource_urls" },
  { values: { guards: [{ ...guard, deny: [{ ...secrets, verbs: ["read"] }] }] }, says: "guards: verbs must be RBAC's" },
  ...denials,
  { values: { grants: { users: ["system:admin"] } }, says: "grants must name users and groups" },
  { values: { grants: { groups: ["a,b"] } }, says: "grants must name users and groups" },
  { values: { grants: { users: ["{email}"] } }, says: "grants must name users and groups" },
  { values: { grants: { groups: ["x-{email}"] } }, says: "grants must name users and groups" },
  { values: { impersonation: "none" }, says: 'impersonation must be "constrained" or "legacy"' },
  {
    values: {
      impersonation: "constrained",
      identities: [{ ...alice, groups: ["system:masters"], allow_system_masters: true }],
    },
    says: "In constrained impersonation the API server refuses the group system:masters",
  },
  ...[{ "cert-manager.io": ["*"] }, { "*": ["secrets"] }, { "cert-manager.io/v1": ["certificates"] }].map(
    (custom_resources) => ({ values: { custom_resources }, says: "custom_resources must name each API group" }),
  ),
];

const templates: Refusal[] = [
  { email: "alice@example.com", user: "{email}-{email}" },
  { service_token: "0123456789abcdef.access", user: "{email}" },
].map((identity) => ({ values: { identities: [identity] }, says: '"{email}" may stand once in the user' }));

const literals: Refusal[] = [
  { ...alice, groups: ["x-{email}"] },
  { ...alice, act_as: { users: ["{email}"] } },
].map((identity) => ({ values: { identities: [identity] }, says: "in an entry's user alone, not in groups" }));

export const k8sRefusals: Omit<Module, "path"> = {
  valid: {
    account_id: "0123456789abcdef0123456789abcdef",
    tunnel_name: "kube-access",
    identities: [
      alice,
      { email: "bob@example.com", user: "sso:{email}" },
      { ...alice, groups: ["system:masters"], allow_system_masters: true },
      { ...group, idp: "x", act_as: { users: ["breakglass"], extras: ["example.com/ticket"] }, expires: "2027-01-31" },
    ],
    impersonation: "legacy",
    guards: [
      { ...guard, whom: { groups: ["on-call"] } },
      { name: "r", allow: "read-only" },
      { name: "s", record: true },
      {
        name: "t",
        record: "input",
        max_session: "1h30m",
        max_bytes: "64KiB",
        streams: { namespaces: ["prod-*", "*"] },
      },
      {
        name: "u",
        max_session: "10s",
        max_bytes: "96MiB",
        streams: { namespaces: ["n"], names: ["system:x", "web-*"] },
      },
      { ...guard, name: "v", max_session: "168h" },
      {
        name: "w",
        deny: [
          {
            resources: ["*", "pods/*", "*/scale", "*/ex*", "po*"],
            api_groups: ["", "*", "apps", "x-*", "example.com"],
          },
          { resources: ["pods"], namespaces: ["a", "team-*", "*"] },
          { non_resource_urls: ["*", "/", "/*", "/metrics", "/debug/*", "/.well-known/*", "/a/.b/c..d", "/a/.*"] },
        ],
      },
    ],
    cloudflared_image: `docker.io/cloudflare/cloudflared:1@${digest}`,
    kubectl_image: `registry.example.com:5000/kubectl@${digest}`,
    node_image: `docker.io/library/node:24@${digest}`,
    replicas: 2,
  },
  alsoValid: [
    { last_hop: "guarded" },
    { pod_user_id: null, network_policy: false },
    { pod_user_id: 1000, api_server: { cidrs: [] } },
    { last_hop_key_edition: 2 },
  ],
  refusals: [
    { values: { account_id: "acme" }, says: "account_id must be the account's 32 hexadecimal digits" },
    { values: { tunnel_name: "" }, says: "tunnel_name must have 1 to 100" },
    { values: { identities: [] }, says: "identities must not be empty" },
    ...callers,
    ...names,
    {
      values: { identities: [{ ...alice, groups: ["a,b"] }] },
      says: "users, groups and UIDs must be 1 to 256 printable",
    },
    ...reserved,
    ...templates,
    ...literals,
    {
      values: { identities: [{ email_domain: "example.com", user: "sso:{email}" }] },
      says: "Set impersonate_any_user = true",
    },
    ...policy,
    {
      values: { cloudflared_image: "docker.io/cloudflare/cloudflared:latest" },
      says: "cloudflared_image must name a registry and be pinned by digest",
    },
    {
      values: { kubectl_image: "registry.k8s.io/kubectl:v1.37.0" },
      says: "kubectl_image must name a registry and be pinned by digest",
    },
    { values: { replicas: 0 }, says: "replicas must be a whole number from 1 to 25" },
    { values: { replicas: 26 }, says: "replicas must be a whole number from 1 to 25" },
    {
      values: { node_image: "docker.io/library/node:24" },
      says: "node_image must name a registry and be pinned by digest",
    },
    { values: { last_hop: "nginx" }, says: 'last_hop must be "kubectl-proxy" or "guarded"' },
    { values: { last_hop_key_edition: 1.5 }, says: "last_hop_key_edition must be a whole number" },
    { values: { pod_user_id: 0 }, says: "pod_user_id must be a whole number from 1" },
    { values: { pod_user_id: 1.5 }, says: "pod_user_id must be a whole number from 1" },
    { values: { api_server: { cidrs: ["everywhere"] } }, says: "api_server.cidrs must hold ranges" },
    { values: { api_server: { ports: [] } }, says: "api_server.ports must hold at least one port" },
    { values: { api_server: { ports: [70000] } }, says: "api_server.ports must hold at least one port" },
    { values: { metrics_namespace: "Monitoring" }, says: "metrics_namespace must be the name of a namespace" },
  ],
};
