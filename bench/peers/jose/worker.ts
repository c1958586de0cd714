// The same gateway as one would write it in TypeScript today: `jose` verifies, plain code does the rest. It refuses, cleans and
// names exactly as kube-access does, so that the comparison is one of ways to write it, and not of what is left out.
//
// REMEMBER_TOKENS chooses between its two variants: a signature is verified for each request, or once for each token.

import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { type Caller, callerOf } from "./identity.ts";
import { Refusal, refusalResponse } from "./refusal.ts";
import { parseTarget, type Target } from "./target.ts";
import { upstreamHeaders } from "./upstream.ts";

interface Env {
  ACCESS_TEAM_DOMAIN: string;
  ACCESS_AUD: string;
  LOG_LEVEL: string;
  ENABLE_K8S_LOGGING: string;
  REMEMBER_TOKENS: string;
  KUBE_API: { fetch: typeof fetch };
}

const ANSWER_MILLISECONDS = 65_000;
const MAX_TARGET_BYTES = 16 * 1024;
const MAX_TOKEN_BYTES = 16 * 1024;
const MAX_REMEMBERED = 16_384;
const SEVERITY = ["debug", "info", "warn", "error"];
const STRIPPED = ["set-cookie", "authorization", "alt-svc", "server", "clear-site-data"];

let keys: ReturnType<typeof createRemoteJWKSet> | undefined;
const remembered = new Map<string, { caller: Caller; expires: number }>();

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const received = Date.now();
    const auditId = crypto.randomUUID();
    const path = pathAndQuery(request.url);
    if (path === "/.kube-access/healthz") {
      return new Response("ok\n", { headers: { "cache-control": "no-store" } });
    }
    let caller: Caller | undefined;
    let refusal: Refusal | undefined;
    let response: Response;
    try {
      if (path.length > MAX_TARGET_BYTES) {
        throw new Refusal(414, "RequestURITooLong", "path and query are too long: at most 16 KiB");
      }
      if (path.startsWith("/.kube-access")) {
        throw new Refusal(404, "NotFound", "the gateway itself has nothing at this path");
      }
      caller = await recognise(request.headers.get("cf-access-jwt-assertion"), env, received);
      const target = parseTarget(request.method, path);
      const headers = upstreamHeaders(request, caller, auditId);
      response = lookOver(await send(env, request, path, headers, target), target);
    } catch (error) {
      refusal = error instanceof Refusal ? error : new Refusal(500, "InternalError", "the gateway failed");
      response = refusalResponse(request, path, refusal);
    }
    record(env, { request, path, caller, refusal, response, received, auditId });
    return response;
  },
};

async function recognise(token: string | null, env: Env, now: number): Promise<Caller> {
  if (!token || token.length > MAX_TOKEN_BYTES) {
    throw unauthenticated("no token");
  }
  const known = env.REMEMBER_TOKENS === "true" ? remembered.get(token) : undefined;
  if (known && known.expires > now / 1000) {
    return known.caller;
  }
  keys ??= createRemoteJWKSet(new URL(`${env.ACCESS_TEAM_DOMAIN}/cdn-cgi/access/certs`), { cacheMaxAge: 3_600_000 });
  const options = {
    issuer: env.ACCESS_TEAM_DOMAIN,
    audience: env.ACCESS_AUD.split(","),
    algorithms: ["RS256"],
    requiredClaims: ["exp", "iat"],
  };
  const { payload } = await jwtVerify(token, keys, options).catch((error: Error) => {
    if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) {
      throw new Refusal(503, "ServiceUnavailable", "the keys of Cloudflare Access cannot be had");
    }
    throw unauthenticated(error.message);
  });
  if (payload.type !== "app") {
    throw unauthenticated("not an application token");
  }
  const caller = callerOf(payload);
  if (env.REMEMBER_TOKENS === "true") {
    if (remembered.size >= MAX_REMEMBERED) {
      remembered.clear();
    }
    remembered.set(token, { caller, expires: payload.exp ?? 0 });
  }
  return caller;
}

