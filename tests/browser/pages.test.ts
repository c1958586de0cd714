// What a page can have a browser send: a hostile host of the same site, and one of another.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { canary, eventually, hosts, inPage, kube, leave, type Stage, secrets, sessions, startStage } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

const strangers = [hosts.sibling, hosts.evil];

/** Each way of a script to ask for a URL, with what it learns of the answer. */
const asks: Record<string, string> = {
  cors: `(url) => fetch(url, { credentials: "include" }).then((answer) => answer.text())`,
  "no-cors": `(url) => fetch(url, { mode: "no-cors", credentials: "include" }).then((answer) => answer.text())`,
  xhr: `(url) => new Promise((done) => {
    const request = new XMLHttpRequest();
    request.withCredentials = true;
    request.onloadend = () => done(request.responseText);
    request.open("GET", url);
    request.send();
  })`,
  events: `(url) => new Promise((done) => {
    const source = new EventSource(url, { withCredentials: true });
    source.onerror = () => { source.close(); done("error"); };
    source.onmessage = ({ data }) => done(data);
  })`,
  beacon: `async (url) => navigator.sendBeacon(url, "x")`,
  keepalive: `(url) => fetch(url, { method: "POST", mode: "no-cors", keepalive: true, body: "x" }).then(() => "")`,
  "text-post": `(url) => fetch(url, {
    method: "POST", credentials: "include", headers: { "Content-Type": "text/plain" }, body: "{}",
  }).then((answer) => answer.text())`,
  import: "(url) => import(url).then(Object.keys).then(String)",
  "worker-fetch": worker("fetch(url, { credentials: 'include' }).then((a) => a.text()).then(postMessage, refuse)"),
  "worker-import": worker("try { importScripts(url); postMessage('ran'); } catch (error) { refuse(error); }"),
  popup: `(url) => new Promise((done) => {
    const other = open(url);
    const timer = setInterval(() => {
      try {
        if (other.location.href === "about:blank") return;
        clearInterval(timer);
        done(other.document.documentElement.outerHTML);
      } catch (error) {
        clearInterval(timer);
        done(String(error));
      }
    }, 20);
  })`,
};

test("case 151: scripts of other sites ask in no way that is served, and read nothing", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await stage.reset(session);
      const page = await stage.visit(host);
      for (const [way, ask] of Object.entries(asks)) {
        const learnt = await inPage(page, `(url) => (${ask})(url).catch(String)`, `${secrets}?by=${way}`);
        assert.ok(!String(learnt).includes(canary), `${way} from ${host} (${session}) reads ${learnt}`);
        await stage.came(`${way} from ${host}`, ({ target }) => target === `/api/v1/secrets?by=${way}`);
      }
      await stage.assertUntouched();
    }
  }
});

/** Each way of a document to name a URL. */
const embeds: Record<string, (url: string) => string> = {
  img: (url) => `<img src="${url}">`,
  script: (url) => `<script src="${url}"></script>`,
  module: (url) => `<script type=module src="${url}" crossorigin=use-credentials></script>`,
  style: (url) => `<link rel=stylesheet href="${url}">`,
  "css-image": (url) => `<style>body { background: url("${url}") }</style>`,
  font: (url) => `<style>@font-face { font-family: f; src: url("${url}") } p { font-family: f }</style><p>text`,
  iframe: (url) => `<iframe src="${url}"></iframe>`,
  sandbox: (url) => `<iframe sandbox="allow-scripts" src="${url}"></iframe>`,
  credentialless: (url) => `<iframe credentialless src="${url}"></iframe>`,
  object: (url) => `<object data="${url}"></object>`,
  embed: (url) => `<embed src="${url}">`,
  video: (url) => `<video src="${url}" preload=auto></video>`,
  track: (url) => `<video crossorigin=use-credentials><track src="${url}" kind=subtitles default></video>`,
  svg: (url) => `<svg><image href="${url}"/></svg>`,
};

test("case 151: nothing that a page of another site embeds is served", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await stage.reset(session);
      const html = Object.entries(embeds).map(([way, embed]) => embed(`${secrets}?by=${way}`));
      const page = await stage.visit(host, `<!doctype html><title>embeds</title>${html.join("\n")}`);
      for (const way of Object.keys(embeds)) {
        await stage.came(`${way} in ${host}`, ({ target }) => target === `/api/v1/secrets?by=${way}`);
      }
      const frames = page.frames().map((frame) => frame.content().catch(() => ""));
      assert.ok(!(await Promise.all(frames)).join().includes(canary));
      await stage.assertUntouched();
    }
  }
});

test("case 151: forms of other sites change nothing, whatever they send and wherever the answer goes", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await stage.reset(session);
      const page = await stage.visit(host);
      const kinds = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
      const forms = [["get", ""], ...kinds.map((kind) => ["post", kind])];
      for (const [index, [method, kind]] of forms.entries()) {
        for (const target of ["_blank", "frame", "_self"]) {
          const path = `/api/v1/namespaces/default/pods/${index}${target}`;
          await page.goto(`https://${host}/`);
          await leave(page, submit, { method, kind, target, url: kube + path });
          await stage.came(`a form's ${method} from ${host}`, (visit) => visit.target.startsWith(path));
          if (target === "_self") {
            await page.waitForURL(`${kube}/**`);
          }
        }
      }
      await stage.assertUntouched();
    }
  }
});

