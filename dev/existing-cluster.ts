// A cluster that there is already, as a context of the person's own kubeconfig names it: all that is started is `kubectl proxy`,
// the last hop as in production, except that it runs with the context's own credentials.

import { execFile } from "node:child_process";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { builtKubectl } from "./cluster-binaries.ts";
import { contextProxyArgs } from "./cluster-config.ts";
import { cleanUpOnExit, Service } from "./cluster-service.ts";
import type { Log } from "./progress.ts";

export interface ExistingCluster {
  /** `kubectl proxy`: what the Worker's KUBE_API points at. */
  proxy: { host: "127.0.0.1"; port: number };
  kubectl: Kubectl;
  /** What the context may not impersonate, as RBAC names it. */
  missing: string[];
  stop(): Promise<void>;
}

export interface Kubectl {
  binary: string;
  /** What PATH needs for `kubectl` to be found: nothing, where it is found already. */
  path: string | undefined;
}

const ANSWER_SECONDS = 10;
const PROXY_SECONDS = 60;
/** With a user and a group of its own for every caller, all of these are needed. */
const IMPERSONATED = ["users", "groups"];

/** Checks that a context can be used; each thing that is wrong is a sentence. Then `start` starts the last hop. */
export async function findCluster(context: string): Promise<{ start(log: Log): Promise<ExistingCluster> }> {
  const kubectl = await findKubectl();
  await requireContext(kubectl, context);
  const version = await ask(kubectl, context, ["get", "--raw", "/version"]);
  if (!version.isGood) {
    throw new Error(`The API server of the context ${context} does not answer as it should: ${version.complaint}`);
  }
  const missing: string[] = [];
  for (const resource of IMPERSONATED) {
    // "no" is exit status 1, with more on stderr only where the question itself could not be asked.
    if (!(await ask(kubectl, context, ["auth", "can-i", "impersonate", resource])).isGood) {
      missing.push(resource);
    }
  }
  return { start: (log) => start(kubectl, context, missing, log) };
}

async function start(kubectl: Kubectl, context: string, missing: string[], log: Log): Promise<ExistingCluster> {
  log(`starting kubectl proxy to the cluster of the context ${context}`);
  const dir = await mkdtemp(join(tmpdir(), "kube-access-context-"));
  const logFile = join(dir, "kubectl-proxy.log");
  const proxy = new Service({
    name: "kubectl proxy",
    binary: kubectl.binary,
    args: contextProxyArgs(context),
    endsOn: "SIGKILL",
    logFile,
  });
  const forget = cleanUpOnExit([proxy], dir);
  const stop = async () => {
    await proxy.stop();
    forget();
  };
  try {
    proxy.start();
    const port = async () =>
      Number((await readFile(logFile, "utf8")).match(/Starting to serve on \S+:(\d+)/)?.[1] ?? 0);
    await proxy.ready(async () => (await port()) > 0, PROXY_SECONDS);
    return { proxy: { host: "127.0.0.1", port: await port() }, kubectl, missing, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function findKubectl(): Promise<Kubectl> {
  if ((await call("kubectl", ["version", "--client"])).isGood) {
    return { binary: "kubectl", path: undefined };
  }
  const built = await builtKubectl();
  if (built) {
    return { binary: built, path: dirname(built) };
  }
  throw new Error(
    "There is no kubectl on PATH: install it (https://kubernetes.io/docs/tasks/tools/). " +
      "Or run `npm start` once without --context, which builds one.",
  );
}

async function requireContext(kubectl: Kubectl, context: string): Promise<void> {
  const { isGood, text, complaint } = await call(kubectl.binary, ["config", "get-contexts", "--output=name"]);
  if (!isGood) {
    throw new Error(`kubectl cannot read your kubeconfig: ${complaint}`);
  }
  const contexts = text.split("\n").filter((name) => name !== "");
  if (!contexts.includes(context)) {
    const where = process.env.KUBECONFIG ? `KUBECONFIG=${process.env.KUBECONFIG}` : "~/.kube/config";
    const known = contexts.length > 0 ? `it has ${contexts.join(", ")}` : "it has none";
    throw new Error(`There is no context ${context} in your kubeconfig (${where}): ${known}.`);
  }
}

function ask({ binary }: Kubectl, context: string, args: string[]): Promise<Answer> {
  return call(binary, [`--context=${context}`, `--request-timeout=${ANSWER_SECONDS}s`, ...args]);
}

interface Answer {
  isGood: boolean;
  /** What it printed. */
  text: string;
  /** The last thing it said on stderr. */
  complaint: string;
}

function call(binary: string, args: string[]): Promise<Answer> {
  return new Promise((done) => {
    // A credential plug-in may ask for a password; nobody could answer it. It gets three times as long as the API server.
    execFile(binary, args, { timeout: 3 * ANSWER_SECONDS * 1000 }, (error, stdout, stderr) => {
      const complaint = stderr.trim().split("\n").at(-1) || error?.message.split("\n")[0] || "";
      done({ isGood: !error, text: stdout, complaint });
    }).stdin?.end();
  });
}
