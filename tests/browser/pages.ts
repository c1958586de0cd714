// Other people's web sites: pages under any host name, over TLS, and word of what their scripts found out.

import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import { type Listening, listen } from "../../dev/listen.ts";

export type Responder = (request: IncomingMessage, response: ServerResponse) => void;

export interface Pages extends Listening {
  /** Answers `https://HOST/PATH`, with whatever query, from now on; a text is an HTML page. */
  put(host: string, path: string, answer: string | Responder): void;
  /** What was asked for, as `HOST/PATH`. */
  asked: string[];
  reset(): void;
}

export async function startPages({ cert, key }: { cert: string; key: string }): Promise<Pages> {
  const answers = new Map<string, string | Responder>();
  const asked: string[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    const at = `${request.headers.host}${request.url?.split("?")[0]}`;
    asked.push(at);
    const answer = answers.get(at);
    if (typeof answer === "function") {
      answer(request, response);
    } else if (answer === undefined) {
      response.writeHead(404, { "content-type": "text/html" }).end("<!doctype html>nothing here");
    } else {
      response.writeHead(200, { "content-type": "text/html", "cache-control": "no-store" }).end(answer);
    }
  });
  return {
    ...(await listen(server)),
    put: (host, path, answer) => answers.set(host + path, answer),
    asked,
    reset: () => {
      answers.clear();
      asked.length = 0;
    },
  };
}
