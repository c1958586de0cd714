// Where a Worker spends its time on a small GET, function by function:
//
//   node dev/run.mjs bench/profile.ts [--peer NAME] [--worker DIR] [--seconds N] [--out FILE.cpuprofile]
//
// The file can be opened in Chrome's developer tools. A build keeps no names of Wasm functions: they appear by number.

import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { freePorts } from "../dev/cluster-service.ts";
import { type PeerName, peerTitles } from "./peers.ts";
import { httpRequest } from "./requests.ts";
import { Stage } from "./stage.ts";

const SAMPLING_MICROSECONDS = 200;
const SHOWN = 40;

/** The part of a CPU profile that is read here (Chrome DevTools Protocol, `Profiler.Profile`). */
interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number; columnNumber: number } }[];
  samples: number[];
  timeDeltas: number[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      peer: { type: "string", default: "ours" },
      worker: { type: "string" },
      seconds: { type: "string", default: "4" },
      out: { type: "string" },
    },
  });
  const name = values.peer as PeerName;
  if (!(name in peerTitles)) {
    throw new Error(`There is no peer named ${name}; there are ${Object.keys(peerTitles).join(", ")}.`);
  }
  const stage = await Stage.open({ rounds: 1, seconds: Number(values.seconds), worker: values.worker });
  try {
    const [inspectorPort = 0] = await freePorts(1);
    const peer = await stage.start(stage.peers[name], { inspectorPort });
    await stage.keep("small", [httpRequest("/api/v1/namespaces/default/pods/web", stage.token)]);
    const load = (seconds: number) => {
      return stage.http("small", { ...peer, connections: 8, milliseconds: seconds * 1000 });
    };
    await load(1);
    const inspector = await Inspector.connect(inspectorPort);
    await inspector.call("Profiler.enable");
    await inspector.call("Profiler.setSamplingInterval", { interval: SAMPLING_MICROSECONDS });
    await inspector.call("Profiler.start");
    const { answers } = await load(stage.seconds);
    const { profile } = (await inspector.call("Profiler.stop")) as { profile: CpuProfile };
    inspector.close();
    print(profile, answers);
    if (values.out) {
      await writeFile(values.out, JSON.stringify(profile));
    }
  } finally {
    await stage.close();
  }
}

/** Self times, the longest first, as microseconds per request. */
function print(profile: CpuProfile, answers: number): void {
  const names = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber, columnNumber } }) => {
      const place = url ? ` ${url.split("/").at(-1)}:${lineNumber + 1}:${columnNumber + 1}` : "";
      return [id, `${functionName || "(anonymous)"}${place}`];
    }),
  );
  const times = new Map<string, number>();
  profile.samples.forEach((id, index) => {
    const name = names.get(id) ?? "";
    times.set(name, (times.get(name) ?? 0) + (profile.timeDeltas[index] ?? 0));
  });
  const total = [...times.values()].reduce((sum, time) => sum + time, 0);
  console.log(`${answers} requests. Self time per request, in µs, and its part of the whole:`);
  for (const [name, time] of [...times].toSorted(([, a], [, b]) => b - a).slice(0, SHOWN)) {
    const part = ((time / total) * 100).toFixed(1).padStart(5);
    console.log(`${(time / answers).toFixed(2).padStart(8)} ${part} %  ${name}`);
  }
}

/** workerd's inspector, which speaks the Chrome DevTools Protocol. */
class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #calls = 0;

  static async connect(port: number): Promise<Inspector> {
    const targets = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as { webSocketDebuggerUrl: string }[];
    const socket = new WebSocket(targets[0]?.webSocketDebuggerUrl ?? "");
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = () => reject(new Error("workerd's inspector takes no connection"));
    });
    return new Inspector(socket);
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const { id, result } = JSON.parse(String(data));
      this.#waiting.get(id)?.(result);
    };
  }

  call(method: string, params: object = {}): Promise<unknown> {
    this.#calls += 1;
    const id = this.#calls;
    const answered = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params }));
    return answered;
  }

  close(): void {
    this.#socket.close();
  }
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