const submit = `({ method, kind, target, url }) => {
  document.body.innerHTML = '<iframe name=frame></iframe><form><input name="{}" value=b></form>';
  const form = document.forms[0];
  Object.assign(form, { method, enctype: kind, target, action: url });
  form.submit();
}`;

test("case 154: no page's script can name a first hop: the preflight for it is refused", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await stage.reset(session);
      // A script may name it to its own server, which then sends the browser on.
      for (const status of [302, 307]) {
        stage.pages.put(host, `/on/${status}`, (_, response) => {
          response.writeHead(status, { location: `${secrets}?by=redirect-${status}` }).end();
        });
      }
      stage.pages.put(host, "/worker.js", (_, response) => {
        response.writeHead(200, { "content-type": "text/javascript" }).end(serviceWorker);
      });
      const page = await stage.visit(host);
      const header = `headers: { "X-Forwarded-For": "127.0.0.1" }`;
      for (const [by, options, url = `${secrets}?by=${by}`] of [
        ["get", `{ ${header} }`],
        ["with-cookies", `{ ${header}, credentials: "include" }`],
        ["post", `{ ${header}, method: "POST", body: "x" }`],
        ["delete", `{ method: "DELETE" }`],
        ["json", `{ method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }`],
        ["redirect-302", `{ ${header} }`, "/on/302"],
        ["redirect-307", `{ ${header} }`, "/on/307"],
      ] as const) {
        const learnt = await page.evaluate(`fetch("${url}", ${options}).then((a) => a.text()).catch(String)`);
        assert.match(String(learnt), /TypeError/, `${by} from ${host} (${session})`);
        const visit = await stage.came(by, ({ target }) => target === `/api/v1/secrets?by=${by}`);
        assert.equal(visit.method, "OPTIONS", "Chromium asks first");
      }
      // Without CORS Chromium drops the header.
      await page.evaluate(`fetch("${secrets}?by=plain", { mode: "no-cors", ${header} }).then(() => 0, () => 0)`);
      await stage.came("no-cors", ({ target }) => target === "/api/v1/secrets?by=plain");
      await throughServiceWorker(page, host);
      assert.ok(
        stage.front.visits.every(({ lines }) => !lines.includes("127.0.0.1")),
        "no request of a page's names a first hop",
      );
      await stage.assertUntouched();
    }
  }
});

test("case 151: a service worker of another site, which answers for its pages, reaches nothing", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await stage.reset(session);
      stage.pages.put(host, "/worker.js", (_, response) => {
        response.writeHead(200, { "content-type": "text/javascript" }).end(serviceWorker);
      });
      const page = await stage.visit(host);
      await throughServiceWorker(page, host);
      await stage.assertUntouched();
    }
  }
});

/** Its pages' requests for /by/WAY become requests to the API. */
const serviceWorker = `
  self.onactivate = (event) => event.waitUntil(clients.claim());
  self.onfetch = (event) => {
    const way = new URL(event.request.url).pathname.match("^/by/(.*)")?.[1];
    const target = "${secrets}?by=worker-" + way;
    if (way === "redirect") event.respondWith(Response.redirect(target));
    if (way === "plain") event.respondWith(fetch(target, { mode: "no-cors", credentials: "include" }));
    if (way === "named") event.respondWith(fetch(target, { headers: { "X-Forwarded-For": "127.0.0.1" } }));
  };`;

async function throughServiceWorker(page: Page, host: string): Promise<void> {
  await page.evaluate(`navigator.serviceWorker.register("/worker.js")
    .then(() => navigator.serviceWorker.controller ?? new Promise((done) => { navigator.serviceWorker.oncontrollerchange = done; }))
    .then(() => 0)`);
  for (const way of ["redirect", "plain", "named"]) {
    const learnt = await page.evaluate(`fetch("/by/${way}").then((answer) => answer.text()).catch(String)`);
    assert.ok(!String(learnt).includes(canary), `${way} by a service worker of ${host} reads ${learnt}`);
    await stage.came(way, ({ target }) => target === `/api/v1/secrets?by=worker-${way}`);
  }
  // As a page, too: Chromium follows the redirect, and shows what it may not read to nobody.
  for (const way of ["redirect", "plain"]) {
    const asked = () => stage.front.visits.filter(({ target }) => target === `/api/v1/secrets?by=worker-${way}`);
    const before = asked().length;
    await page.goto(`https://${host}/by/${way}`).catch(() => undefined);
    await eventually(`${way} as a page`, () => asked().length > before);
  }
}

/** A way of asking in a worker, in which `refuse` tells of an error. */
function worker(script: string): string {
  return `(url) => new Promise((done) => {
    const source = "const refuse = (error) => postMessage(String(error)); const url = '" + url + "'; ${script}";
    const worker = new Worker(URL.createObjectURL(new Blob([source])));
    worker.onmessage = ({ data }) => done(data);
    worker.onerror = () => done("error");
  })`;
}
