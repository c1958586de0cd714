// A stand-in for the gateway's own API (docs/page.md), with sample data in each of its states. What is ended or given changes it. What it
// refuses, it refuses with the Worker's status and in its words: tests/page/sample.test.ts looks for them in src/.

import { readFileSync } from "node:fs";
import type { Page } from "../../deploy/sessions/answers.ts";
import { type Grant, type Grants, LONGEST_GRANT_DAYS, LONGEST_REASON, type Wish } from "../src/api.ts";
import { HOST, HOSTILE, me, timestamp } from "./people.ts";
import { hostileSessions, listedOf, type Session, sampleSessions, summaryOf } from "./recordings.ts";
import type { State } from "./states.ts";

const ROOT = "/.kube-access";
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SLOW_MS = 3_000;
const DEFAULT_LIMIT = 50;
const MINUTE_MS = 60_000;

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
        return refused(error);
      }
      throw error;
    }
  }

  #rule(state: State, { method, target, headers, body }: Asked): Answer {
    const url = new URL(target, "http://gateway");
    const path = url.pathname.slice(ROOT.length);
    const [, first, second, third, fourth] = path.split("/").map(decodeURIComponent);
    if (state === "failing") {
      throw unavailable("who you are to the cluster cannot be told right now: the identity store failed");
    }
    if (state === "denied") {
      throw forbidden(inNoEntry("alice@example.com"));
    }
    const { features } = me(state, this.#now());
    if (first === "sessions" && !features.sessions) {
      throw notFound(
        "this gateway keeps no sessions: its administrator can have Terraform make what they need (sessions = true)",
      );
    }
    if (first === "grants" && !features.grants) {
      throw notFound(
        "this gateway gives no grants: its administrator can list groups for granting in identities.yaml (grants.groups), and have Terraform make what that needs (identities_kv = true)",
      );
    }
    if (method === "POST" && headers["content-type"] !== "application/json") {
      throw badRequest("a change comes as JSON, with Content-Type: application/json, of at most 16 KiB");
    }
    if (state === "halting" && first !== "me") {
      const what = first === "sessions" ? "see the sessions of others" : "do that";
      throw unavailable(`whether you may ${what} cannot be told right now: the API server did not answer the question`);
    }
    switch (`${method} ${first} ${third ?? ""}`) {
      case "GET me ":
        return json(me(state, this.#now(), namespaceOf(url.searchParams)));
      case "GET kubeconfig ":
        return kubeconfig();
      case "GET sessions ":
        return second === undefined
          ? json(this.#list(state, url.searchParams))
          : json(this.#session(state, second, "see").manifest);
      case "GET sessions chunks":
        return fourth === undefined
          ? json({ chunks: listedOf(this.#session(state, second, "see")) })
          : bytes(this.#session(state, second, "see").chunks.get(fourth));
      case "GET sessions cast":
        return cast(this.#session(state, second, "see"));
      case "POST sessions end":
        return this.#endSession(state, second, JSON.parse(body));
      case "GET grants ":
        return json(this.#grants(state));
      case "POST grants ":
        return json(this.#give(state, JSON.parse(body)), 201);
      case "POST grants end":
        return this.#takeBack(state, second ?? "");
      default:
        throw notFound(NOTHING);
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

  #session(state: State, id: string | undefined, verb: "see" | "end"): Session {
    const found = this.#place(state).sessions.find(({ manifest }) => manifest.id === id);
    if (!found) {
      throw noSuchSession(id);
    }
    if (isNarrowed(state) && found.manifest.caller.user !== me(state, 0).user) {
      throw notAuditor(state, verb);
    }
    return found;
  }

  #list(state: State, query: URLSearchParams): Page {
    const limit = Number(query.get("limit") ?? DEFAULT_LIMIT);
    const cursor = query.get("cursor");
    const own = me(state, 0).user;
    const user = query.get("user") ?? (isNarrowed(state) ? own : undefined);
    if (isNarrowed(state) && user !== own) {
      throw notAuditor(state, "list");
    }
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
    const { manifest } = this.#session(state, id, "end");
    if (manifest.state === "ended") {
      throw notFound(`the session ${id} has ended already`);
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
      groups: ["on-call", "sre", "auditors"].map((name) => ({
        name,
        mayGive: isGranter && name !== "auditors",
        mayTake: isGranter,
      })),
      grants: isGranter ? current : current.filter((grant) => grant.email === email),
    };
  }

  #give(state: State, wish: Wish): Grant {
    const now = this.#now();
    const malformed = (what: string) => badRequest(`this grant cannot be given: ${what}`);
    if ((wish.email === undefined) === (wish.serviceToken === undefined)) {
      throw malformed("it is for one person (email), or for one program (serviceToken)");
    }
    if (wish.groups.length === 0) {
      throw malformed("groups are 1 to 16");
    }
    const { groups } = this.#grants(state);
    for (const group of wish.groups) {
      if (!groups.some(({ name }) => name === group)) {
        throw badRequest(
          `the group ${group} is not for granting: its administrator lists those that are in identities.yaml (grants.groups)`,
        );
      }
    }
    const end = Date.parse(wish.expires);
    if (!(end >= now + MINUTE_MS) || end > now + LONGEST_GRANT_DAYS * DAY_MS) {
      throw malformed("expires is a time by RFC 3339, such as 2027-01-31T12:00:00Z, from a minute to 30 days from now");
    }
    if (!wish.reason || wish.reason.length > LONGEST_REASON) {
      throw malformed("it takes a reason of at most 200 characters, for whoever looks at it later");
    }
    this.#check(state, "give", wish.groups);
    this.#count += 1;
    const grant: Grant = { ...wish, id: `g-new-${this.#count}`, given: timestamp(now), by: me(state, now).user };
    this.#place(state).grants.push(grant);
    return wish.email?.endsWith("@example.com") === false ? { ...grant, note: NOTE } : grant;
  }

  #takeBack(state: State, id: string): Answer {
    const { grants } = this.#place(state);
    const at = grants.findIndex((grant) => grant.id === id);
    const found = grants[at];
    if (!found) {
      throw notFound(`there is no grant ${id} any more`);
    }
    if (found.email !== me(state, this.#now()).email) {
      this.#check(state, "take back", found.groups);
    }
    grants.splice(at, 1);
    return json({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" });
  }

  #check(state: State, verb: "give" | "take back", groups: string[]): void {
    const may = (group: string) =>
      this.#grants(state).groups.some(
        ({ name, mayGive, mayTake }) => name === group && (verb === "give" ? mayGive : mayTake),
      );
    const denied = groups.find((group) => !may(group));
    if (denied !== undefined) {
      throw forbidden(
        `the cluster's RBAC does not let ${me(state, 0).user} ${verb} grants of the group ${denied}: it takes the ClusterRole kube-access:granter, bound to you, or a rule for that name`,
      );
    }
  }
}

/** The Worker's `noted` of src/grant.rs. */
const NOTE =
  "no entry of the policy lets them in, and a grant alone does not: see that the address is right, and that Workers KV or the policy has an entry";
const NOTHING = "the gateway itself has nothing at this path";

const badRequest = (message: string) => new Refusal(400, "BadRequest", message);
const forbidden = (message: string) => new Refusal(403, "Forbidden", message);
const notFound = (message: string) => new Refusal(404, "NotFound", message);
const unavailable = (message: string) => new Refusal(503, "ServiceUnavailable", message);

function noSuchSession(id: string | undefined): Refusal {
  return notFound(`there is no session ${id}: \`npm run sessions -- list\` shows those that there are`);
}

function notAuditor(state: State, verb: "list" | "see" | "end"): Refusal {
  return forbidden(
    `the cluster's RBAC does not let ${me(state, 0).user} ${verb} the sessions of others: it takes the ClusterRole kube-access:auditor, bound to you`,
  );
}

function inNoEntry(email: string): string {
  return `Cloudflare Access let you in, but ${email} is in no entry of this gateway's identity map: ask its administrator for one`;
}

/** What the Worker answers to a change that another page asks for. */
export function anotherPage(): Answer {
  return refused(
    forbidden(
      "the gateway's own paths serve its own page alone: another page sent this request. Open /.kube-access/ by its address",
    ),
  );
}

function refused({ code, reason, message }: Refusal): Answer {
  const status = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
    details: {},
    code,
  };
  return json(status, code);
}

function namespaceOf(query: URLSearchParams): string | undefined {
  const namespace = query.get("namespace") ?? undefined;
  if (namespace !== undefined && !/^[a-z0-9-]{1,63}$/.test(namespace)) {
    throw badRequest("namespace is the name of one: at most 63 lower-case letters, digits and hyphens");
  }
  return namespace;
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

/** What the Worker writes for somebody whom no entry names: the page that it has of the same file. */
export function strangersPage(now: number): string {
  const email = "mallory@elsewhere.test";
  const facts = [
    inNoEntry(email),
    `gateway: ${HOST}`,
    `time: ${timestamp(now)}`,
    "audit ID: 0fa34567-89ab-4def-8123-456789abcdef",
    "ray: 9f3c1b2a4d5e6f70",
  ];
  return filled(readFileSync(new URL("../refused.html", import.meta.url), "utf8"), {
    heading: "You are in no entry",
    sentence: `Cloudflare Access knows you as ${email}, but no entry of this gateway's policy names you.`,
    remedy: "Ask the platform team (#platform) for one, and send them this:",
    facts: facts.join("\n"),
    style: "/.kube-access/assets/refused.css",
  });
}

function filled(template: string, values: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (place, name) => {
    const value = values[name];
    if (value === undefined) {
      throw new Error(`page/refused.html has ${place}, which nothing fills`);
    }
    return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
  });
}

function json(value: object, status = 200): Answer {
  return { status, headers: { "content-type": "application/json" }, body: `${JSON.stringify(value)}\n` };
}

function bytes(chunk: Buffer | undefined): Answer {
  if (!chunk) {
    throw notFound(NOTHING);
  }
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body: chunk };
}

function cast(session: Session): Answer {
  const chunks = listedOf(session).map(({ name }) => session.chunks.get(name) ?? Buffer.of());
  if (chunks.length === 0) {
    throw noSuchSession(session.manifest.id);
  }
  return { status: 200, headers: { "content-type": "application/x-asciicast" }, body: Buffer.concat(chunks) };
}

function kubeconfig(): Answer {
  const body = `apiVersion: v1
kind: Config
clusters:
  - name: "${HOST}"
    cluster:
      server: "https://${HOST}"
users:
  - name: "${HOST}"
    user:
      token: access
contexts:
  - name: "${HOST}"
    context:
      cluster: "${HOST}"
      user: "${HOST}"
current-context: "${HOST}"
`;
  const headers = {
    "content-type": "application/yaml",
    "content-disposition": `attachment; filename="${HOST}.kubeconfig"`,
  };
  return { status: 200, headers, body };
}
