// What every test with a browser stands on: Chromium, the edge with alice's session on it, the gateway in workerd, and an
// upstream that records what reaches the cluster. Beside them the web sites of whoever would use alice's session.

import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Page } from "playwright-core";
import type { Guard } from "../../deploy/impersonation.ts";
import { serverCertificate } from "../../dev/certificates.ts";
import { buildPage } from "../../dev/page-build.ts";
import { type Stack, startStack } from "../../dev/stack.ts";
import { buildVariant } from "../../dev/variant.ts";
import { type Received, type Recorder, startRecorder } from "../e2e/wire/recorder.ts";
import { type Chromium, findChromium, startChromium } from "./chromium.ts";
import { type Front, type Session, sessionCookie, startFront, type Visit } from "./front.ts";
import { type Pages, type Responder, startPages } from "./pages.ts";

/** The gateway's own host, another one of the same site, and one of another site. */
export const hosts = { kube: "kube.example.test", sibling: "sibling.example.test", evil: "evil.test" };
export const kube = `https://${hosts.kube}`;
export const secrets = `${kube}/api/v1/secrets`;
/** A workload that the API server proxies to. */
export const workload = "/api/v1/namespaces/default/services/web:http/proxy";
/** What the cluster answers with, and no page may ever read. */
export const canary = "c2VjcmV0LW9mLWFsaWNl";

export const sessions: Session[] = ["device", "cookie"];

const LIMIT_MS = 60_000;
/** How long a page that leaves may take to say so. */
const LEFT_MS = 10_000;

/** An answer that a program got through the edge. */
export interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  text: string;
}

export interface Stage {
  stack: Stack;
  upstream: Recorder;
  front: Front;
  pages: Pages;
  chromium: Chromium;
  ca: string;
  /** Before each test: no visits, no pages, nothing that a site has left in the browser. */
  reset(session?: Session): Promise<void>;
  /** Opens a page of a hostile site in a tab of its own. */
  visit(host: string, html?: string): Promise<Page>;
  /** A program on alice's machine, which has her session and marks nothing. */
  program(path: string, headers?: Record<string, string>, method?: string): Promise<Answer>;
  /** Waits for a request that a test's page makes of the gateway, and for the answer. */
  came(what: string, isIt: (visit: Visit) => boolean): Promise<Visit>;
  /** Nothing that came so far has reached the cluster or was answered with what it holds. */
  assertUntouched(): Promise<void>;
  stop(): Promise<void>;
}

export interface StageOptions {
  /** The gateway has its page, keeps grants, and records what alice does in pods. */
  hasPage?: boolean;
}

