// The cluster's end of the wire: a server that keeps every request as it came, and answers as a test's script says.

import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { type Head, names, pieces, readHead, values, Wire, whole } from "./wire.ts";

export class Received {
  readonly head: Head;
  readonly wire: Wire;
  readonly #pieces: AsyncGenerator<Buffer>;
  readonly #connection: Socket;

  constructor(head: Head, wire: Wire, connection: Socket) {
    this.head = head;
    this.wire = wire;
    this.#connection = connection;
    this.#pieces = pieces(wire, head, false);
  }

  get method(): string {
    return this.head.start.split(" ")[0] ?? "";
  }

  /** The raw path and query. */
  get target(): string {
    return this.head.start.split(" ")[1] ?? "";
  }

  values(name: string): string[] {
    return values(this.head, name);
  }

  names(): string[] {
    return names(this.head);
  }

  /** The body as it arrives. */
  pieces(): AsyncGenerator<Buffer> {
    return this.#pieces;
  }

  /** What has not been read of the body yet. */
  body(): Promise<Buffer> {
    return whole(this.#pieces);
  }

  /** A whole answer. `lines` are its header lines; the framing is added. */
  answer(status: string, lines: string[] = [], body: string | Uint8Array = ""): void {
    const bytes = Buffer.from(body);
    this.begin(status, [...lines, `Content-Length: ${bytes.length}`]);
    this.wire.write(bytes);
  }

  /** The head of an answer and nothing more. */
  begin(status: string, lines: string[]): void {
    this.wire.write(`HTTP/1.1 ${status}\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`);
  }

  /** Breaks the connection, as a server does that is no more: TLS is not ended, and the other side is told by a reset. */
  breakOff(): void {
    this.#connection.resetAndDestroy();
  }
}

/** Answers one request. An upgraded connection is the script's until it returns. */
export type Script = (request: Received) => void | Promise<void>;

export interface Recorder {
  host: string;
  port: number;
  /** Everything that came since `reset`. */
  received: Received[];
  script(script: Script): void;
  /** Forgets what came, and answers `200 {}` again. */
  reset(): void;
  /** Breaks the connections there are, and refuses new ones. */
  stop(): Promise<void>;
}

/** With a certificate it speaks TLS, as an API server does. */
export async function startRecorder(port = 0, certificate?: { cert: string; key: string }): Promise<Recorder> {
  let script: Script = ok;
  let received: Received[] = [];
  // As TCP has them, below TLS.
  const connections = new Set<Socket>();
  const serve = async (socket: Socket) => {
    const connection = [...connections].find(({ remotePort }) => remotePort === socket.remotePort) ?? socket;
    // It waits as long as its clients do: an idle connection is no fault, and what hangs is a test's to tell.
    const wire = new Wire(socket, Number.POSITIVE_INFINITY);
    for (let head = await readHead(wire); head; head = await readHead(wire)) {
      const request = new Received(head, wire, connection);
      received.push(request);
      await script(request);
      if (wire.hasEnded || socket.destroyed || request.values("upgrade").length > 0) {
        return socket.end();
      }
      // The next request on this connection begins after this one's body; none does after a body that breaks off.
      await request.body().catch(() => {});
    }
    socket.end();
  };
  const server = certificate ? createTlsServer({ ...certificate, allowHalfOpen: true }, serve) : createServer(serve);
  server.on("connection", (connection: Socket) => {
    connections.add(connection);
    connection.on("close", () => connections.delete(connection));
  });
  return {
    ...(await listen(server, port, connections)),
    get received() {
      return received;
    },
    script: (next) => {
      script = next;
    },
    reset: () => {
      script = ok;
      received = [];
    },
  };
}

function ok(request: Received): void {
  request.answer("200 OK", ["Content-Type: application/json"], "{}\n");
}

async function listen(
  server: Server,
  port: number,
  connections: Set<Socket>,
): Promise<{ host: string; port: number; stop(): Promise<void> }> {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of connections) {
      socket.destroy();
    }
    await closed;
  };
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port, stop };
}
