// The deployment's door, seen from outside: HTTPS requests by a stranger, or by a caller whom Access knows.

import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { type ConnectionOptions, getCACertificates } from "node:tls";

export interface DoorOptions {
  url: URL;
  /** Authorities beside those that this machine trusts, PEM. */
  authorities: string[];
  /** Where to connect to instead of a host's own address, "address:port" by host name. */
  connectTo: Map<string, string>;
  /** Header lines by which Access knows the caller; none for a device with a WARP session. */
  credentials: Record<string, string>;
}

export interface Question {
  method?: string;
  headers?: Record<string, string>;
  body?: object;
  signal: AbortSignal;
}

export interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  text: string;
}

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export class Door {
  readonly url: URL;
  readonly #options: DoorOptions;
  readonly #authorities: string[];
  #stranger: Promise<Answer> | undefined;

  constructor(options: DoorOptions) {
    this.url = options.url;
    this.#options = options;
    // kubectl trusts what the system trusts, such as the authority of a WARP client that inspects TLS.
    const known = [...getCACertificates("default"), ...getCACertificates("system")];
    this.#authorities = [...new Set([...known, ...options.authorities])];
  }

  get hasCredentials(): boolean {
    return Object.keys(this.#options.credentials).length > 0;
  }

  /** What somebody without credentials is answered. Asked once: several checks look at the same answer. */
  stranger(signal: AbortSignal): Promise<Answer> {
    this.#stranger ??= whole(this.#send(new URL("/version", this.url), { signal }));
    return this.#stranger;
  }

  /** Asks as the caller, and reads the whole answer. */
  ask(path: string, question: Question): Promise<Answer> {
    return whole(this.#asCaller(path, question));
  }

  /** Asks as the caller; the answer's body is left to be read as it comes. */
  async stream(path: string, question: Question): Promise<IncomingMessage> {
    const [response] = (await once(this.#asCaller(path, question), "response")) as [IncomingMessage];
    return response;
  }

  /** Asks for a WebSocket as kubectl does: without ALPN and without Origin. `socket` is there if the answer is 101. */
  async upgrade(path: string, protocol: string, signal: AbortSignal): Promise<Answer & { socket?: Duplex }> {
    const headers = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-key": Buffer.from("kube-access-doc.").toString("base64"),
      "sec-websocket-version": "13",
      "sec-websocket-protocol": protocol,
    };
    const request = this.#asCaller(path, { headers, signal }, { ALPNProtocols: [] });
    const upgraded = once(request, "upgrade", { signal }) as Promise<[IncomingMessage, Duplex]>;
    const declined = whole(request);
    const answer = await Promise.race([declined, upgraded]);
    void Promise.allSettled([declined, upgraded]); // the one that lost may still reject
    if (!Array.isArray(answer)) {
      return answer;
    }
    const [{ statusCode = 0, headers: answered }, socket] = answer;
    return { status: statusCode, headers: answered, text: "", socket };
  }

  /** Fetches from another host, without credentials. */
  fetch(url: URL, signal: AbortSignal): Promise<Answer> {
    return whole(this.#send(url, { signal }));
  }

  /** Where a connection to the host goes, and what its certificate is checked against. */
  connection(url: URL): ConnectionOptions & { host: string; port: number } {
    const hostname = hostOf(url);
    const instead = this.#options.connectTo.get(hostname)?.match(/^(.+):(\d+)$/);
    return {
      host: instead?.[1] ?? hostname,
      port: Number(instead?.[2] ?? (url.port || 443)),
      servername: isIP(hostname) ? "" : hostname,
      ca: this.#authorities,
    };
  }

  /** Whether --connect-to names the host's address. */
  isRedirected(url: URL): boolean {
    return this.#options.connectTo.has(hostOf(url));
  }

  #asCaller(path: string, question: Question, tls: ConnectionOptions = {}) {
    const headers = { ...question.headers, ...this.#options.credentials };
    return this.#send(new URL(path, this.url), { ...question, headers }, tls);
  }

  #send(url: URL, { method = "GET", headers = {}, body, signal }: Question, tls: ConnectionOptions = {}) {
    const json = body ? { "content-type": "application/json" } : {};
    const options: RequestOptions = {
      ...this.connection(url),
      ...tls,
      method,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, "user-agent": "kube-access-doctor", accept: "application/json", ...json, ...headers },
      agent: false,
      signal,
    };
    return httpsRequest(options).end(body ? JSON.stringify(body) : undefined);
  }
}

/** URLs hold IPv6 addresses in brackets, sockets do not. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, "");
}

async function whole(request: ReturnType<typeof httpsRequest>): Promise<Answer> {
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) {
    text += chunk;
    if (text.length > MAX_ANSWER_BYTES) {
      request.destroy();
      break;
    }
  }
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}
