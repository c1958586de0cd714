// The guarded last hop, in place of `kubectl proxy`: what comes from the tunnel goes on to the API server with the service account's
// credential, if it says for whom it is and, where there is a key, if this gateway's Worker signed it. It loses nothing when one side
// of a stream ends before the other. It runs as it is on a stock image of Node.js, and needs nothing else.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { join } from "node:path";
import { parseArgs } from "node:util";

const USAGE = `usage: node last-hop.mjs [options]

Carries requests from a port of the loopback to the Kubernetes API server.

  --port PORT       where it listens, on 127.0.0.1 (default: 8001)
  --server URL      the API server (default: of the pod, by KUBERNETES_SERVICE_HOST and _PORT)
  --account DIR     token and ca.crt of the service account (default: where a pod has them)
  --key-file FILE   the key by which the Worker signs (LAST_HOP_KEY there); without it, signatures are not asked for
  --probe PATH      asks the last hop that runs on --port for this path, and says whether the answer was 200
  --help            this text`;

/** How old a signature may be, and how far ahead of this clock. */
const SIGNATURE_MS = 30_000;
/** How often token and authority are read: the kubelet puts new ones into their place when the old are still good for a while. */
const CREDENTIALS_MS = 1_000;
/**
 * What is read of one side of a stream before the other has taken it: of each, of all together, and of each in any case. When a command
 * ends while its output waits at the API server, that forgets some of it, and says "Success"; so little is left waiting there.
 */
const [AHEAD, AHEAD_IN_ALL, AHEAD_ALWAYS] = [64, 192, 1].map((megabytes) => megabytes * 1024 * 1024);
/** How long a client may go on sending when the API server is gone and all that it said is with the client. */
const DRAIN_MS = 30_000;
/** As long as an API server keeps an idle connection, and a little less; cloudflared keeps those to here for 90 seconds. */
const [IDLE_UPWARDS_MS, IDLE_MS] = [60_000, 120_000];
/** Above the gateway's own limit of 128 KiB, which speaks first. */
const HEAD_BYTES = 256 * 1024;
/** How long running streams may take to end when the pod ends: cloudflared gives them 30 seconds. */
const FAREWELL_MS = 35_000;

/** What belongs to one connection. What `Connection` names is not dropped: it could name the identity. */
const HOP_BY_HOP = new Set(["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"]);
const CHUNKED = new Set(["transfer-encoding"]);
const OWN = new Set(["host", "authorization", "expect", "kube-access-signature"]);
const HOSTS = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;

const options = readOptions();
const credentials = cached(readCredentials, CREDENTIALS_MS);
const isReplayed = memoryOf(2 * SIGNATURE_MS);

if (options.probe) {
  const { status } = await fetch(`http://127.0.0.1:${options.port}${options.probe}`);
  process.exit(status === 200 ? 0 : 1);
}
serve();

function serve() {
  credentials();
  const server = createServer({ maxHeaderSize: HEAD_BYTES, requestTimeout: 0, keepAliveTimeout: IDLE_MS });
  server.maxHeadersCount = 0;
  server.on("request", (request, response) => {
    const answer = (status, message) => {
      const { type, body } = inWords(request, status, message);
      response.writeHead(status, { "content-type": type }).end(body);
    };
    attempt(answer, () => {
      if (request.url.startsWith("/.last-hop/")) {
        answerProbe(request, answer);
        return;
      }
      const refusal = refusalOf(request);
      if (refusal) {
        answer(...refusal);
      } else {
        forward(request, response, answer);
      }
    });
  });
  server.on("upgrade", (request, client, head) => {
    client.on("error", () => client.destroy());
    const answer = (status, message) => client.end(asText(request, status, message));
    attempt(answer, () => {
      const refusal = refusalOf(request);
      if (refusal) {
        answer(...refusal);
      } else {
        upgrade(request, client, head, answer);
      }
    });
  });
  server.on("clientError", (error, client) => {
    if (client.writable && error.code !== "ECONNRESET") {
      client.end(asText(undefined, 400, `the last hop cannot read this request: ${error.code}`));
    } else {
      client.destroy();
    }
  });
  server.listen(options.port, "127.0.0.1", () => log("info", `listening on 127.0.0.1:${server.address().port}`));
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.once(signal, () => {
      server.close(() => process.exit(0));
      setTimeout(() => process.exit(0), FAREWELL_MS).unref();
    });
  }
}

