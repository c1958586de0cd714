// WebSockets from pages: Chromium names the page's origin on the handshake and brings its cookies, and marks it in no other
// way.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { accept, binary } from "../e2e/wire/websocket.ts";
import { valuesOf } from "./front.ts";
import { hosts, inPage, kube, type Stage, sessions, startStage } from "./stage.ts";

const exec = "/api/v1/namespaces/default/pods/web/exec?command=id&stdout=true";
const watch = "/api/v1/pods?watch=true";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

/** What became of a WebSocket: "error", or the first message. */
const connect = `(url, ...protocols) => new Promise((done) => {
  const socket = new WebSocket(url, protocols);
  socket.onerror = () => done("error");
  socket.onmessage = () => done("message");
})`;

test("case 151, 153: no page of another origin opens a WebSocket, with a cookie or without", async () => {
  for (const session of sessions) {
    for (const host of [hosts.sibling, hosts.evil]) {
      await openly(session);
      const page = await stage.visit(host);
      for (const path of [exec, watch]) {
        for (const [index, protocols] of [["v5.channel.k8s.io"], []].entries()) {
          const target = `${path}&by=${index}`;
          assert.equal(await inPage(page, connect, `wss://${hosts.kube}${target}`, ...protocols), "error");
          const visit = await stage.came("the handshake", (found) => found.target === target);
          assert.deepEqual(valuesOf(visit, "origin"), [`https://${host}`]);
          assert.ok(visit.isUpgrade && marks(visit.lines).length === 0, "Chromium marks no handshake");
        }
      }
      await stage.assertUntouched();
    }
  }
});

test("case 151, 153: no frame without an origin and no worker opens a WebSocket", async () => {
  for (const session of sessions) {
    for (const host of [hosts.sibling, hosts.evil]) {
      await openly(session);
      const script = (by: string) => `new WebSocket("wss://${hosts.kube}${exec}&by=${by}", "v5.channel.k8s.io")`;
      const frame = `<iframe sandbox=allow-scripts srcdoc='<script>${script("frame")}</script>'></iframe>`;
      const page = await stage.visit(host, `<!doctype html>${frame}`);
      await inPage(page, "(source) => { new Worker(URL.createObjectURL(new Blob([source]))); }", script("worker"));
      const framed = await stage.came("the frame's", ({ target }) => target === `${exec}&by=frame`);
      assert.deepEqual(valuesOf(framed, "origin"), ["null"]);
      await stage.came("the worker's", ({ target }) => target === `${exec}&by=worker`);
      await stage.assertUntouched();
    }
  }
});

test("case 151: a WebSocket with a cookie is a browser's, though its origin is the gateway's own", async () => {
  await openly("cookie");
  const page = await ownPage();
  for (const path of [exec, watch]) {
    assert.equal(await inPage(page, connect, `wss://${hosts.kube}${path}`, "v5.channel.k8s.io"), "error");
    const visit = await stage.came("the handshake", ({ target }) => target === path);
    assert.deepEqual(valuesOf(visit, "origin"), [kube]);
    assert.equal(valuesOf(visit, "cookie").length, 1);
  }
  await stage.assertUntouched();
});

/** What would be a WebSocket is answered as one by the cluster, which speaks first. */
async function openly(session: "device" | "cookie"): Promise<void> {
  await stage.reset(session);
  stage.upstream.script((request) => {
    if (request.values("upgrade").length > 0) {
      accept(request, request.values("sec-websocket-protocol")[0]).send(binary, "\u0001secret");
    } else {
      request.answer("200 OK", ["Content-Type: application/json"], "{}");
    }
  });
}

async function ownPage(): Promise<Page> {
  const page = await stage.chromium.tab();
  await page.goto(`${kube}/.kube-access/healthz`);
  return page;
}

function marks(lines: string[]): string[] {
  return lines.filter((part, index) => index % 2 === 0 && /^(sec-fetch-|sec-purpose$|purpose$)/i.test(part));
}
