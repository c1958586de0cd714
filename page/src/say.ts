// What the page has to say about what somebody just did: seen at the foot of the window, where it moves nothing, and heard.

import { h } from "./dom.ts";

const SHOWN_MS = 12_000;

let timer: ReturnType<typeof setTimeout> | undefined;

export function say(sentence: string): void {
  clearTimeout(timer);
  const close = h("button", { type: "button", class: "quiet", onclick: hush }, "Dismiss");
  region().replaceChildren(h("p", {}, sentence), close);
  timer = setTimeout(hush, SHOWN_MS);
}

export function hush(): void {
  clearTimeout(timer);
  region().replaceChildren();
}

function region(): HTMLElement {
  return document.getElementById("said") as HTMLElement;
}
