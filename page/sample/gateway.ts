// A stand-in for the gateway's own API (docs/page.md), with sample data in each of its states. What is ended or given changes it.

import type { Page } from "../../deploy/sessions/answers.ts";
import { type Grant, type Grants, LONGEST_GRANT_DAYS, LONGEST_REASON, type Wish } from "../src/api.ts";
import { HOSTILE, me, timestamp } from "./people.ts";
import { hostileSessions, listedOf, type Session, sampleSessions, summaryOf } from "./recordings.ts";
import type { State } from "./states.ts";

const ROOT = "/.kube-access";
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SLOW_MS = 3_000;
const DEFAULT_LIMIT = 50;

export interface Asked {
  method: string;
  /** Path and query. */
  target: string;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string | Buffer;
}

/** A refusal, on its way to being a Status. */
class Refusal extends Error {
  readonly code: number;
  readonly reason: string;

  constructor(code: number, reason: string, message: string) {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

export class SampleGateway {
  readonly #now: () => number;
  readonly #slowMs: number;
  readonly #places = new Map<State, { sessions: Session[]; grants: Grant[] }>();
  #count = 0;

  constructor(now: () => number, slowMs = SLOW_MS) {
    this.#now = now;
    this.#slowMs = slowMs;
  }

  async answer(state: State, asked: Asked): Promise<Answer> {
    if (state === "slow") {
      await new Promise((resolve) => setTimeout(resolve, this.#slowMs).unref());
    }
    if (state === "expired") {
      const location = "https://team.cloudflareaccess.com/cdn-cgi/access/login/kube.example.com";
      return { status: 302, headers: { location }, body: "" };
    }
    try {
      return this.#rule(state, asked);
    } catch (error) {
      if (error instanceof Refusal) {
        const { code, reason, message } = error;
        return json({ kind: "Status", apiVersion: "v1", status: "Failure", message, reason, code }, code);
      }
      throw error;
    }
  }

  #rule(state: State, { method, target, headers, body }: Asked): Answer {
    const url = new URL(target, "http://gateway");
    const path = url.pathname.slice(ROOT.length);
    const [, first, second, third, fourth] = path.split("/").map(decodeURIComponent);
    if (state === "failing" || (state === "halting" && first !== "me")) {
      throw new Refusal(503, "ServiceUnavailable", "the API server did not answer within 5 s: try again in a moment");
    }
    if (state === "denied") {
      throw new Refusal(
        403,
        "Forbidden",
        "no entry of this gateway's policy names you any more: ask the platform team (#platform)",
      );
    }
    if (method === "POST" && headers["content-type"] !== "application/json") {
      throw new Refusal(415, "UnsupportedMediaType", "a change is POST with Content-Type: application/json");
    }
    switch (`${method} ${first} ${third ?? ""}`) {
      case "GET me ":
        return json(me(state, this.#now(), url.searchParams.get("namespace") ?? undefined));
      case "GET kubeconfig ":
        return kubeconfig(me(state, this.#now()).cluster.host);
      case "GET sessions ":
        return second === undefined
          ? json(this.#list(state, url.searchParams))
          : json(this.#session(state, second).manifest);
      case "GET sessions chunks":
        return fourth === undefined
          ? json({ chunks: listedOf(this.#session(state, second)) })
          : bytes(this.#session(state, second).chunks.get(fourth));
      case "GET sessions cast":
        return cast(this.#session(state, second));
      case "POST sessions end":
        return this.#endSession(state, second, JSON.parse(body));
      case "GET grants ":
        return json(this.#grants(state));
      case "POST grants ":
        return json(this.#give(state, JSON.parse(body)), 201);
      case "POST grants end":
        return this.#takeBack(state, second ?? "");
      default:
        throw new Refusal(404, "NotFound", "the gateway itself has nothing at this path");
    }
  }

  #place(state: State) {
    const known = this.#places.get(state);
    if (known) {
      return known;
    }
    const now = this.#now();
    const sessions = state === "empty" ? [] : state === "hostile" ? hostileSessions(now) : sampleSessions(now);
    const grants = state === "empty" ? [] : sampleGrants(now, state === "hostile");
    const place = { sessions, grants };
    this.#places.set(state, place);
    return place;
  }

  #session(state: State, id: string | undefined): Session {
    const found = this.#place(state).sessions.find(({ manifest }) => manifest.id === id);
    if (!found) {
      throw new Refusal(404, "NotFound", `there is no session ${id}: the list shows those that there are`);
    }
    if (isNarrowed(state) && found.manifest.caller.user !== me(state, 0).user) {
      const message = `the cluster's RBAC does not let ${me(state, 0).user} see the sessions of others: it takes the ClusterRole kube-access:auditor, bound to you`;
      throw new Refusal(403, "Forbidden", message);
    }
    return found;
  }

  #list(state: State, query: URLSearchParams): Page {
    const limit = Number(query.get("limit") ?? DEFAULT_LIMIT);
    const cursor = query.get("cursor");
    const user = isNarrowed(state) ? me(state, 0).user : query.get("user");
    const all = this.#place(state)
      .sessions.map(({ manifest }) => summaryOf(manifest))
      .filter((summary) => {
        const has = (key: "namespace" | "pod") => (query.get(key) ?? summary[key]) === summary[key];
        const day = query.get("day");
        return (
          (user ?? summary.user) === summary.user &&
          has("namespace") &&
          has("pod") &&
          (day === null || summary.started.startsWith(day))
        );
      })
      .sort((one, other) => (one.id < other.id ? -1 : 1));
    const live = cursor === null ? all.filter((summary) => summary.state === "live") : [];
    const ended = all.filter((summary) => summary.state === "ended" && (cursor === null || summary.id > cursor));
    const page = ended.slice(0, limit);
    const last = page.at(-1);
    return {
      scope: isNarrowed(state) ? "own" : "all",
      sessions: [...live, ...page],
      ...(ended.length > limit && last ? { cursor: last.id } : {}),
    };
  }

  #endSession(state: State, id: string | undefined, { reason = "" }: { reason?: string }): Answer {
    const { manifest } = this.#session(state, id);
    if (manifest.state === "ended") {
      throw new Refusal(409, "Conflict", `the session ${id} has ended already`);
    }
    const who = me(state, 0).user;
    Object.assign(manifest, {
      state: "ended",
      ended: timestamp(this.#now()),
      by: "order",
      reason: `${who} ended it${reason && `: ${reason}`}`,
    });
    return json({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
  }

  #grants(state: State): Grants {
    const now = this.#now();
    const isGranter = !isNarrowed(state) && state !== "empty";
    const { email } = me(state, now);
    const current = this.#place(state).grants.filter(({ expires }) => Date.parse(expires) > now);
    return {
      scope: isGranter ? "all" : "own",
      groups:
        state === "empty"
          ? []
          : ["on-call", "sre", "auditors"].map((name) => ({
              name,
              mayGive: isGranter && name !== "auditors",
              mayTake: isGranter,
            })),
      grants: isGranter ? current : current.filter((grant) => grant.email === email),
    };
  }

  #give(state: State, wish: Wish): Grant {
    const now = this.#now();
    const end = Date.parse(wish.expires);
    if ((wish.email === undefined) === (wish.serviceToken === undefined)) {
      throw new Refusal(422, "Invalid", "a grant is for one of email and serviceToken");
    }
    if (!wish.reason || wish.reason.length > LONGEST_REASON) {
      throw new Refusal(422, "Invalid", `a reason has 1 to ${LONGEST_REASON} characters`);
    }
    if (!(end > now) || end > now + LONGEST_GRANT_DAYS * DAY_MS) {
      throw new Refusal(422, "Invalid", `a grant ends within ${LONGEST_GRANT_DAYS} days`);
    }
    const known = this.#grants(state).groups;
    const refused = wish.groups.find((group) => !known.some(({ name, mayGive }) => name === group && mayGive));
    if (refused !== undefined || wish.groups.length === 0) {
      throw new Refusal(
        403,
        "Forbidden",
        `the cluster's RBAC does not let you give ${refused ?? "nothing"}: it takes create of grants.kube-access.dev`,
      );
    }
    this.#count += 1;
    const grant: Grant = { ...wish, id: `g-new-${this.#count}`, given: timestamp(now), by: me(state, now).user };
    this.#place(state).grants.push(grant);
    return wish.email?.endsWith("@example.com") === false
      ? { ...grant, note: "No entry lets them in yet: a grant alone does not." }
      : grant;
  }

  #takeBack(state: State, id: string): Answer {
    const { grants } = this.#place(state);
    const at = grants.findIndex((grant) => grant.id === id);
    const isOwn = grants[at]?.email === me(state, this.#now()).email;
    if (at < 0 || (isNarrowed(state) && !isOwn)) {
      throw new Refusal(404, "NotFound", "this grant has ended, or was taken back already");
    }
    grants.splice(at, 1);
    return json({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
  }
}

function isNarrowed(state: State): boolean {
  return state === "developer" || state === "contractor";
}

function sampleGrants(now: number, isHostile: boolean): Grant[] {
  const later = (hours: number) => timestamp(now + hours * HOUR_MS);
  const grants: Grant[] = [
    {
      id: "g-2f81c0",
      email: "alice@example.com",
      groups: ["sre"],
      expires: later(2.2),
      given: later(-1.8),
      reason: "INC-7: the ledger is behind",
      by: "dana@example.com",
    },
    {
      id: "g-91ab03",
      email: "bob@example.com",
      groups: ["on-call"],
      expires: later(6.5),
      given: later(-1.5),
      reason: "INC-7",
      by: "alice",
    },
    {
      id: "g-77e210",
      serviceToken: "0123456789abcdef.access",
      groups: ["sre", "on-call"],
      expires: later(50),
      given: later(-22),
      reason: "the migration of the ledger",
      by: "alice",
    },
  ];
  const hostile = Object.values(HOSTILE).map(
    (text, index): Grant => ({
      ...{
        id: `g-hostile-${index}`,
        email: text,
        groups: [text],
        expires: later(1),
        given: later(-1),
        reason: text,
        by: text,
      },
    }),
  );
  return isHostile ? hostile : grants;
}

/** What the Worker writes for somebody whom no entry names: no script, and its style alone from build/page/. */
export function strangersPage(): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>You are in no entry</title>
<link rel="stylesheet" href="/.kube-access/assets/refused.css"></head>
<body class="refused"><main><h1>You are in no entry</h1>
<p>Cloudflare Access let you through as mallory@elsewhere.test, and no entry of this gateway's policy names you. Ask the platform team (#platform), and send them this:</p>
<pre>email: mallory@elsewhere.test
host: kube.example.com
time: 2026-11-26T12:00:00Z
ray: 9f3c1b2a4d5e6f70</pre></main></body></html>
`;
}

function json(value: object, status = 200): Answer {
  return { status, headers: { "content-type": "application/json" }, body: `${JSON.stringify(value)}\n` };
}

function bytes(chunk: Buffer | undefined): Answer {
  if (!chunk) {
    throw new Refusal(404, "NotFound", "there is no such chunk");
  }
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body: chunk };
}

function cast(session: Session): Answer {
  const chunks = listedOf(session).map(({ name }) => session.chunks.get(name) ?? Buffer.of());
  if (chunks.length === 0) {
    throw new Refusal(
      404,
      "NotFound",
      `there is no session ${session.manifest.id}: the list shows those that there are`,
    );
  }
  return { status: 200, headers: { "content-type": "application/x-asciicast" }, body: Buffer.concat(chunks) };
}

function kubeconfig(host: string): Answer {
  const body = `apiVersion: v1
kind: Config
clusters: [{ name: ${host}, cluster: { server: "https://${host}" } }]
users: [{ name: ${host}, user: { token: access } }]
contexts: [{ name: ${host}, context: { cluster: ${host}, user: ${host} } }]
current-context: ${host}
`;
  const headers = {
    "content-type": "application/yaml",
    "content-disposition": `attachment; filename=${host}.kubeconfig`,
  };
  return { status: 200, headers, body };
}
