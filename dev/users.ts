// The people of the local stack: whom the Access stand-in lets in. What each may do in the cluster follows from
// identities.yaml and from the RBAC of the local cluster.

import type { AccessUser } from "./access-keys.ts";

export type LocalUser = AccessUser & { namespace: string; may: string };

export const localUsers: LocalUser[] = [
  { name: "alice", email: "alice@example.com", namespace: "default", may: "do everything (group platform-admins)" },
  {
    name: "bob",
    email: "bob@example.com",
    namespace: "default",
    may: "look around and enter pods in namespace default (group developers)",
  },
  {
    name: "ci",
    commonName: "0123456789abcdef.access",
    namespace: "team-a",
    may: "change what runs in namespace team-a (group ci)",
  },
  { name: "mallory", email: "mallory@elsewhere.test", namespace: "default", may: "do nothing: no identity matches" },
];

/** The local Access application: its audience tag, and the team it belongs to. */
export const localApplication = {
  aud: "6b7562652d6163636573732d6c6f63616c2d6170706c69636174696f6e2d6175",
  teamDomain: "https://kube-access.cloudflareaccess.com",
};
