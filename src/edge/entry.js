// The Worker's module. Requests of callers who were recognised before take the short way, one synchronous call into
// Rust; all others, and whatever needs a second look, take the long one.

import { __wbg_reset_state, __worker_init_state, attend, inbox, initSync, pass, settle } from "./index.js";
import wasm from "./index_bg.wasm";
import { keepWatch } from "./patience.js";
import { answer, isPlain, open, send } from "./rim.js";

initSync({ module: wasm });
const state = __worker_init_state();
const encoder = new TextEncoder();

/** Longer heads go the long way. */
const INBOX_BYTES = 32 * 1024;
let inboxBytes = new Uint8Array();
addEventListener("error", ({ error }) => noticeTrap(error));

export default {
  fetch(request, env, ctx) {
    if (state.criticalError) restart();
    keepWatch(ctx);
    try {
      const head = open(request);
      const plan = deliver(head);
      if (plan === undefined) return attend(request, env, ctx);
      return send(env.KUBE_API, request, plan, (outcome) => (isPlain(outcome) ? outcome : settle(head, outcome)));
    } catch (error) {
      // A defect of ours; nothing that a caller sends should come here.
      noticeTrap(error);
      console.error(JSON.stringify({ level: "error", message: "the gateway failed", detail: error.message }));
      return answer(500, "text/plain; charset=utf-8", undefined, "the gateway failed\n");
    }
  },
};

/** The short way's answer to a head, put into Rust's inbox. */
function deliver(head) {
  // Memory that grew has left its old bytes behind, without any length.
  if (inboxBytes.length === 0) inboxBytes = new Uint8Array(initSync().memory.buffer, inbox(INBOX_BYTES), INBOX_BYTES);
  const { read, written } = encoder.encodeInto(head, inboxBytes);
  return read === head.length ? pass(written) : undefined;
}

/** After a trap the instance's memory is not to be trusted: the next request gets a new one. */
function noticeTrap(error) {
  if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
}

function restart() {
  __wbg_reset_state();
  inboxBytes = new Uint8Array();
  state.criticalError = false;
}
