// Bounds the wait for an answer's head. A timer for each request would cost more than all that is decided about it, and
// nearly every answer comes at once. So one request a second keeps a timer for all: it outlives its request, and wakes
// those that still wait. Each of these then sets a timer of its own for the rest of its time.

/** When those who wait are looked for, in milliseconds; less than the 30 seconds that work may outlive its request. */
const LOOK_AFTER = 20_000;
const LOOK_EVERY = 1_000;

const LATE = Symbol("late");

/** Those who wait, in places that are used again. A Set would be made anew after every few requests. */
const waiting = [];
const vacant = [];
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
  const outcome = new Promise((resolve) => {
    const place = vacant.length > 0 ? vacant.pop() : waiting.length;
    const waiter = { since: latest, resolve };
    waiting[place] = waiter;
    const conclude = (outcome) => {
      if (waiting[place] === waiter) leave(place);
      resolve(outcome);
    };
    answer.then(conclude, conclude);
  });
  return outcome.then((outcome) =>
    outcome === LATE ? bounded(milliseconds - LOOK_AFTER, answer).then(finish) : finish(outcome),
  );
}

/** What becomes of `answer`, or an Error. A timer belongs to the request that sets it; so each who is late sets its own. */
function bounded(milliseconds, answer) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(new Error("timeout")), milliseconds);
    const conclude = (outcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };
    answer.then(conclude, conclude);
  });
}

function wake(since) {
  waiting.forEach((waiter, place) => {
    if (waiter === undefined || waiter.since > since) return;
    leave(place);
    waiter.resolve(LATE);
  });
}

function leave(place) {
  waiting[place] = undefined;
  vacant.push(place);
}
