// Policies of which Terraform and deploy/impersonation.ts must make the same rights.

import type { Guard, Rule } from "../../deploy/impersonation.ts";
import { policies } from "../e2e/cluster/stolen.ts";

const streams = ["virtualmachineinstances/portforward", "virtualmachineinstances/vnc"];
export const custom: Record<string, string[]> = {
  "cert-manager.io": ["certificates", "certificates/status"],
  "subresources.kubevirt.io": streams,
};

/** Names that no entry has, and that are given for a time. */
export const grants = { users: ["released"], groups: ["on-call-for-a-time"] };

export const compared: Record<string, Guard[]> = {
  ...policies,
  "a stream of a custom resource": [{ name: "g", deny: [{ resources: streams.slice(0, 1), verbs: ["create"] }] }],
  "streams by their kind": [{ name: "g", deny: [{ resources: ["*/port*"], verbs: ["create", "list"] }] }],
  "creating where there are no streams": [
    { name: "g", deny: [{ api_groups: ["batch"], resources: ["*"], verbs: ["create"] }] },
  ],
  "sessions, which take no right away": [
    { name: "g", record: true, max_session: "4h" },
    { name: "h", max_session: "90m", deny: [{ resources: ["secrets"], verbs: ["get"] }] },
  ],
  "one pod's exec": [{ name: "g", deny: [{ resources: ["pods/exec"], namespaces: ["prod-*"], names: ["web"] }] }],
  "logs, and what is beside": [
    { name: "g", deny: [{ api_groups: ["", "apps"], resources: ["*/log"], verbs: ["get"], names: ["web"] }] },
    { name: "h", for: { groups: ["on-call"] }, deny: [{ resources: ["*"] }] },
  ],
  "what no node serves": [
    { name: "g", deny: [{ resources: ["pods"], verbs: ["create", "delete"], namespaces: ["prod"] }] },
    { name: "h", deny: [{ api_groups: ["apps*"], resources: ["*"], verbs: ["get"] }] },
    { name: "i", deny: [{ non_resource_urls: ["/logs", "/metrics", "/healthz/*"] }] },
  ],
  "reading pods": [{ name: "g", deny: [{ resources: ["pods*"], verbs: ["get"] }, { non_resource_urls: ["/logs*"] }] }],
};

/** Each right by itself, in order. */
export function expanded(rules: Rule[]): string[] {
  const rights = rules.flatMap(({ apiGroups = [""], resources = [], nonResourceURLs = [], resourceNames, verbs }) =>
    verbs.flatMap((verb) => [
      ...nonResourceURLs.map((url) => `${verb} ${url}`),
      ...apiGroups.flatMap((group) =>
        resources.flatMap((resource) => (resourceNames ?? [""]).map((name) => `${verb} ${group} ${resource} ${name}`)),
      ),
    ]),
  );
  return [...new Set(rights)].sort();
}
