// Who is there in each state of the sample, and what they may do. One of everything that the contract knows, and nothing that the
// Worker could not answer (tests/page/sample.test.ts).

import type { Denial, Guard, Me, Right, Rights, Row, Verb } from "../src/api.ts";
import type { State } from "./states.ts";

export const HOST = "kube.example.com";
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const CONTACT = "the platform team (#platform)";

const READ: Verb[] = ["get", "list", "watch"];
const WRITE: Verb[] = ["create", "update", "patch", "delete"];

const yes: Right = { is: "yes" };

/** The usual resources, in the order of `src/rights.rs`. */
export const USUAL: [group: string, resource: string][] = [
  ["", "pods"],
  ["", "pods/log"],
  ["", "pods/exec"],
  ["", "pods/attach"],
  ["", "pods/portforward"],
  ["apps", "deployments"],
  ["apps", "statefulsets"],
  ["apps", "daemonsets"],
  ["", "services"],
  ["networking.k8s.io", "ingresses"],
  ["", "configmaps"],
  ["", "secrets"],
  ["batch", "jobs"],
  ["batch", "cronjobs"],
  ["", "persistentvolumeclaims"],
  ["", "serviceaccounts"],
  ["", "events"],
  ["", "namespaces"],
  ["", "nodes"],
];

const noSecrets: Guard = {
  name: "no-secrets",
  deny: [denial(READ, "secrets"), { verbs: ["get"], urls: ["/metrics"] }],
};
/** A guard that records takes the kubelet's own exec away. */
const recording = { deny: [denial(["*"], "nodes/proxy")], maxBytes: 64 << 20, namespaces: ["*"], names: ["*"] };
const recorded: Guard = { name: "recorded", ...recording, record: "output", maxSession: 4 * 3600 };

const bobGuards: Guard[] = [
  noSecrets,
  { name: "no-lists", deny: [denial(["list", "watch"], "pods")] },
  { name: "no-web", deny: [denial(["patch"], "pods", { names: ["web-*"] })] },
  { name: "no-forwards", deny: [denial(["*"], "pods/portforward")] },
  {
    name: "typed-too",
    ...recording,
    record: "input",
    maxSession: 5400,
    namespaces: ["default", "prod-*"],
    names: ["db-*"],
  },
];

function denial(verbs: string[], resource: string, bounds: Pick<Denial, "names"> = {}): Denial {
  return { verbs, apiGroups: [""], resources: [resource], namespaces: ["*"], names: ["*"], ...bounds };
}

export function me(state: State, now: number, namespace = "default"): Me {
  return ending(person(state, now, namespace));
}

/** The first end counts: that of the login, or of what gives a group. */
function ending(who: Person): Me {
  const ends = who.groups.flatMap(({ expires }) => expires ?? []);
  const [until = who.login] = [who.login, ...ends].sort();
  return { ...who, until, why: until === who.login ? "token" : "policy" };
}

type Person = Omit<Me, "until" | "why">;

