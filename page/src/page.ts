// The page that a browser gets at /.kube-access/: who one is, what one may do, how one connects, what was recorded, and who was
// given what. It asks the gateway who is there, then shows the view that the address names behind its #.

import { accessView } from "./access.ts";
import { type Me, mePath } from "./api.ts";
import { getJson } from "./client.ts";
import { everySecond } from "./clock.ts";
import { focusOn, h, name } from "./dom.ts";
import { grantsView } from "./grants.ts";
import { href, type Place, placeOf, titleOf } from "./place.ts";
import { hush, say, sayOn } from "./say.ts";
import { sessionView } from "./session.ts";
import { sessionsView } from "./sessions.ts";
import { failureView, offView } from "./states.ts";
import type { View } from "./view.ts";
import { asSentence, type End, endedInWords, endsOf } from "./words.ts";

/** How long before its end something is said to end. */
const WARNED_MS = 5 * 60_000;

const main = document.querySelector("main") as HTMLElement;
const nav = document.querySelector("nav") as HTMLElement;

let shown: { place: Place; view: View; leave: AbortController } | undefined;

await start();

async function start(): Promise<void> {
  try {
    const place = placeOf(location.hash);
    const namespace = place.view === "access" ? place.namespace : undefined;
    const me = (await getJson(mePath(namespace))) as Me;
    showNavigation(me);
    endsOf(me).forEach(tellOfIt);
    show(me, namespace, true);
    window.addEventListener("hashchange", () => show(me, namespace, false));
  } catch (error) {
    fill(failureView(error as Error));
  }
}

/** Shows what the address says. `asked` is the namespace that `me` was asked for with. */
function show(me: Me, asked: string | undefined, isFirst: boolean): void {
  const place = placeOf(location.hash);
  hush();
  for (const link of nav.querySelectorAll("a")) {
    const isHere = link.getAttribute("href") === href({ view: place.view === "session" ? "sessions" : place.view });
    if (isHere) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  document.title = `${titleOf(place)} · ${me.cluster.host}`;
  if (shown && shown.place.view === place.view && shown.view.goTo?.(place)) {
    shown.place = place;
    return;
  }
  shown?.leave.abort();
  const leave = new AbortController();
  const view = viewOf(me, asked, place, leave.signal);
  shown = { place, view, leave };
  fill(view.element);
  if (!isFirst) {
    scrollTo(0, 0);
    focusOn(main.querySelector("h1"));
  }
  view.goTo?.(place);
}

function viewOf(me: Me, asked: string | undefined, place: Place, signal: AbortSignal): View {
  const failed = (error: Error) => {
    shown?.leave.abort();
    fill(failureView(error));
    focusOn(main.querySelector("h1"));
  };
  switch (place.view) {
    case "access":
      return accessView(me, asked, signal, failed);
    case "sessions":
      return me.features.sessions ? sessionsView(me, place, signal, failed) : offView("sessions");
    case "session":
      return me.features.sessions ? sessionView(me, place, signal, failed) : offView("sessions");
    case "grants":
      return me.features.grants ? grantsView(me, signal, failed) : offView("grants");
  }
}

/** Wherever one is on the page: some time before it ends, and when it has. */
function tellOfIt(end: End): void {
  const done = new AbortController();
  const at = Date.parse(end.at);
  let before = at - Date.now();
  everySecond(done.signal, () => {
    const left = at - Date.now();
    if (left <= 0) {
      sayOn(endedInWords(end));
      done.abort();
    } else if (left <= WARNED_MS && before > WARNED_MS) {
      say(asSentence(`${end.what} ends in 5 minutes`));
    }
    before = left;
  });
}

function showNavigation({ features, cluster }: Me): void {
  document.querySelector(".brand")?.append(h("span", { class: "host" }, name(cluster.host)));
  const links: [Place, string][] = [[{ view: "access" }, "Access"]];
  if (features.sessions) {
    links.push([{ view: "sessions" }, "Sessions"]);
  }
  if (features.grants) {
    links.push([{ view: "grants" }, "Grants"]);
  }
  nav.replaceChildren(...links.map(([place, label]) => h("a", { href: href(place) }, label)));
}

function fill(element: HTMLElement): void {
  main.replaceChildren(element);
  main.removeAttribute("aria-busy");
}
