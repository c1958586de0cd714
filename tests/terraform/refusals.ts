// For each module: values that are right, and for each validation a value that is wrong and what its message says.

import { k8sRefusals } from "./refusals-k8s.ts";

export interface Module {
  /** Below terraform/. */
  path: string;
  valid: Record<string, unknown>;
  /** Other values that are right, each instead of those in `valid`. */
  alsoValid?: Record<string, unknown>[];
  refusals: Refusal[];
  /** Files that the values name. */
  files?: Record<string, string>;
}

export interface Refusal {
  values: Record<string, unknown>;
  says: string;
}

const root: Module = {
  path: "",
  files: {
    "identities.yaml": "identities:\n  - email: alice@example.com\n    user: alice\n",
    "typing-error.yaml": "identities:\n  - email: alice@example.com\n    user: alice\n    group: [admins]\n",
    "typing-error-of-act-as.yaml":
      "identities:\n  - email: alice@example.com\n    user: alice\n    act_as: {user: [root]}\n",
    "typing-error-of-a-guard.yaml": "identities: []\nguards:\n  - name: g\n    deny: [{resource: [pods]}]\n",
    "typing-error-of-streams.yaml": "identities: []\nguards:\n  - {name: g, record: true, streams: {pods: [web]}}\n",
    "typing-error-of-record.yaml": "identities: []\nguards:\n  - {name: g, records: true}\n",
    "sessions.yaml":
      "identities:\n  - email: alice@example.com\n    user: alice\nguards:\n" +
      "  - {name: g, record: true, max_session: 4h, max_bytes: 64MiB, streams: {namespaces: [prod-*], names: [web-*]}}\n" +
      "  - {name: h, record: input}\n",
    "typing-error-of-the-whole.yaml": "identities: []\nguard: []\n",
    "grants.yaml": "identities:\n  - email: alice@example.com\n    user: alice\ngrants: {groups: [on-call]}\n",
    "recorded.yaml": "identities: []\nguards:\n  - {name: g, allow: read-only}\n  - {name: r, record: input}\n",
    "bounded.yaml": "identities: []\nguards:\n  - {name: g, max_session: 4h}\n",
    "list.yaml": "- email: alice@example.com\n",
    kubeconfig: "apiVersion: v1\n",
  },
  valid: {
    account_id: "0123456789abcdef0123456789abcdef",
    team_domain: "https://acme.cloudflareaccess.com",
    hostname: "kube.example.com",
    identities_file: "identities.yaml",
    allow: { emails: ["alice@example.com"] },
    cluster: "kubeconfig",
    kubeconfig: { path: "kubeconfig", context: "test" },
  },
  alsoValid: [
    { identities_file: "grants.yaml", identities_kv: true },
    { identities_file: "sessions.yaml", sessions: true },
    { identities_file: "recorded.yaml", sessions: true },
    { identities_file: "bounded.yaml", sessions: true },
    { impersonation: "legacy" },
    ...["", "the platform team, #platform", 'Ops <ops@example.com>, "24/7"', "équipe 平台 🛟", "é".repeat(200)].map(
      (contact) => ({
        contact,
      }),
    ),
  ],
  refusals: [
    ...[
      "acme.cloudflareaccess.com",
      "https://acme.cloudflareaccess.com/",
      "https://acme.example.com",
      "<TEAM_DOMAIN>",
    ].map((team_domain) => ({ values: { team_domain }, says: 'must be "https://<team>.cloudflareaccess.com"' })),
    ...["a".repeat(201), "the platform\nteam", "team\u2028", "team\t", "\u001b[31mteam", "te\u202eam", null].map(
      (contact) => ({
        values: { contact },
        says: "contact must be one line of at most 200 printable characters",
      }),
    ),
    { values: { zone_id: "example.com" }, says: "zone_id must be the zone's 32 hexadecimal digits" },
    { values: { identities_file: "missing.yaml" }, says: "identities_file does not exist" },
    { values: { identities_file: "list.yaml" }, says: 'must be YAML with a list named "identities"' },
    { values: { identities_file: "typing-error.yaml" }, says: "an entry with an unknown field" },
    { values: { identities_file: "typing-error-of-act-as.yaml" }, says: "an entry with an unknown field" },
    { values: { identities_file: "typing-error-of-a-guard.yaml" }, says: "a guard with an unknown field" },
    { values: { identities_file: "typing-error-of-streams.yaml" }, says: "a guard with an unknown field" },
    { values: { identities_file: "typing-error-of-record.yaml" }, says: "a guard with an unknown field" },
    { values: { identities_file: "typing-error-of-the-whole.yaml" }, says: "identities_file has an unknown field" },
    { values: { identities_file: "grants.yaml" }, says: "set identities_kv = true" },
    { values: { identities_file: "recorded.yaml" }, says: "set sessions = true" },
    { values: { identities_file: "bounded.yaml" }, says: "set sessions = true" },
    {
      values: { cluster: "minikube", kubeconfig: null },
      says: 'cluster must be "digitalocean", "kubeconfig" or "endpoint"',
    },
    { values: { kubeconfig: null }, says: 'kubeconfig must be set when cluster = "kubeconfig", and only then' },
    { values: { kubeconfig: { path: "missing", context: "test" } }, says: "kubeconfig.path does not exist" },
    {
      values: { digitalocean: { region: "fra1", kubernetes_version: "1.36.1-do.0" } },
      says: 'digitalocean must be set when cluster = "digitalocean", and only then',
    },
    {
      values: { cluster: "endpoint", kubeconfig: null },
      says: 'endpoint must be set when cluster = "endpoint", and only then',
    },
    {
      values: {
        cluster: "endpoint",
        kubeconfig: null,
        endpoint: { host: "http://api.example.com", ca_certificate: "-----BEGIN CERTIFICATE-----" },
      },
      says: "endpoint.host must be an https origin",
    },
    {
      values: {
        cluster: "endpoint",
        kubeconfig: null,
        endpoint: { host: "https://api.example.com:6443", ca_certificate: "LS0tLS1CRUdJTg==" },
      },
      says: "endpoint.ca_certificate must be PEM text",
    },
  ],
};