function person(state: State, now: number, namespace: string): Person {
  const later = (milliseconds: number) => timestamp(now + milliseconds);
  const alice: Person = {
    user: "alice",
    email: "alice@example.com",
    rule: "email",
    groups: [
      { name: "platform-admins", from: "email" },
      { name: "developers", from: "email" },
      { name: "on-call", from: "idp_group" },
      { name: "sre", from: "grant", grant: "g-2f81c0", expires: later(2.2 * HOUR_MS) },
    ],
    login: later(5 * HOUR_MS + 40 * MINUTE_MS),
    actAs: { users: ["breakglass"], groups: [], uids: [], extras: [], reasonRequired: true },
    guards: [noSecrets, recorded],
    cluster: { host: HOST, version: "v1.37.2" },
    namespaces: { names: ["default", "kube-system", "prod-payments", "prod-web", "team-a"], isComplete: true },
    rights: aliceRights(namespace),
    features: { sessions: true, recordings: true, grants: true },
    contact: CONTACT,
  };
  const noNamespaces = {
    names: [],
    isComplete: false,
    problem: "the namespaces cannot be listed: RBAC does not let you, or the API server does not answer. Type one",
  };
  switch (state) {
    case "developer":
      return {
        ...without(alice, "actAs"),
        user: "bob@example.com",
        email: "bob@example.com",
        groups: [
          { name: "developers", from: "email", expires: later(48 * MINUTE_MS) },
          { name: "on-call", from: "grant", grant: "g-91ab03", expires: later(6.5 * HOUR_MS) },
        ],
        guards: bobGuards,
        namespaces: noNamespaces,
        rights: bobRights(namespace),
      };
    case "contractor":
      return {
        ...without(alice, "actAs"),
        user: "contractor",
        email: "dave@contractors.example",
        rule: "email_domain",
        groups: [{ name: "contractors", from: "email_domain" }],
        guards: [{ name: "contractors-read-only", allow: "read-only" }, noSecrets],
        rights: readersRights(namespace, "contractors-read-only"),
        features: { sessions: true, recordings: false, grants: false },
      };
    case "agent":
      return {
        ...without(alice, "actAs", "email", "contact"),
        user: "agent:triage",
        serviceToken: "fedcba9876543210.access",
        rule: "service_token",
        groups: [{ name: "agents", from: "service_token", expires: later(30 * 24 * HOUR_MS) }],
        guards: [{ name: "agents-read-only", allow: "read-only" }],
        rights: readersRights(namespace, "agents-read-only"),
        features: { sessions: false, recordings: false, grants: false },
      };
    case "empty":
      return {
        ...without(alice, "actAs", "contact"),
        rule: "kv",
        groups: [],
        guards: [],
        namespaces: { names: ["default"], isComplete: true },
        rights: {
          namespace,
          isComplete: true,
          rows: USUAL.map(([group, resource]) => row(group, resource)),
          wildcards: [],
          urls: [],
        },
      };
    case "partial":
      return {
        ...alice,
        cluster: { host: HOST, problem: "the API server does not tell its version right now" },
        namespaces: noNamespaces,
        rights: {
          ...aliceRights(namespace),
          isComplete: false,
          problem: "webhook authorizer does not support user rule resolution",
        },
      };
    case "ending":
      return { ...alice, login: later(90_000), guards: [short, ...alice.guards] };
    case "hostile":
      return hostile(alice, namespace);
    default:
      return alice;
  }
}

function without<Key extends keyof Person>(who: Person, ...keys: Key[]): Omit<Person, Key> {
  const rest = { ...who };
  for (const key of keys) {
    delete rest[key];
  }
  return rest;
}

function aliceRights(namespace: string): Rights {
  const rows = USUAL.map(([group, resource]) => {
    const read: [Verb[], Right] = [READ, yes];
    if (resource.startsWith("pods/")) {
      return resource === "pods/log"
        ? row(group, resource, [["get"], yes])
        : row(group, resource, [["create"], { is: "yes", recorded: "output" }]);
    }
    if (resource === "secrets") {
      return row(group, resource, [READ, { is: "taken", by: "no-secrets" }], [["create", "update", "patch"], yes]);
    }
    if (resource === "serviceaccounts") {
      return row(group, resource, read, [["impersonate"], { is: "some", names: ["deployer", "backup"] }]);
    }
    if (["namespaces", "nodes", "events"].includes(resource)) {
      return row(group, resource, read);
    }
    if (resource === "configmaps") {
      return row(
        group,
        resource,
        read,
        [["create", "patch"], yes],
        [["update", "delete"], { is: "some", names: ["web", "web-canary"] }],
      );
    }
    if (resource === "pods") {
      return row(group, resource, read, [["create", "update", "patch", "delete", "deletecollection"], yes]);
    }
    return row(group, resource, read, [WRITE, yes]);
  });
  const others = [
    row("cert-manager.io", "certificates", [READ, yes], [WRITE, yes]),
    row("cert-manager.io", "signers", [["approve"], { is: "some", names: ["issuers.cert-manager.io/team-a.*"] }]),
    row("rbac.authorization.k8s.io", "clusterroles", [[...READ, "bind", "escalate"], yes]),
    row("", "endpoints", [READ, yes]),
    row("policy", "poddisruptionbudgets", [READ, yes], [["patch"], yes]),
    row("metrics.k8s.io", "pods", [["get", "list"], yes]),
    row("apps", "replicasets", [READ, yes]),
    row("apps", "deployments/scale", [["get", "update", "patch"], yes]),
  ].map((other) => ({ ...other, isUsual: false }));
  return {
    namespace,
    isComplete: true,
    rows: [...rows, ...others],
    wildcards: [
      { verbs: [...READ], groups: ["example.com"], resources: ["*"] },
      { verbs: ["get"], groups: ["apps"], resources: ["*/status"], names: ["web"] },
    ],
    urls: [{ verbs: ["get"], urls: ["/healthz", "/livez", "/readyz", "/version", "/openapi/*"] }],
  };
}

