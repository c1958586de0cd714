// HTTP/1.1 as bytes on a socket, for both ends of the gateway: nothing here tidies what is sent or received.

import type { Socket } from "node:net";
import { ownTime } from "../../own-time.ts";

/** Beyond it something hangs that a test waits for. Generous, since the machine may be busy. */
const LIMIT_MS = 30_000;

export interface Head {
  /** Request line or status line. */
  start: string;
  /** The header lines, byte for byte (as latin1). */
  lines: string[];
}

/** The values of every header line of this name, in order. */
export function values({ lines }: Head, name: string): string[] {
  const named = lines.filter((line) => nameOf(line) === name.toLowerCase());
  return named.map((line) => line.slice(line.indexOf(":") + 1).trim());
}

/** The lower-case names of all header lines, in order. */
export function names({ lines }: Head): string[] {
  return lines.map(nameOf);
}

/** The receiving side of a socket, read piece by piece. What does not come within `limitMs` is a failure. */
export class Wire {
  readonly socket: Socket;
  readonly #limitMs: number;
  #chunks: Buffer[] = [];
  #length = 0;
  #ended = false;
  #wake: () => void = () => {};

  constructor(socket: Socket, limitMs = LIMIT_MS) {
    this.socket = socket;
    this.#limitMs = limitMs;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on("end", end);
    socket.on("close", end);
    // A broken connection reads as one that ended.
    socket.on("error", end);
  }

  write(data: string | Uint8Array): void {
    this.socket.write(typeof data === "string" ? Buffer.from(data, "latin1") : data);
  }

  /** The bytes that are there, after waiting for at least one; nothing at the end of the connection. */
  async some(): Promise<Buffer | undefined> {
    await this.#until(() => this.#length > 0);
    return this.#length > 0 ? this.#take(this.#length) : undefined;
  }

  async exactly(count: number): Promise<Buffer> {
    await this.#until(() => this.#length >= count);
    if (this.#length < count) {
      throw new Error(`the connection ended after ${this.#length} of ${count} bytes`);
    }
    return this.#take(count);
  }

  /** What comes before the delimiter, which is dropped; nothing if the connection ends first. */
  async before(delimiter: string): Promise<string | undefined> {
    let all: Buffer = Buffer.alloc(0);
    const found = () => {
      all = this.#all();
      return all.includes(delimiter);
    };
    await this.#until(found);
    const at = all.indexOf(delimiter);
    return at < 0 ? undefined : this.#take(at + delimiter.length).toString("latin1", 0, at);
  }

  /** Waits for the other side to end the connection, whatever it sends before. */
  async ended(limitMs = this.#limitMs): Promise<void> {
    await this.#until(() => false, limitMs);
  }

  /** Whether the other side has ended the connection. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  async #until(isReady: () => boolean, limitMs = this.#limitMs): Promise<void> {
    const deadline = ownTime() + limitMs;
    while (!isReady() && !this.#ended) {
      const left = deadline - ownTime();
      if (left <= 0) {
        throw new Error(`nothing came within ${limitMs} ms; read so far: ${this.#all().toString("latin1", 0, 300)}`);
      }
      await new Promise<void>((wake) => {
        const timer = Number.isFinite(left) ? setTimeout(wake, left) : undefined;
        this.#wake = () => {
          clearTimeout(timer);
          wake();
        };
      });
    }
  }

  #all(): Buffer {
    const [first] = this.#chunks;
    if (this.#chunks.length !== 1 || !first) {
      this.#chunks = [Buffer.concat(this.#chunks)];
    }
    return this.#chunks[0] as Buffer;
  }

  #take(count: number): Buffer {
    const all = this.#all();
    this.#chunks = [all.subarray(count)];
    this.#length -= count;
    return all.subarray(0, count);
  }
}

export async function readHead(wire: Wire): Promise<Head | undefined> {
  const text = await wire.before("\r\n\r\n");
  const [start = "", ...lines] = text?.split("\r\n") ?? [];
  return text === undefined ? undefined : { start, lines };
}

/**
 * The body that follows a head, piece by piece as it arrives. `untilEnd` is what a body without framing means: for a
 * response all up to the end of the connection, for a request nothing.
 */
export async function* pieces(wire: Wire, head: Head, untilEnd: boolean): AsyncGenerator<Buffer> {
  if (values(head, "transfer-encoding").includes("chunked")) {
    yield* chunks(wire);
    return;
  }
  const [length] = values(head, "content-length");
  let left = length === undefined ? (untilEnd ? Number.POSITIVE_INFINITY : 0) : Number(length);
  while (left > 0) {
    const piece = Number.isFinite(left) && left < 65_536 ? await wire.exactly(left) : await wire.some();
    if (!piece) {
      if (Number.isFinite(left)) {
        throw new Error(`the connection ended ${left} bytes before the end of the body`);
      }
      return;
    }
    left -= piece.length;
    yield piece;
  }
}

async function* chunks(wire: Wire): AsyncGenerator<Buffer> {
  for (;;) {
    const size = Number.parseInt((await wire.before("\r\n")) ?? "", 16);
    if (Number.isNaN(size)) {
      throw new Error("the connection ended in the middle of a chunked body");
    }
    const chunk = await wire.exactly(size + 2);
    if (size === 0) {
      return;
    }
    yield chunk.subarray(0, size);
  }
}

export async function whole(body: AsyncGenerator<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of body) {
    all.push(piece);
  }
  return Buffer.concat(all);
}

/** One chunk of a chunked body. */
export function chunk(data: string | Uint8Array): Buffer {
  const bytes = Buffer.from(data);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf(":")).toLowerCase();
}
