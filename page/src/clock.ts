// One tick a second, for everything on the page that goes by time.

import { type Child, h } from "./dom.ts";
import { left, moment } from "./words.ts";

const listeners = new Set<() => void>();
setInterval(() => {
  for (const listener of [...listeners]) {
    listener();
  }
}, 1000);

/** Calls at once, and each second until the signal. */
export function everySecond(signal: AbortSignal, listener: () => void): void {
  if (!signal.aborted) {
    listeners.add(listener);
    signal.addEventListener("abort", () => listeners.delete(listener));
    listener();
  }
}

/**
 * Words around how long it is until then, going down; others stand there afterwards, and `onOver` is told. Both are there all the time,
 * so that the style may have the one take the place of the other, and nothing moves.
 */
export function countdown(
  until: string,
  words: (left: HTMLElement) => Child[],
  over: Child[],
  signal: AbortSignal,
  onOver?: () => void,
): HTMLElement {
  const time = h("time", { class: "countdown", datetime: until, title: moment(until, Date.now()) });
  const before = h("span", {}, ...words(time));
  const after = h("span", { "data-closed": true }, ...over);
  const end = Date.parse(until);
  const done = new AbortController();
  everySecond(AbortSignal.any([signal, done.signal]), () => {
    const milliseconds = end - Date.now();
    const text = left(milliseconds);
    // Only a change is written: a screen reader that stands here is not disturbed.
    if (time.textContent !== text) {
      time.textContent = text;
    }
    if (milliseconds <= 0) {
      done.abort();
      before.toggleAttribute("data-closed", true);
      after.toggleAttribute("data-closed", false);
      onOver?.();
    }
  });
  return h("span", { class: "counted" }, before, after);
}
