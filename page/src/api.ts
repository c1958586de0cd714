// What the gateway answers under /.kube-access/ (docs/page.md), in types: the page, its sample data and the tests of the Worker
// share them. What it answers about sessions is in deploy/sessions/answers.ts, since the command line reads the same.

import { sessionPath } from "../../deploy/sessions/answers.ts";

const ROOT = "/.kube-access";

/** By which entry of the policy somebody was let in. */
export type Rule = "email" | "email_domain" | "service_token" | "idp_group" | "kv";

export interface Group {
  name: string;
  from: Rule | "grant";
  /** The grant's ID, where it is from one. */
  grant?: string;
  expires?: string;
}

/** Whom the caller may name with --as, if RBAC lets them. */
export interface ActAs {
  users: string[];
  groups: string[];
  uids: string[];
  extras: string[];
  reasonRequired: boolean;
}

/** A rule of a guard, in RBAC's words: about resources, or about paths that are none. */
export interface Denial {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  namespaces?: string[];
  names?: string[];
  urls?: string[];
}

/** A guard that holds for the caller. */
export interface Guard {
  name: string;
  allow?: "read-only";
  deny?: Denial[];
  /** What of streams is kept; absent where they are bounded alone. */
  record?: "output" | "input";
  /** In seconds. */
  maxSession?: number;
  maxBytes?: number;
  /** Of the pods whose streams it is about. */
  namespaces?: string[];
  names?: string[];
}

/** The verbs that most resources have. RBAC knows others: impersonate, bind, escalate, approve, use, and whatever a resource calls its own. */
export const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] as const;
export type Verb = (typeof VERBS)[number];

/** What RBAC and the guards make of a verb together. A verb that a row does not have is not granted. */
export interface Right {
  is: "yes" | "some" | "taken";
  /** The guard that takes it away, all of it. */
  by?: string;
  /** RBAC grants it for these names alone. */
  names?: string[];
  /** A guard that takes some of it away. */
  except?: string;
  recorded?: "output" | "input";
  /** What a guard records of it for some names only. */
  someRecorded?: "output" | "input";
}

export interface Row {
  /** The API group; "" is the core group. */
  group: string;
  /** With the subresource: pods/exec. */
  resource: string;
  isUsual: boolean;
  /** Also by verbs that are none of `VERBS`. */
  verbs: Record<string, Right>;
}

export interface Wildcard {
  verbs: string[];
  groups: string[];
  resources: string[];
  names?: string[];
}

export interface Rights {
  namespace: string;
  isComplete: boolean;
  problem?: string;
  rows: Row[];
  wildcards: Wildcard[];
  urls: { verbs: string[]; urls: string[] }[];
}

export interface Me {
  user: string;
  email?: string;
  serviceToken?: string;
  rule: Rule;
  groups: Group[];
  /** When the login at Access ends. */
  login: string;
  /** When the first of it all ends: the login, or an entry or grant of the policy. */
  until: string;
  why: "token" | "policy";
  actAs?: ActAs;
  guards: Guard[];
  cluster: { host: string; version?: string; problem?: string };
  namespaces: { names: string[]; isComplete: boolean; problem?: string };
  rights: Rights;
  features: { sessions: boolean; recordings: boolean; grants: boolean };
  contact?: string;
}

/** A group that the policy lists for granting. */
export interface Grantable {
  name: string;
  mayGive: boolean;
  mayTake: boolean;
}

export interface Grant {
  id: string;
  email?: string;
  serviceToken?: string;
  groups: string[];
  expires: string;
  given: string;
  reason: string;
  by: string;
  /** What whoever gave it has to know, in a sentence. */
  note?: string;
}

export interface Grants {
  scope: "all" | "own";
  groups: Grantable[];
  grants: Grant[];
}

/** What is asked for with POST. */
export interface Wish {
  email?: string;
  serviceToken?: string;
  groups: string[];
  expires: string;
  reason: string;
}

/** A failure as Kubernetes tells it. */
export interface Status {
  kind: "Status";
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  code?: number;
}

export const LONGEST_GRANT_DAYS = 30;
export const LONGEST_REASON = 200;

export const mePath = (namespace?: string) => {
  return `${ROOT}/me${namespace === undefined ? "" : `?namespace=${encodeURIComponent(namespace)}`}`;
};
export const kubeconfigPath = `${ROOT}/kubeconfig`;
export const grantsPath = `${ROOT}/grants`;
export const endGrantPath = (id: string) => `${grantsPath}/${encodeURIComponent(id)}/end`;
export const endSessionPath = (id: string) => `${sessionPath(id)}/end`;
export const chunkPath = (id: string, name: string) => `${sessionPath(id)}/chunks/${encodeURIComponent(name)}`;
