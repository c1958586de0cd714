// WebSockets frame by frame (RFC 6455), for both ends of the gateway.

import { createHash, randomBytes } from "node:crypto";
import type { Received } from "./recorder.ts";
import type { Wire } from "./wire.ts";

export const text = 1;
export const binary = 2;
export const closing = 8;
export const ping = 9;
export const pong = 10;

export interface Message {
  opcode: number;
  payload: Buffer;
}

/** The header lines of an upgrade, as kubectl sends them. */
export function offer(...protocols: string[]): string[] {
  return [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...protocols.map((protocol) => `Sec-WebSocket-Protocol: ${protocol}`),
  ];
}

/** The header lines of the 101 that accepts `request`. */
export function acceptance(request: Received, protocol?: string): string[] {
  const key = `${request.values("sec-websocket-key")[0]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const lines = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    `Sec-WebSocket-Accept: ${createHash("sha1").update(key).digest("base64")}`,
  ];
  return protocol === undefined ? lines : [...lines, `Sec-WebSocket-Protocol: ${protocol}`];
}

/** Accepts an upgrade and returns the server's end of the WebSocket. */
export function accept(request: Received, protocol?: string): Peer {
  request.begin("101 Switching Protocols", acceptance(request, protocol));
  return new Peer(request.wire, false);
}

/** One end of an open WebSocket. A client masks what it sends. */
export class Peer {
  readonly wire: Wire;
  readonly #isClient: boolean;

  constructor(wire: Wire, isClient: boolean) {
    this.wire = wire;
    this.#isClient = isClient;
  }

  send(opcode: number, payload: string | Uint8Array, isLast = true): void {
    this.wire.write(frame(opcode, Buffer.from(payload), this.#isClient, isLast));
  }

  close(code?: number, reason = ""): void {
    const payload = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) {
      payload.writeUInt16BE(code);
    }
    this.send(closing, Buffer.concat([payload, Buffer.from(reason)]));
  }

  /** The next message or control frame; nothing if the connection ends without one. */
  async receive(): Promise<Message | undefined> {
    const parts: Buffer[] = [];
    let opcode = 0;
    for (;;) {
      const next = await this.#frame();
      if (!next) {
        return undefined;
      }
      if (next.opcode >= closing) {
        return { opcode: next.opcode, payload: next.payload };
      }
      parts.push(next.payload);
      opcode ||= next.opcode;
      if (next.isLast) {
        return { opcode, payload: Buffer.concat(parts) };
      }
    }
  }

  /** The code and reason with which the other side closes; anything that comes before is dropped. */
  async closed(): Promise<{ code: number | undefined; reason: string } | undefined> {
    for (let message = await this.receive(); message; message = await this.receive()) {
      const { opcode, payload } = message;
      if (opcode === closing) {
        const code = payload.length < 2 ? undefined : payload.readUInt16BE();
        return { code, reason: payload.toString("utf8", 2) };
      }
    }
    return undefined;
  }

  async #frame(): Promise<(Message & { isLast: boolean }) | undefined> {
    try {
      const [first = 0, second = 0] = await this.wire.exactly(2);
      let length = second & 127;
      if (length === 126) {
        length = (await this.wire.exactly(2)).readUInt16BE();
      } else if (length === 127) {
        length = Number((await this.wire.exactly(8)).readBigUInt64BE());
      }
      const mask = second & 128 ? Buffer.from(await this.wire.exactly(4)) : undefined;
      const payload = Buffer.from(await this.wire.exactly(length));
      return { isLast: (first & 128) !== 0, opcode: first & 15, payload: mask ? masked(payload, mask) : payload };
    } catch (error) {
      if (this.wire.hasEnded) {
        return undefined;
      }
      throw error;
    }
  }
}

function frame(opcode: number, payload: Buffer, isMasked: boolean, isLast: boolean): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = opcode | (isLast ? 128 : 0);
  if (head.length === 2) {
    head[1] = length;
  } else if (head.length === 4) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  if (!isMasked) {
    return Buffer.concat([head, payload]);
  }
  head[1] = (head[1] ?? 0) | 128;
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, masked(payload, mask)]);
}

function masked(payload: Buffer, mask: Buffer): Buffer {
  const bytes = Buffer.from(payload);
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = (bytes[index] ?? 0) ^ (mask[index % 4] ?? 0);
  }
  return bytes;
}
