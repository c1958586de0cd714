// The people of the local stack: whom the Access stand-in lets in. What each may do in the cluster follows from
// identities.yaml and from the RBAC of the local cluster.

import type { AccessUser } from "./access-keys.ts";

/** The group of the identity provider that identities.yaml names. */
export const ON_CALL = "7335d417-61da-459d-899c-0a01c76a2f94";

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
  {
    name: "carol",
    email: "carol@elsewhere.test",
    groups: [
      { id: ON_CALL, name: "On call", email: "on-call@elsewhere.test" },
      { id: "everybody", name: "Everybody" },
    ],
    namespace: "default",
    may: "look around, and everything with --as breakglass (on call: a group of the identity provider)",
  },
  {
    name: "dave",
    email: "dave@contractors.example",
    namespace: "default",
    may: "read: a guard takes away what RBAC gives beyond (group contractors)",
  },
  { name: "mallory", email: "mallory@elsewhere.test", namespace: "default", may: "do nothing: no identity matches" },
];

/** The local Access application: its audience tag, and the team it belongs to. */
export const localApplication = {
  aud: "6b7562652d6163636573732d6c6f63616c2d6170706c69636174696f6e2d6175",
  teamDomain: "https://kube-access.cloudflareaccess.com",
};
