// The files and command lines of the local cluster's programs.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { serverCertificate } from "./certificates.ts";
import { gatewayUser } from "./cluster-objects.ts";

/** What Terraform puts into the gateway's pod with `last_hop = "guarded"`. */
export const guardedLastHop = join(import.meta.dirname, "../terraform/modules/k8s/last-hop.mjs");

export type ClusterFiles = Awaited<ReturnType<typeof writeFiles>>;

/** Lays out credentials and settings. Every secret is made here, and lives as long as the cluster does. */
export async function writeFiles(dir: string, server: string) {
  const at = (...names: string[]) => join(dir, ...names);
  const put = (path: string, text: string) => writeFile(path, text, { mode: 0o600 });
  const files = {
    certDir: at("certs"),
    caFile: at("certs", "apiserver.crt"), // made by the API server, with its own authority in it
    nodeCertificates: at("node-certs"),
    tokens: at("tokens.csv"),
    signingKey: at("service-accounts.key"),
    pods: at("pods"),
    auditPolicy: at("audit-policy.json"),
    auditLog: at("audit.log"),
    adminKubeconfig: at("admin.kubeconfig"),
    gatewayKubeconfig: at("gateway.kubeconfig"),
    gatewayAccount: at("account"), // as a pod has its own
    lastHopKey: at("last-hop.key"),
  };
  await Promise.all([mkdir(files.nodeCertificates), mkdir(files.gatewayAccount)]);
  const admin = randomBytes(32).toString("hex");
  const gateway = randomBytes(32).toString("hex");
  const forNode = serverCertificate(["127.0.0.1"]);
  const signing = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  await Promise.all([
    put(join(files.nodeCertificates, "ca.crt"), forNode.ca),
    put(join(files.nodeCertificates, "node.crt"), forNode.cert),
    put(join(files.nodeCertificates, "node.key"), forNode.key),
    put(files.signingKey, signing.export({ type: "sec1", format: "pem" }).toString()),
    put(
      files.tokens,
      `${admin},admin,admin,"system:masters"\n` +
        `${gateway},${gatewayUser},gateway,"system:serviceaccounts,system:serviceaccounts:kube-access"\n`,
    ),
    put(
      files.auditPolicy,
      JSON.stringify({
        apiVersion: "audit.k8s.io/v1",
        kind: "Policy",
        omitStages: ["RequestReceived"],
        rules: [{ level: "Metadata" }],
      }),
    ),
    put(files.auditLog, ""),
    put(files.adminKubeconfig, kubeconfig(server, files.caFile, admin)),
    put(files.gatewayKubeconfig, kubeconfig(server, files.caFile, gateway)),
    put(join(files.gatewayAccount, "token"), gateway),
    symlink(files.caFile, join(files.gatewayAccount, "ca.crt")),
    put(files.lastHopKey, randomBytes(32).toString("base64")),
  ]);
  return files;
}

function kubeconfig(server: string, caFile: string, token: string): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "local", cluster: { server, "certificate-authority": caFile } }],
    users: [{ name: "user", user: { token } }],
    contexts: [{ name: "local", context: { cluster: "local", user: "user" } }],
    "current-context": "local",
  };
  return JSON.stringify(config, undefined, 2);
}

export function etcdArgs(dir: string, port: number, peerPort: number): string[] {
  return [
    `--data-dir=${join(dir, "etcd")}`,
    `--listen-client-urls=http://127.0.0.1:${port}`,
    `--advertise-client-urls=http://127.0.0.1:${port}`,
    `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
    "--unsafe-no-fsync", // nobody needs this data after a crash
  ];
}

export function apiServerArgs(files: ClusterFiles, etcdPort: number, port: number, withAudit: boolean): string[] {
  const audit = [`--audit-policy-file=${files.auditPolicy}`, `--audit-log-path=${files.auditLog}`];
  return [
    ...(withAudit ? audit : []),
    `--etcd-servers=http://127.0.0.1:${etcdPort}`,
    `--cert-dir=${files.certDir}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${port}`,
    // Nothing here reaches the API server by its service address, and a loopback address is no valid endpoint.
    "--advertise-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--authorization-mode=RBAC",
    `--token-auth-file=${files.tokens}`,
    // No controller manager makes the service account that this plugin would insist on.
    "--disable-admission-plugins=ServiceAccount",
    `--service-account-issuer=https://127.0.0.1:${port}`,
    `--service-account-key-file=${files.signingKey}`,
    `--service-account-signing-key-file=${files.signingKey}`,
    "--kubelet-preferred-address-types=InternalIP",
    `--kubelet-certificate-authority=${join(files.nodeCertificates, "ca.crt")}`,
    `--kubelet-client-certificate=${join(files.nodeCertificates, "node.crt")}`,
    `--kubelet-client-key=${join(files.nodeCertificates, "node.key")}`,
  ];
}

export function nodeArgs(files: ClusterFiles, port: number): string[] {
  return [
    "run",
    `--kubeconfig=${files.adminKubeconfig}`,
    `--port=${port}`,
    `--certificates=${files.nodeCertificates}`,
    `--dir=${files.pods}`,
  ];
}

/**
 * As in production: `kubectl proxy` refuses exec and attach unless told otherwise, and any Host but its own. To
 * what it rejects the root is an empty path, so "^$" would refuse it; "^#" refuses nothing.
 */
export function proxyArgs(files: ClusterFiles, port: number): string[] {
  return [
    "proxy",
    `--kubeconfig=${files.gatewayKubeconfig}`,
    "--address=127.0.0.1",
    `--port=${port}`,
    "--reject-paths=^#",
  ];
}

/** The guarded last hop, as in production; without `keyFile` it asks for no signature. */
export function guardedArgs(files: ClusterFiles, server: string, port: number, keyFile?: string): string[] {
  const where = [`--port=${port}`, `--server=${server}`, `--account=${files.gatewayAccount}`];
  return [guardedLastHop, ...where, ...(keyFile ? [`--key-file=${keyFile}`] : [])];
}

/** The same with the credentials of a context of the person's own kubeconfig, on a free port, which it prints. */
export function contextProxyArgs(context: string): string[] {
  return ["proxy", `--context=${context}`, "--address=127.0.0.1", "--port=0", "--reject-paths=^#"];
}
