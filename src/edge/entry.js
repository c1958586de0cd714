// The Worker's module. Requests of callers who were recognised before take the short way, one synchronous call into
// Rust; all others, and whatever needs a second look, take the long one.

import { __wbg_reset_state, __worker_init_state, fetch as attend, initSync, pass, settle } from "./index.js";
import wasm from "./index_bg.wasm";
import { isPlain, open, send } from "./rim.js";

initSync({ module: wasm });
const state = __worker_init_state();

export default {
  fetch(request, env, ctx) {
    if (state.criticalError) restart();
    const head = open(request);
    const plan = pass(head);
    if (plan === undefined) return attend(request, env, ctx);
    return send(env.KUBE_API, request, plan).then(
      (response) => (isPlain(response) ? response : settle(head, response)),
      (error) => settle(head, error),
    );
  },
};

/** After a trap the instance's memory is not to be trusted: the next request gets a new one. */
function restart() {
  __wbg_reset_state();
  state.criticalError = false;
}
