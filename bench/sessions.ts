// Streams that are recorded: until they are open, a keystroke and its echo, and many bytes. Each against the same stream of somebody
// whom no guard records, in the same workerd.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startCluster } from "../dev/cluster.ts";
import { bucketElsewhere } from "./bucket.ts";
import { farFrom } from "./far.ts";
import { cpuMicroseconds } from "./http.ts";
import type { WebSocketLoad, WebSocketResult } from "./load-websocket.ts";
import { buildRecording, MAP, type Recording, type Subject, startRecording, subjects } from "./recorded.ts";
import { upgradeRequest } from "./requests.ts";
import { manyWork } from "./sessions-many.ts";
import { memoryWork } from "./sessions-memory.ts";
import type { Stage } from "./stage.ts";
import { type Opened, spread, type Work } from "./work.ts";
import { type Address, startWorkerd } from "./workerd.ts";

const POD = "/api/v1/namespaces/default/pods/web";
const SHELL = "/api/v1/namespaces/default/pods/shell";
const HELLO = `${SHELL}/exec?command=echo&command=hello&stdout=true`;
const HANDSHAKES = 5;
/** How far the client of the rows with a distance is: few are nearer to Cloudflare. */
const FAR_MS = 10;
const BYTES = 50_000_000;
const MEBIBYTES = BYTES / 1024 ** 2;

export const sessionWorks: Work[] = [
  {
    name: "sessions-handshake",
    subjects,
    figures: [{ title: "recorded exec: until its first byte", unit: "ms", digits: 2 }],
    isSlow: true,
    open: (stage) => measuring(stage, (ask) => handshake(ask, `${POD}/exec?command=hello&stdout=true`)),
  },
  {
    name: "sessions-handshake-cluster",
    subjects,
    figures: [
      {
        title: "real API server and node: recorded exec: until its first byte",
        unit: "ms",
        digits: 2,
        goals: { native: { atMost: 1.3 } },
      },
    ],
    isSlow: true,
    open: (stage) => inCluster(stage, (ask) => handshake(ask, HELLO)),
  },
  {
    name: "sessions-echo",
    subjects: { native: subjects.native, relay: "an object that only hands on", recorded: subjects.recorded },
    figures: [
      {
        title: "recorded terminal: a keystroke and its echo: p50",
        unit: "ms",
        digits: 3,
        goals: { relay: { atMost: 1.2 } },
      },
    ],
    isSlow: true,
    open: echoAndRelay,
  },
  {
    name: "sessions-echo-cluster",
    subjects,
    figures: [
      {
        title: "real API server and node: a keystroke and its echo: p50",
        unit: "ms",
        digits: 3,
        goals: { native: { atMost: 1.2 } },
      },
    ],
    isSlow: true,
    open: (stage) => inCluster(stage, (ask) => echo(stage, ask, `${SHELL}/exec?command=cat`)),
  },
  {
    name: "sessions-handshake-far",
    subjects,
    figures: [
      {
        title: `the same, ${FAR_MS} ms away: recorded exec: until its first byte`,
        unit: "ms",
        digits: 2,
        goals: { native: { atMost: 1.3 } },
      },
    ],
    isSlow: true,
    open: (stage) => inCluster(stage, (ask) => handshake(ask, HELLO), FAR_MS),
  },
  {
    name: "sessions-echo-far",
    subjects,
    figures: [
      {
        title: `the same, ${FAR_MS} ms away: a keystroke and its echo: p50`,
        unit: "ms",
        digits: 2,
        goals: { native: { atMost: 1.2 } },
      },
    ],
    isSlow: true,
    open: (stage) => inCluster(stage, (ask) => echo(stage, ask, `${SHELL}/exec?command=cat`), FAR_MS),
  },
  throughput("sessions-throughput", "recorded exec: stdout, 50 MB at a time", ""),
  throughput("sessions-throughput-tty", "recorded terminal: 50 MB at a time", "&tty=true"),
  manyWork,
  memoryWork,
];

type Ask = (path: string, work: WebSocketLoad["work"]) => Promise<WebSocketResult>;

