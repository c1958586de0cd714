// One WebSocket to the gateway, as raw as the HTTP side.

import { once } from "node:events";
import { connect } from "node:net";
import { FrameReader, frame, OPCODE } from "./frames.ts";

export interface WebSocketLoad {
  host: string;
  port: number;
  /** The upgrade: request line and headers. */
  request: string;
  /** Read so many bytes, write so many bytes, or send messages to and fro until the time is up. */
  work: { download: number } | { upload: number } | { echo: { milliseconds: number; bytes: number } };
}

export interface WebSocketResult {
  /** Bytes of payload, or messages that came back. */
  amount: number;
  milliseconds: number;
  /** From sending the upgrade until the first message, in milliseconds. */
  first: number;
  /** Of messages to and fro: half of the round trips took no longer, in milliseconds. */
  p50?: number;
}

const PIECE = frame(OPCODE.binary, Buffer.alloc(1 + 32 * 1024), true);
const PIECE_BYTES = 1 + 32 * 1024;
const CLOSE = frame(OPCODE.close, Buffer.from([0x03, 0xe8]), true);

export async function loadWebSocket({ host, port, request, work }: WebSocketLoad): Promise<WebSocketResult> {
  const socket = connect({ host, port, noDelay: true });
  await once(socket, "connect");
  const asked = performance.now();
  socket.write(request);
  const [answer] = (await once(socket, "data")) as [Buffer];
  const end = answer.indexOf("\r\n\r\n");
  const head = answer.toString("latin1", 0, end);
  if (!head.startsWith("HTTP/1.1 101 ")) {
    throw new Error(`the gateway answered the upgrade: ${head.split("\r\n")[0]}`);
  }
  const reader = new FrameReader();
  const started = performance.now();
  let received = 0;
  let first = 0;
  let sent = 0;
  const trips: number[] = [];
  const done = new Promise<number>((resolve, reject) => {
    const message = frame(OPCODE.binary, Buffer.alloc("echo" in work ? work.echo.bytes : 0), true);
    let messages = 0;
    const read = (data: Buffer) => {
      for (const { opcode, length } of reader.read(data)) {
        received += length;
        first ||= performance.now() - asked;
        if (opcode === OPCODE.close) {
          reject(new Error("the gateway closed the WebSocket early"));
        } else if ("upload" in work) {
          resolve(work.upload);
        } else if ("download" in work) {
          if (received >= work.download) {
            resolve(received);
          }
        } else {
          const now = performance.now();
          messages += 1;
          trips.push(now - sent);
          if (now - started < work.echo.milliseconds) {
            sent = now;
            socket.write(message);
          } else {
            resolve(messages);
          }
        }
      }
    };
    socket.on("data", read);
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the gateway closed the connection early")));
    read(answer.subarray(end + 4));
    if ("echo" in work) {
      sent = performance.now();
      socket.write(message);
    }
  });
  if ("upload" in work) {
    for (let written = 0; written < work.upload; written += PIECE_BYTES) {
      if (!socket.write(PIECE)) {
        await Promise.race([once(socket, "drain"), done]);
      }
    }
  }
  const amount = await done;
  const milliseconds = performance.now() - started;
  socket.removeAllListeners("close").write(CLOSE);
  socket.destroySoon();
  const p50 = trips.toSorted((a, b) => a - b)[Math.floor(trips.length / 2)];
  return { amount, milliseconds, first, ...(p50 === undefined ? {} : { p50 }) };
}
