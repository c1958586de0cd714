// The last hop stands still with its sockets open: nothing is refused, nothing is closed, nothing answers. A test of its own,
// since it waits for more than a minute.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startSite } from "./site.ts";
import { EXEC, openWebSocket } from "./websocket.ts";

/** Nothing but time tells a proxy that stands still from one that is slow: the API server itself may take a minute. */
const LIMIT_MS = 150_000;

test("the last hop stands still: callers are told so within a bounded time, and are served when it goes on", async () => {
  const site = await startSite();
  try {
    const bob = site.as("bob");
    await bob.ok(["get", "pod", "web"]);
    const pid = site.cluster.proxy.pid();
    process.kill(pid, "SIGSTOP");
    try {
      const path = "/api/v1/namespaces/default/pods/shell/exec?command=true&stdout=true";
      const [get, exec, upgrade] = await Promise.all([
        bob.run(["get", "--raw", "/api/v1/namespaces/default/pods/web"], { limitMs: LIMIT_MS }),
        bob.run(["exec", "shell", "--", "true"], { limitMs: LIMIT_MS }),
        openWebSocket(site, "bob", path, EXEC, {}, LIMIT_MS),
      ]);
      for (const { code, stderr } of [get, exec]) {
        assert.equal(code, 1);
        assert.match(stderr, /the cluster did not answer in time/);
      }
      assert.equal(upgrade.status, 504);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await bob.ok(["get", "pod", "web"]);
    await bob.ok(["exec", "shell", "--", "true"]);
  } finally {
    await site.stop();
  }
});
