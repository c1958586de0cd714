// WebSocket frames (RFC 6455), for the two ends that the benchmark brings along.

export const OPCODE = { binary: 2, close: 8 } as const;

export interface Frame {
  opcode: number;
  /** Of the payload, in bytes. What it holds is of no interest here, nor is its mask. */
  length: number;
}

/** One final frame. A client's must be masked: a mask of zeros is one, and spares the sender the work. */
export function frame(opcode: number, payload: Buffer, isClient = false): Buffer {
  const { length } = payload;
  const mask = isClient ? 0x80 : 0;
  let head = Buffer.from([0x80 | opcode, mask | length]);
  if (length >= 65_536) {
    head = Buffer.alloc(10);
    head.set([0x80 | opcode, mask | 127]);
    head.writeBigUInt64BE(BigInt(length), 2);
  } else if (length >= 126) {
    head = Buffer.from([0x80 | opcode, mask | 126, length >> 8, length & 0xff]);
  }
  return Buffer.concat([head, Buffer.alloc(isClient ? 4 : 0), payload]);
}

/** Finds the frames in a stream of bytes, without keeping any payload. */
export class FrameReader {
  #head: Buffer = Buffer.alloc(0);
  #current: Frame | undefined;
  #missing = 0;

  /** The frames that end in these bytes. */
  *read(data: Buffer): Generator<Frame> {
    let rest = data;
    for (;;) {
      if (!this.#current) {
        this.#head = this.#head.length === 0 ? rest : Buffer.concat([this.#head, rest]);
        const size = headSize(this.#head);
        if (size === undefined) {
          return;
        }
        this.#missing = payloadLength(this.#head);
        this.#current = { opcode: (this.#head[0] ?? 0) & 0x0f, length: this.#missing };
        rest = this.#head.subarray(size);
        this.#head = Buffer.alloc(0);
      }
      const taken = Math.min(this.#missing, rest.length);
      this.#missing -= taken;
      rest = rest.subarray(taken);
      if (this.#missing > 0) {
        return;
      }
      yield this.#current;
      this.#current = undefined;
      if (rest.length === 0) {
        return;
      }
    }
  }
}

/** How long the head of a frame is, or undefined while it is not all there. */
function headSize(data: Buffer): number | undefined {
  const second = data[1] ?? 0;
  const extended = { 126: 2, 127: 8 }[second & 0x7f] ?? 0;
  const size = 2 + extended + (second & 0x80 ? 4 : 0);
  return data.length >= size ? size : undefined;
}

function payloadLength(head: Buffer): number {
  const length = (head[1] ?? 0) & 0x7f;
  if (length === 126) {
    return head.readUInt16BE(2);
  }
  return length === 127 ? Number(head.readBigUInt64BE(2)) : length;
}
