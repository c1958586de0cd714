// kubeconfigs for the callers of the local stack.

import { stringify } from "yaml";

export interface KubeconfigUser {
  name: string;
  /** The session token by which the Access stand-in knows the caller. */
  token: string;
  namespace?: string;
}

/** One cluster, and a context for each user, named after the user; the first is the current one. */
export function kubeconfig(server: string, ca: string, users: KubeconfigUser[]): string {
  const authority = Buffer.from(ca).toString("base64");
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": users[0]?.name,
    clusters: [{ name: "kube-access", cluster: { server, "certificate-authority-data": authority } }],
    users: users.map(({ name, token }) => ({ name, user: { token } })),
    contexts: users.map(({ name, namespace = "default" }) => {
      return { name, context: { cluster: "kube-access", user: name, namespace } };
    }),
  });
}