export async function startStage({ hasPage = false }: StageOptions = {}): Promise<Stage> {
  findChromium(); // says what is missing before anything starts
  const { ca, cert, key } = serverCertificate(Object.values(hosts));
  const started: { stop(): Promise<void> }[] = [];
  const keep = async <Part extends { stop(): Promise<void> }>(part: Promise<Part>): Promise<Part> => {
    started.push(await part);
    return part;
  };
  const stop = async () => {
    for (const part of started.splice(0).reverse()) {
      await part.stop();
    }
  };
  try {
    const upstream = await keep(startRecorder());
    const stack = await keep(startStack({ upstream, ...(hasPage && (await whatThePageNeeds())) }));
    const front = await keep(startFront({ cert, key, access: stack.access, gateway: stack.gateway }));
    const pages = await keep(startPages({ cert, key }));
    const chromium = await keep(
      startChromium({
        hosts: {
          [`${hosts.kube}:443`]: front.port,
          [`${hosts.sibling}:443`]: pages.port,
          [`${hosts.evil}:443`]: pages.port,
        },
        keys: [publicKeyDigest(cert)],
      }),
    );
    return { upstream, stack, front, pages, chromium, ca, stop, ...tools({ upstream, front, pages, chromium, ca }) };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function whatThePageNeeds() {
  const log = () => {};
  const guards: Guard[] = [{ name: "recorded", for: { users: ["alice"] }, record: true }];
  const { dir: worker } = await buildVariant({ name: "page", guards, grants: ["on-call"] }, log);
  const { dir: page } = await buildPage({ log });
  return { worker, page, hasGrants: true, hasSessions: true, identities: {}, vars: { CONTACT: "the platform team" } };
}

type Parts = Pick<Stage, "upstream" | "front" | "pages" | "chromium" | "ca">;

function tools({ upstream, front, pages, chromium, ca }: Parts) {
  let sentinels = 0;
  const program: Stage["program"] = async (path, headers = {}, method = "GET") => {
    const { host, port } = front;
    const request = httpsRequest({
      ...{ host, port, path, method, ca, agent: false, servername: hosts.kube },
      headers: { ...(front.session === "cookie" && { cookie: cookieLine }), ...headers, host: hosts.kube },
    });
    request.end();
    const [response] = (await once(request, "response", { signal: AbortSignal.timeout(LIMIT_MS) })) as [
      IncomingMessage,
    ];
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) {
      text += chunk;
    }
    return { status: response.statusCode ?? 0, headers: response.headers, text };
  };
  return {
    program,
    reset: async (session: Session = "device") => {
      const { context } = chromium;
      // One tab stays: Chromium ends with its last.
      const [first, ...others] = context.pages();
      await Promise.all(others.map((tab) => tab.close()));
      await first?.goto("about:blank");
      await context.clearCookies();
      if (session === "cookie") {
        // As Access sets it, unless told otherwise: it goes along from other sites, too.
        const { name, value } = sessionCookie;
        await context.addCookies([{ name, value, url: kube, httpOnly: true, secure: true, sameSite: "None" }]);
      }
      await eventually("what the last test's pages asked for is over", () =>
        front.visits.every(({ isOver }) => isOver),
      );
      front.reset();
      front.session = session;
      pages.reset();
      upstream.reset();
      upstream.script(cluster);
    },
    visit: async (host: string, html: string | Responder = "<!doctype html><title>hello</title>") => {
      pages.put(host, "/", html);
      const page = await chromium.tab();
      await page.goto(`https://${host}/`);
      return page;
    },
    came: async (what: string, isIt: (visit: Visit) => boolean) => {
      const found = () => front.visits.find((visit) => isIt(visit) && visit.status > 0);
      await eventually(`${what} comes to the gateway, and is answered`, () => found() !== undefined);
      return found() as Visit;
    },
    assertUntouched: async () => {
      await eventually("every request is answered", () => front.visits.every(({ isOver }) => isOver));
      const visits = front.visits.filter(({ target }) => !target.startsWith("/.kube-access/"));
      // What would have reached the cluster did so before this does.
      const sentinel = `/api/v1/namespaces/sentinel-${++sentinels}`;
      assert.equal((await program(sentinel)).status, 200, "a program is served");
      assert.deepEqual(
        upstream.received.map(({ head }) => head.start),
        [`GET ${sentinel} HTTP/1.1`],
        "no page's request may reach the cluster",
      );
      upstream.received.length = 0;
      for (const { method, target, status, answer, answerNames } of visits) {
        // 0: the page had left before the answer.
        const isTurnedAway = status === 0 || (front.session === "cookie" && status === 302);
        const isRefused = status === 403 || (method === "OPTIONS" && status === 405);
        assert.ok(isTurnedAway || isRefused, `${method} ${target} is answered with ${status}: ${answer}`);
        assert.ok(!answer.includes(canary), `${method} ${target} is answered with what the cluster holds`);
        assert.ok(!answerNames.some((name) => name.startsWith("access-control-")), `${method} ${target} gets CORS`);
      }
    },
  };
}

/** The cluster answers everything, with what nobody may see. */
function cluster(request: Received): void {
  const kind = request.method === "GET" ? "SecretList" : "Secret";
  request.answer("200 OK", ["Content-Type: application/json"], JSON.stringify({ kind, data: { token: canary } }));
}

const cookieLine = `${sessionCookie.name}=${sessionCookie.value}`;

function publicKeyDigest(certificate: string): string {
  const key = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}

/** Runs a function of the page's: its text, since it knows nothing of the test's. */
export function inPage(page: Page, script: string, ...args: unknown[]): Promise<unknown> {
  return page.evaluate(`(${script})(${args.map((argument) => JSON.stringify(argument)).join(", ")})`);
}

/**
 * Runs a function that leads the page elsewhere: Chromium may have left before it could say that the function ran, and now and then
 * says nothing at all.
 */
export async function leave(page: Page, script: string, ...args: unknown[]): Promise<void> {
  const ran = inPage(page, script, ...args).catch((error: Error) => {
    assert.match(error.message, /Execution context was destroyed|has been closed/);
  });
  const over = new AbortController();
  await Promise.race([ran, sleep(LEFT_MS, undefined, { signal: over.signal }).catch(() => {})]);
  over.abort();
}

/** Waits until something is true. */
export async function eventually(what: string, isTrue: () => boolean, limitMs = LIMIT_MS): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!isTrue()) {
    assert.ok(performance.now() < deadline, `not within ${limitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
