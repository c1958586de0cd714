// The sessions that go on and were: searched by user, namespace, pod and day, a page at a time; those that go on can be ended.

import { listPath, type Page, pageOf, type Summary } from "../../deploy/sessions/answers.ts";
import { shellWords, span } from "../../deploy/sessions/text.ts";
import { endSessionPath, LONGEST_REASON, type Me } from "./api.ts";
import { ask } from "./ask.ts";
import { Expired, getJson, postJson } from "./client.ts";
import { everySecond } from "./clock.ts";
import { type Child, h, name, renew } from "./dom.ts";
import { href, type Place, type Search } from "./place.ts";
import { say } from "./say.ts";
import { comingPart, emptyPart, failurePart } from "./states.ts";
import type { Failed, View } from "./view.ts";
import { moment } from "./words.ts";

const PAGE_SESSIONS = 25;
/** A page may be empty and still not be the last: so many are asked for before the reader is. */
const PAGES_AT_ONCE = 5;

type SessionsPlace = Extract<Place, { view: "sessions" }>;

export function sessionsView(me: Me, place: SessionsPlace, signal: AbortSignal, failed: Failed): View {
  const search = place.search ?? {};
  const list = new List(me, search, signal, failed);
  const element = h(
    "div",
    { class: "sessions" },
    h("h1", {}, "Sessions"),
    h("p", { class: "lead" }, "exec, attach and port-forward that a guard has recorded or bounded."),
    searchForm(search),
    list.element,
  );
  void list.begin(Object.keys(search).length > 0);
  return { element };
}

function searchForm(search: Search): HTMLElement {
  const field = (key: keyof Search, label: string, type = "text") => {
    const input = h("input", {
      id: `search-${key}`,
      name: key,
      type,
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 253,
    });
    input.value = search[key] ?? "";
    return { key, input, element: h("div", {}, h("label", { for: input.id }, label), input) };
  };
  const fields = [
    field("user", "User"),
    field("namespace", "Namespace"),
    field("pod", "Pod"),
    field("day", "Day (UTC)", "date"),
  ];
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted: Search = Object.fromEntries(
      fields.map(({ key, input }) => [key, input.value.trim()]).filter(([, text]) => text !== ""),
    );
    location.hash = href({ view: "sessions", search: wanted });
  };
  return h(
    "form",
    { class: "search", role: "search", "aria-label": "Sessions", onsubmit: submit },
    ...fields.map(({ element }) => element),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "submit", class: "main" }, "Search"),
      Object.keys(search).length > 0 && h("a", { href: href({ view: "sessions" }), class: "button" }, "Clear"),
    ),
  );
}

/** Replaced as a whole by what comes: nothing that stays lies below it, and could move. */
class List {
  readonly element = h("div", { class: "results replaced" }, comingPart("Asking for sessions.", 8));
  readonly #me: Me;
  readonly #search: Search;
  readonly #signal: AbortSignal;
  readonly #failed: Failed;
  #live = h("div", { class: "part" });
  #ended = h("div", { class: "part" });
  #more = h("div", { class: "more" });

  constructor(me: Me, search: Search, signal: AbortSignal, failed: Failed) {
    this.#me = me;
    this.#search = search;
    this.#signal = signal;
    this.#failed = failed;
  }

