// The first moments of an isolate: until it answers at all, and until it has the team's keys.

import { cpuMicroseconds } from "./http.ts";
import { type PeerName, peerTitles } from "./peers.ts";
import { httpRequest } from "./requests.ts";
import type { Work } from "./work.ts";

const SMALL = "/api/v1/namespaces/default/pods/web";
const { bare, jose, ours } = peerTitles;

export const startWorks: Work[] = [
  {
    name: "first",
    subjects: { bare, jose, ours },
    figures: [
      {
        title: "the first request that a new isolate serves: CPU time of workerd",
        unit: "ms",
        digits: 1,
        limit: { atMost: 10 },
      },
    ],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return {
        measure: async (name) => {
          const peer = await stage.start(stage.peers[name as PeerName]);
          try {
            const before = cpuMicroseconds(peer.pid);
            await stage.http("small", { ...peer, connections: 1, answers: 1, milliseconds: 10_000 });
            return [(cpuMicroseconds(peer.pid) - before) / 1000];
          } finally {
            await peer.stop();
          }
        },
      };
    },
  },
  {
    name: "start",
    subjects: { bare, jose, ours },
    figures: [
      {
        title: "cold start: workerd begins until the first refusal",
        unit: "ms",
        digits: 1,
      },
      { title: "of these, until it listens", unit: "ms", digits: 1 },
      { title: "then the first request, JWKS cache empty", unit: "ms", digits: 1 },
    ],
    open: async (stage) => {
      // Nobody vouches for this one, so a gateway needs no keys to refuse it. The bare Worker passes it through.
      await stage.keep("nobody", [httpRequest("/version", "none")]);
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      const once = { connections: 1, answers: 1, milliseconds: 10_000 };
      return {
        measure: async (name) => {
          const peer = await stage.start(stage.peers[name as PeerName]);
          try {
            const refusal = await stage.http("nobody", { ...peer, ...once, status: name === "bare" ? 200 : 401 });
            const first = await stage.http("small", { ...peer, ...once });
            return [peer.listening + refusal.milliseconds, peer.listening, first.milliseconds];
          } finally {
            await peer.stop();
          }
        },
      };
    },
  },
];
