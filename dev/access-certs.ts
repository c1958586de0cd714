// The stand-in for https://<team>.cloudflareaccess.com/cdn-cgi/access/: its certs, and get-identity. Each can be made to fail.

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { AccessKeys } from "./access-keys.ts";
import { type Listening, listen } from "./listen.ts";

/** How the endpoint misbehaves: an error, an answer after 30 s, no JSON, a megabyte of JSON, a broken connection. */
export type CertsFault = "none" | "500" | "slow" | "garbage" | "huge" | "down";

interface Endpoint {
  fault(mode: CertsFault): void;
  /** Lets every answer wait until the function returned is called. */
  hold(): () => void;
  /** How often the endpoint was asked, whatever it answered. */
  requests(): number;
}

export interface Certs extends Listening, Endpoint {
  keys: AccessKeys;
  /** get-identity. */
  identities: Endpoint;
}

const SLOW_MS = 30_000;
const HUGE_BYTES = 1024 * 1024;

export async function startCerts(): Promise<Certs> {
  const keys = await AccessKeys.generate();
  const certs = new Answers(() => keys.published());
  const identities = new Answers((request) => keys.identity(tokenIn(request)));
  const endpoints = new Map([
    ["/cdn-cgi/access/certs", certs],
    ["/cdn-cgi/access/get-identity", identities],
  ]);
  const server = createServer(async (request, response) => {
    const endpoint = endpoints.get(request.url ?? "");
    await (endpoint ? endpoint.answer(request, response) : response.writeHead(404).end());
  });
  return { ...(await listen(server)), ...certs.controls, keys, identities: identities.controls };
}

/** The answers of one endpoint. */
class Answers {
  #fault: CertsFault = "none";
  #requests = 0;
  #held = Promise.resolve();
  readonly #body: (request: IncomingMessage) => Promise<object | undefined>;
  readonly controls: Endpoint = {
    fault: (mode) => {
      this.#fault = mode;
    },
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#held = promise;
      return resolve;
    },
    requests: () => this.#requests,
  };

  constructor(body: (request: IncomingMessage) => Promise<object | undefined>) {
    this.#body = body;
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#requests += 1;
    await this.#held;
    const body = await this.#body(request);
    switch (this.#fault) {
      case "down":
        response.socket?.destroy();
        return;
      case "500":
        response.writeHead(500, { "content-type": "text/plain" }).end("internal error");
        return;
      case "garbage":
        response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Access</title>");
        return;
      case "huge":
        json(response, { ...body, padding: "x".repeat(HUGE_BYTES) });
        return;
      case "slow": {
        const timer = setTimeout(() => json(response, body), SLOW_MS);
        response.on("close", () => clearTimeout(timer));
        return;
      }
      case "none":
        json(response, body);
    }
  }
}

/** The token of the application, which Access takes as a cookie. */
function tokenIn(request: IncomingMessage): string {
  return request.headers.cookie?.match(/(?:^|; )CF_Authorization=([^;]+)/)?.[1] ?? "";
}

/** Access answers whom it does not know with an error in JSON. */
function json(response: ServerResponse, body: object | undefined): void {
  response
    .writeHead(body ? 200 : 400, { "content-type": "application/json", "cache-control": "max-age=0" })
    .end(JSON.stringify(body ?? { err: "no session" }));
}
