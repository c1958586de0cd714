// A real Kubernetes API server on this machine: etcd, kube-apiserver, one node whose containers are processes
// (cluster/node), and the last hop as in production, running as the gateway's service account.
//
// `node dev/cluster.ts` starts one to look around in.

import { once } from "node:events";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Impersonation } from "../deploy/impersonation.ts";
import { buildCluster } from "./cluster-binaries.ts";
import { apiServerArgs, etcdArgs, guardedArgs, nodeArgs, proxyArgs, writeFiles } from "./cluster-config.ts";
import { aggregate, clusterObjects } from "./cluster-objects.ts";
import { cleanUpOnExit, freePorts, Service } from "./cluster-service.ts";
import { output, run } from "./command.ts";
import { type Log, progress } from "./progress.ts";

export { buildCluster, type ClusterBinaries } from "./cluster-binaries.ts";

/** What carries requests to the API server in production: `last_hop` in Terraform. */
export const LAST_HOPS = ["kubectl-proxy", "guarded"] as const;
export type LastHop = (typeof LAST_HOPS)[number];

/** A last hop that runs. `pid` is its process ID. */
export interface RunningLastHop {
  host: "127.0.0.1";
  port: number;
  pid(): number;
  stop(): Promise<void>;
}

export interface Cluster {
  /** The API server's own address; callers of the gateway use the gateway's. */
  server: string;
  caFile: string;
  /** A user who may do everything, past the gateway. */
  adminKubeconfig: string;
  /** The last hop: what the Worker's KUBE_API points at. The guarded one wants requests to be signed. */
  proxy: Omit<RunningLastHop, "stop"> & { key?: string };
  /** One more last hop, of either kind, beside that one. It asks for no signature. */
  addLastHop(kind: LastHop): Promise<RunningLastHop>;
  kubectl: string;
  /** The cluster's audit log: one audit.k8s.io/v1 Event a line, written before the request is answered. */
  auditLog: string;
  /** Every file of this cluster; `stop` removes it. */
  dir: string;
  /** Outages on demand. What is started again has the port it had. */
  stopProxy(): Promise<void>;
  startProxy(): Promise<void>;
  restartProxy(): Promise<void>;
  stopApiServer(): Promise<void>;
  startApiServer(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  log?: Log;
  /** How the gateway's account impersonates: "constrained", unless told otherwise. */
  impersonation?: Impersonation;
  /** Whom it may: another map than identities.yaml. */
  identities?: string;
  /** Write the audit log (the default). */
  auditLog?: boolean;
  /** "kubectl-proxy", unless told otherwise. */
  lastHop?: LastHop;
}

/** How long a busy machine may take for what takes a second or five on an idle one. */
const ETCD_SECONDS = 90;
const API_SERVER_SECONDS = 180;
const PROXY_SECONDS = 60;
const PODS_SECONDS = 120;

/** Starts a cluster of its own, on free ports, with the state it needs in a temporary folder. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { log = progress(), lastHop = "kubectl-proxy", impersonation = "constrained" } = options;
  const binaries = await buildCluster(log);
  const started = performance.now();
  const dir = await mkdtemp(join(tmpdir(), "kube-access-cluster-"));
  const [etcdPort = 0, peerPort = 0, apiPort = 0, nodePort = 0, proxyPort = 0] = await freePorts(5);
  const server = `https://127.0.0.1:${apiPort}`;
  const files = await writeFiles(dir, server);

  const service = (name: string, binary: string, endsOn: "SIGTERM" | "SIGKILL", args: string[]) =>
    new Service({ name, binary, args, endsOn, logFile: join(dir, `${name}.log`) });
  const lastHopService = (kind: LastHop, port: number, keyFile?: string) =>
    kind === "guarded"
      ? service("last-hop", process.execPath, "SIGKILL", guardedArgs(files, server, port, keyFile))
      : service("kubectl-proxy", binaries.kubectl, "SIGKILL", proxyArgs(files, port));
  const services = {
    proxy: lastHopService(lastHop, proxyPort, files.lastHopKey),
    node: service("node", binaries.node, "SIGTERM", nodeArgs(files, nodePort)),
    apiServer: service(
      "kube-apiserver",
      binaries.kubeApiserver,
      "SIGKILL",
      apiServerArgs(files, etcdPort, apiPort, options.auditLog ?? true),
    ),
    etcd: service("etcd", binaries.etcd, "SIGKILL", etcdArgs(dir, etcdPort, peerPort)),
  };
  const all = Object.values(services);
  const forget = cleanUpOnExit(all, dir);

  const startLastHop = async (hop: Service, port: number) => {
    hop.start();
    // Any answer will do: while the API server is down, the last hop answers with an error of its own.
    await hop.ready(async () => (await statusOf(`http://127.0.0.1:${port}/readyz`)) !== undefined, PROXY_SECONDS);
  };
  const startProxy = () => startLastHop(services.proxy, proxyPort);
  const startApiServer = async () => {
    services.apiServer.start();
    await services.apiServer.ready(
      async () => (await statusOf(`${server}/readyz`, files.caFile)) === 200,
      API_SERVER_SECONDS,
    );
  };
  const stop = async () => {
    for (const one of all) {
      await one.stop();
    }
    forget();
  };

  try {
    log("starting etcd and kube-apiserver");
    services.etcd.start();
    await services.etcd.ready(
      async () => (await statusOf(`http://127.0.0.1:${etcdPort}/health`)) === 200,
      ETCD_SECONDS,
    );
    await startApiServer();
    services.node.start();
    log("creating pods, namespaces and RBAC");
    await Promise.all([
      startProxy(),
      createObjects(binaries.kubectl, files.adminKubeconfig, dir, clusterObjects(impersonation, options.identities)),
    ]);
  } catch (error) {
    await stop();
    throw error;
  }
  log(`cluster is ready, ${((performance.now() - started) / 1000).toFixed(1)} s after its start`);

  return {
    server,
    caFile: files.caFile,
    adminKubeconfig: files.adminKubeconfig,
    proxy: {
      ...({ host: "127.0.0.1", port: proxyPort, pid: () => services.proxy.pid } as const),
      ...(lastHop === "guarded" && { key: await readFile(files.lastHopKey, "utf8") }),
    },
    addLastHop: async (kind) => {
      const [port = 0] = await freePorts(1);
      const hop = lastHopService(kind, port);
      all.unshift(hop);
      await startLastHop(hop, port);
      return { host: "127.0.0.1", port, pid: () => hop.pid, stop: () => hop.stop() };
    },
    kubectl: binaries.kubectl,
    auditLog: files.auditLog,
    dir,
    stopProxy: () => services.proxy.stop(),
    startProxy,
    restartProxy: async () => {
      await services.proxy.stop();
      await startProxy();
    },
    stopApiServer: () => services.apiServer.stop(),
    startApiServer,
    stop,
  };
}

async function createObjects(
  kubectl: string,
  kubeconfig: string,
  dir: string,
  objects: Promise<object[]>,
): Promise<void> {
  const admin = ["--kubeconfig", kubeconfig];
  const roles = await output(kubectl, [...admin, "get", "clusterroles", "-o", "json"]);
  if (!roles) {
    throw new Error("The new cluster does not list its cluster roles: see kube-apiserver.log");
  }
  const items = [...aggregate(JSON.parse(roles).items), ...(await objects)];
  const file = join(dir, "objects.json");
  await writeFile(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  await run(kubectl, [...admin, "apply", "--server-side", "--force-conflicts", "-f", file]);
  await run(kubectl, [...admin, "wait", "--for=condition=Ready", "pod", "--all", `--timeout=${PODS_SECONDS}s`]);
}

/** The status of an answer, or undefined when there is none. */
async function statusOf(url: string, caFile?: string): Promise<number | undefined> {
  try {
    const request = caFile
      ? httpsGet(url, { ca: await readFile(caFile), timeout: 1000 })
      : httpGet(url, { timeout: 1000 });
    request.on("timeout", () => request.destroy());
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  } catch {
    return undefined; // not listening yet, or its certificate is still to be made
  }
}

if (import.meta.main) {
  const cluster = await startCluster();
  console.log(`export KUBECONFIG=${cluster.adminKubeconfig}\nPress Ctrl-C to stop the cluster.`);
  const [signal] = await Promise.race(["SIGINT", "SIGTERM"].map((name) => once(process, name)));
  console.log(`${signal}: stopping`);
  await cluster.stop();
}