async function handshake(ask: Ask, path: string): Promise<number[]> {
  const times: number[] = [];
  while (times.length < HANDSHAKES) {
    const { first } = await ask(path, { download: 1 });
    times.push(first);
  }
  return [spread(times).median];
}

async function echo(stage: Stage, ask: Ask, path: string): Promise<number[]> {
  const work = { echo: { milliseconds: stage.seconds * 1000, bytes: 2 } };
  const { p50 } = await ask(`${path}&stdin=true&stdout=true&tty=true`, work);
  return [p50 ?? Number.NaN];
}

/** Beside both: what an object costs that hands on each message and does nothing else, which is the limit of those that record. */
async function echoAndRelay(stage: Stage): Promise<Opened> {
  const path = `${POD}/exec?command=echo`;
  const relay = await startWorkerd({
    modules: [resolve(import.meta.dirname, "backpressure.js")],
    vars: {},
    upstream: stage.upstream,
    certs: stage.certs,
    object: { className: "Relay", binding: "RELAY" },
  });
  const askRelay: Ask = (target, work) => {
    const request = upgradeRequest(`${target}&mode=freed`, "none", "v5.channel.k8s.io");
    return stage.webSocket({ host: relay.host, port: relay.port, request, work });
  };
  const opened = await measuring(stage, (ask) => echo(stage, ask, path));
  return {
    measure: (subject, round) => {
      return subject === "relay" ? echo(stage, askRelay, path) : opened.measure(subject, round);
    },
    close: () => opened.close().finally(relay.stop),
  };
}

/** The same in front of a real API server and node, with a client that may be so many milliseconds away. */
async function inCluster(stage: Stage, measure: (ask: Ask) => Promise<number[]>, farMs = 0): Promise<Opened> {
  const dir = await mkdtemp(join(tmpdir(), "kube-access-bench-"));
  const identities = join(dir, "identities.yaml");
  await writeFile(identities, MAP);
  const cluster = await startCluster({ log: () => {}, auditLog: false, identities });
  const stop = async () => {
    await cluster.stop();
    await rm(dir, { recursive: true });
  };
  try {
    const opened = await measuring(stage, measure, cluster.proxy, farMs);
    return { measure: opened.measure, close: () => opened.close().finally(stop) };
  } catch (error) {
    await stop();
    throw error;
  }
}

function throughput(name: string, title: string, more: string): Work {
  return {
    name,
    subjects,
    figures: [
      { title, unit: "MB/s", digits: 0, goals: { native: { atLeast: 0.2 } } },
      { title: "the same: CPU time of workerd", unit: "ms/MiB", digits: 2 },
    ],
    isSlow: true,
    open: (stage) =>
      measuring(stage, async (ask, { pid }) => {
        const before = cpuMicroseconds(pid);
        const { amount, milliseconds } = await ask(`${POD}/exec?command=stdout&command=${BYTES}&stdout=true${more}`, {
          download: BYTES,
        });
        return [amount / 1000 / milliseconds, (cpuMicroseconds(pid) - before) / 1000 / MEBIBYTES];
      }),
  };
}

/** Each stream is over, and what was recorded of it is stored, before the next begins. */
async function measuring(
  stage: Stage,
  measure: (ask: Ask, recording: Recording) => Promise<number[]>,
  upstream?: Address,
  farMs = 0,
): Promise<Required<Opened>> {
  const built = await buildRecording();
  // What is behind the cluster's last hop is no bucket.
  const bucket = upstream ? undefined : await bucketElsewhere(built);
  const worker = bucket?.dir ?? built;
  let recording: Recording | undefined;
  return {
    measure: async (subject, round) => {
      if (round === undefined && subject === "native") {
        await recording?.stop();
        recording = undefined;
      }
      recording ??= await startRecording(stage, worker, upstream);
      const { host, port, upgrade, settle } = recording;
      const way = farMs > 0 ? await farFrom({ host, port }, farMs) : undefined;
      const ask: Ask = async (path, work) => {
        const request = upgrade(subject as Subject, path);
        const result = await stage.webSocket({ ...(way ?? { host, port }), request, work });
        await settle();
        return result;
      };
      return measure(ask, recording).finally(() => way?.stop());
    },
    close: async () => {
      await recording?.stop();
      await bucket?.remove();
    },
  };
}