const digitalocean: Module = {
  path: "modules/digitalocean",
  valid: {
    name: "kube-access",
    region: "fra1",
    kubernetes_version: "1.36.1-do.0",
    node_size: "s-2vcpu-4gb",
    node_count: 2,
    high_availability: false,
    vpc_cidr: "10.77.0.0/20",
    api_allowed_cidrs: ["198.51.100.7/32"],
  },
  refusals: [
    { values: { name: "Kube_Access" }, says: "name must have 2 to 48 lower-case letters" },
    { values: { region: "frankfurt" }, says: "region must be a DigitalOcean region slug" },
    { values: { kubernetes_version: "latest" }, says: "kubernetes_version must be a full DigitalOcean version slug" },
    { values: { kubernetes_version: "1.36" }, says: "kubernetes_version must be a full DigitalOcean version slug" },
    { values: { node_size: "big" }, says: "node_size must be a droplet size slug" },
    { values: { node_count: 0 }, says: "node_count must be a whole number from 1 to 512" },
    { values: { node_count: 1.5 }, says: "node_count must be a whole number from 1 to 512" },
    ...["10.77.0.0", "8.8.8.0/20", "10.0.0.0/8"].map((vpc_cidr) => ({
      values: { vpc_cidr },
      says: "vpc_cidr must be a private IPv4 range",
    })),
    { values: { api_allowed_cidrs: ["office"] }, says: "api_allowed_cidrs must be IP addresses or CIDR ranges" },
  ],
};

const token = "88888888-8888-4888-8888-888888888888";

