// With a real cluster behind: what the gateway adds to `kubectl proxy` alone, which is its last hop.

import { startCluster } from "../dev/cluster.ts";
import { duration } from "./http.ts";
import { peerTitles } from "./peers.ts";
import { httpRequest } from "./requests.ts";
import type { Work } from "./work.ts";

const SMALL = "/api/v1/namespaces/default/pods/web";

export const clusterWork: Work = {
  name: "cluster",
  subjects: {
    proxy: "kubectl proxy alone",
    bare: `${peerTitles.bare} before it`,
    ours: `${peerTitles.ours} before it`,
  },
  figures: [
    { title: "real API server: GET of a pod, 1 connection: p50", unit: "ms", digits: 2 },
    { title: "the same, 8 connections", unit: "req/s", digits: 0 },
  ],
  isSlow: true,
  open: async (stage) => {
    const cluster = await startCluster({ log: () => {}, auditLog: false });
    try {
      const upstream = cluster.proxy;
      // Copies, since those that run have another upstream.
      const peers = { bare: { ...stage.peers.bare }, ours: { ...stage.peers.ours } };
      // `kubectl proxy` takes requests for localhost alone, and acts as the gateway's service account unless told otherwise:
      // all three ask the API server for the same object as the same user.
      const direct = httpRequest(SMALL, stage.token)
        .replace(/^Host: .*$/m, "Host: localhost")
        .replace("\r\nAccept:", "\r\nImpersonate-User: alice\r\nImpersonate-Group: platform-admins\r\nAccept:");
      await stage.keep("direct", [direct]);
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return {
        measure: async (name, round) => {
          const target =
            name === "proxy" ? upstream : await stage.running(peers[name as keyof typeof peers], { upstream });
          const requests = name === "ours" ? "small" : "direct";
          const one = await stage.http(requests, { ...target, connections: 1, ...duration(stage, round) });
          const eight = await stage.http(requests, { ...target, connections: 8, ...duration(stage, round) });
          return [one.p50, (eight.answers / eight.milliseconds) * 1000];
        },
        close: () => cluster.stop(),
      };
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  },
};