/** What Node.js will not send is this request's fault, and must not end the streams of others. */
function attempt(answer, work) {
  try {
    work();
  } catch (error) {
    log("error", `a request cannot be carried: ${error.message}`);
    answer(400, `the last hop cannot carry this: ${error.message}`);
  }
}

/** Why a request may not go on, if so: a status and a sentence. It answers nobody, so that no answer is taken for a yes. */
function refusalOf(request) {
  const { rawHeaders, url } = request;
  if (valuesOf(rawHeaders, "host").length !== 1 || !HOSTS.test(request.headers.host)) {
    return [403, "the last hop serves no other host than localhost"];
  }
  if (!url.startsWith("/")) {
    return [400, "the last hop serves paths, and nothing else"];
  }
  const users = valuesOf(rawHeaders, "impersonate-user");
  if (users.length !== 1 || users[0] === "") {
    return [403, "the last hop carries nothing that does not say, once, for whom it is: Impersonate-User"];
  }
  const fault = options.key && faultOf(request);
  return fault ? [403, `the last hop carries only what this gateway's Worker signed: ${fault}`] : undefined;
}

/**
 * What is wrong with a signature: `Kube-Access-Signature: SECONDS MAC`, where the MAC is HMAC-SHA-256, in base64url, over lines: the
 * seconds since the Unix epoch, method, target, Audit-ID, and the identity's as `name:value`, names in lower case: the user, the groups
 * as they came, all else by name. (`sign` of the Worker's src/signature.rs writes it.)
 */
function faultOf({ method, url, rawHeaders }) {
  const [signature = "", ...more] = valuesOf(rawHeaders, "kube-access-signature");
  const [, seconds, mac] = /^(\d{1,12}) ([\w-]{43})$/.exec(signature) ?? [];
  if (!mac || more.length > 0) {
    return signature ? "the signature cannot be read" : "there is no signature";
  }
  if (Math.abs(Date.now() - Number(seconds) * 1000) > SIGNATURE_MS) {
    return "the signature is too old, or a clock is wrong";
  }
  const identity = pairsOf(rawHeaders)
    .map(([name, value]) => [name.toLowerCase(), value])
    .filter(([name]) => name.startsWith("impersonate-"))
    .sort(([one], [other]) => rank(one) - rank(other) || (one < other ? -1 : Number(one > other)))
    .map(([name, value]) => `${name}:${value}`);
  const text = [seconds, method, url, valuesOf(rawHeaders, "audit-id").join(), ...identity].join("\n");
  const expected = createHmac("sha256", options.key).update(text).digest();
  if (!timingSafeEqual(Buffer.from(mac, "base64url"), expected)) {
    return "the signature is not this request's, or not by this key";
  }
  return isReplayed(mac) ? "this request came before" : undefined;
}

function rank(name) {
  return ["impersonate-user", "impersonate-group", name].indexOf(name);
}

/** The kubelet's questions: whether this process answers (live), and whether the API server does, too (ready). */
function answerProbe({ url }, answer) {
  if (url === "/.last-hop/live") {
    return answer(200, "ok");
  }
  const { agent, authorization } = credentials();
  const question = httpsRequest(options.server, { agent, path: "/readyz", headers: { authorization }, timeout: 4000 });
  question.on("response", (ready) => {
    ready.resume();
    answer(ready.statusCode === 200 ? 200 : 503, `the API server answers ${ready.statusCode}`);
  });
  question.on("timeout", () => question.destroy(new Error("it does not answer in time")));
  question.on("error", (error) => answer(503, `the API server cannot be reached: ${error.message}`));
  question.end();
}

