// HTTP/1.1 byte by byte: requests that no well-behaved client would send, and answers read only as far as wanted.

import { connect, type Socket } from "node:net";

export interface Exchange {
  socket: Socket;
  status: number;
  /** Names in lower case; of repeated headers, the last. */
  headers: Map<string, string>;
  /** What came after the head so far. */
  rest: Buffer;
}

const HEAD_MS = 60_000;

/** Sends a request, given as the bytes of its head (Latin-1) and body, and reads the head of the answer. */
export async function exchange(
  to: { host: string; port: number },
  request: string,
  limitMs = HEAD_MS,
): Promise<Exchange> {
  const socket = connect(to.port, to.host);
  socket.on("error", () => {}); // told by nextChunk, as the end of the answer
  socket.write(request, "latin1");
  return { socket, ...(await readHead(socket, limitMs)) };
}

async function readHead(socket: Socket, limitMs: number): Promise<Omit<Exchange, "socket">> {
  const overdue = setTimeout(() => socket.destroy(new Error(`no answer within ${limitMs / 1000} s`)), limitMs);
  let received = Buffer.alloc(0);
  try {
    for (;;) {
      const end = received.indexOf("\r\n\r\n");
      if (end >= 0) {
        const [start = "", ...lines] = received.toString("latin1", 0, end).split("\r\n");
        const headers = new Map(
          lines.map((line) => [
            line.slice(0, line.indexOf(":")).toLowerCase(),
            line.slice(line.indexOf(":") + 1).trim(),
          ]),
        );
        return { status: Number(start.split(" ")[1]), headers, rest: received.subarray(end + 4) };
      }
      received = Buffer.concat([received, await nextChunk(socket)]);
    }
  } finally {
    clearTimeout(overdue);
  }
}

/** The next bytes, and then no more until they are asked for. */
export function nextChunk(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      socket.off("readable", look);
      socket.off("close", end);
    };
    const end = () => {
      stop();
      reject(new Error("The gateway closed the connection in the middle of its answer."));
    };
    const look = () => {
      const data: Buffer | null = socket.read();
      if (data) {
        stop();
        resolve(data);
      }
    };
    socket.on("readable", look);
    socket.on("close", end);
    look();
    if (socket.closed) {
      end();
    }
  });
}
