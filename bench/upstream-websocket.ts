// The streaming side of a node, as far as bytes go: a command that writes, one that reads, and an echo. Frames as kubelet
// sends them on `v5.channel.k8s.io`: 32 KiB each, the first byte is the channel.

import { createHash } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { STREAM_BYTES } from "./frames.ts";
import { frame, FrameReader, OPCODE } from "./frames.ts";

const PIECE = 32 * 1024;
const STDOUT = frame(OPCODE.binary, Buffer.concat([Buffer.from([1]), Buffer.alloc(PIECE, "x")]));
const SUCCESS = frame(OPCODE.binary, Buffer.from('\u0003{"metadata":{},"status":"Success"}'));
const CLOSE = frame(OPCODE.close, Buffer.from([0x03, 0xe8]));

/** Answers the upgrade, and does what `command=` in the query asks for. */
export function acceptWebSocket(socket: Socket, head: string, rest: Buffer): void {
  const header = (name: string) => head.match(new RegExp(`^${name}: ?(.*)$`, "im"))?.[1]?.trim() ?? "";
  const accept = createHash("sha1")
    .update(`${header("sec-websocket-key")}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const protocol = header("sec-websocket-protocol").split(",")[0];
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n` +
      `sec-websocket-protocol: ${protocol}\r\n\r\n`,
  );
  const reader = new FrameReader();
  const command = head.match(/[?&]command=(\w+)/)?.[1];
  let received = 0;
  const read = (data: Buffer) => {
    for (const { opcode, payload } of reader.read(data)) {
      received += payload.length;
      if (opcode === OPCODE.close) {
        socket.end(CLOSE);
      } else if (command === "echo") {
        socket.write(frame(OPCODE.binary, payload));
      } else if (command === "upload" && received >= STREAM_BYTES) {
        received = Number.NEGATIVE_INFINITY;
        socket.write(SUCCESS);
      }
    }
  };
  socket.on("data", read);
  read(rest);
  if (command === "stdout") {
    write(socket).catch(() => socket.destroy());
  }
}

async function write(socket: Socket): Promise<void> {
  for (let sent = 0; sent < STREAM_BYTES; sent += PIECE) {
    if (!socket.write(STDOUT)) {
      await once(socket, "drain");
    }
  }
  socket.write(SUCCESS);
}
