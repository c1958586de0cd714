// Every kubectl on this machine does through the gateway what its version can do over WebSockets, and is told what to do
// about the rest.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { buildCluster } from "../../../dev/cluster.ts";
import type { Kubectl } from "./kubectl.ts";
import { findKubectls } from "./kubectls.ts";
import { type Site, startSite } from "./site.ts";

const OLDEST = 27;
const NEWEST = 37;
const SPDY = /this gateway carries WebSockets, not SPDY: use kubectl 1\.31 or newer/;

/** What speaks WebSockets in which version: by itself, or when an environment variable asks for it. */
const EXEC = { byItself: 30, onRequest: 29, variable: "KUBECTL_REMOTE_COMMAND_WEBSOCKETS" };
const PORT_FORWARD = { byItself: 31, onRequest: 30, variable: "KUBECTL_PORT_FORWARD_WEBSOCKETS" };

const kubectls = await findKubectls((await buildCluster(() => {})).kubectl);
let site: Site;
before(async () => {
  site = await startSite();
});
after(() => site?.stop());

for (let minor = OLDEST; minor <= NEWEST; minor += 1) {
  const found = kubectls.find((kubectl) => kubectl.minor === minor);
  const title = (what: string) => `kubectl 1.${minor}: ${what}`;
  const bob = (t: TestContext): Kubectl | undefined => {
    if (!found) {
      t.skip(`no kubectl 1.${minor} on this machine (on the PATH, or as kubectl.1.${minor} beside it)`);
      return undefined;
    }
    return site.as("bob", found.path);
  };

  test(title("get, and logs"), async (t) => {
    const kubectl = bob(t);
    if (kubectl) {
      t.diagnostic(`${found?.version}`);
      assert.equal(await kubectl.ok(["get", "pods", "-o", "name"]), "pod/shell\npod/web\n");
      assert.match(await kubectl.ok(["logs", "web"]), /^tick 1\n/);
      assert.match(
        (await kubectl.run(["get", "secrets"])).stderr,
        /\(Forbidden\): secrets is forbidden: User "bob@exam/,
      );
    }
  });

  test(title("exec, with stdin and exit code"), async (t) => {
    const kubectl = bob(t);
    if (kubectl) {
      await withWebSockets(minor, EXEC, async (env) => {
        assert.equal(await kubectl.ok(["exec", "-i", "shell", "--", "cat"], { env, input: "x\n" }), "x\n");
        assert.equal((await kubectl.run(["exec", "shell", "--", "sh", "-c", "exit 7"], { env })).code, 7);
      });
      await withoutWebSockets(minor, EXEC, (env) => kubectl.run(["exec", "shell", "--", "true"], { env }));
    }
  });

  test(title("cp both ways"), async (t) => {
    const kubectl = bob(t);
    if (kubectl) {
      const [sent, received] = ["sent", "received"].map((name) => join(site.dir, `${name}-${minor}`)) as [
        string,
        string,
      ];
      const bytes = Buffer.alloc(300_000, `kubectl 1.${minor} `);
      await writeFile(sent, bytes);
      await withWebSockets(minor, EXEC, async (env) => {
        await kubectl.ok(["cp", sent, `shell:copy-${minor}`], { env });
        await kubectl.ok(["cp", `shell:copy-${minor}`, received], { env });
        assert.ok(bytes.equals(await readFile(received)));
      });
      await withoutWebSockets(minor, EXEC, (env) => kubectl.run(["cp", sent, "shell:refused"], { env }));
    }
  });

  test(title("port-forward"), async (t) => {
    const kubectl = bob(t);
    if (kubectl) {
      const args = ["port-forward", "pod/web", ":8080"];
      await withWebSockets(minor, PORT_FORWARD, async (env) => {
        const forward = kubectl.start(args, { env });
        const [, port] = await forward.prints(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
        assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), "hello from web\n");
        await forward.stop();
      });
      await withoutWebSockets(minor, PORT_FORWARD, (env) => kubectl.run(args, { env }));
    }
  });
}

type Feature = typeof EXEC;

async function withWebSockets(minor: number, feature: Feature, use: (env: Record<string, string>) => Promise<void>) {
  if (minor >= feature.onRequest) {
    await use(minor < feature.byItself ? { [feature.variable]: "true" } : {});
  }
}

/** A kubectl that speaks SPDY unless asked, or knows nothing else, is told the way out. */
async function withoutWebSockets(
  minor: number,
  feature: Feature,
  use: (env: Record<string, string>) => Promise<{ code: number | null; stderr: string }>,
) {
  if (minor < feature.byItself) {
    const { code, stderr } = await use({});
    assert.equal(code, 1);
    assert.match(stderr, SPDY);
  }
}
