// What stays open: a watch, whose events must arrive one by one, and a WebSocket, which exec and port-forward need.

import type { IncomingMessage } from "node:http";
import { type Check, failed, notChecked, type Outcome, ok } from "./check.ts";
import type { Door } from "./door.ts";
import { json, remedyFor, saying } from "./refusals.ts";

export interface StreamOptions {
  namespace: string;
  limitMs: number;
}

interface List {
  items?: { metadata?: { name?: string }; status?: { phase?: string } }[];
}

export function streamChecks(door: Door, options: StreamOptions): Check[] {
  return [
    {
      id: "watch",
      what: "A watch delivers its first event while it stays open",
      needs: ["cluster"],
      run: (signal) => watch(door, options, signal),
    },
    {
      id: "websocket",
      what: "A WebSocket reaches a pod and is accepted",
      needs: ["cluster"],
      run: (signal) => webSocket(door, options, signal),
    },
  ];
}

/** Something that the caller may list and that is not empty: a watch of it begins with an event. */
async function watch(door: Door, { namespace, limitMs }: StreamOptions, signal: AbortSignal): Promise<Outcome> {
  const inNamespace = `/api/v1/namespaces/${namespace}`;
  const tried: string[] = [];
  for (const path of [
    "/api/v1/namespaces",
    ...["pods", "services", "configmaps"].map((kind) => `${inNamespace}/${kind}`),
  ]) {
    const list = await door.ask(`${path}?limit=1`, { signal });
    const isEmpty = json<List>(list)?.items?.length === 0;
    if (list.status === 200 && !isEmpty) {
      return firstEvent(door, path, limitMs, signal);
    }
    if (list.status !== 200 && list.status !== 403) {
      return failed(`GET ${path} was answered ${saying(list)}`, remedyFor(list));
    }
    tried.push(`${path} ${isEmpty ? "is empty" : "is forbidden"}`);
  }
  return notChecked(
    `the caller can watch nothing: ${tried.join(", ")}`,
    "Name a namespace in which the caller may list something, with --namespace.",
  );
}

async function firstEvent(door: Door, path: string, limitMs: number, signal: AbortSignal): Promise<Outcome> {
  // The API server keeps the watch open for longer than the check may take: what arrives in time arrived while it was open.
  const seconds = Math.ceil((limitMs / 1000) * 2);
  const started = performance.now();
  let stream: IncomingMessage;
  try {
    stream = await door.stream(`${path}?watch=1&timeoutSeconds=${seconds}`, { signal });
    if (stream.statusCode !== 200) {
      return failed(
        `a watch of ${path} was answered with status ${stream.statusCode}`,
        "See what the Worker logs: `npx wrangler tail`.",
      );
    }
    for await (const chunk of stream.setEncoding("utf8")) {
      if (String(chunk).includes("\n")) {
        stream.destroy();
        return ok(`an event of ${path} after ${Math.round(performance.now() - started)} ms`);
      }
    }
    return failed(
      `the watch of ${path} ended without an event`,
      "Try again: the connection to the cluster may have broken.",
    );
  } catch (error) {
    if (!signal.aborted) {
      throw error;
    }
    return failed(
      `no event of ${path} within ${limitMs / 1000} s`,
      "Something holds the answer back until it is complete: look for a proxy between this machine, the Worker and the cluster.",
    );
  }
}

/**
 * Asks for a port-forward and opens no port, which touches nothing in the pod; where that is forbidden, for the pod's log.
 * (A watch over a WebSocket, which needs no pod, is no way: the API server wants an Origin there, and the gateway refuses it.)
 */
async function webSocket(door: Door, { namespace }: StreamOptions, signal: AbortSignal): Promise<Outcome> {
  const pods = await door.ask(`/api/v1/namespaces/${namespace}/pods`, { signal });
  const another = "Name a namespace with a running pod whose log or ports the caller may use, with --namespace.";
  if (pods.status === 403) {
    return notChecked(`the caller may not list pods in namespace ${namespace}`, another);
  }
  if (pods.status !== 200) {
    return failed(`the list of pods was answered ${saying(pods)}`, remedyFor(pods));
  }
  const running = json<List>(pods)?.items?.find(({ status }) => status?.phase === "Running");
  const name = running?.metadata?.name;
  if (!name) {
    return notChecked(`no pod runs in namespace ${namespace}`, another);
  }
  const pod = `/api/v1/namespaces/${namespace}/pods/${name}`;
  for (const [path, protocol, what] of [
    [`${pod}/portforward`, "SPDY/3.1+portforward.k8s.io", "port-forward to"],
    [`${pod}/log?tailLines=1`, "binary.k8s.io", "log of"],
  ] as const) {
    const answer = await door.upgrade(path, protocol, signal);
    answer.socket?.destroy();
    if (answer.status === 101) {
      const chosen = answer.headers["sec-websocket-protocol"];
      return chosen === protocol
        ? ok(`${what} pod ${namespace}/${name}`)
        : failed(
            `the subprotocol ${protocol} got lost on the way`,
            "Something between this machine and the cluster rewrites WebSocket handshakes.",
          );
    }
    if (answer.status !== 403 || json<{ reason?: string }>(answer)?.reason !== "Forbidden") {
      return failed(
        `the upgrade (${what} pod ${namespace}/${name}) was answered ${saying(answer)}`,
        "WebSockets do not pass: the Access application must be on the host name (not on the Worker), and cloudflared must run with --protocol quic.",
      );
    }
  }
  return notChecked(`port-forward and log of pod ${namespace}/${name} are forbidden to the caller`, another);
}
