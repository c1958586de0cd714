// Sends each request twice: through the gateway, and straight at `kubectl proxy` with the intended identity set by hand. The
// cluster's audit log must tell the same of both, or the gateway must have refused.

import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { gatewayUser } from "../../dev/cluster-objects.ts";
import type { AuditEvent } from "../e2e/cluster/audit-log.ts";
import { exchange } from "../e2e/cluster/raw-http.ts";
import type { Site } from "../e2e/cluster/site.ts";
import { until } from "../e2e/cluster/until.ts";
import { EXEC } from "../e2e/cluster/websocket.ts";
import { type HostileRequest, RequestMaker } from "./differential-requests.ts";

export interface Report {
  seed: number;
  requests: number;
  forwarded: number;
  refused: number;
  /** Answered by `kubectl proxy` itself, both times. */
  unseen: number;
  /** Each with a request that shows it. */
  differences: { why: string; request: HostileRequest }[];
  /** What reached the API server as the service account itself. */
  naked: AuditEvent[];
}

interface Trial {
  request: HostileRequest;
  status: number;
  /** The gateway's own event, when it forwarded the request. */
  forwarded: AuditEvent | undefined;
  /** The Audit-ID of the straight request. */
  straightAs: string;
}

const IDENTITIES = {
  alice: { username: "alice", groups: ["platform-admins", "developers"], email: "alice@example.com" },
  bob: { username: "bob@example.com", groups: ["developers"], email: "bob@example.com" },
  ci: { username: "ci-deployer", groups: ["ci"], email: undefined },
  carol: { username: "on-call-engineer", groups: ["on-call"], email: "carol@elsewhere.test" },
  dave: { username: "contractor", groups: ["contractors"], email: "dave@contractors.example" },
} as const;

const RAY = "8f0e1d2c3b4a5968-FRA";
const STRAIGHT = "straight";
const AT_A_TIME = 12;
const BATCH = 240;
const WRITTEN_MS = 60_000;

export async function runDifferential(
  site: Site,
  seed: number,
  count: number,
  log: (line: string) => void,
): Promise<Report> {
  const report: Report = { seed, requests: 0, forwarded: 0, refused: 0, unseen: 0, differences: [], naked: [] };
  const run = await Run.begin(site);
  const maker = new RequestMaker(seed);
  const alreadyThere = (await site.audit.events()).length;
  while (report.requests < count) {
    const requests = Array.from({ length: Math.min(BATCH, count - report.requests) }, () => maker.next());
    const trials = await run.send(requests);
    for (const trial of trials) {
      report.requests += 1;
      const verdict = await run.judge(trial);
      report[verdict.kind] += 1;
      if (verdict.why) {
        report.differences.push({ why: verdict.why, request: await run.smallest(trial.request, verdict.why) });
      }
    }
    log(
      `${report.requests} of ${count}: ${report.forwarded} forwarded, ${report.refused} refused, ${report.differences.length} differ`,
    );
  }
  const since = (await site.audit.events()).slice(alreadyThere);
  // A straight one that the API server lets nobody impersonate, as with a method that it does not know, is no request of the gateway's.
  const ofGateway = since.filter(({ userAgent }) => userAgent !== STRAIGHT);
  report.naked = ofGateway.filter(({ user, impersonatedUser }) => user.username === gatewayUser && !impersonatedUser);
  return report;
}

interface Intended {
  username: string;
  groups: string[];
  extra: Record<string, string[]>;
}

interface Decision {
  event: AuditEvent;
  isForwarded: boolean;
}

type Verdict = { kind: "forwarded" | "refused" | "unseen"; why?: string };

class Run {
  readonly #site: Site;
  readonly #tokens: Record<string, string>;
  /** What Access calls each. */
  readonly #subjects: Record<string, string>;
  readonly #run = randomUUID().slice(0, 8);
  #trial = 0;
  #linesRead = 0;
  readonly #decisions = new Map<string, Decision>();
  #eventsRead = 0;
  /** The first event of each Audit-ID. */
  readonly #events = new Map<string, AuditEvent>();

  private constructor(site: Site, tokens: Record<string, string>) {
    this.#site = site;
    this.#tokens = tokens;
    const subjects = Object.entries(tokens).map(([user, token]) => {
      const { sub, common_name } = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
      return [user, sub || common_name];
    });
    this.#subjects = Object.fromEntries(subjects);
  }

  static async begin(site: Site): Promise<Run> {
    const { access } = site.stack;
    const tokens = Object.keys(IDENTITIES).map(async (user) => [user, await access.mint(user)] as const);
    return new Run(site, Object.fromEntries(await Promise.all(tokens)));
  }

