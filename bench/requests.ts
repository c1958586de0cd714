// The requests: what kubectl sends, as Cloudflare's edge passes it on.

import type { AccessKeys, Person } from "../dev/access-keys.ts";
import { localApplication } from "../dev/users.ts";

/** A token of a person of the map; another `name` is another person to Access, at the same address. */
export function mint(keys: AccessKeys, email: string, about: Partial<Person> = {}): Promise<string> {
  return keys.token({ name: email, email, ...about }, localApplication);
}

export function httpRequest(path: string, token: string): string {
  return head(path, token, [
    "Accept: application/json",
    "Accept-Encoding: gzip",
    "Kubectl-Command: kubectl get",
    "Kubectl-Session: 0f0a1e22-6f0f-4a4f-9d3b-2b9f7c5f9a01",
  ]);
}

export function upgradeRequest(path: string, token: string, protocol: string): string {
  return head(path, token, [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: a3ViZS1hY2Nlc3NiZW5jaA==",
    `Sec-WebSocket-Protocol: ${protocol}`,
  ]);
}

function head(path: string, token: string, lines: string[]): string {
  return [
    `GET ${path} HTTP/1.1`,
    "Host: kube.example.com",
    "User-Agent: kubectl/v1.37.0 (linux/amd64) kubernetes/0000000",
    ...lines,
    `Cf-Access-Jwt-Assertion: ${token}`,
    "Cf-Access-Authenticated-User-Email: alice@example.com",
    "Cf-Connecting-Ip: 203.0.113.7",
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "Cf-Ray: 8f1e0d2c3b4a5968-FRA",
    "Cf-Ipcountry: DE",
    'Cf-Visitor: {"scheme":"https"}',
    "\r\n",
  ].join("\r\n");
}