/** An ordinary request. Bodies stream both ways. */
function forward(request, response, answer, isRepeated = false) {
  const { method, url: path, headers } = request;
  const { agent, authorization } = credentials();
  const up = httpsRequest(options.server, {
    ...{ agent, method, path, setHost: false, maxHeaderSize: HEAD_BYTES },
    headers: linesFor(request, authorization),
  });
  up.on("response", (from) => {
    // What breaks off must not look whole.
    from.on("error", () => response.socket?.resetAndDestroy());
    response.sendDate = false;
    attempt(answer, () => {
      response.writeHead(from.statusCode, from.statusMessage, without(from.rawHeaders, HOP_BY_HOP, CHUNKED));
      response.flushHeaders();
      from.pipe(response);
    });
  });
  up.on("error", (error) => {
    const hasBody = "transfer-encoding" in headers || "content-length" in headers;
    if (response.headersSent) {
      response.socket?.resetAndDestroy();
    } else if (up.reusedSocket && !isRepeated && !hasBody && (method === "GET" || method === "HEAD")) {
      // The API server had closed an idle connection.
      forward(request, response, answer, true);
    } else {
      failed(error, answer);
    }
  });
  response.on("close", () => response.writableFinished || up.destroy());
  if (!isRepeated) {
    request.pipe(up);
  } else {
    up.end();
  }
}

/** A request to upgrade the connection: a stream when the API server takes it, an ordinary answer when it does not. */
function upgrade(request, client, head, answer) {
  const { method, url: path, headers } = request;
  const { agent, authorization } = credentials();
  const up = httpsRequest(options.server, {
    ...{ method, path, setHost: false, maxHeaderSize: HEAD_BYTES },
    headers: [...linesFor(request, authorization), "Connection", "Upgrade", "Upgrade", headers.upgrade],
    // A connection of its own, which stays open for writing when the API server has said its last word.
    agent: new Agent({ ...agent.options, keepAlive: false, allowHalfOpen: true }),
  });
  up.on("upgrade", ({ statusCode, statusMessage, rawHeaders }, cluster, clusterHead) => {
    client.write(headText(statusCode, statusMessage, rawHeaders));
    couple(client, cluster, head, clusterHead);
  });
  up.on("response", (from) => {
    const lines = [...without(from.rawHeaders, HOP_BY_HOP, CHUNKED), "Connection", "close"];
    client.write(headText(from.statusCode, from.statusMessage, lines));
    from.pipe(client);
    from.on("error", () => client.resetAndDestroy());
  });
  up.on("error", (error) => failed(error, answer));
  client.on("close", () => up.destroy());
  up.end();
}

/**
 * Joins the two sides of a stream. Each is read until it ends by itself, and its end is handed on when all before it is; an error is
 * handed on as an error, so that what breaks off does not look whole. What the API server no longer takes is swallowed.
 */
function couple(client, cluster, clientHead, clusterHead) {
  shield(cluster);
  cluster.write(clientHead);
  client.write(clusterHead);
  pump(client, cluster);
  pump(cluster, client);
  let isWhole = false;
  cluster.on("end", () => {
    isWhole = true;
    client.on("finish", () => setTimeout(() => client.destroy(), DRAIN_MS).unref());
  });
  cluster.on("error", () => {}); // its close follows
  cluster.on("close", () => isWhole || client.write("", () => client.resetAndDestroy()));
  client.on("close", () => cluster.destroy());
}

/** What all streams together have read ahead, in bytes. */
let aheadInAll = 0;

/** Copies what one side sends, ahead of the other. */
function pump(from, to) {
  let ahead = 0;
  const count = () => {
    const before = ahead;
    ahead = to.destroyed ? 0 : to.writableLength;
    aheadInAll += ahead - before;
    if (ahead > AHEAD_ALWAYS && (ahead > AHEAD || aheadInAll > AHEAD_IN_ALL)) {
      from.pause();
    } else {
      from.resume();
    }
  };
  from.on("data", (chunk) => {
    if (to.writable) {
      to.write(chunk, count);
      count();
    }
  });
  from.on("end", () => to.end());
  to.on("close", count);
}

/**
 * A socket that is still read when it can no longer be written to. Node.js would destroy it, and what it holds unread with it: without
 * this, up to one in ten commands that end while their stdin flows loses its last words (tests/e2e/wire/last-hop.test.ts).
 */
function shield(socket) {
  for (const name of ["_write", "_writev", "_final"]) {
    const write = socket[name].bind(socket);
    socket[name] = (...chunk) => {
      const done = chunk.pop();
      write(...chunk, () => done());
    };
  }
}

function failed(error, answer) {
  log("error", `the API server cannot be reached: ${error.message}`);
  answer(502, "the last hop cannot reach the API server");
}

