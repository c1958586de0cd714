// WebSocket frames (RFC 6455), for the two ends that the benchmark brings along.

/** What exec and cp carry: 100 MiB. */
export const STREAM_BYTES = 100 * 1024 * 1024;

export const OPCODE = { binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface Frame {
  opcode: number;
  /** For a frame from a client, still masked; the benchmark's own are masked with zeros, which changes nothing. */
  payload: Buffer;
}

/** One final frame. A client's must be masked: a mask of zeros is one, and spares the sender the work. */
export function frame(opcode: number, payload: Buffer, isClient = false): Buffer {
  const { length } = payload;
  const mask = isClient ? 0x80 : 0;
  let head: Buffer;
  if (length < 126) {
    head = Buffer.from([0x80 | opcode, mask | length]);
  } else if (length < 65536) {
    head = Buffer.from([0x80 | opcode, mask | 126, length >> 8, length & 0xff]);
  } else {
    head = Buffer.alloc(10);
    head.set([0x80 | opcode, mask | 127]);
    head.writeBigUInt64BE(BigInt(length), 2);
  }
  return Buffer.concat([head, Buffer.alloc(isClient ? 4 : 0), payload]);
}

/** Finds the frames in a stream of bytes. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  *read(data: Buffer): Generator<Frame> {
    this.#pending = this.#pending.length === 0 ? data : Buffer.concat([this.#pending, data]);
    for (let next = this.#next(); next; next = this.#next()) {
      yield next;
    }
  }

  #next(): Frame | undefined {
    const pending = this.#pending;
    if (pending.length < 2) {
      return undefined;
    }
    const [first = 0, second = 0] = pending;
    let length = second & 0x7f;
    let start = 2;
    if (length >= 126) {
      start = length === 126 ? 4 : 10;
      if (pending.length < start) {
        return undefined;
      }
      length = start === 4 ? pending.readUInt16BE(2) : Number(pending.readBigUInt64BE(2));
    }
    if (second & 0x80) {
      start += 4;
    }
    if (pending.length < start + length) {
      return undefined;
    }
    this.#pending = pending.subarray(start + length);
    return { opcode: first & 0x0f, payload: pending.subarray(start, start + length) };
  }
}
