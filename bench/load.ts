// The client: a process of its own, on bare sockets, so that what it costs does not depend on what it measures.

import { answerQuestions } from "./child.ts";
import { type HttpLoad, type HttpResult, loadHttp } from "./load-http.ts";

export type Load = { kind: "http" } & HttpLoad;
export type LoadResult = HttpResult;

answerQuestions<Load, LoadResult>((load) => loadHttp(load));
