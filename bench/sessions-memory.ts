// How much memory recorded streams take when one side is faster than the other. What waits, waits in the object (README.md), so each
// of them has to end by what a stream may carry, and its client has to be told so.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { bucketElsewhere } from "./bucket.ts";
import { frame, OPCODE } from "./frames.ts";
import { PeakMemory } from "./memory.ts";
import { buildRecording, MAX_MEGABYTES, type Recording, startRecording } from "./recorded.ts";
import type { Stage } from "./stage.ts";
import type { Work } from "./work.ts";

const POD = "/api/v1/namespaces/default/pods/web";
const FLOOD = `${POD}/exec?command=stdout&command=1000000000&stdout=true`;
const CONTROLS = `${POD}/exec?command=controls&command=1000000000&stdout=true&tty=true`;
const DEAF = `${POD}/exec?command=deaf&stdin=true&stdout=true`;
const SENTENCE = "this session ended: ";
const FULL = "carries at most 64 MiB each way";
const TOO_LARGE = "a message is too large for a stream that is recorded or bounded";

/** Over what may wait: what the garbage collector of an isolate leaves lying about, and the bucket's own. */
const ALLOWED_MEGABYTES = 32;
const LIMIT_MS = 120_000;
/** How long a peak is looked for after a stream has ended. */
const AFTER_MS = 2_000;
const SLOW_READ_MS = 50;
const SLOW_BYTES = 50_000;
const SLOW_PUT_MS = 200;
const MEBIBYTE = 1024 * 1024;

/** What a client does once its stream is open; it is over when it returns. */
type Client = (socket: Socket, hasEnded: () => Promise<void>) => Promise<void>;

interface Case {
  title: string;
  path: string;
  client: Client;
  isSlowBucket?: boolean;
  /** Why the stream ends; that it carries too much unless this says otherwise. */
  ends?: string;
}

const cases: Case[] = [
  { title: "a command floods, its client reads 1 MB/s", path: FLOOD, client: readSlowly },
  { title: "a command floods, its client never reads", path: FLOOD, client: (_, hasEnded) => hasEnded() },
  { title: "a client floods stdin, nobody reads anything", path: DEAF, client: flooding(1 + 32 * 1024) },
  { title: "the same in messages of 4 MiB", path: DEAF, client: flooding(4 * MEBIBYTE) },
  { title: "the same in messages of 16 MiB", path: DEAF, client: flooding(16 * MEBIBYTE), ends: TOO_LARGE },
  { title: "the same in messages that are too large", path: DEAF, client: flooding(30 * MEBIBYTE), ends: TOO_LARGE },
  { title: "a terminal floods control characters in messages of 4 MiB", path: CONTROLS, client: readToTheEnd },
  {
    title: "a terminal floods, the bucket is slow",
    path: `${FLOOD}&tty=true`,
    client: readToTheEnd,
    isSlowBucket: true,
  },
];

export const memoryWork: Work = {
  name: "sessions-memory",
  subjects: { recorded: "kube-access, recorded" },
  figures: cases.map(({ title }) => ({
    title: `memory of workerd: ${title}`,
    unit: "MB over idle",
    digits: 0,
    limit: { atMost: Math.floor(MAX_MEGABYTES + ALLOWED_MEGABYTES) },
  })),
  isSlow: true,
  isExact: true,
  open: async (stage) => {
    const worker = await buildRecording();
    const [quick, slow] = await Promise.all([bucketElsewhere(worker), bucketElsewhere(worker, SLOW_PUT_MS)]);
    return {
      measure: async () => {
        const figures: number[] = [];
        for (const one of cases) {
          figures.push(await memoryOf(stage, (one.isSlowBucket ? slow : quick).dir, one));
        }
        return figures;
      },
      close: async () => {
        await Promise.all([quick.remove(), slow.remove()]);
      },
    };
  },
};

async function memoryOf(stage: Stage, worker: string, { path, client, ends }: Case): Promise<number> {
  const recording = await startRecording(stage, worker);
  try {
    // The first stream pays for what every later one finds warm.
    const { host, port } = recording;
    const request = recording.upgrade("recorded", `${POD}/exec?command=hello&stdout=true`);
    await stage.webSocket({ host, port, request, work: { download: 1 } });
    await recording.settle();
    const peak = new PeakMemory(recording.pid);
    const socket = connect({ host, port });
    socket.on("error", () => {}); // told by what is not there
    socket.write(recording.upgrade("recorded", path));
    await client(socket, () => ended(recording, ends ?? FULL));
    await recording.settle();
    await sleep(AFTER_MS);
    socket.destroy();
    return peak.megabytes();
  } finally {
    await recording.stop();
  }
}

/** Waits until the log says why the second stream has ended. */
async function ended(recording: Recording, why: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  const ends = () => recording.logs().filter((line) => line.includes('"session ended"'));
  while (ends().length < 2) {
    if (performance.now() > deadline) {
      throw new Error(`a stream has not ended after ${LIMIT_MS / 1000} s`);
    }
    await sleep(10);
  }
  if (!ends()[1]?.includes(why)) {
    throw new Error(`a stream ended otherwise: ${ends()[1]}`);
  }
}

/** Until it has ended in the object; then the rest, in which its sentence has to be. */
async function readSlowly(socket: Socket, hasEnded: () => Promise<void>): Promise<void> {
  let isOver = false;
  const ending = hasEnded().finally(() => {
    isOver = true;
  });
  while (!isOver) {
    await sleep(SLOW_READ_MS);
    socket.read(SLOW_BYTES) ?? socket.read(0);
  }
  await ending;
  await readToTheEnd(socket);
}

/** A bare socket answers no Close frame, so its end comes when it is told why. */
async function readToTheEnd(socket: Socket): Promise<void> {
  let last = Buffer.alloc(0);
  const told = new Promise<boolean>((resolve) => {
    socket.on("data", (data) => {
      last = Buffer.concat([last, data]).subarray(-1024);
      if (last.includes(SENTENCE)) {
        resolve(true);
      }
    });
    socket.on("close", () => resolve(false));
  });
  if (!(await Promise.race([told, sleep(LIMIT_MS, false, { ref: false })]))) {
    throw new Error(`a client was not told why its stream ended: ${last.subarray(-200)}`);
  }
}

/** Sends messages of so many bytes, as fast as they are taken. */
function flooding(bytes: number): Client {
  const message = frame(OPCODE.binary, Buffer.alloc(bytes), true);
  const messages = Buffer.concat(Array.from({ length: Math.max(1, Math.floor((32 * 1024) / bytes)) }, () => message));
  return async (socket, hasEnded) => {
    await once(socket, "readable");
    let isOver = false;
    const ending = hasEnded().finally(() => {
      isOver = true;
    });
    while (!isOver) {
      if (!socket.write(messages)) {
        await Promise.race([once(socket, "drain"), ending]);
      }
    }
    await ending;
  };
}