const worker: Module = {
  path: "modules/worker",
  valid: {
    account_id: "0123456789abcdef0123456789abcdef",
    hostname: "kube.example.com",
    worker_name: "kube-access",
    tunnel_id: "11111111-1111-4111-8111-111111111111",
    api_port: 8001,
    allow: { emails: ["alice@example.com"], email_domains: ["example.com"] },
    session_duration: "1h30m",
    warp_authentication: true,
    identities_kv: false,
    sessions: true,
    recordings_bucket: "kube-access-recordings",
    recordings_retention: 90,
  },
  alsoValid: [
    { hostname: "kube.example.xn--p1ai" },
    { hostname: "kube.xn--mnchen-3ya.example" },
    { hostname: "kube.example.xn--clchc0ea0b2g2a9gcd" },
    { allow: { email_domains: ["example.xn--p1ai", "xn--mnchen-3ya.example"] } },
    { allow: { service_token_ids: [token] }, machines_hostname: "kube-ci.example.com" },
    { machines_hostname: "kube-ci.example.com" },
    { kube_api_host: "localhost" },
    { warp_authentication: null },
    { recordings_bucket: "0-0" },
    { recordings_retention: 0 },
    { recordings_retention: null },
    { recordings_location: "weur" },
  ],
  refusals: [
    { values: { account_id: "acme" }, says: "account_id must be the account's 32 hexadecimal digits" },
    ...[
      "https://kube.example.com",
      "kube",
      "*.example.com",
      "kube.example.com/api",
      "kube-access.acme.workers.dev",
      "192.0.2.7",
      "kube.example.xn--",
      "kube.example.xn--p1ai-",
    ].map((hostname) => ({ values: { hostname }, says: "hostname must be a bare host name" })),
    ...["https://kube-ci.example.com", "kube-ci", "kube-ci.acme.workers.dev"].map((machines_hostname) => ({
      values: { machines_hostname },
      says: "machines_hostname must be a bare host name",
    })),
    { values: { machines_hostname: "kube.example.com" }, says: "machines_hostname must be another name than hostname" },
    { values: { allow: { service_token_ids: [token] } }, says: "allow.service_token_ids needs machines_hostname" },
    { values: { kube_api_host: "10.0.0.1" }, says: 'kube_api_host must be "127.0.0.1" or "localhost"' },
    { values: { worker_name: "Kube Access" }, says: "worker_name must have 1 to 63 lower-case letters" },
    { values: { tunnel_id: "kube-access" }, says: "tunnel_id must be a UUID" },
    { values: { api_port: 0 }, says: "api_port must be a whole number" },
    { values: { allow: {} }, says: "allow must name at least one email, email domain, group or service token" },
    { values: { allow: { emails: ["*@example.com"] } }, says: "allow.emails must hold whole addresses" },
    { values: { allow: { email_domains: ["@example.com"] } }, says: "allow.email_domains must hold bare domains" },
    { values: { allow: { email_domains: ["example.xn--"] } }, says: "allow.email_domains must hold bare domains" },
    { values: { allow: { email_domains: ["*.example.com"] } }, says: "allow.email_domains must hold bare domains" },
    { values: { allow: { group_ids: ["admins"] } }, says: "must hold IDs (UUIDs), not names or client IDs" },
    {
      values: { allow: { service_token_ids: ["0123456789abcdef.access"] }, machines_hostname: "kube-ci.example.com" },
      says: "must hold IDs (UUIDs), not names or client IDs",
    },
    { values: { session_duration: "1 day" }, says: "session_duration must be hours and minutes" },
    { values: { session_duration: "" }, says: "session_duration must be hours and minutes" },
    ...["ab", "a".repeat(64), "Recordings", "-recordings", "recordings-", "kube.recordings"].map(
      (recordings_bucket) => ({
        values: { recordings_bucket },
        says: "recordings_bucket must have 3 to 63 lower-case letters",
      }),
    ),
    ...[1.5, -1, 7776000].map((recordings_retention) => ({
      values: { recordings_retention },
      says: "recordings_retention must be a whole number of days",
    })),
    { values: { recordings_location: "WEUR" }, says: 'recordings_location must be "apac"' },
  ],
};

export const modules: Module[] = [root, digitalocean, { path: "modules/k8s", ...k8sRefusals }, worker];
