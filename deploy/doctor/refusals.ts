// The gateway's own answers, recognised by their sentences in src/, and what to do about each.

import type { Answer } from "./door.ts";

export const noToken = "no valid Cloudflare Access token came with this request";
/** To whom act_as names nobody, and to whom it names others. */
export const impersonationRefused = [
  "does not take impersonation from callers whose entry has no act_as",
  "you may not act as",
];

const reachesNoApiServer =
  "See whether the API server answers inside the cluster, and whether the NetworkPolicy of namespace kube-access lets the pods reach it: " +
  "`api_server` and `network_policy` in Terraform.";

/** The start of a sentence, and the way out. */
export const remedies: [sentence: string, fix: string][] = [
  [
    noToken,
    "The deployed Worker does not accept the token that Access signed, or got none: see that the hostname is an Access " +
      "application, then run `npm run deploy`, which takes ACCESS_AUD and ACCESS_TEAM_DOMAIN over from Terraform.",
  ],
  [
    "is in no entry of this gateway's identity map",
    "Add the caller to identities.yaml, then `terraform -chdir=terraform apply && npm run deploy`.",
  ],
  ["this gateway is not configured", "Run `npm run deploy`, which fills in wrangler.toml from Terraform's outputs."],
  [
    "the keys of Cloudflare Access cannot be had",
    "See that ACCESS_TEAM_DOMAIN in wrangler.toml is the team's origin, and whether https://www.cloudflarestatus.com knows more.",
  ],
  // How the tunnel finds the last hop in its own pod is Cloudflare's to say: an address, or a name.
  ...["destination_ip_prohibited", "destination_ip_unroutable"].map((code): [string, string] => [
    code,
    'Workers VPC does not take the address of the last hop: set kube_api_host = "localhost" in terraform.tfvars (or "127.0.0.1", if that ' +
      "is what it says), then `terraform -chdir=terraform apply`.",
  ]),
  [
    "dns_error",
    'The tunnel\'s end does not know the name of the last hop: set kube_api_host = "127.0.0.1" in terraform.tfvars, then ' +
      "`terraform -chdir=terraform apply`.",
  ],
  [
    "the tunnel to the cluster is down",
    "Look at the pods: `kubectl -n kube-access get pods` and `kubectl -n kube-access logs deployment/kube-access -c cloudflared`. " +
      "cloudflared needs UDP port 7844 outwards.",
  ],
  [
    "the last hop does not answer",
    "Look at the pods: `kubectl -n kube-access get pods` and `kubectl -n kube-access logs deployment/kube-access --all-containers`. With " +
      'kube_api_host = "localhost" the name may lead to ::1, where it does not listen: set "127.0.0.1", then `terraform -chdir=terraform apply`.',
  ],
  [
    "took no connection in time",
    "Look at the pods: `kubectl -n kube-access get pods`. If they are well, set the other kube_api_host in terraform.tfvars, " +
      '"127.0.0.1" or "localhost", then `terraform -chdir=terraform apply`.',
  ],
  ["kube-apiserver does not answer", reachesNoApiServer],
  [
    "the connection to the cluster broke",
    "Try again. If it persists, look at the logs of both containers of deployment/kube-access in namespace kube-access.",
  ],
  [
    "the cluster did not answer in time",
    "See whether the API server answers inside the cluster, and whether the NetworkPolicy of namespace kube-access lets the pods reach it.",
  ],
  [
    "the way to the cluster answered what no API server answers",
    "See that the VPC service points at port 8001 of the gateway pods: `terraform -chdir=terraform plan` shows a difference.",
  ],
  [
    "a limit of Workers VPC is reached",
    "Try again later. If it persists, ask Cloudflare for a higher limit of Workers VPC.",
  ],
  [
    "Workers VPC refuses to carry this request",
    "See the VPC service's host and port, and that no rule of the account or of the tunnel forbids them.",
  ],
  [
    "the last hop carries only what this gateway's Worker signed",
    "The Worker's key is not the last hop's, or a clock is wrong by half a minute: run `npm run deploy`, which hands the Worker the key that " +
      "Terraform made, and see that the nodes' clocks are right.",
  ],
  ["the last hop cannot reach the API server", reachesNoApiServer],
  [
    "the way to the cluster failed",
    "Try again. If it persists, look at https://www.cloudflarestatus.com and at the logs of deployment/kube-access.",
  ],
  [
    "cannot become a Kubernetes user name",
    "Have the identity provider send an address of ASCII letters for this person, such as an alias.",
  ],
  [
    "which groups you are in cannot be told right now",
    "See what the Worker logs about get-identity (`npx wrangler tail`), and whether the login method sends groups to Access.",
  ],
  [
    "of this gateway does not let",
    "A guard of identities.yaml refuses it: call as somebody for whom it does not hold, or change it, then `npm run deploy`.",
  ],
  [
    "this gateway serves programs, not web pages",
    "Something on the way adds a browser's headers (Sec-Fetch-…, Sec-Purpose, an Origin): see which proxy does.",
  ],
  [
    "cannot impersonate",
    "The cluster's rights are behind identities.yaml: run `terraform -chdir=terraform apply`, then `npm run deploy`.",
  ],
];

/** What to do about an answer, as far as its sentence is known. */
export function remedyFor(answer: Answer): string {
  const known = remedies.find(([sentence]) => answer.text.includes(sentence));
  return known?.[1] ?? "See what the Worker logs: `npx wrangler tail`.";
}

/** The status, and the sentence of a Kubernetes Status or the start of any other text. */
export function saying(answer: Answer): string {
  const message = json<{ message?: string }>(answer)?.message ?? answer.text;
  const words = message.replace(/\s+/g, " ").trim();
  const start = words.length > 300 ? `${words.slice(0, 300)}...` : words;
  return start ? `${answer.status}: ${start}` : `${answer.status}`;
}

export function json<Shape>(answer: Answer): Shape | undefined {
  try {
    const value = JSON.parse(answer.text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