  async send(requests: HostileRequest[]): Promise<Trial[]> {
    const trials: Trial[] = [];
    const queue = [...requests];
    const worker = async () => {
      for (let request = queue.shift(); request; request = queue.shift()) {
        const trial = await this.#try(request);
        // A connection on the way can break, of which the gateway says 502, and that it is safe to ask again: as kubectl does.
        const mayRepeat = ["GET", "HEAD"].includes(request.method) && trial.status === 502;
        trials.push(mayRepeat ? await this.#try(request) : trial);
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, worker));
    return trials;
  }

  async #try(request: HostileRequest): Promise<Trial> {
    const name = `differential-${this.#run}-${++this.#trial}`;
    const [{ status }, straightAs] = await Promise.all([this.#throughGateway(request, name), this.#straight(request)]);
    const decision = await this.#decision(name, status);
    return { request, status, forwarded: decision?.isForwarded ? decision.event : undefined, straightAs };
  }

  async judge({ request, status, forwarded, straightAs }: Trial): Promise<Verdict> {
    if (!forwarded) {
      const mayBe = request.oddities.length > 0 || (await this.#isTakenAway(request, straightAs));
      const why = mayBe ? undefined : `an ordinary request was refused with ${status}`;
      return { kind: "refused", ...(why ? { why } : {}) };
    }
    if (request.mustBeRefused) {
      return { kind: "forwarded", why: "it was forwarded, and had to be refused" };
    }
    let [ours, theirs] = await Promise.all([this.#event(forwarded.auditID), this.#event(straightAs)]);
    if (!ours && !theirs) {
      return { kind: "unseen" };
    }
    // Where the one is there, the other is only late, if it comes at all.
    ours ??= await this.#event(forwarded.auditID, WRITTEN_MS);
    theirs ??= isRewritten(request.target) ? undefined : await this.#event(straightAs, WRITTEN_MS);
    if (!ours) {
      return {
        kind: "forwarded",
        why: `only the straight request reached the API server, and the gateway answered ${status}`,
      };
    }
    const why = difference(request, this.#intended(request), forwarded, ours, theirs);
    return { kind: "forwarded", ...(why ? { why } : {}) };
  }

  /** The request less every part without which it still fails in the same way. */
  async smallest(request: HostileRequest, why: string): Promise<HostileRequest> {
    const fails = async (candidate: HostileRequest) => {
      const [trial] = await this.send([candidate]);
      return trial !== undefined && (await this.judge(trial)).why === why;
    };
    let smallest = request;
    if (request.mustBeRefused) {
      return request; // what had to be refused in it would be the first to go
    }
    for (let index = 0; index < smallest.headers.length; ) {
      const candidate = { ...smallest, headers: smallest.headers.toSpliced(index, 1) };
      if (await fails(candidate)) {
        smallest = candidate;
      } else {
        index += 1;
      }
    }
    const withoutQuery = { ...smallest, target: smallest.target.split("?")[0] ?? "" };
    return (await fails(withoutQuery)) ? withoutQuery : smallest;
  }

  #throughGateway(request: HostileRequest, name: string): Promise<{ status: number }> {
    return send(this.#site.stack.gateway, request, [
      ["Host", "kube.example.com"],
      ["User-Agent", name],
      ["Cf-Ray", RAY],
      ["Cf-Access-Jwt-Assertion", this.#tokens[request.user] ?? ""],
      ...(request.webSocket ? [["Connection", "Upgrade"] as [string, string], ...webSocketHeaders] : []),
      ...request.headers,
    ]);
  }

  /** With nothing but the identity that the request is to have. Gives its Audit-ID. */
  async #straight(request: HostileRequest): Promise<string> {
    const { username, groups, extra } = this.#intended(request);
    const auditId = randomUUID();
    const lines = Object.entries(extra).flatMap(([key, values]) =>
      values.map((value): [string, string] => [`Impersonate-Extra-${key.replace("/", "%2F")}`, value]),
    );
    await send(this.#site.kubectlProxy, request, [
      ["Host", "localhost"],
      ["User-Agent", STRAIGHT],
      ["Audit-ID", auditId],
      ["Impersonate-User", username],
      ...groups.map((group): [string, string] => ["Impersonate-Group", group]),
      ...lines,
      ...(request.webSocket ? [["Connection", "Upgrade"] as [string, string], ...webSocketHeaders] : []),
    ]);
    return auditId;
  }

  /** Who the request is to be to the cluster, as the API server tells it, but for the group that it adds. */
  #intended({ user, as }: HostileRequest): Intended {
    const { username, groups, email } = IDENTITIES[user];
    const extra: Record<string, string[]> = {
      ...(email ? { "kube-access.dev/email": [email] } : {}),
      "kube-access.dev/subject": [this.#subjects[user] ?? ""],
    };
    if (!as) {
      return { username, groups: [...groups], extra };
    }
    const original = { "kube-access.dev/original-user": [username], "kube-access.dev/original-groups": [...groups] };
    return { ...as, extra: { ...extra, ...original } };
  }

  /** Whether the guard for dave takes away what the API server took the straight request for. */
  async #isTakenAway({ user }: HostileRequest, straightAs: string): Promise<boolean> {
    const event = user === "dave" ? await this.#event(straightAs) : undefined;
    return event !== undefined && !onlyReads(event);
  }

  /** What the gateway's own event says; undefined when workerd itself would not take the request. */
  async #decision(name: string, status: number): Promise<Decision | undefined> {
    const found = () => {
      const lines = this.#site.stack.gateway.logs();
      for (; this.#linesRead < lines.length; this.#linesRead += 1) {
        const line = lines[this.#linesRead] ?? "";
        if (line.includes("audit.k8s.io/v1")) {
          const event = JSON.parse(line);
          this.#decisions.set(event.userAgent, {
            event,
            isForwarded: event.annotations["kube-access.dev/decision"] === "forward",
          });
        }
      }
      return this.#decisions.get(name);
    };
    if (RUNTIMES_OWN.includes(status)) {
      return until("the gateway's event", SETTLED_MS, found).catch(() => undefined);
    }
    return until(`the gateway's event of ${name}, answered with ${status}`, WRITTEN_MS, found);
  }

