// The kinds of requests that kubectl makes. What is true of headers must be true of each.

import type { Script } from "./recorder.ts";
import type { Call } from "./stage.ts";
import { accept, offer } from "./websocket.ts";

const pod = "/api/v1/namespaces/default/pods/web";
const remoteCommand = () => offer("v5.channel.k8s.io");

export const kinds: { kind: string; isUpgrade: boolean; call(): Call }[] = [
  { kind: "GET", isUpgrade: false, call: () => ({ target: "/api/v1/namespaces/default/pods" }) },
  {
    kind: "POST with a body",
    isUpgrade: false,
    call: () => ({
      method: "POST",
      target: "/api/v1/namespaces/default/pods",
      lines: ["Content-Type: application/json"],
      body: '{"kind":"Pod"}',
    }),
  },
  { kind: "watch", isUpgrade: false, call: () => ({ target: "/api/v1/pods?watch=1" }) },
  {
    kind: "exec",
    isUpgrade: true,
    call: () => ({ target: `${pod}/exec?command=sh&stdin=true`, lines: remoteCommand() }),
  },
  { kind: "attach", isUpgrade: true, call: () => ({ target: `${pod}/attach?stdout=true`, lines: remoteCommand() }) },
  {
    kind: "portforward",
    isUpgrade: true,
    call: () => ({ target: `${pod}/portforward`, lines: offer("SPDY/3.1+portforward.k8s.io") }),
  },
];

/** The same request with more header lines. */
export function withLines(call: Call, ...lines: string[]): Call {
  return { ...call, lines: [...(call.lines ?? []), ...lines] };
}

/** Answers every kind: an upgrade by accepting it, everything else by 200. */
export const cluster: Script = (request) => {
  if (request.values("upgrade").length > 0) {
    accept(request, request.values("sec-websocket-protocol")[0]?.split(",")[0]);
  } else {
    request.answer("200 OK", ["Content-Type: application/json"], "{}\n");
  }
};
