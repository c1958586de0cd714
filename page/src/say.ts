// What the page has to say about what somebody just did: seen at the foot of the window, where it moves nothing, and heard.

import { h, name } from "./dom.ts";

const SHOWN_MS = 12_000;

let timer: ReturnType<typeof setTimeout> | undefined;

export function say(sentence: string): void {
  sayOn(sentence);
  timer = setTimeout(hush, SHOWN_MS);
}

/** What is to be read, however late somebody looks: it stays until it is dismissed, or there is something else to say. */
export function sayOn(sentence: string): void {
  clearTimeout(timer);
  const close = h("button", { type: "button", class: "quiet", onclick: hush }, "Dismiss");
  region().replaceChildren(h("p", {}, name(sentence, "text")), close);
}

export function hush(): void {
  clearTimeout(timer);
  region().replaceChildren();
}

function region(): HTMLElement {
  return document.getElementById("said") as HTMLElement;
}
