// A WebSocket client on a bare socket: many at a time cost little, and it reads as slowly as a test wants it to.

import { createHash, randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { exchange, nextChunk } from "./raw-http.ts";
import type { Site } from "./site.ts";

/** The subprotocols of kubectl's streams. */
export const EXEC = "v5.channel.k8s.io";
export const PORT_FORWARD = "SPDY/3.1+portforward.k8s.io";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The channels of v5.channel.k8s.io: the first byte of each message. */
export const STDIN = 0;
export const STDOUT = 1;
export const STDERR = 2;
export const ERROR = 3;
const CLOSE = 255;

const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

export interface Opened {
  status: number;
  headers: Map<string, string>;
  /** What a refusal says; empty when the WebSocket is open. */
  body: string;
  socket: WebSocketClient;
}

/** Asks the gateway for a WebSocket as `user`, with a fresh token as Access would sign it. */
export async function openWebSocket(
  site: Pick<Site, "stack">,
  user: string,
  path: string,
  protocol: string,
  headers: Record<string, string> = {},
  limitMs?: number,
): Promise<Opened> {
  const { gateway, access } = site.stack;
  const key = randomBytes(16).toString("base64");
  const lines = Object.entries({
    Host: "kube.example.com",
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": key,
    "Sec-WebSocket-Protocol": protocol,
    "Cf-Access-Jwt-Assertion": await access.mint(user),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const {
    socket,
    status,
    headers: answered,
    rest,
  } = await exchange(gateway, `GET ${path} HTTP/1.1\r\n${lines.join("")}\r\n`, limitMs);
  if (status !== 101) {
    return {
      status,
      headers: answered,
      body: await readBody(socket, answered, rest),
      socket: new WebSocketClient(socket, rest),
    };
  }
  const accept = createHash("sha1")
    .update(key + GUID)
    .digest("base64");
  if (answered.get("sec-websocket-accept") !== accept) {
    throw new Error("The gateway answered 101 with a Sec-WebSocket-Accept that is not this key's.");
  }
  return { status, headers: answered, body: "", socket: new WebSocketClient(socket, rest) };
}

async function readBody(socket: Socket, headers: Map<string, string>, start: Buffer): Promise<string> {
  let body = start;
  const isWhole = () => {
    const length = headers.get("content-length");
    return length ? body.length >= Number(length) : body.includes("0\r\n\r\n");
  };
  while (!isWhole()) {
    body = Buffer.concat([body, await nextChunk(socket)]);
  }
  socket.destroy();
  const text = body.toString("utf8");
  // A refusal is a single short chunk, when it is chunked at all.
  return headers.has("content-length") ? text : text.replace(/^[0-9a-f]+\r\n/i, "").replace(/\r\n0\r\n\r\n$/, "");
}

export class WebSocketClient {
  /** For those who want to be cruel to it: pause it, or destroy it. */
  readonly socket: Socket;
  #received: Buffer;

  constructor(socket: Socket, received: Buffer) {
    this.socket = socket;
    this.#received = received;
    socket.on("error", () => {}); // seen as the end of the messages
  }

  /** Sends bytes to a channel. */
  send(channel: number, data: string | Buffer = ""): void {
    this.#frame(OPCODE.binary, Buffer.concat([Buffer.from([channel]), Buffer.from(data)]));
  }

  /** v5's half-close: nothing more comes on this channel. */
  endOf(channel: number): void {
    this.#frame(OPCODE.binary, Buffer.from([CLOSE, channel]));
  }

  ping(): void {
    this.#frame(OPCODE.ping, Buffer.alloc(0));
  }

  /** The next message; undefined when the connection has ended. */
  async next(): Promise<{ channel: number; data: Buffer } | { close: number } | { pong: true } | undefined> {
    for (;;) {
      const frame = this.#take();
      if (frame?.opcode === OPCODE.binary) {
        return { channel: frame.payload[0] ?? -1, data: frame.payload.subarray(1) };
      }
      if (frame?.opcode === OPCODE.close) {
        return { close: frame.payload.length >= 2 ? frame.payload.readUInt16BE(0) : 1005 };
      }
      if (frame?.opcode === OPCODE.pong) {
        return { pong: true };
      }
      if (!frame) {
        try {
          this.#received = Buffer.concat([this.#received, await nextChunk(this.socket)]);
        } catch {
          return undefined;
        }
      }
    }
  }

  /** Everything until the end: each channel's bytes, and the code of the Close frame. */
  async drain(): Promise<{ channels: Map<number, Buffer>; close: number | undefined }> {
    const chunks = new Map<number, Buffer[]>();
    let close: number | undefined;
    for (let message = await this.next(); message && close === undefined; message = await this.next()) {
      if ("close" in message) {
        close = message.close;
        this.socket.destroy();
      } else if ("channel" in message) {
        chunks.set(message.channel, [...(chunks.get(message.channel) ?? []), message.data]);
      }
    }
    return { channels: new Map([...chunks].map(([channel, parts]) => [channel, Buffer.concat(parts)])), close };
  }

  #take(): { opcode: number; payload: Buffer } | undefined {
    const data = this.#received;
    if (data.length < 2) {
      return undefined;
    }
    const short = (data[1] ?? 0) & 0x7f;
    const start = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (data.length < start) {
      return undefined;
    }
    const length = short === 127 ? Number(data.readBigUInt64BE(2)) : short === 126 ? data.readUInt16BE(2) : short;
    if (data.length < start + length) {
      return undefined;
    }
    this.#received = data.subarray(start + length);
    return { opcode: (data[0] ?? 0) & 0x0f, payload: data.subarray(start, start + length) };
  }

  #frame(opcode: number, payload: Buffer): void {
    const length =
      payload.length < 126
        ? Buffer.from([0x80 | payload.length])
        : payload.length < 65_536
          ? Buffer.from([0x80 | 126, payload.length >> 8, payload.length & 0xff])
          : longLength(payload.length);
    // A mask of zeros leaves the payload as it is, and is as good as any between two processes of one test.
    this.socket.write(Buffer.concat([Buffer.from([0x80 | opcode]), length, Buffer.alloc(4), payload]));
  }
}

function longLength(length: number): Buffer {
  const bytes = Buffer.alloc(9);
  bytes[0] = 0x80 | 127;
  bytes.writeBigUInt64BE(BigInt(length), 1);
  return bytes;
}
