// What the gateway's tunnel leads to: a server that answers from memory, so that it is never what is measured. A process of
// its own, on bare sockets: node:http would take more time than workerd does.

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { answerQuestions } from "./child.ts";
import { acceptWebSocket } from "./upstream-websocket.ts";

const END_OF_HEAD = "\r\n\r\n";

/** An object such as `kubectl get pod NAME` fetches: 1 KiB of JSON. */
const SMALL = withLength(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","padding":"${"x".repeat(900)}"}}\n`);

/** A list of pods: 1 MiB of JSON in the chunks that kube-apiserver writes. */
const LIST = chunked(Array.from({ length: 32 }, () => "x".repeat(32 * 1024)));

const WATCH_EVENTS = 10_000;
const EVENT = chunk(`{"type":"MODIFIED","object":{"kind":"Pod","padding":"${"x".repeat(440)}"}}\n`);

const server = createServer({ noDelay: true }, (socket) => {
  let pending = "";
  /** Of a body that is still to come: nobody looks at it. */
  let missing = 0;
  const read = (data: Buffer) => {
    const skipped = Math.min(missing, data.length);
    missing -= skipped;
    pending += data.toString("latin1", skipped);
    for (let end = pending.indexOf(END_OF_HEAD); end >= 0; end = pending.indexOf(END_OF_HEAD)) {
      const head = pending.slice(0, end);
      pending = pending.slice(end + END_OF_HEAD.length);
      if (/^upgrade: websocket$/im.test(head)) {
        socket.off("data", read);
        acceptWebSocket(socket, head, Buffer.from(pending, "latin1"));
        return;
      }
      missing = Number(head.match(/^content-length: ?(\d+)$/im)?.[1] ?? 0);
      const body = pending.slice(0, missing);
      pending = pending.slice(body.length);
      missing -= body.length;
      answer(socket, head.slice(0, head.indexOf("\r\n")));
    }
  };
  socket.on("data", read);
  socket.on("error", () => socket.destroy());
});

function answer(socket: Socket, requestLine: string): void {
  const [, slow] = requestLine.match(/[?]slow=(\d+)/) ?? [];
  if (slow) {
    setTimeout(() => socket.write(SMALL), Number(slow));
  } else if (requestLine.includes("watch=")) {
    watch(socket).catch(() => socket.destroy());
  } else {
    socket.write(requestLine.includes("limit=") ? LIST : SMALL);
  }
}

async function watch(socket: Socket): Promise<void> {
  socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
  for (let event = 0; event < WATCH_EVENTS; event += 1) {
    if (!socket.write(EVENT)) {
      await once(socket, "drain");
    }
  }
  socket.write("0\r\n\r\n");
}

function withLength(body: string): Buffer {
  return Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}

function chunked(parts: string[]): Buffer {
  const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
  return Buffer.concat([Buffer.from(head), ...parts.map(chunk), Buffer.from("0\r\n\r\n")]);
}

function chunk(text: string): Buffer {
  return Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`);
}

server.listen(0, "127.0.0.1");
const listening = once(server, "listening");
answerQuestions(async () => {
  await listening;
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
});
