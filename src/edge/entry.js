// An accelerator, which may be left out: `index.js`, as worker-build makes it, is the whole Worker. A request whose caller is known
// takes one synchronous call here instead of a future in Rust; everything else goes the standard way.

import Worker from "./index.js";

export { Grants, Roll, Session } from "./index.js";

const { pass, settle } = Worker.prototype;

export default {
  fetch(request, env, ctx) {
    return pass(request, env, settle) ?? new Worker(ctx, env).fetch(request);
  },
};
