// Connections that lose nothing of what they carry. Whoever writes first to a connection whose other side has closed learns of
// it as an error, and Node then throws away what is still to be read: for a command that ends while its input is being sent,
// that is the last of its output and its exit code. Here the two directions end apart, and a broken one stays a broken one.

import { Agent, type ClientRequestArgs } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Server } from "node:tls";

/** workerd closes a connection that is idle for 5 s; a request must not meet it on the way out. */
const IDLE_MS = 4_000;
/** A reset overtakes what is on its way: the caller gets so long to take it, twice. */
const LINGER_MS = 250;

type Done = (error?: Error | null) => void;

/**
 * A connection to the gateway. What it no longer takes is swallowed, so that all it sends can still be read; an error while
 * reading is told after everything that came before it.
 */
export class GatewaySocket extends Socket {
  #writeError: NodeJS.ErrnoException | undefined;
  #readError: Error | undefined;

  /** The gateway takes nothing any more. */
  get isDeaf(): boolean {
    return this.#writeError !== undefined;
  }

  /** A reset came and was told to a write: what looks like the end of the input is none. (After a FIN it would be EPIPE.) */
  get wasReset(): boolean {
    return this.#writeError?.code === "ECONNRESET";
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
    this.#send(done, (then) => super._write(chunk, encoding, then));
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    this.#send(done, (then) => super._writev?.(chunks, then));
  }

  override _final(done: Done): void {
    this.#send(done, (then) => super._final(then));
  }

  override destroy(error?: Error): this {
    if (error && this.readableLength > 0) {
      this.#readError ??= error;
      return this;
    }
    return super.destroy(error);
  }

  override read(size?: number): Buffer | null {
    const chunk = super.read(size);
    if (this.#readError && this.readableLength === 0) {
      process.nextTick(() => super.destroy(this.#readError));
    }
    return chunk;
  }

  #send(done: Done, send: (then: Done) => void): void {
    if (this.#writeError) {
      done();
      return;
    }
    send((error) => {
      this.#writeError ??= error ?? undefined;
      done();
    });
  }
}

/** Keeps connections to the gateway for the next request, unless the gateway has stopped taking anything. */
export class GatewayAgent extends Agent {
  constructor() {
    super({ keepAlive: true, timeout: IDLE_MS });
  }

  override createConnection(options: ClientRequestArgs): Duplex {
    return dial(options, false);
  }

  override keepSocketAlive(socket: Duplex): boolean {
    // What Node returns here is a boolean; its types say nothing.
    const isKept: unknown = super.keepSocketAlive(socket);
    return isKept === true && !(socket as GatewaySocket).isDeaf;
  }
}

/** Connections that are upgraded: either side may end first. */
export class UpgradeAgent extends Agent {
  override createConnection(options: ClientRequestArgs): Duplex {
    return dial(options, true);
  }
}

function dial({ host, port }: ClientRequestArgs, allowHalfOpen: boolean): GatewaySocket {
  const socket = new GatewaySocket({ allowHalfOpen });
  return socket.setNoDelay(true).connect(Number(port), host ?? "127.0.0.1");
}

/** The callers' connections below TLS: only there can one be reset. */
export class CallerSockets {
  readonly #sockets = new Map<string, Socket>();

  constructor(server: Server) {
    server.on("connection", (socket: Socket) => {
      const name = nameOf(socket);
      this.#sockets.set(name, socket);
      socket.on("close", () => this.#sockets.delete(name));
    });
  }

  /** Ends a caller's connection as broken: with a reset, after what was written has had time to arrive. */
  breakOff(socket: Duplex): void {
    if (socket.destroyed) {
      return;
    }
    const below = this.#sockets.get(nameOf(socket as Socket));
    let wasWritten = false;
    const timer = setInterval(() => {
      const isWritten = socket.writableLength === 0;
      if (isWritten && wasWritten) {
        below?.resetAndDestroy();
        socket.destroy();
      }
      wasWritten = isWritten;
    }, LINGER_MS);
    socket.on("close", () => clearInterval(timer));
    socket.resume();
  }
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}