  /** Asks for the first page: those that go on come first. */
  async begin(isTold: boolean): Promise<void> {
    await this.#ask(undefined, (page) => {
      const live = page.sessions.filter(({ state }) => state === "live");
      const ended = page.sessions.filter(({ state }) => state === "ended");
      renew(this.element, ...this.#parts(page, live, ended));
      if (isTold) {
        say(`${live.length} going on, ${ended.length}${page.cursor === undefined ? "" : " or more"} ended.`);
      }
    });
  }

  #parts({ scope, cursor }: Page, live: Summary[], ended: Summary[]): HTMLElement[] {
    const isSearch = Object.keys(this.#search).length > 0;
    const noneLive = isSearch ? "None that match." : "Nobody is in a pod by way of a guard.";
    let noneEnded = isSearch
      ? "None that match. Names are matched whole."
      : "None yet. They appear here when they end.";
    if (cursor !== undefined) {
      noneEnded = "None among these.";
    }
    this.#live = h("div", { class: "part" }, live.length > 0 ? this.#rows(live) : emptyPart(noneLive));
    this.#ended = h("div", { class: "part" }, ended.length > 0 ? this.#rows(ended) : emptyPart(noneEnded));
    this.#more = h("div", { class: "more" });
    this.#offer(cursor);
    const refresh = h("button", { type: "button", class: "quiet", onclick: () => void this.begin(true) }, "Refresh");
    return [
      h(
        "section",
        { "aria-labelledby": "live" },
        h("div", { class: "heading" }, h("h2", { id: "live" }, "Going on now"), refresh),
        this.#live,
      ),
      h("section", { "aria-labelledby": "ended" }, h("h2", { id: "ended" }, "Ended"), this.#ended, this.#more),
      h(
        "p",
        { class: "aside" },
        scope === "own" ? "These are your own: those of others are for auditors." : "These are everybody's.",
      ),
    ];
  }

  async #goOn(cursor: string): Promise<void> {
    await this.#ask(cursor, ({ sessions, cursor: next }) => {
      const rows = sessions.map((session) => {
        const row = this.#row(session);
        const part = session.state === "live" ? this.#live : this.#ended;
        const list = part.querySelector("ol");
        if (list) {
          list.append(row);
        } else {
          part.replaceChildren(h("ol", { class: "list" }, row));
        }
        return row;
      });
      this.#offer(next);
      rows[0]?.querySelector("a")?.focus({ preventScroll: true });
      say(sessions.length === 0 ? "None among these." : `${sessions.length} more.`);
    });
  }

  #offer(cursor: string | undefined): void {
    const button =
      cursor !== undefined && h("button", { type: "button", onclick: () => void this.#goOn(cursor) }, "Older sessions");
    renew(this.#more, button);
  }

  async #ask(from: string | undefined, use: (page: Page) => void): Promise<void> {
    try {
      let page = pageOf(await this.#page(from));
      const { sessions } = page;
      for (let pages = 1; sessions.length === 0 && page.cursor !== undefined && pages < PAGES_AT_ONCE; pages += 1) {
        page = pageOf(await this.#page(page.cursor));
        sessions.push(...page.sessions);
      }
      use({ ...page, sessions });
    } catch (error) {
      if (this.#signal.aborted) {
        return;
      }
      if (error instanceof Expired) {
        this.#failed(error);
      } else if (from === undefined) {
        renew(
          this.element,
          failurePart(error as Error, () => void this.begin(true)),
        );
      } else {
        renew(
          this.#more,
          failurePart(error as Error, () => void this.#goOn(from)),
        );
      }
    }
  }

  #page(cursor: string | undefined): Promise<unknown> {
    return getJson(listPath({ ...this.#search, limit: PAGE_SESSIONS, cursor }), this.#signal);
  }

  #rows(sessions: Summary[]): HTMLElement {
    return h("ol", { class: "list" }, ...sessions.map((session) => this.#row(session)));
  }

  #row(session: Summary): HTMLElement {
    const { id, namespace, pod, user, kind, command, started, recorded } = session;
    const end = h(
      "button",
      { type: "button", class: "danger", "aria-label": `End the session of ${user} in ${pod}` },
      "End",
    );
    end.addEventListener("click", async () => {
      if (await endSession(session)) {
        await this.begin(false);
      }
    });
    return h(
      "li",
      { class: session.state },
      h("a", { href: href({ view: "session", id }), class: "where" }, name(`${namespace}/${pod}`)),
      h("span", { class: "who" }, name(user), user === this.#me.user && h("span", { class: "aside" }, " (you)")),
      h("span", { class: "what" }, name(kind), " ", command !== undefined && name(shellWords(command), "command")),
      h(
        "span",
        { class: "when" },
        h("time", { datetime: started }, moment(started, Date.now())),
        ", ",
        lasting(session, this.#signal),
      ),
      h(
        "span",
        { class: "how" },
        recorded ? h("span", { class: "recorded" }, h("i", {}), "recorded") : "not recorded",
        ...howEnded(session),
      ),
      session.state === "live" && end,
    );
  }
}

function lasting({ started, ended, state }: Summary, signal: AbortSignal): HTMLElement {
  const element = h("span", { class: "lasting" }, span(started, ended ?? Date.now()));
  if (state === "live") {
    everySecond(signal, () => {
      element.textContent = span(started, Date.now());
    });
  }
  return element;
}

function howEnded({ state, exit_code: code, by, reason }: Summary): Child[] {
  if (state === "live") {
    return [];
  }
  if (code !== undefined) {
    return [`, exit code ${code}`];
  }
  const why = [by, reason].filter((part) => part).join(": ");
  return why === "" ? [] : [", ", name(why, "text")];
}

/** Asks why, and ends it. */
export function endSession({
  id,
  user,
  namespace,
  pod,
}: Pick<Summary, "id" | "user" | "namespace" | "pod">): Promise<boolean> {
  const reason = h("input", { id: "end-reason", autocomplete: "off", maxlength: LONGEST_REASON });
  return ask({
    title: "End this session?",
    body: [
      h("p", {}, name(user), " is cut off from ", name(`${namespace}/${pod}`), " at once, and the command ends."),
      h("label", { for: "end-reason" }, "Reason, which they are told"),
      reason,
    ],
    act: "End it",
    run: async () => {
      await postJson(endSessionPath(id), { reason: reason.value.trim() });
      say(`The session of ${user} was ended.`);
    },
  });
}
