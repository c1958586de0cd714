// One tick a second, for everything on the page that goes by time.

import { h } from "./dom.ts";
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

/** How long it is until then, going down. `over` stands there afterwards, and `onOver` is told once. */
export function countdown(until: string, over: string, signal: AbortSignal, onOver?: () => void): HTMLElement {
  const element = h("time", { class: "countdown", datetime: until, title: moment(until, Date.now()) });
  const end = Date.parse(until);
  let isOver = false;
  everySecond(signal, () => {
    const now = Date.now();
    const text = now < end ? left(end - now) : over;
    // Only a change is written: a screen reader that stands here is not disturbed.
    if (element.textContent !== text) {
      element.textContent = text;
    }
    if (now >= end && !isOver) {
      isOver = true;
      onOver?.();
    }
  });
  return element;
}
