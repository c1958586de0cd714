// Passes requests on to the gateway, byte for byte and as they come: bodies stream both ways at the pace of the slower side,
// upgraded connections become a plain pipe. What one side ends or breaks takes nothing from what the other still carries: an
// end is passed on as an end, a break as a break (access-sockets.ts).

import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { type Duplex, PassThrough } from "node:stream";
import type { Server } from "node:tls";
import { CallerSockets, GatewayAgent, type GatewaySocket, UpgradeAgent } from "./access-sockets.ts";

/**
 * Heads may be as large as they like here, with as many lines (Node drops those beyond 2,000 otherwise, without a word): it is
 * the gateway's limits that callers must meet, at 128 KiB.
 */
export const MAX_HEAD_BYTES = 1024 * 1024;
export const ANY_NUMBER_OF_LINES = 0;

/** They belong to one connection and are not passed on. Transfer-Encoding is: it tells how the body is framed. */
const CONNECTION_HEADERS = ["connection", "keep-alive", "proxy-connection", "te", "expect"];

export class Forwarder {
  readonly #gateway: { host: string; port: number };
  readonly #callers: CallerSockets;
  readonly #agent = new GatewayAgent();
  readonly #upgradeAgent = new UpgradeAgent();

  /** `server` is the one whose requests are passed on. */
  constructor(gateway: { host: string; port: number }, server: Server) {
    this.#gateway = gateway;
    this.#callers = new CallerSockets(server);
  }

  request(request: IncomingMessage, response: ServerResponse, headers: string[]): void {
    const onward = this.#open(request, this.#agent, without(headers, CONNECTION_HEADERS));
    let answered: IncomingMessage | undefined;
    const breakOff = () => {
      // An answer that is framed by the end of its connection would seem to be whole.
      answered?.unpipe(response);
      if (response.socket) {
        this.#callers.breakOff(response.socket);
      }
    };
    onward.on("response", (answer) => {
      answered = answer;
      response.writeHead(
        answer.statusCode ?? 502,
        answer.statusMessage,
        without(answer.rawHeaders, CONNECTION_HEADERS),
      );
      // A watch answers with a head at once and with an event much later. (An empty piece of body sends the head as the bytes
      // that came; flushHeaders would encode those above 0x7F once more.)
      response.write(Buffer.alloc(0));
      answer.pipe(response);
      answer.on("error", breakOff);
    });
    onward.on("error", (error) => {
      if (answered) {
        breakOff();
      } else {
        response.writeHead(502, { "content-type": "text/plain" }).end(unreachable(error));
      }
    });
    request.pipe(onward);
    request.on("error", () => onward.destroy());
    onward.on("close", () => request.resume());
    response.on("close", () => onward.destroy());
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, headers: string[]): void {
    const onward = this.#open(request, this.#upgradeAgent, [
      ...without(headers, CONNECTION_HEADERS),
      ...["Connection", "Upgrade"],
    ]);
    // Read from the start, so that a caller who leaves before the answer is noticed.
    const sent = new PassThrough();
    sent.write(head);
    socket.pipe(sent);
    const leave = () => onward.destroy();
    socket.on("end", leave).on("close", leave);
    socket.on("error", () => {}); // its close follows

    onward.on("upgrade", (answer, gatewaySocket, gatewayHead) => {
      socket.off("end", leave).off("close", leave);
      socket.write(headOf(answer, answer.rawHeaders), "latin1");
      socket.write(gatewayHead);
      this.#connect(socket, sent, gatewaySocket as GatewaySocket);
    });
    // The gateway declined: its answer goes to the caller in full, then the connection ends.
    let declined: IncomingMessage | undefined;
    const breakOff = () => {
      declined?.unpipe(socket);
      this.#callers.breakOff(socket);
    };
    onward.on("response", (answer) => {
      declined = answer;
      socket.off("end", leave);
      sent.resume();
      const lines = without(answer.rawHeaders, [...CONNECTION_HEADERS, "transfer-encoding"]);
      socket.write(headOf(answer, [...lines, "Connection", "close"]), "latin1");
      answer.pipe(socket);
      answer.on("error", breakOff);
    });
    onward.on("error", (error) => {
      sent.resume();
      if (declined) {
        breakOff();
      } else {
        socket.end(
          `HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${unreachable(error)}`,
        );
      }
    });
    onward.end();
  }

  /** An upgraded connection: each direction goes on until it ends by itself. `sent` is what the caller sends. */
  #connect(caller: Duplex, sent: PassThrough, gateway: GatewaySocket): void {
    sent.pipe(gateway);
    gateway.pipe(caller, { end: false });
    gateway.on("end", () => (gateway.wasReset ? this.#callers.breakOff(caller) : caller.end()));
    gateway.on("error", () => this.#callers.breakOff(caller));
    // Unread input would make a reset of our own closing.
    gateway.on("close", () => sent.resume());
    caller.on("close", () => {
      if (!gateway.destroyed && !(caller.readableEnded && caller.writableFinished)) {
        gateway.resetAndDestroy();
      }
    });
  }

  stop(): void {
    this.#agent.destroy();
    this.#upgradeAgent.destroy();
  }

  #open(request: IncomingMessage, agent: GatewayAgent | UpgradeAgent, headers: string[]): ClientRequest {
    const { host, port } = this.#gateway;
    const { method, url: path } = request;
    // Header lines are handed over as a flat list, which keeps duplicates, order and letter case.
    const onward = httpRequest({
      agent,
      host,
      port,
      method,
      path,
      headers,
      setHost: false,
      maxHeaderSize: MAX_HEAD_BYTES,
    });
    onward.maxHeadersCount = ANY_NUMBER_OF_LINES;
    return onward;
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

function unreachable(error: Error): string {
  return `The gateway does not answer: ${error.message}\n`;
}
