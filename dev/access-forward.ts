// Passes requests on to the gateway, byte for byte and as they come: bodies stream both ways at the pace of the slower side,
// upgraded connections become a plain pipe.

import {
  Agent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { Duplex } from "node:stream";

/** They belong to one connection and are not passed on. Transfer-Encoding is: it tells how the body is framed. */
const CONNECTION_HEADERS = ["connection", "keep-alive", "proxy-connection", "te", "expect"];
/** workerd closes a connection that is idle for 5 s; a request must not meet it on the way out. */
const IDLE_MS = 4_000;

export class Forwarder {
  readonly #gateway: { host: string; port: number };
  readonly #agent = new Agent({ keepAlive: true, timeout: IDLE_MS });

  constructor(gateway: { host: string; port: number }) {
    this.#gateway = gateway;
  }

  request(request: IncomingMessage, response: ServerResponse, headers: string[]): void {
    const onward = this.#open(request, without(headers, CONNECTION_HEADERS));
    onward.on("response", (answer) => {
      response.writeHead(
        answer.statusCode ?? 502,
        answer.statusMessage,
        without(answer.rawHeaders, CONNECTION_HEADERS),
      );
      // A watch answers with a head at once and with an event much later.
      response.flushHeaders();
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    onward.on("error", (error) => {
      if (response.headersSent) {
        response.destroy();
      } else {
        response.writeHead(502, { "content-type": "text/plain" }).end(unreachable(error));
      }
    });
    request.pipe(onward);
    request.on("error", () => onward.destroy());
    response.on("close", () => onward.destroy());
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, headers: string[]): void {
    const upgrade = ["Connection", "Upgrade"];
    const onward = this.#open(request, [...without(headers, CONNECTION_HEADERS), ...upgrade]);
    onward.on("upgrade", (answer, gatewaySocket, gatewayHead) => {
      socket.write(headOf(answer, answer.rawHeaders));
      socket.write(gatewayHead);
      gatewaySocket.write(head);
      connect(socket, gatewaySocket);
    });
    // The gateway declined: its answer goes to the caller in full, then the connection ends.
    onward.on("response", (answer) => {
      const lines = without(answer.rawHeaders, [...CONNECTION_HEADERS, "transfer-encoding"]);
      socket.write(headOf(answer, [...lines, "Connection", "close"]));
      answer.pipe(socket);
    });
    onward.on("error", (error) => {
      socket.end(
        `HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${unreachable(error)}`,
      );
    });
    socket.on("close", () => onward.destroy());
    onward.end();
  }

  stop(): void {
    this.#agent.destroy();
  }

  #open(request: IncomingMessage, headers: string[]): ClientRequest {
    const { host, port } = this.#gateway;
    const { method, url: path } = request;
    // Header lines are handed over as a flat list, which keeps duplicates, order and letter case.
    return httpRequest({ agent: this.#agent, host, port, method, path, headers, setHost: false });
  }
}

/** Header lines, a flat list of names and values, less those with the given names. */
function without(lines: string[], names: string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index < lines.length; index += 2) {
    const [name = "", value = ""] = lines.slice(index, index + 2);
    if (!names.includes(name.toLowerCase())) {
      kept.push(name, value);
    }
  }
  return kept;
}

function headOf(answer: IncomingMessage, lines: string[]): string {
  let head = `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n`;
  for (let index = 0; index < lines.length; index += 2) {
    head += `${lines[index]}: ${lines[index + 1]}\r\n`;
  }
  return `${head}\r\n`;
}

/** Pipes two sockets into each other; when one breaks, so does the other. */
function connect(left: Duplex, right: Duplex): void {
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => to.end());
  }
}

function unreachable(error: Error): string {
  return `The gateway does not answer: ${error.message}\n`;
}