/** An answer of its own where the connection was to be upgraded, or the request could not be read. */
function asText(request, status, message) {
  const { type, body } = inWords(request, status, message);
  const lines = ["Content-Type", type, "Content-Length", String(Buffer.byteLength(body)), "Connection", "close"];
  return headText(status, REASONS[status], lines) + body;
}

const REASONS = { 200: "OK", 400: "BadRequest", 403: "Forbidden", 502: "BadGateway", 503: "ServiceUnavailable" };

/** As kubectl prints it: a Status where it asks for a resource or a stream, and a text where it asks what there is. */
function inWords(request, code, message) {
  if (request && !request.upgrade && !/^\/(api|apis\/[^/?]+)\/[^/?]+\/[^?]/.test(request.url)) {
    return { type: "text/plain; charset=utf-8", body: `${message}\n` };
  }
  const status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason: REASONS[code],
    code,
  };
  return { type: "application/json", body: JSON.stringify(status) };
}

function headText(status, statusText, rawHeaders) {
  const lines = pairsOf(rawHeaders).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${statusText}\r\n${lines.join("")}\r\n`;
}

/** The lines that go on, as they came, and the account's credential. */
function linesFor(request, authorization) {
  return [...without(request.rawHeaders, HOP_BY_HOP, OWN), "Host", options.server.host, "Authorization", authorization];
}

function without(rawHeaders, ...sets) {
  return pairsOf(rawHeaders)
    .filter(([name]) => !sets.some((names) => names.has(name.toLowerCase())))
    .flat();
}

function valuesOf(rawHeaders, wanted) {
  return pairsOf(rawHeaders)
    .filter(([name]) => name.toLowerCase() === wanted)
    .map(([, value]) => value);
}

function pairsOf(rawHeaders) {
  return Array.from({ length: rawHeaders.length / 2 }, (_, index) => rawHeaders.slice(2 * index, 2 * index + 2));
}

/** The account's token and the way to the API server: a new pool of connections when its authority changes. */
function readCredentials(before) {
  const ca = readFileSync(join(options.account, "ca.crt"), "utf8");
  const token = readFileSync(join(options.account, "token"), "utf8").trim();
  const isSame = before?.agent.options.ca === ca;
  const agent = isSame ? before.agent : new Agent({ ca, keepAlive: true, timeout: IDLE_UPWARDS_MS });
  return { agent, authorization: `Bearer ${token}` };
}

/** What `make` gave, made anew when that is some time ago. What cannot be made anew stays. */
function cached(make, milliseconds) {
  let value;
  let until = 0;
  return () => {
    if (Date.now() >= until) {
      try {
        value = make(value);
      } catch (error) {
        log("error", error.message);
        if (value === undefined) {
          process.exit(1);
        }
      }
      until = Date.now() + milliseconds;
    }
    return value;
  };
}

/** Whether something was there already, at least so many milliseconds ago, and at most twice as many. */
function memoryOf(milliseconds) {
  let [young, old, until] = [new Set(), new Set(), 0];
  return (thing) => {
    if (Date.now() >= until) {
      [young, old, until] = [
        new Set(),
        Date.now() >= until + milliseconds ? new Set() : young,
        Date.now() + milliseconds,
      ];
    }
    const isKnown = young.has(thing) || old.has(thing);
    young.add(thing);
    return isKnown;
  };
}

function log(level, message) {
  console.log(JSON.stringify({ level, message, time: new Date().toISOString() }));
}

function readOptions() {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = process.env;
  const ofPod = host && `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  try {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: "8001" },
        server: { type: "string" },
        account: { type: "string", default: "/var/run/secrets/kubernetes.io/serviceaccount" },
        "key-file": { type: "string" },
        probe: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const server = values.server ?? ofPod;
    if (!values.probe && !(URL.canParse(server) && new URL(server).protocol === "https:")) {
      const given = values.server === undefined ? ": outside of a pod," : ` ${values.server}:`;
      throw new Error(`--server${given} the https:// address of an API server was expected`);
    }
    const key = values["key-file"] && readFileSync(values["key-file"], "utf8").trim();
    if (key !== undefined && key.length < 32) {
      throw new Error("--key-file: a key of at least 32 characters was expected");
    }
    return { ...values, server: server && new URL(server), key };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}
