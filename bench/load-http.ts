// Keep-alive connections that each send a request when the answer to the last one is complete. No pipelining.

import { connect, type Socket } from "node:net";

export interface HttpLoad {
  host: string;
  port: number;
  connections: number;
  /** The load ends after so many milliseconds or so many answers, whichever comes first. */
  milliseconds: number;
  answers?: number;
  /** The status that every answer must have, 200 unless given. With any other, something else would be measured. */
  status?: number;
}

export interface HttpResult {
  answers: number;
  bytes: number;
  milliseconds: number;
  /** Latencies in milliseconds: the median, and the 99th percentile. */
  p50: number;
  p99: number;
}

const END_OF_HEAD = Buffer.from("\r\n\r\n");
const END_OF_CHUNKS = Buffer.from("0\r\n\r\n");

/** `requests` are sent in turn. */
export async function loadHttp(load: HttpLoad, requests: Buffer[]): Promise<HttpResult> {
  const sockets = await Promise.all(Array.from({ length: load.connections }, () => open(load)));
  const latencies: number[] = [];
  let bytes = 0;
  let sent = 0;
  const offset = Math.floor(Math.random() * requests.length);
  const started = performance.now();
  const end = started + load.milliseconds;
  const wanted = load.answers ?? Number.POSITIVE_INFINITY;
  const run = (socket: Socket) =>
    new Promise<void>((resolve, reject) => {
      let sentAt = 0;
      const send = () => {
        const request = requests[(offset + sent) % requests.length];
        if (!request || sent >= wanted || performance.now() >= end) {
          resolve();
          return;
        }
        sent += 1;
        sentAt = performance.now();
        socket.write(request);
      };
      const reader = new AnswerReader(load.status ?? 200);
      socket.on("data", (data) => {
        bytes += data.length;
        try {
          if (reader.read(data)) {
            latencies.push(performance.now() - sentAt);
            send();
          }
        } catch (error) {
          reject(error);
        }
      });
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the gateway closed a connection")));
      send();
    });
  await Promise.all(sockets.map(run));
  const milliseconds = performance.now() - started;
  for (const socket of sockets) {
    socket.removeAllListeners("close").destroy();
  }
  latencies.sort((a, b) => a - b);
  const quantile = (part: number) => latencies[Math.floor((latencies.length - 1) * part)] ?? Number.NaN;
  return { answers: latencies.length, bytes, milliseconds, p50: quantile(0.5), p99: quantile(0.99) };
}

/** Finds the end of one answer after the other. */
class AnswerReader {
  readonly #status: number;
  #head: Buffer = Buffer.alloc(0);
  /** How many bytes of the body are still to come; undefined while chunks come, which end by themselves. */
  #remaining: number | undefined = 0;
  #isHead = true;
  #tail: Buffer = Buffer.alloc(0);

  constructor(status: number) {
    this.#status = status;
  }

  /** Whether the answer is complete. */
  read(data: Buffer): boolean {
    let body = data;
    if (this.#isHead) {
      this.#head = this.#head.length === 0 ? data : Buffer.concat([this.#head, data]);
      const end = this.#head.indexOf(END_OF_HEAD);
      if (end < 0) {
        return false;
      }
      body = this.#head.subarray(end + END_OF_HEAD.length);
      this.#start(this.#head.toString("latin1", 0, end));
    }
    if (this.#remaining === undefined) {
      this.#tail = Buffer.concat([this.#tail.subarray(-END_OF_CHUNKS.length), body.subarray(-END_OF_CHUNKS.length)]);
      this.#isHead = this.#tail.subarray(-END_OF_CHUNKS.length).equals(END_OF_CHUNKS);
    } else {
      this.#remaining -= body.length;
      this.#isHead = this.#remaining <= 0;
    }
    return this.#isHead;
  }

  #start(head: string): void {
    if (!head.startsWith(`HTTP/1.1 ${this.#status} `)) {
      throw new Error(`the gateway answered: ${head.slice(0, head.indexOf("\r\n"))}`);
    }
    const length = head.match(/^content-length: (\d+)$/im)?.[1];
    this.#remaining = length ? Number(length) : undefined;
    this.#isHead = false;
    this.#head = Buffer.alloc(0);
    this.#tail = Buffer.alloc(0);
  }
}

function open({ host, port }: HttpLoad): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true }, () => resolve(socket));
    socket.once("error", reject);
  });
}
