// `npm start`: a real cluster and the gateway in front of it, on this machine, with users to try it as. Or the gateway in front
// of a cluster that there is.

import { rmSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { IMPERSONATIONS, type Impersonation } from "../deploy/impersonation.ts";
import { type Cluster, LAST_HOPS, type LastHop, startCluster } from "./cluster.ts";
import { type ExistingCluster, findCluster } from "./existing-cluster.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { buildPage } from "./page-build.ts";
import { signalDescendants } from "./processes.ts";
import { progress } from "./progress.ts";
import { RECORDED, recording } from "./recorded.ts";
import { type Stack, startStack } from "./stack.ts";
import { type LocalUser, localUsers } from "./users.ts";
import { buildVariant } from "./variant.ts";
import { firstToFail } from "./watch.ts";

const USAGE = `usage: npm start -- [options]

Builds the Worker, starts a local cluster and the gateway in front of it, and prints what to type next.

  --context NAME     no local cluster: the one of this context of your kubeconfig ($KUBECONFIG, or ~/.kube/config), reached
                     with the context's own credentials, which must be allowed to impersonate users and groups
  --last-hop KIND    what carries requests to the API server: kubectl-proxy (the default) or guarded, which takes only what the
                     gateway signed
  --impersonation KIND
                     how the local cluster lets the gateway impersonate: constrained (the default) or legacy
  --port PORT        where the gateway listens (default: a free port)
  --log-level LEVEL  the Worker's LOG_LEVEL: debug, info, warn or error (default: info)
  --record           exec, attach and port-forward as bob are recorded, and end after four hours: docs/sessions.md
  --audit            one audit event for each request, from the Worker and from the local API server
  --help             this text`;

/** What alice may give others for a time, on the page or otherwise. */
const GRANTABLE = ["on-call"];
const STOP_LIMIT_MS = 20_000;
/** One Ctrl-C can arrive several times: from the terminal, and passed on by npm and by run.mjs. */
const SAME_CTRL_C_MS = 1_000;

const options = readOptions();
const log = progress();
const dir = await mkdtemp(join(tmpdir(), "kube-access-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));

/** What is up or coming up, in the order of starting. */
const parts: Promise<object & { stop?: () => Promise<void> }>[] = [];
const stopping = new AbortController();
let isUp = false;

stopOnSignals();
try {
  await up();
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error(`\nkube-access does not run: ${(error as Error).message}`);
    await stop(1);
  }
}

async function up(): Promise<void> {
  const { context } = options;
  // First, since it takes a moment to find out that a context is of no use, and minutes to build what would be of none then.
  const found = context === undefined ? undefined : await findCluster(context);
  const [cluster, worker, page] = await Promise.all([
    part<Cluster | ExistingCluster>(
      found
        ? found.start(log)
        : startCluster({
            log,
            auditLog: options.audit,
            lastHop: options.lastHop,
            impersonation: options.impersonation,
          }),
    ),
    part(buildVariant({ ...(options.record ? recording : { name: "local", guards: [] }), grants: GRANTABLE }, log)),
    part(buildPage({ log })),
  ]);
  log("starting the gateway");
  const stack = await part(
    startStack({
      upstream: cluster.proxy,
      worker: worker.dir,
      hasSessions: options.record,
      identities: {},
      hasGrants: true,
      page: page.dir,
      logFile: join(dir, "gateway.log"),
      vars: { LOG_LEVEL: options.logLevel, ENABLE_K8S_LOGGING: String(options.audit) },
      ...(options.port ? { port: options.port } : {}),
    }),
  );
  const combined = await writeKubeconfigs(stack);
  isUp = true;
  log("kube-access is up");
  const watched = [
    { name: "the gateway", host: stack.gateway.host, port: stack.gateway.port },
    { name: "the last hop", ...cluster.proxy },
  ];
  if ("server" in cluster) {
    console.log(whatToTypeNext(stack, cluster, combined));
    const apiServer = new URL(cluster.server);
    watched.push({ name: "kube-apiserver", host: apiServer.hostname, port: Number(apiServer.port) });
  } else {
    console.log(whatToTypeAt(context ?? "", stack, cluster, combined));
  }
  const failed = await firstToFail(watched, stopping.signal);
  if (failed) {
    throw new Error(`${failed} has stopped answering.`);
  }
}

function part<Part extends object & { stop?: () => Promise<void> }>(starting: Promise<Part>): Promise<Part> {
  parts.push(starting);
  return starting;
}

async function writeKubeconfigs({ access }: Stack): Promise<string> {
  const users = localUsers.map(({ name, namespace }) => ({ name, namespace, token: access.session(name) }));
  for (const user of users) {
    await writeFile(join(dir, `${user.name}.kubeconfig`), kubeconfig(access.url, access.ca, [user]), { mode: 0o600 });
  }
  const combined = join(dir, "kubeconfig");
  await writeFile(combined, kubeconfig(access.url, access.ca, users), { mode: 0o600 });
  return combined;
}

function whatToTypeNext(stack: Stack, cluster: Cluster, combined: string): string {
  const users = localUsers.map((user) => `  ${user.name.padEnd(8)} ${identityOf(user).padEnd(26)} may ${user.may}`);
  const audit = options.audit ? `\n  cluster audit  ${cluster.auditLog}` : "";
  return `${whereItIs(stack)}${audit}

Users, each with a kubeconfig ${join(dir, "NAME.kubeconfig")} and a context in the one below:

${users.join("\n")}

In another terminal:

  export KUBECONFIG=${combined} PATH="${dirname(cluster.kubectl)}:$PATH"

  kubectl get pods
  kubectl exec -it shell -- sh
  kubectl port-forward pod/web 18080:8080        # and: curl http://127.0.0.1:18080/
  kubectl --context bob get secrets              # another user, other rights
  kubectl --context carol get secrets -A --as breakglass   # on call, by a group of the identity provider
  kubectl --context dave delete pod web          # RBAC would let dave, a guard does not

In a browser, which has to accept the certificate of this run: who you are, what you may do, and grants
(as alice, give bob the group ${GRANTABLE.join(", ")} for an hour):

  ${stack.access.loginUrl}
${howToPlay(combined, "shell")}
Ctrl-C stops everything and removes these files.`;
}

/** What to type where somebody is recorded. */
function howToPlay(combined: string, pod: string): string {
  const sessions = `npm run sessions -- --kubeconfig ${combined} --context`;
  return options.record
    ? `
Recorded, since this runs with --record:

  kubectl --context ${RECORDED} exec -it ${pod} -- sh
  ${sessions} ${RECORDED} list
  ${sessions} ${RECORDED} play ID     # and: show, verify; end, while it goes on
  ${sessions} alice list   # RBAC lets her see everybody's
`
    : "";
}

function whatToTypeAt(context: string, stack: Stack, { proxy, kubectl, missing }: ExistingCluster, combined: string) {
  const users = localUsers.map((user) => `  ${user.name.padEnd(8)} ${identityOf(user)}`);
  const path = kubectl.path ? ` PATH="${kubectl.path}:$PATH"` : "";
  const lacking = `

WARNING: these credentials may not impersonate all ${missing.join(" and ")}, so the cluster will refuse callers whom they may not
impersonate by name either. Use the context of an administrator (cluster-admin may), or give this one the rights that
terraform/modules/k8s/rbac.tf gives the gateway.`;
  return `${whereItIs(stack)}
  kubectl proxy  http://${proxy.host}:${proxy.port}

Every request reaches the cluster with the credentials of the context ${context}, and impersonates the caller with the rights that
they have. While this runs, every program on this machine can use them at kubectl proxy's address, as with any kubectl proxy.${missing.length > 0 ? lacking : ""}

Users, each with a kubeconfig ${join(dir, "NAME.kubeconfig")} and a context in the one below. identities.yaml says as whom they
enter; what they may do is for the cluster's own RBAC:

${users.join("\n")}

In another terminal:

  export KUBECONFIG=${combined}${path}

  kubectl auth whoami
  kubectl get pods
  kubectl --context bob auth whoami              # another user

In a browser, which has to accept the certificate of this run:

  ${stack.access.loginUrl}
${howToPlay(combined, "POD")}
Ctrl-C stops everything and removes these files.`;
}

function whereItIs({ access, gateway }: Stack): string {
  return `
  gateway        ${access.url}  (Access stand-in, in front of workerd on ${gateway.url})
  gateway log    ${join(dir, "gateway.log")}`;
}

function identityOf(user: LocalUser): string {
  return "email" in user ? user.email : user.commonName;
}

function stopOnSignals(): void {
  let first = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (first === 0) {
        first = Date.now();
        void stop(isUp ? 0 : 130);
      } else if (Date.now() - first > SAME_CTRL_C_MS) {
        killEverything();
      }
    });
  }
}

