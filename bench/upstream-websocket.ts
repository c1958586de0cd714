// The streaming side of a node, as far as bytes go: commands that write, read, echo, converse, or take nothing at all. Frames as
// kubelet sends them on `v5.channel.k8s.io`: 32 KiB each, the first byte is the channel.

import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { FrameReader, frame, OPCODE } from "./frames.ts";

const PIECE = 32 * 1024;
/** Lines as programs print them, some in colour, and not all in ASCII. */
const TEXT =
  "\u001b[32m2026-01-01T00:00:00Z\u001b[0m INFO  a request was served in 12 µs, and the next one is on its way\r\n";
const STDOUT = frame(OPCODE.binary, stdout(Buffer.alloc(PIECE, TEXT)));
/** The largest message that a recorded stream takes, and as JSON it is six times as large. */
const LARGE = 4 * 1024 * 1024;
const CONTROLS = frame(OPCODE.binary, Buffer.alloc(LARGE, 1));
const HELLO = frame(OPCODE.binary, stdout(Buffer.from("hello\r\n")));
const SUCCESS = frame(OPCODE.binary, Buffer.from('\u0003{"metadata":{},"status":"Success"}'));

/** The end of each answer of `converse`. */
export const PROMPT = "→ ";
const WORDS = ["pod", "größer", "日本語", "🚀🚀", "\u001b[1mbold\u001b[0m", '"quoted\\"', "\t"];

const CLOSE = frame(OPCODE.close, Buffer.from([0x03, 0xe8]));

/**
 * Answers the upgrade, and does what the query asks for: `command=stdout&command=BYTES`, `controls` (the same in large messages), `upload`, `echo`, `hello`, which prints a line
 * and is done, `converse`, which answers each message with lines in random pieces, or `deaf`, which reads nothing.
 */
export function acceptWebSocket(socket: Socket, head: string, rest: Buffer): void {
  const header = (name: string) => head.match(new RegExp(`^${name}: ?(.*)$`, "im"))?.[1]?.trim() ?? "";
  const [, command, bytes] = head.match(/[?&]command=(\w+)(?:&command=(\d+))?/) ?? [];
  const accept = createHash("sha1")
    .update(`${header("sec-websocket-key")}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const lines = [
    "HTTP/1.1 101 Switching Protocols",
    "upgrade: websocket",
    "connection: Upgrade",
    `sec-websocket-accept: ${accept}`,
    `sec-websocket-protocol: ${header("sec-websocket-protocol").split(",")[0]}`,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (command === "deaf") {
    socket.pause();
    return;
  }
  const wanted = Number(bytes);
  const reader = new FrameReader();
  let received = 0;
  let asked = 0;
  const read = (data: Buffer) => {
    for (const { opcode, length } of reader.read(data)) {
      if (opcode === OPCODE.close) {
        socket.end(CLOSE);
      } else if (command === "echo") {
        socket.write(frame(OPCODE.binary, stdout(Buffer.alloc(Math.max(length - 1, 0), "x"))));
      } else if (command === "converse") {
        asked += 1;
        socket.write(Buffer.concat(conversation(asked)));
      } else if (command === "upload") {
        received += length;
        if (received >= wanted) {
          received = Number.NEGATIVE_INFINITY;
          socket.write(SUCCESS);
        }
      }
    }
  };
  socket.on("data", read);
  read(rest);
  if (command === "hello") {
    socket.write(Buffer.concat([HELLO, SUCCESS]));
  } else if (command === "stdout") {
    write(socket, wanted, STDOUT, PIECE).catch(() => socket.destroy());
  } else if (command === "controls") {
    write(socket, wanted, CONTROLS, LARGE).catch(() => socket.destroy());
  }
}

async function write(socket: Socket, bytes: number, message: Buffer, size: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += size) {
    if (!socket.write(message)) {
      await once(socket, "drain");
    }
  }
  socket.write(SUCCESS);
}

/** A line of some length, and a prompt, cut anywhere. */
function conversation(line: number): Buffer[] {
  const words = Array.from({ length: Math.ceil(Math.random() * 12) }, () => pick(WORDS));
  let rest = Buffer.from(`${line}: ${words.join(" ")}\r\n${PROMPT}`);
  const pieces: Buffer[] = [];
  while (rest.length > 0) {
    const length = Math.ceil(Math.random() * rest.length);
    pieces.push(frame(OPCODE.binary, stdout(rest.subarray(0, length))));
    rest = rest.subarray(length);
  }
  return pieces;
}

function pick<Item>(items: Item[]): Item | undefined {
  return items[Math.floor(Math.random() * items.length)];
}

function stdout(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([1]), bytes]);
}
