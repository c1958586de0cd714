// The first view: who one is, how one connects, what one may do.

import type { Me } from "./api.ts";
import { countdown } from "./clock.ts";
import { connectSection } from "./connect.ts";
import { h, name } from "./dom.ts";
import type { Place } from "./place.ts";
import { RightsSection } from "./rights.ts";
import type { Failed, View } from "./view.ts";
import { whoSection } from "./who.ts";
import { capitalised, type End, endedInWords, endsOf, moment, ruleInWords } from "./words.ts";

export function accessView(me: Me, asked: string | undefined, signal: AbortSignal, failed: Failed): View {
  const rights = new RightsSection(me, asked, signal, failed);
  const connect = connectSection(me);
  const element = h(
    "div",
    { class: "access" },
    greeting(me, signal),
    h("div", { class: "columns" }, connect, whoSection(me, signal)),
    rights.element,
  );
  let isFirst = true;
  const goTo = (next: Place): boolean => {
    if (next.view !== "access") {
      return false;
    }
    if (next.part !== "connect") {
      void rights.show(next.namespace);
    }
    const section = next.part === "rights" ? rights.element : next.part === "connect" ? connect : undefined;
    // Choosing a namespace leaves one where one is; coming by a link does not.
    if (section && (isFirst || next.namespace === undefined)) {
      section.scrollIntoView();
    }
    isFirst = false;
    return true;
  };
  return { element, goTo };
}

function greeting(me: Me, signal: AbortSignal): HTMLElement {
  const address = me.email ?? me.serviceToken;
  return h(
    "header",
    { class: "greeting" },
    h("h1", {}, "You are ", name(me.user)),
    h("p", {}, address !== undefined && name(address), address !== undefined && ", ", `${ruleInWords(me)}.`),
    ...endsOf(me).map((end) => h("p", {}, ending(end, signal))),
  );
}

function ending(end: End, signal: AbortSignal): HTMLElement {
  const { at, what, before } = end;
  return countdown(
    at,
    (left) => [name(capitalised(what), "text"), ` ends at ${moment(at, Date.now())}, in `, left, `: ${before}.`],
    [name(endedInWords(end), "text")],
    signal,
  );
}
