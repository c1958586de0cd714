// The gateway's service account: it may impersonate whom identities.yaml names, and do nothing else. Seen past the gateway,
// with a kubeconfig that may read RBAC.

import { spawn } from "node:child_process";
import type { Rule } from "../impersonation.ts";
import { type Check, failed, notChecked, type Outcome, ok } from "./check.ts";
import type { Project } from "./project.ts";
import { excesses, missingActions, missingNames, modeOf, SHOWN } from "./rights.ts";

const ACCOUNT = { namespace: "kube-access", name: "kube-access" };
const USER = `system:serviceaccount:${ACCOUNT.namespace}:${ACCOUNT.name}`;
const GROUPS = ["system:serviceaccounts", `system:serviceaccounts:${ACCOUNT.namespace}`, "system:authenticated"];
const APPLY = "Run `terraform -chdir=terraform apply`, which makes the ClusterRole from identities.yaml.";

interface Subject {
  kind: string;
  name: string;
  namespace?: string;
}

interface RbacObject {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: Rule[];
  subjects?: Subject[];
  roleRef?: { kind: string; name: string };
}

/** Runs kubectl with the kubeconfig, and returns what it prints. */
type Kubectl = (args: string[], input?: object) => Promise<unknown>;

/** A rule that holds for the account, and the binding that gives it. */
interface Grant {
  binding: string;
  /** Whether it holds in every namespace. */
  isOfAll: boolean;
  rule: Rule;
}

export function accountChecks(project: Project, kubeconfig: string | undefined): Check[] {
  return [
    {
      id: "account",
      what: "The gateway's service account may impersonate the mapped users and groups, and nothing else",
      run: (signal) => account(project, kubeconfig, signal),
    },
  ];
}

async function account(project: Project, kubeconfig: string | undefined, signal: AbortSignal): Promise<Outcome> {
  if (!kubeconfig) {
    return notChecked(
      "it is looked at past the gateway",
      "Pass --kubeconfig FILE of somebody who may read RBAC: `terraform -chdir=terraform output -raw admin_kubeconfig`.",
    );
  }
  try {
    return await look(project, (args, input) => ask(["--kubeconfig", kubeconfig, ...args], signal, input));
  } catch (error) {
    signal.throwIfAborted();
    const fix =
      "See that kubectl is installed, and that the kubeconfig's user may list roles and bindings in all namespaces.";
    return failed((error as Error).message, fix);
  }
}

async function look(project: Project, kubectl: Kubectl): Promise<Outcome> {
  const kinds = "clusterroles,roles,clusterrolebindings,rolebindings";
  const { items } = (await kubectl(["get", kinds, "--all-namespaces", "-o", "json"])) as { items: RbacObject[] };
  const grants = grantsOf(items);
  const rules = grants.map(({ rule }) => rule);
  const mode = modeOf(rules);
  if (mode === "both") {
    const legacy = grants.filter(({ rule }) => rule.verbs.includes("impersonate")).map(({ binding }) => binding);
    return failed(
      `a rule of legacy impersonation stands beside those of constrained impersonation, and voids them: ${[...new Set(legacy)].join(", ")}`,
      `Remove that binding, or: ${APPLY}`,
    );
  }
  const tooMuch = grants.flatMap(({ binding, rule }) => {
    return excesses(rule, project.policy).map((excess) => `${excess} (${binding})`);
  });
  if (tooMuch.length > 0) {
    const names = [...new Set(tooMuch)].slice(0, SHOWN).join("; ");
    return failed(`it may do more: ${names}`, `Remove the binding, or: ${APPLY}`);
  }
  // RBAC need not be the only authorizer: the API server has the last word.
  if (await mayDoEverything(kubectl)) {
    return failed(
      "the API server lets it do everything, though RBAC does not",
      "Look at the API server's --authorization-mode.",
    );
  }
  const everywhere = grants.filter(({ isOfAll }) => isOfAll).map(({ rule }) => rule);
  const names = missingNames(everywhere, project.policy, mode);
  if (names.length > 0) {
    return failed(`it may not impersonate ${names.join(", ")}`, APPLY);
  }
  const actions = mode === "constrained" ? missingActions(everywhere, project.policy) : [];
  return actions.length > 0
    ? failed(`whoever it impersonates may not ${actions.slice(0, SHOWN).join("; ")}`, APPLY)
    : ok(`${mode} impersonation; ${grants.length} rules looked at, and none allows more`);
}

/** Every rule that reaches the account: by its name, or by a group that each service account is in. */
function grantsOf(items: RbacObject[]): Grant[] {
  const bindings = items.filter(({ subjects }) => subjects?.some(isAccount));
  return bindings.flatMap((binding) => {
    const { kind, name } = binding.roleRef ?? {};
    const role = items.find((item) => {
      const isSameNamespace = kind === "ClusterRole" || item.metadata.namespace === binding.metadata.namespace;
      return item.kind === kind && item.metadata.name === name && isSameNamespace;
    });
    const where = binding.metadata.namespace ? `${binding.metadata.namespace}/` : "";
    const title = `${binding.kind} ${where}${binding.metadata.name}`;
    const isOfAll = binding.kind === "ClusterRoleBinding";
    return (role?.rules ?? []).map((rule) => ({ binding: title, isOfAll, rule }));
  });
}

function isAccount({ kind, name, namespace }: Subject): boolean {
  switch (kind) {
    case "ServiceAccount":
      return name === ACCOUNT.name && namespace === ACCOUNT.namespace;
    case "User":
      return name === USER;
    default:
      return GROUPS.includes(name);
  }
}

async function mayDoEverything(kubectl: Kubectl): Promise<boolean> {
  const review = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: { user: USER, groups: GROUPS, resourceAttributes: { verb: "*", group: "*", resource: "*" } },
  };
  const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
  const { status } = (await kubectl(["create", "--raw", path, "-f", "-"], review)) as { status: { allowed: boolean } };
  return status.allowed;
}

/** What kubectl prints, as JSON. kubectl, because a kubeconfig may name any program that makes the credentials. */
function ask(args: string[], signal: AbortSignal, input?: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const child = spawn("kubectl", args, { signal, stdio: ["pipe", "pipe", "pipe"] });
    let printed = "";
    let complaint = "";
    child.stdout.on("data", (chunk) => {
      printed += chunk;
    });
    child.stderr.on("data", (chunk) => {
      complaint += chunk;
    });
    child.stdin.on("error", () => {}); // kubectl may end before it has read all; its exit status tells
    child.stdin.end(input ? JSON.stringify(input) : "");
    child.on("error", (error) => reject(new Error(`kubectl does not run: ${error.message}`, { cause: error })));
    child.on("close", (code) => {
      if (code === 0) {
        resolve(JSON.parse(printed));
      } else {
        reject(new Error(`kubectl ${args[2]}: ${complaint.trim().split("\n").at(-1)}`));
      }
    });
  });
}