  async #event(auditId: string, limitMs = SETTLED_MS): Promise<AuditEvent | undefined> {
    const found = async () => {
      const events = await this.#site.audit.events();
      for (; this.#eventsRead < events.length; this.#eventsRead += 1) {
        const event = events[this.#eventsRead];
        if (event && !this.#events.has(event.auditID)) {
          this.#events.set(event.auditID, event);
        }
      }
      return this.#events.get(auditId);
    };
    return (await found()) ?? (await until("the event", limitMs, found).catch(() => undefined));
  }
}

/** Dot segments and tabs are taken out by whoever parses the URL first: Cloudflare's edge, long before the gateway sees it. */
function isRewritten(target: string): boolean {
  return /\/(\.|%2e){1,2}([/?#]|$)|\t/i.test(target);
}

/** What workerd answers to bytes that it does not take for a request; 0 is no answer at all. */
const RUNTIMES_OWN = [0, 400, 500, 501];

/** The API server writes an event before, or a moment after, its answer. */
const SETTLED_MS = 1_000;

/**
 * Three must agree: the gateway's own event, the API server's of the same request, and the API server's of the straight one.
 */
function difference(
  request: HostileRequest,
  { username, groups, extra }: Intended,
  claimed: AuditEvent,
  ours: AuditEvent,
  theirs?: AuditEvent,
): string | undefined {
  const intended = { username, groups: [...groups, "system:authenticated"].toSorted(), extra };
  const { impersonatedUser: found } = ours;
  const seen = { ...found, groups: found?.groups?.toSorted() };
  if (ours.user.username !== gatewayUser || !isDeepStrictEqual(seen, intended)) {
    return `it was done as ${JSON.stringify(ours.impersonatedUser)}`;
  }
  if (request.user === "dave" && !onlyReads(ours)) {
    return "the guard let it pass";
  }
  if (!isDeepStrictEqual(asked(claimed), asked(ours))) {
    return `the gateway read ${JSON.stringify(asked(claimed))}, the API server ${JSON.stringify(asked(ours))}`;
  }
  if (isRewritten(request.target)) {
    return undefined; // `kubectl proxy` would redirect or refuse the straight one
  }
  if (!theirs) {
    return "only the request through the gateway reached the API server";
  }
  const isSame = isDeepStrictEqual(asked(ours), asked(theirs));
  return isSame ? undefined : `${JSON.stringify(asked(ours))} instead of ${JSON.stringify(asked(theirs))}`;
}

/** What `allow: read-only` lets pass, by what the API server says of a request. */
function onlyReads({ verb, objectRef, requestURI }: AuditEvent): boolean {
  const { resource, subresource = "" } = objectRef ?? {};
  if (resource === undefined) {
    const [path = ""] = requestURI.split("?");
    const letters = path.replaceAll(/%([2-7][0-9a-f])/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
    return ["get", "head"].includes(verb) && /^\/(api|apis|openapi)(\/|$)|^\/version\/?$/.test(letters);
  }
  const isReview = verb === "create" && /^selfsubject/.test(resource);
  const isRead = ["get", "list", "watch"].includes(verb) && resource !== "secrets";
  return isReview || (isRead && !["exec", "attach", "portforward", "proxy"].includes(subresource));
}

function asked({ verb, objectRef }: AuditEvent): object {
  const { resource, subresource, namespace, name, apiGroup, apiVersion } = objectRef ?? {};
  return { verb, resource, subresource, namespace, name, apiGroup, apiVersion };
}

const webSocketHeaders: [string, string][] = [
  ["Upgrade", "websocket"],
  ["Sec-WebSocket-Version", "13"],
  ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
  ["Sec-WebSocket-Protocol", EXEC],
];

/** Status 0: the connection was closed without an answer. */
async function send(
  to: { host: string; port: number },
  { method, target }: HostileRequest,
  headers: [string, string][],
): Promise<{ status: number }> {
  const hasBody = ["POST", "PUT", "PATCH"].includes(method);
  const lines = [...headers, ...(hasBody ? [["Content-Length", "0"]] : [])].map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  try {
    const answer = await exchange(to, `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n`);
    answer.socket.destroy();
    return { status: answer.status };
  } catch {
    return { status: 0 };
  }
}
