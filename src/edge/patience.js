// Bounds the wait for an answer's head. A timer for each request would cost more than all that is decided about it, and
// nearly every answer comes at once. So one request a second keeps a timer for all: it outlives its request, and wakes
// those that still wait. Each of these then sets a timer of its own for the rest of its time.

/** When those who wait are looked for, in milliseconds; less than the 30 seconds that work may outlive its request. */
const LOOK_AFTER = 20_000;
const LOOK_EVERY = 1_000;

const waiting = new Set();
let latest = Number.NEGATIVE_INFINITY;

/** To be called with every request: sees to it that somebody looks for it in time. */
export function keepWatch(ctx) {
  const now = Date.now();
  if (now - latest < LOOK_EVERY) return;
  latest = now;
  ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, LOOK_AFTER)).then(() => wake(now)));
}

/** What `finish` makes of `answer`: a response, or what it threw; an Error after `milliseconds` (more than LOOK_AFTER). */
export function within(milliseconds, answer, finish) {
  return new Promise((resolve) => {
    const waiter = { since: latest, wake: undefined, timer: undefined };
    const conclude = (outcome) => {
      waiting.delete(waiter);
      if (waiter.timer !== undefined) clearTimeout(waiter.timer);
      resolve(finish(outcome));
    };
    const isLate = new Promise((wake) => {
      waiter.wake = wake;
    });
    // A timer belongs to the request that sets it; so each sets its own, when it is woken.
    isLate.then(() => {
      waiter.timer = setTimeout(() => conclude(new Error("timeout")), milliseconds - LOOK_AFTER);
    });
    waiting.add(waiter);
    answer.then(conclude, conclude);
  });
}

function wake(since) {
  for (const waiter of waiting) if (waiter.since <= since) waiter.wake();
}
