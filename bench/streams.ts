// WebSockets: a command that prints, a file that is copied, a forwarded port. The other end is synthetic, since the node of
// a real cluster spends more time on each byte than workerd does, and would hide what the Worker costs.

import type { WebSocketLoad } from "./load-websocket.ts";
import { type PeerName, peerTitles } from "./peers.ts";
import { upgradeRequest } from "./requests.ts";
import type { Stage } from "./stage.ts";
import type { Work } from "./work.ts";

const POD = "/api/v1/namespaces/default/pods/web";
const BYTES = 100_000_000;
const MESSAGE_BYTES = 128;

/** How a stream passes does not depend on how the token was verified: one JavaScript Worker is enough. */
const { bare, "jose-remembers": javaScript, ours } = peerTitles;
const subjects = { bare, "jose-remembers": javaScript, ours };

export const streamWorks: Work[] = [
  {
    name: "exec",
    subjects,
    figures: [{ title: "exec: stdout, 100 MB at a time", unit: "MB/s", digits: 0, goals: { bare: { atLeast: 0.97 } } }],
    open: streaming(
      () => `${POD}/exec?command=stdout&command=${BYTES}&stdout=true`,
      () => ({ download: BYTES }),
    ),
  },
  {
    name: "cp",
    subjects,
    figures: [{ title: "cp: upload, 100 MB at a time", unit: "MB/s", digits: 0, goals: { bare: { atLeast: 0.97 } } }],
    open: streaming(
      () => `${POD}/exec?command=upload&command=${BYTES}&stdin=true`,
      () => ({ upload: BYTES }),
    ),
  },
  {
    name: "port-forward",
    subjects,
    figures: [{ title: "port-forward: messages to and fro", unit: "round trips/s", digits: 0 }],
    open: streaming(
      () => `${POD}/portforward?command=echo`,
      (stage) => ({ echo: { milliseconds: stage.seconds * 1000, bytes: MESSAGE_BYTES } }),
    ),
  },
];

/** One WebSocket after the other, until the time is up; the figure is what they carried by the second. */
function streaming(path: () => string, work: (stage: Stage) => WebSocketLoad["work"]): Work["open"] {
  return async (stage) => {
    const request = upgradeRequest(path(), stage.token, "v5.channel.k8s.io");
    return {
      measure: async (name) => {
        const peer = await stage.running(stage.peers[name as PeerName]);
        let [amount, milliseconds] = [0, 0];
        while (milliseconds < stage.seconds * 1000) {
          const result = await stage.webSocket({ ...peer, request, work: work(stage) });
          amount += result.amount;
          milliseconds += result.milliseconds;
        }
        const isBytes = !path().endsWith("echo");
        return [isBytes ? amount / 1000 / milliseconds : (amount / milliseconds) * 1000];
      },
    };
  };
}