function bobRights(namespace: string): Rights {
  const mine = namespace === "default";
  const rows = USUAL.map(([group, resource]) => {
    if (!mine || ["nodes", "namespaces"].includes(resource)) {
      return row(group, resource);
    }
    switch (resource) {
      case "pods":
        return row(
          group,
          resource,
          [["get"], yes],
          [["list", "watch"], { is: "taken", by: "no-lists" }],
          [["patch"], { is: "yes", except: "no-web" }],
          [["delete"], { is: "some", names: ["web", "web-canary", "web-1", "web-2", "web-3", "web-4", "web-5"] }],
        );
      case "pods/log":
        return row(group, resource, [["get"], yes]);
      case "pods/exec":
      case "pods/attach":
        return row(group, resource, [["create"], { is: "yes", someRecorded: "input" }]);
      case "pods/portforward":
        return row(group, resource, [["create"], { is: "taken", by: "no-forwards" }]);
      case "secrets":
        return row(group, resource, [READ, { is: "taken", by: "no-secrets" }]);
      default:
        return row(group, resource, [READ, yes]);
    }
  });
  return { namespace, isComplete: true, rows, wildcards: [], urls: [] };
}

/** Those of somebody who may everything, and whom a guard leaves what reads. */
function readersRights(namespace: string, by: string): Rights {
  const taken: Right = { is: "taken", by };
  const rows = USUAL.map(([group, resource]) => {
    const isTaken = resource === "secrets" || /^pods\/(exec|attach|portforward)$/.test(resource);
    const more = resource === "serviceaccounts" ? ["impersonate"] : [];
    return row(group, resource, [READ, isTaken ? taken : yes], [[...WRITE, "deletecollection", ...more], taken]);
  });
  return {
    namespace,
    isComplete: true,
    rows,
    wildcards: [{ verbs: ["*"], groups: ["*"], resources: ["*"] }],
    urls: [{ verbs: ["*"], urls: ["*"] }],
  };
}

function row(group: string, resource: string, ...rights: [verbs: string[], right: Right][]): Row {
  const verbs = Object.fromEntries(rights.flatMap(([verbs, right]) => verbs.map((verb) => [verb, right])));
  return { group, resource, isUsual: true, verbs };
}

/** What no name should hold, and some do: HTML, letters that turn the line, controls, and far too many of them. */
export const HOSTILE = {
  html: `"><img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`,
  bidi: "web\u202Egnp.exe\u2066\u200F",
  controls: "a\u001b[2Jb\u0007\u0085\n\u2028c",
  long: "a".repeat(10_000),
  zalgo: `z${"\u0337\u0321\u0353".repeat(300)}`,
};

const short: Guard = { name: "short", maxSession: 90, maxBytes: 64 << 20, namespaces: ["*"], names: ["*"] };
const hostileGuards: Guard[] = [
  short,
  { name: HOSTILE.html, deny: [{ ...denial(["get"], HOSTILE.html), namespaces: [HOSTILE.bidi] }] },
  { name: HOSTILE.long, allow: "read-only" },
];

function hostile(alice: Person, namespace: string): Person {
  const texts = Object.values(HOSTILE);
  const strange = texts.map((text) => ({
    group: text,
    resource: text,
    isUsual: false,
    verbs: {
      get: { is: "taken", by: text },
      list: { is: "some", names: texts },
      ...Object.fromEntries(texts.map((verb) => [verb, yes])),
    } as Row["verbs"],
  }));
  return {
    ...alice,
    user: HOSTILE.html,
    email: `${HOSTILE.bidi}@example.com`,
    groups: texts.map((name) => ({ name, from: "email" })),
    actAs: { users: texts, groups: texts, uids: texts, extras: texts, reasonRequired: true },
    guards: hostileGuards,
    cluster: { host: "kube.example.com; rm -rf ~ #", problem: HOSTILE.html },
    namespaces: { names: ["default", ...texts], isComplete: false, problem: HOSTILE.controls },
    rights: {
      ...aliceRights(namespace),
      isComplete: false,
      problem: HOSTILE.long,
      rows: [...aliceRights(namespace).rows.filter(({ isUsual }) => isUsual), ...strange],
      wildcards: [{ verbs: texts, groups: texts, resources: texts, names: texts }],
      urls: [{ verbs: texts, urls: texts }],
    },
    contact: HOSTILE.zalgo,
  };
}

export function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");
}
