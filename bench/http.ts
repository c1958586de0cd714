// Requests and answers: small objects, a list, a watch, and many callers at once.

import { readdirSync, readFileSync } from "node:fs";
import { type PeerName, peerTitles, type Surroundings } from "./peers.ts";
import { httpRequest, mint } from "./requests.ts";
import type { Stage } from "./stage.ts";
import type { Opened, Work } from "./work.ts";
import type { Running } from "./workerd.ts";

const SMALL = "/api/v1/namespaces/default/pods/web";
const LIST = "/api/v1/pods?limit=500";
const WATCH = "/api/v1/pods?watch=1&resourceVersion=1";
const LIST_MEGABYTES = 1.048576;
const WATCH_EVENTS = 10_000;
const DISTINCT_TOKENS = 10_000;
const WARM_UP_MILLISECONDS = 3_000;

export const httpWorks: Work[] = [
  {
    name: "get-1",
    subjects: peerTitles,
    figures: [
      { title: "small GET, 1 connection: p50", unit: "ms", digits: 3, goals: { bare: { atMost: 1.15 } } },
      { title: "the same: p99", unit: "ms", digits: 3 },
    ],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return measuring(stage, async (peer, round) => {
        const connections = round === undefined ? 8 : 1;
        const { p50, p99 } = await stage.http("small", { ...peer, connections, ...duration(stage, round) });
        return [p50, p99];
      });
    },
  },
  {
    name: "get-8",
    subjects: peerTitles,
    figures: [
      {
        title: "small GET, 8 connections",
        unit: "req/s",
        digits: 0,
        goals: { jose: { atLeast: 1.5 } },
      },
      {
        title: "the same: CPU time of workerd",
        unit: "µs/req",
        digits: 1,
        goals: { bare: { atMost: 1.4 }, "jose-remembers": { atMost: 1 } },
      },
    ],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return measuring(stage, (peer, round) => rateAndCpu(stage, peer, 8, round));
    },
  },
  {
    name: "get-8-audit",
    subjects: peerTitles,
    figures: [
      { title: "small GET, 8 connections, an audit event each", unit: "req/s", digits: 0 },
      {
        title: "the same: CPU time of workerd",
        unit: "µs/req",
        digits: 1,
        goals: { bare: { atMost: 1.65 }, "jose-remembers": { atMost: 1 } },
      },
    ],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return measuring(stage, (peer, round) => rateAndCpu(stage, peer, 8, round), { isAudited: true });
    },
  },
  {
    name: "get-8-signed",
    subjects: { plain: "kube-access", signed: "kube-access that signs" },
    figures: [
      { title: "small GET, 8 connections, signed for the last hop", unit: "req/s", digits: 0 },
      { title: "the same: CPU time of workerd", unit: "µs/req", digits: 1, goals: { plain: { atMost: 1.15 } } },
    ],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      const { ours } = stage.peers;
      const signed = { ...ours, vars: { ...ours.vars, LAST_HOP_KEY: "a key of the benchmark's, long enough" } };
      return {
        measure: async (name, round) =>
          rateAndCpu(stage, await stage.running(name === "signed" ? signed : ours), 8, round),
      };
    },
  },
  {
    name: "get-64",
    subjects: peerTitles,
    figures: [{ title: "small GET, 64 connections", unit: "req/s", digits: 0 }],
    open: async (stage) => {
      await stage.keep("small", [httpRequest(SMALL, stage.token)]);
      return measuring(stage, (peer, round) => rateAndCpu(stage, peer, 64, round));
    },
  },
  {
    name: "tokens",
    subjects: peerTitles,
    figures: [{ title: "10,000 distinct tokens in rotation, 8 connections", unit: "req/s", digits: 0 }],
    isSlow: true,
    open: async (stage) => {
      const names = Array.from({ length: DISTINCT_TOKENS }, (_, index) => `user-${index}`);
      const tokens = await Promise.all(names.map((name) => mint(stage.certs.keys, "alice@example.com", { name })));
      await stage.keep(
        "tokens",
        tokens.map((token) => httpRequest(SMALL, token)),
      );
      return measuring(stage, async (peer, round) => {
        // The warm-up shows each token once.
        const bound = round === undefined ? { milliseconds: 60_000, answers: DISTINCT_TOKENS } : duration(stage, round);
        const { answers, milliseconds } = await stage.http("tokens", { ...peer, connections: 8, ...bound });
        return [(answers / milliseconds) * 1000];
      });
    },
  },
  {
    name: "list",
    subjects: peerTitles,
    figures: [{ title: "list of 1 MB, 4 connections", unit: "MB/s", digits: 0 }],
    open: async (stage) => {
      await stage.keep("list", [httpRequest(LIST, stage.token)]);
      return measuring(stage, async (peer, round) => {
        const result = await stage.http("list", { ...peer, connections: 4, ...duration(stage, round) });
        return [((result.answers * LIST_MEGABYTES) / result.milliseconds) * 1000];
      });
    },
  },
  {
    name: "watch",
    subjects: peerTitles,
    figures: [{ title: "watch of 10,000 events", unit: "events/s", digits: 0 }],
    open: async (stage) => {
      await stage.keep("watch", [httpRequest(WATCH, stage.token)]);
      return measuring(stage, async (peer) => {
        const bound = { connections: 1, milliseconds: 60_000, answers: 2 };
        const { answers, milliseconds } = await stage.http("watch", { ...peer, ...bound });
        return [((answers * WATCH_EVENTS) / milliseconds) * 1000];
      });
    },
  },
];

function measuring(
  stage: Stage,
  measure: (peer: Running, round: number | undefined) => Promise<number[]>,
  surroundings?: Partial<Surroundings>,
): Opened {
  return {
    measure: async (name, round) => measure(await stage.running(stage.peers[name as PeerName], surroundings), round),
  };
}

/** A warm-up, which has no round, takes longer: V8 compiles what is called often, and not at once. */
export function duration(stage: Stage, round: number | undefined): { milliseconds: number } {
  return { milliseconds: round === undefined ? WARM_UP_MILLISECONDS : stage.seconds * 1000 };
}

/** Requests per second, and the microseconds of CPU time that workerd took for each. */
export async function rateAndCpu(
  stage: Stage,
  peer: Running,
  connections: number,
  round: number | undefined,
): Promise<[number, number]> {
  const before = cpuMicroseconds(peer.pid);
  const { answers, milliseconds } = await stage.http("small", { ...peer, connections, ...duration(stage, round) });
  return [(answers / milliseconds) * 1000, (cpuMicroseconds(peer.pid) - before) / answers];
}

/** What a process has used so far: the sum over its threads. Linux tells; elsewhere the figure is missing. */
export function cpuMicroseconds(pid: number): number {
  try {
    const threads = readdirSync(`/proc/${pid}/task`).map((thread) => `/proc/${pid}/task/${thread}/schedstat`);
    const nanoseconds = threads.map((file) => Number(readFileSync(file, "utf8").split(" ")[0]));
    return nanoseconds.reduce((sum, time) => sum + time, 0) / 1000;
  } catch {
    return Number.NaN;
  }
}
