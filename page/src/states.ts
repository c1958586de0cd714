// What stands in place of a view, or of a part of one, when there is nothing to show: a session that has ended, a failure, a thing
// that this gateway does not have, nothing found.

import { Failure } from "../../deploy/sessions/failure.ts";
import { visible } from "../../deploy/sessions/text.ts";
import { Expired, Refused } from "./client.ts";
import { type Child, h } from "./dom.ts";
import type { View } from "./view.ts";
import { asSentence } from "./words.ts";

const reload = () => location.reload();

/** In place of everything. */
export function failureView(error: Error): HTMLElement {
  if (error instanceof Expired) {
    return state(
      "Your session has ended",
      "Cloudflare Access does not know you any more. Log in again, and you come back to where you are.",
      h("button", { type: "button", class: "main", onclick: reload }, "Log in again"),
    );
  }
  const isDenied = error instanceof Refused && error.code === 403;
  return state(
    isDenied ? "You may not enter" : "The gateway does not answer as it should",
    sentenceOf(error),
    h("button", { type: "button", class: "main", onclick: reload }, "Try again"),
  );
}

/** In place of a view that this gateway does not have. */
export function offView(what: "sessions" | "grants"): View {
  const why = {
    sessions:
      "This gateway neither records nor bounds streams. Its administrator can have Terraform make what that needs: sessions = true.",
    grants:
      "This gateway gives no grants. Its administrator can list groups for granting in identities.yaml (grants.groups), and have Terraform make what that needs: identities_kv = true.",
  };
  return { element: state(what === "sessions" ? "No sessions are kept here" : "Nothing is granted here", why[what]) };
}

/** In place of a part that could not be had. */
export function failurePart(error: Error, again?: () => void): HTMLElement {
  return h(
    "div",
    { class: "failed", role: "alert" },
    h("p", {}, sentenceOf(error)),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );
}

/** In place of what a list would have. */
export function emptyPart(...children: Child[]): HTMLElement {
  return h("p", { class: "empty" }, ...children);
}

/** In place of what is coming: as high as that will be, so that nothing moves. */
export function comingPart(what: string, bones: number): HTMLElement {
  return h(
    "div",
    { class: "coming", role: "status" },
    h("span", { class: "unseen" }, what),
    ...Array.from({ length: bones }, () => h("span", { class: "bone row", "aria-hidden": "true" })),
  );
}

/** What went wrong, for people. */
export function sentenceOf(error: Error): string {
  if (error instanceof Expired || error instanceof Refused || error instanceof Failure) {
    return asSentence(visible(error.message));
  }
  return "This page has a fault: reload it, and tell who runs the gateway if that does not help.";
}

function state(title: string, sentence: string, ...children: Child[]): HTMLElement {
  return h("section", { class: "state" }, h("h1", {}, title), h("p", {}, sentence), ...children);
}
