// Which sessions there are and were, newest first.

import { type Filters, listPath, pageOf, type Summary } from "./answers.ts";
import { Failure } from "./failure.ts";
import type { Kubectl } from "./kubectl.ts";
import { moment, span, table, visible } from "./text.ts";

const PAGE_SESSIONS = 100;
const HEADINGS = ["ID", "STATE", "USER", "NAMESPACE/POD", "KIND", "STARTED", "LASTED", "EXIT"];

export interface Listing {
  scope: "all" | "own";
  sessions: Summary[];
  /** Whether the limit may have left out some. */
  more: boolean;
}

/** Follows the gateway's pages to the limit; one may be empty and still not be the last. */
export async function list(kubectl: Kubectl, filters: Filters, limit: number): Promise<Listing> {
  // By ID: one that ends while the pages are read is first among those that go on, and then among those that have ended.
  const sessions = new Map<string, Summary>();
  let cursor: string | undefined;
  for (;;) {
    const wanted = Math.min(limit - sessions.size, PAGE_SESSIONS);
    const page = pageOf(await kubectl.getJson(listPath({ ...filters, limit: wanted, cursor })));
    for (const session of page.sessions) {
      sessions.set(session.id, session);
    }
    if (page.cursor === undefined || sessions.size >= limit) {
      const more = page.cursor !== undefined || sessions.size > limit;
      return { scope: page.scope, sessions: newestFirst([...sessions.values()]).slice(0, limit), more };
    }
    if (page.cursor === cursor) {
      throw new Failure("the gateway's list does not go on: it names the same page as the next again");
    }
    cursor = page.cursor;
  }
}

export function listInWords(sessions: Summary[], now: number): string {
  return table(
    HEADINGS,
    sessions.map((session) => [
      session.id,
      session.state,
      visible(session.user),
      visible(`${session.namespace}/${session.pod}`),
      visible(session.kind) + (session.recorded ? "" : ", not recorded"),
      moment(session.started),
      session.state === "live" || session.ended ? span(session.started, session.ended ?? now) : "?",
      endOf(session),
    ]),
  );
}

/** The exit code of the command, or who else ended the session and why. */
function endOf({ exit_code: exitCode, by, reason }: Summary): string {
  if (exitCode !== undefined) {
    return String(exitCode);
  }
  return by === undefined ? "-" : visible([by, reason].filter((part) => part).join(": "));
}

function newestFirst(sessions: Summary[]): Summary[] {
  return sessions.toSorted((one, other) => Date.parse(other.started) - Date.parse(one.started));
}
