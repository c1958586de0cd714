// Every "no": a Status that kubectl prints, or plain text where kubectl asked for discovery.

import { isResourcePath } from "./target.ts";

export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;
  /** For the log alone. */
  readonly detail: string;

  constructor(status: number, reason: string, message: string, detail = message) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.detail = detail;
  }
}

export function refusalResponse(request: Request, path: string, refusal: Refusal): Response {
  const { status, reason, message } = refusal;
  const isStatus = isResourcePath(path) || request.headers.has("upgrade");
  const body = isStatus
    ? JSON.stringify({
        kind: "Status",
        apiVersion: "v1",
        metadata: {},
        status: "Failure",
        message,
        reason,
        details: {},
        code: status,
      })
    : `${message}\n`;
  const headers = new Headers({
    "content-type": isStatus ? "application/json" : "text/plain; charset=utf-8",
    "cache-control": "no-store",
  });
  if (isStatus && status === 503) {
    headers.set("retry-after", "1");
  }
  return new Response(request.method === "HEAD" ? null : body, { status, headers });
}
