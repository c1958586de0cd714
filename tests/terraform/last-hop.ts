// `kubectl proxy` as the gateway pod would run it: with the arguments of the Deployment that Terraform made, under a token of the
// service account that Terraform made.

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Cluster } from "../../dev/cluster.ts";
import { freePorts, Service } from "../../dev/cluster-service.ts";
import { kubectl } from "./controllers.ts";

export interface LastHop {
  url: string;
  readinessCommand: string[];
  livenessCommand: string[];
  /** One request to the proxy. */
  ask(path: string, headers: object, host?: string): Promise<{ status: number; text: string }>;
  stop(): Promise<void>;
}

interface Container {
  name: string;
  args: string[];
  readinessProbe: { exec: { command: string[] } };
  livenessProbe: { exec: { command: string[] } };
}

export async function startLastHop(cluster: Cluster, namespace: string): Promise<LastHop> {
  const [port = 0] = await freePorts(1);
  const { args, readinessProbe, livenessProbe } = await container(cluster, namespace);
  const kubeconfig = `--kubeconfig=${await accountKubeconfig(cluster, namespace)}`;
  const service = new Service({
    name: "kubectl proxy",
    binary: cluster.kubectl,
    args: [...args.map((arg) => (arg.startsWith("--port=") ? `--port=${port}` : arg)), kubeconfig],
    logFile: join(cluster.dir, "terraform-proxy.log"),
    endsOn: "SIGKILL",
  });
  service.start();
  const url = `http://127.0.0.1:${port}`;
  await service.ready(async () => (await fetch(`${url}/readyz`).catch(() => undefined)) !== undefined, 60);
  return {
    url,
    readinessCommand: readinessProbe.exec.command,
    livenessCommand: livenessProbe.exec.command,
    // With node:http, because fetch sets the Host itself.
    ask: async (path, headers, host = "localhost") => {
      const request = get(`${url}${path}`, { headers: { ...headers, host }, agent: false });
      const [response] = (await once(request, "response")) as [IncomingMessage];
      return { status: response.statusCode ?? 0, text: Buffer.concat(await response.toArray()).toString() };
    },
    stop: () => service.stop(),
  };
}

async function container(cluster: Cluster, namespace: string): Promise<Container> {
  const query = ["get", "deployment", "kube-access", "--namespace", namespace, "-o", "json"];
  const { spec } = JSON.parse(await kubectl(cluster, query));
  const containers = spec.template.spec.containers as Container[];
  const found = containers.find(({ name }) => name === "kubectl-proxy");
  if (!found) {
    throw new Error("The Deployment has no container kubectl-proxy");
  }
  return found;
}

async function accountKubeconfig(cluster: Cluster, namespace: string): Promise<string> {
  const token = (await kubectl(cluster, ["create", "token", "kube-access", "--namespace", namespace])).trim();
  const file = join(cluster.dir, "terraform-account.kubeconfig");
  const connection = { server: cluster.server, "certificate-authority": cluster.caFile };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "account",
    clusters: [{ name: "local", cluster: connection }],
    users: [{ name: "account", user: { token } }],
    contexts: [{ name: "account", context: { cluster: "local", user: "account" } }],
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}