/** Stops all parts, last one first, and leaves. Parts that are still starting lose their processes, which ends the start. */
async function stop(status: number): Promise<void> {
  stopping.abort();
  log("stopping (Ctrl-C again: at once)");
  setTimeout(killEverything, STOP_LIMIT_MS).unref();
  if (!isUp) {
    signalDescendants("SIGKILL");
  }
  for (const starting of parts.reverse()) {
    try {
      await (await starting).stop?.();
    } catch (error) {
      // A start that was cut short has nothing to tell; a stop that fails has.
      if (isUp) {
        console.error(`A part did not stop cleanly: ${(error as Error).message}`);
      }
    }
  }
  signalDescendants("SIGKILL");
  log("stopped");
  process.exit(status);
}

function killEverything(): void {
  signalDescendants("SIGKILL");
  process.exit(130);
}

interface Options {
  context: string | undefined;
  lastHop: LastHop;
  impersonation: Impersonation;
  port: number | undefined;
  logLevel: string;
  record: boolean;
  audit: boolean;
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: {
        context: { type: "string" },
        "last-hop": { type: "string" },
        impersonation: { type: "string" },
        port: { type: "string" },
        "log-level": { type: "string", default: "info" },
        record: { type: "boolean", default: false },
        audit: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const port = values.port === undefined ? undefined : Number(values.port);
    if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536)) {
      throw new Error(`--port ${values.port}: a number from 1 to 65535 was expected`);
    }
    if (!["debug", "info", "warn", "error"].includes(values["log-level"])) {
      throw new Error(`--log-level ${values["log-level"]}: debug, info, warn or error was expected`);
    }
    if (values.context === "") {
      throw new Error("--context: the name of a context of your kubeconfig was expected");
    }
    const lastHop = oneOf("last-hop", values["last-hop"], LAST_HOPS);
    const impersonation = oneOf("impersonation", values.impersonation, IMPERSONATIONS);
    if (values.context !== undefined && values.impersonation !== undefined) {
      throw new Error(
        "--impersonation goes with the local cluster: a context has the rights that its cluster gives it",
      );
    }
    if (values.context !== undefined && values["last-hop"] !== undefined) {
      throw new Error("--last-hop goes with the local cluster: a context has credentials that kubectl alone can use");
    }
    return {
      context: values.context,
      lastHop,
      impersonation,
      port,
      logLevel: values["log-level"],
      record: values.record,
      audit: values.audit,
    };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** One of these words; the first, unless the option was given. */
function oneOf<Word extends string>(name: string, text: string | undefined, words: readonly [Word, ...Word[]]): Word {
  const word = words.find((known) => known === (text ?? words[0]));
  if (word === undefined) {
    throw new Error(`--${name} ${text}: ${words.join(" or ")} was expected`);
  }
  return word;
}
