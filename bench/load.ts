// The client: a process of its own, on bare sockets, so that what it costs does not depend on what it measures.

import { answerQuestions } from "./child.ts";
import { type HttpLoad, type HttpResult, loadHttp } from "./load-http.ts";
import { loadWebSocket, type WebSocketLoad, type WebSocketResult } from "./load-websocket.ts";

/** Requests are handed over once, and named from then on. */
export interface Requests {
  kind: "requests";
  name: string;
  requests: string[];
}

export type Load = Requests | ({ kind: "http"; requests: string } & HttpLoad) | ({ kind: "websocket" } & WebSocketLoad);
export type LoadResult = HttpResult | WebSocketResult | number;

const kept = new Map<string, Buffer[]>();

answerQuestions<Load, LoadResult>(async (load) => {
  switch (load.kind) {
    case "requests":
      kept.set(
        load.name,
        load.requests.map((request) => Buffer.from(request)),
      );
      return load.requests.length;
    case "http":
      return loadHttp(load, kept.get(load.requests) ?? []);
    case "websocket":
      return loadWebSocket(load);
  }
});
