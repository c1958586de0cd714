// What waits in an object when a client takes 1 MB/s and the upstream has 200 MB to write. The runtime has no back pressure for
// what an object sends; all it has is its input gate:
//
//   node dev/run.mjs bench/backpressure.ts
//
// - plain: the object hands on each message, and nothing more.
// - freed: it gives back the message's memory once that is sent, instead of leaving it to the garbage collector.
// - paused: after 4 MB it closes its input gate for 5 seconds (blockConcurrencyWhile).

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { LogLevel, Miniflare, Log as MiniflareLog } from "miniflare";
import { compatibilityOf } from "../dev/gateway.ts";
import { workerds } from "../dev/processes.ts";
import { PeakMemory } from "./memory.ts";
import { upgradeRequest } from "./requests.ts";
import { acceptWebSocket } from "./upstream-websocket.ts";

const MODES = ["plain", "freed", "paused"];
const BYTES = 200_000_000;
const SECONDS = 9;

/** What the client takes at a time, in bytes, and how often it does: 1 MB/s. */
const [SIP, SIP_MS] = [20_000, 20];

const NAME = "relay";
const COLUMNS = ["mode", "second", "workerd over idle, MB", "upstream wrote, MB", "client took, MB"];

async function main(): Promise<void> {
  console.log(COLUMNS.join("  "));
  for (const mode of MODES) {
    await run(mode);
  }
}

async function run(mode: string): Promise<void> {
  const sockets: Socket[] = [];
  const server = await startUpstream(sockets);
  const { miniflare, pid } = await startRelay((server.address() as AddressInfo).port);
  const memory = new PeakMemory(pid);
  let taken = 0;
  const { hostname, port } = await miniflare.unsafeGetDirectURL();
  const client = connect({ host: hostname, port: Number(port) });
  client.on("error", () => {});
  client.pause();
  client.write(upgradeRequest(`/?command=stdout&command=${BYTES}&mode=${mode}`, "none", "v5.channel.k8s.io"));
  const sips = setInterval(() => {
    const most = Math.min(SIP, client.readableLength);
    taken += client.read(most === 0 ? undefined : most)?.length ?? 0;
  }, SIP_MS);
  for (let second = 0; second <= SECONDS; second += 1) {
    const written = sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0);
    const figures = [memory.now(), written / 1e6, taken / 1e6].map((figure) => figure.toFixed(0));
    const cells = [mode, String(second), ...figures];
    console.log(cells.map((cell, column) => cell.padStart(COLUMNS[column]?.length ?? 0)).join("  "));
    await pause(1000);
  }
  clearInterval(sips);
  client.destroy();
  await miniflare.dispose();
  for (const socket of sockets) {
    socket.destroy();
  }
  server.close();
}

/** The benchmark's own, with a hold on its sockets. */
async function startUpstream(sockets: Socket[]): Promise<Server> {
  const server = createServer({ noDelay: true }, async (socket) => {
    sockets.push(socket);
    socket.on("error", () => socket.destroy());
    const [head] = (await once(socket, "data")) as [Buffer];
    acceptWebSocket(socket, head.toString("latin1"), Buffer.alloc(0));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

async function startRelay(port: number): Promise<{ miniflare: Miniflare; pid: number }> {
  const script = resolve(import.meta.dirname, "backpressure.js");
  const before = await workerds();
  const miniflare = new Miniflare({
    workers: [
      {
        config: {
          name: NAME,
          ...(await compatibilityOf(resolve(import.meta.dirname, "../wrangler.toml"))),
          manifest: {
            mainModule: "backpressure.js",
            modulesRoot: import.meta.dirname,
            modules: { "backpressure.js": { type: "esm", contents: await readFile(script, "utf8") } },
          },
          env: {
            KUBE_API: { type: "external", address: `127.0.0.1:${port}`, http: {} },
            RELAY: { type: "durable-object", worker: NAME, exportName: "Relay" },
          },
          exports: { Relay: { type: "durable-object", storage: "sqlite" } },
        },
        dev: { rootPath: import.meta.dirname, unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] },
      },
    ],
    log: new MiniflareLog(LogLevel.NONE),
    telemetry: { enabled: false },
  });
  await miniflare.ready;
  const pid = (await workerds()).find((candidate) => !before.includes(candidate)) ?? 0;
  return { miniflare, pid };
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exitCode = 1;
});