async function send(env: Env, request: Request, path: string, headers: Headers, target: Target): Promise<Response> {
  const controller = new AbortController();
  const timer = target.isLongRunning
    ? undefined
    : setTimeout(() => controller.abort(new Error("timeout")), ANSWER_MILLISECONDS);
  try {
    return await env.KUBE_API.fetch(`http://localhost${path}`, {
      method: request.method,
      headers,
      body: request.body,
      redirect: "manual",
      signal: controller.signal,
    });
  } catch (error) {
    const { message } = error as Error;
    throw message === "timeout"
      ? new Refusal(504, "Timeout", "the cluster did not answer in time")
      : new Refusal(502, "InternalError", `the connection to the cluster broke (${message})`);
  } finally {
    clearTimeout(timer);
  }
}

/** Passes the cluster's answer through, unless it is not the cluster's. */
function lookOver(response: Response, target: Target): Response {
  const { status, headers } = response;
  if (status >= 500) {
    const isHtml = headers.get("content-type")?.startsWith("text/html") && !target.isProxy;
    if ((status >= 520 && status <= 530) || isHtml) {
      throw new Refusal(502, "InternalError", `the way to the cluster answered what no API server answers (${status})`);
    }
  }
  if (!STRIPPED.some((name) => headers.has(name))) {
    return response;
  }
  const copy = new Response(response.body, response);
  for (const name of STRIPPED) {
    copy.headers.delete(name);
  }
  return copy;
}

interface Entry {
  request: Request;
  path: string;
  caller: Caller | undefined;
  refusal: Refusal | undefined;
  response: Response;
  received: number;
  auditId: string;
}

function record(env: Env, entry: Entry): void {
  const { request, path, caller, refusal, response, received, auditId } = entry;
  const level = refusal ? (refusal.status >= 500 ? "error" : "warn") : "debug";
  if (SEVERITY.indexOf(level) >= SEVERITY.indexOf(env.LOG_LEVEL)) {
    const line = {
      level,
      message: refusal ? "request refused" : "request served",
      time: new Date().toISOString(),
      auditID: auditId,
      method: request.method,
      uri: path.split("?")[0],
      user: caller?.user,
      status: response.status,
      reason: refusal?.reason,
      detail: refusal?.detail,
      milliseconds: Date.now() - received,
    };
    console.log(JSON.stringify(line));
  }
  if (env.ENABLE_K8S_LOGGING === "true") {
    console.log(JSON.stringify(auditEvent(entry)));
  }
}

/** The same members as kube-access writes. */
function auditEvent({ request, path, caller, refusal, response, received, auditId }: Entry): object {
  const { headers, method } = request;
  const [, , version, , namespace, resource, name, subresource] = path.split(/[/?]/);
  const lines = caller?.lines ?? [];
  const extras = lines.filter(([line]) => line.startsWith("Impersonate-Extra-"));
  return {
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "Metadata",
    auditID: auditId,
    stage: "ResponseComplete",
    requestURI: path,
    verb: method === "GET" ? "get" : method.toLowerCase(),
    user: {
      username: caller?.user,
      groups: lines.filter(([line]) => line === "Impersonate-Group").map(([, group]) => group),
      extra: Object.fromEntries(extras.map(([line, value]) => [decodeURIComponent(line.slice(18)), [value]])),
    },
    sourceIPs: [headers.get("cf-connecting-ip")],
    userAgent: headers.get("user-agent"),
    objectRef: { resource, namespace, name, apiVersion: version, subresource },
    requestReceivedTimestamp: new Date(received).toISOString().replace("Z", "000Z"),
    annotations: {
      "kube-access.dev/decision": refusal ? "refuse" : "forward",
      "kube-access.dev/detail": refusal?.detail,
      "kube-access.dev/ray": headers.get("cf-ray"),
      "kube-access.dev/client-kubectl-command": headers.get("kubectl-command"),
    },
    responseStatus: { metadata: {}, code: response.status, reason: refusal?.reason, message: refusal?.message },
    stageTimestamp: new Date().toISOString().replace("Z", "000Z"),
  };
}

function unauthenticated(detail: string): Refusal {
  const message = "no valid Cloudflare Access token came with this request: log in to Access, and try again";
  return new Refusal(401, "Unauthorized", message, detail);
}

function pathAndQuery(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start < 0 ? "/" : url.slice(start);
}
