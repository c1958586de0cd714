// The streaming side of a node, as far as bytes go: a command that writes, one that reads, and an echo. Frames as kubelet
// sends them on `v5.channel.k8s.io`: 32 KiB each, the first byte is the channel.

import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { FrameReader, frame, OPCODE } from "./frames.ts";

const PIECE = 32 * 1024;
const STDOUT = frame(OPCODE.binary, Buffer.alloc(1 + PIECE, 1));
const SUCCESS = frame(OPCODE.binary, Buffer.from('\u0003{"metadata":{},"status":"Success"}'));
const CLOSE = frame(OPCODE.close, Buffer.from([0x03, 0xe8]));

/** Answers the upgrade, and does what the query asks for: `command=stdout&command=BYTES`, `upload`, or `echo`. */
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
  const wanted = Number(bytes);
  const reader = new FrameReader();
  let received = 0;
  const read = (data: Buffer) => {
    for (const { opcode, length } of reader.read(data)) {
      if (opcode === OPCODE.close) {
        socket.end(CLOSE);
      } else if (command === "echo") {
        socket.write(frame(OPCODE.binary, Buffer.alloc(length)));
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
  if (command === "stdout") {
    write(socket, wanted).catch(() => socket.destroy());
  }
}

async function write(socket: Socket, bytes: number): Promise<void> {
  for (let sent = 0; sent < bytes; sent += PIECE) {
    if (!socket.write(STDOUT)) {
      await once(socket, "drain");
    }
  }
  socket.write(SUCCESS);
}
