// A bucket elsewhere. miniflare's own is simulated in the very workerd that is measured, and takes more of its time and memory than the
// streams do; in production a bucket is a call over the network. So here it is one, too: to the upstream, which keeps nothing.

import { type WrappedWorker, wrapWorker } from "../dev/wrapped-worker.ts";

/** `milliseconds` is how long the bucket takes for each thing that is stored. */
export function bucketElsewhere(worker: string, milliseconds = 0): Promise<WrappedWorker> {
  const elsewhere = `
    let isElsewhere = false;
    export default {
      fetch(request, env, context) {
        if (!isElsewhere) {
          isElsewhere = true;
          Object.getPrototypeOf(env.RECORDINGS).put = async (key, body) => {
            const answer = await env.KUBE_API.fetch("http://localhost/bucket?slow=${milliseconds}", { method: "PUT", body });
            await answer.arrayBuffer();
          };
        }
        return wrapped.fetch(request, env, context);
      },
    };`;
  return wrapWorker(worker, elsewhere);
}
