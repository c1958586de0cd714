// Serves the page on the loopback address as the Worker does, with the same headers, in front of a gateway of sample data.

import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { type Answer, anotherPage, SampleGateway, strangersPage } from "../page/sample/gateway.ts";
import { isState, type State } from "../page/sample/states.ts";
import { type Listening, listen } from "./listen.ts";
import { PLAYER_POLICY } from "./page-player.ts";

const HOME = "/.kube-access/";
const ASSETS = `${HOME}assets/`;
const LONGEST_BODY = 64 * 1024;

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** What the Worker says to a browser about the page: docs/page.md. */
export const PAGE_HEADERS = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    `trusted-types ${PLAYER_POLICY}`,
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "private, no-cache",
};

export interface PageServerOptions {
  /** Where the built page is. */
  dir: string;
  port?: number;
  now?: () => number;
  /** How long an answer takes in the state `slow`. */
  slowMs?: number;
}

export interface PageServer extends Listening {
  url: string;
  /** Forgets what was given and ended. */
  reset(): void;
}

export async function startPageServer({
  dir,
  port = 0,
  now = Date.now,
  slowMs,
}: PageServerOptions): Promise<PageServer> {
  let gateway = new SampleGateway(now, slowMs);
  const server = createServer((request, response) => {
    serve(request, response).catch((error: Error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  });

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const { method = "GET", url: target = "/", headers } = request;
    const { pathname, searchParams } = new URL(target, "http://page");
    if (pathname === "/") {
      response.writeHead(303, { location: HOME }).end();
    } else if (pathname === HOME) {
      const asked = searchParams.get("state") ?? "auditor";
      const state = isState(asked) ? asked : "auditor";
      // The page asks for its data without the state: it is kept for it here.
      const cookie = `state=${state}; Path=/; SameSite=Strict`;
      const html = state === "stranger" ? strangersPage(now()) : await readFile(join(dir, "index.html"));
      const status = state === "stranger" ? 403 : 200;
      response.writeHead(status, { ...PAGE_HEADERS, "content-type": TYPES[".html"], "set-cookie": cookie }).end(html);
    } else if (pathname.startsWith(ASSETS)) {
      await file(pathname.slice(ASSETS.length), response);
    } else if (
      method !== "GET" &&
      (headers.origin !== `http://${headers.host}` || headers["sec-fetch-site"] !== "same-origin")
    ) {
      // As the Worker has it: a change comes from the page itself.
      send(anotherPage(), response);
    } else {
      const body = await textOf(request);
      send(await gateway.answer(stateOf(headers.cookie), { method, target, headers, body }), response);
    }
  };

  const send = ({ status, headers, body }: Answer, response: ServerResponse) => {
    response.writeHead(status, { "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers });
    response.end(body);
  };

  const file = async (name: string, response: ServerResponse) => {
    const contents = /^[a-z0-9.-]+$/.test(name) ? await readFile(join(dir, name)).catch(() => undefined) : undefined;
    if (!contents) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { ...PAGE_HEADERS, "content-type": TYPES[extname(name)] ?? "application/octet-stream" });
    response.end(contents);
  };

  const listening = await listen(server, port);
  return {
    ...listening,
    url: `http://${listening.host}:${listening.port}${HOME}`,
    reset: () => {
      gateway = new SampleGateway(now, slowMs);
    },
  };
}

function stateOf(cookie = ""): State {
  const [, name = ""] = cookie.match(/(?:^|; )state=(\w+)/) ?? [];
  return isState(name) ? name : "auditor";
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request.setEncoding("utf8")) {
    text += part;
    if (text.length > LONGEST_BODY) {
      throw new Error("a body of more than 64 KiB");
    }
  }
  return text;
}
