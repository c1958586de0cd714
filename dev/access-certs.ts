// The stand-in for https://<team>.cloudflareaccess.com/cdn-cgi/access/certs, which can be made to fail.

import { createServer, type ServerResponse } from "node:http";
import { AccessKeys } from "./access-keys.ts";
import { type Listening, listen } from "./listen.ts";

/** How the endpoint misbehaves: an error, an answer after 30 s, no JSON, a megabyte of JSON, a broken connection. */
export type CertsFault = "none" | "500" | "slow" | "garbage" | "huge" | "down";

export interface Certs extends Listening {
  keys: AccessKeys;
  fault(mode: CertsFault): void;
  /** Lets every answer wait until the function returned is called. */
  hold(): () => void;
  /** How often the endpoint was asked, whatever it answered. */
  requests(): number;
}

const SLOW_MS = 30_000;
const HUGE_BYTES = 1024 * 1024;

export async function startCerts(): Promise<Certs> {
  const keys = await AccessKeys.generate();
  let fault: CertsFault = "none";
  let requests = 0;
  let held = Promise.resolve();
  const server = createServer(async (request, response) => {
    if (request.url !== "/cdn-cgi/access/certs") {
      response.writeHead(404).end();
      return;
    }
    requests += 1;
    await held;
    await answer(response, keys, fault);
  });
  const listening = await listen(server);
  return {
    ...listening,
    keys,
    fault: (mode) => {
      fault = mode;
    },
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      held = promise;
      return resolve;
    },
    requests: () => requests,
  };
}

async function answer(response: ServerResponse, keys: AccessKeys, fault: CertsFault): Promise<void> {
  switch (fault) {
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
      json(response, { ...(await keys.published()), padding: "x".repeat(HUGE_BYTES) });
      return;
    case "slow": {
      const timer = setTimeout(async () => json(response, await keys.published()), SLOW_MS);
      response.on("close", () => clearTimeout(timer));
      return;
    }
    case "none":
      json(response, await keys.published());
  }
}

function json(response: ServerResponse, body: object): void {
  response
    .writeHead(200, { "content-type": "application/json", "cache-control": "max-age=0" })
    .end(JSON.stringify(body));
}
