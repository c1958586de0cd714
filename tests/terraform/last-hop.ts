// The last hop as the gateway pod would run it: with the arguments of the Deployment that Terraform made, under a token of the service
// account that Terraform made, and for the guarded one with the script and the key that Terraform made.

import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { get, type IncomingMessage } from "node:http";
import { join } from "node:path";
import type { Cluster } from "../../dev/cluster.ts";
import { freePorts, Service } from "../../dev/cluster-service.ts";
import { kubectl } from "./controllers.ts";

export interface LastHop {
  url: string;
  /** The guarded one's; "" where there is none. */
  key: string;
  readinessCommand: string[];
  livenessCommand: string[];
  /** Arguments of the pod's, with the port and the files of this machine. */
  here(args: string[]): string[];
  /** One request to it. */
  ask(path: string, headers: object, host?: string): Promise<{ status: number; text: string }>;
  stop(): Promise<void>;
}

interface Container {
  name: string;
  command?: string[];
  args: string[];
  readinessProbe: { exec: { command: string[] } };
  livenessProbe: { exec: { command: string[] } };
  volumeMounts: { name: string; mountPath: string }[];
}

export async function startLastHop(cluster: Cluster, namespace: string): Promise<LastHop> {
  const [port = 0] = await freePorts(1);
  const { name, command = [], args, readinessProbe, livenessProbe } = await container(cluster, namespace);
  const isGuarded = name === "guarded";
  const files = isGuarded ? await guardedFiles(cluster, namespace) : undefined;
  const here = (some: string[]) =>
    some
      .map((arg) =>
        arg.replace(/^--port=.*/, `--port=${port}`).replace(/^--server=.*/, `--server=http://127.0.0.1:${port}`),
      )
      .map((arg) => files?.paths.reduce((text, [inPod, onDisk]) => text.replace(inPod, onDisk), arg) ?? arg);
  const [, ...script] = command;
  const own = isGuarded
    ? [`--server=${cluster.server}`]
    : [`--kubeconfig=${await accountKubeconfig(cluster, namespace)}`];
  const service = new Service({
    name,
    binary: isGuarded ? process.execPath : cluster.kubectl,
    args: [...here([...script, ...args]), ...own],
    logFile: join(cluster.dir, `terraform-${name}.log`),
    endsOn: "SIGKILL",
  });
  service.start();
  const url = `http://127.0.0.1:${port}`;
  await service.ready(async () => (await fetch(`${url}/readyz`).catch(() => undefined)) !== undefined, 60);
  return {
    url,
    key: files?.key ?? "",
    readinessCommand: readinessProbe.exec.command,
    livenessCommand: livenessProbe.exec.command,
    here,
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
  const { spec } = await object(cluster, namespace, "deployment", "kube-access");
  const containers = spec.template.spec.containers as Container[];
  const found = containers.find(({ name }) => name !== "cloudflared");
  if (!found) {
    throw new Error("The Deployment has no container besides cloudflared");
  }
  return found;
}

/** What the pod would have mounted, as files of this machine. */
async function guardedFiles(cluster: Cluster, namespace: string) {
  const { volumeMounts } = await container(cluster, namespace);
  const map = await object(cluster, namespace, "configmap", "last-hop");
  const secret = await object(cluster, namespace, "secret", "last-hop-key");
  const key = Buffer.from(secret.data.key, "base64").toString();
  const contents: Record<string, Record<string, string>> = {
    "last-hop": map.data,
    "last-hop-key": { key },
    "service-account": {
      token: await accountToken(cluster, namespace),
      "ca.crt": await readFile(cluster.caFile, "utf8"),
    },
  };
  const paths: [string, string][] = [];
  for (const { name, mountPath } of volumeMounts) {
    const dir = join(cluster.dir, `mounted-${name}`);
    await mkdir(dir);
    for (const [file, text] of Object.entries(contents[name] ?? {})) {
      await writeFile(join(dir, file), text);
    }
    paths.push([`${mountPath}/`, `${dir}/`], [`=${mountPath}`, `=${dir}`]);
  }
  return { key, paths };
}

async function object(cluster: Cluster, namespace: string, kind: string, name: string) {
  return JSON.parse(await kubectl(cluster, ["get", kind, name, "--namespace", namespace, "-o", "json"]));
}

async function accountToken(cluster: Cluster, namespace: string): Promise<string> {
  return (await kubectl(cluster, ["create", "token", "kube-access", "--namespace", namespace])).trim();
}

async function accountKubeconfig(cluster: Cluster, namespace: string): Promise<string> {
  const token = await accountToken(cluster, namespace);
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
