// A hostile workload, whose pages the API server proxies: they come from the gateway's own host.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Received } from "../e2e/wire/recorder.ts";
import { eventually, hosts, inPage, kube, leave, type Stage, sessions, startStage, workload } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

/** What a workload would say to have the gateway's origin for its own. */
const claims = [
  "Content-Security-Policy: default-src * 'unsafe-inline'",
  "X-Content-Type-Options: none",
  "Access-Control-Allow-Origin: *",
  "Access-Control-Allow-Credentials: true",
  "Set-Cookie: CF_Authorization=theirs; Path=/; Secure",
  "Service-Worker-Allowed: /",
  'Reporting-Endpoints: default="/api/v1/namespaces/default/pods"',
  `Report-To: {"group":"g","max_age":86400,"endpoints":[{"url":"${kube}/api/v1/namespaces/default/pods"}]}`,
  'NEL: {"report_to":"g","max_age":86400,"success_fraction":1}',
  'Clear-Site-Data: "*"',
];

const script = `document.title = "ran"; navigator.serviceWorker?.register("sw.js"); fetch("/api/v1/secrets?by=script");`;
const documents: Record<string, string> = {
  "text/html": `<!doctype html><html><head><title>idle</title>
    <meta http-equiv=refresh content="0;url=/api/v1/secrets?by=refresh">
    <script type=speculationrules>{"prefetch":[{"urls":["/api/v1/secrets?by=rules"],"eagerness":"immediate"}]}</script>
    <script>${script}</script></head>
    <body onload='${script}'><form method=post action="/api/v1/namespaces"><button>go</button></form>
    <iframe srcdoc='<script>${script}</script>'></iframe></body></html>`,
  "image/svg+xml": `<svg xmlns="http://www.w3.org/2000/svg" onload='${script}'><title>idle</title><script>${script}</script></svg>`,
  "application/xhtml+xml": `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>idle</title><script>${script}</script></head></html>`,
  "application/xml": `<x:html xmlns:x="http://www.w3.org/1999/xhtml"><x:head><x:title>idle</x:title><x:script>${script}</x:script></x:head></x:html>`,
  "text/plain": `<title>idle</title><script>${script}</script>`,
  "application/pdf": `<title>idle</title><script>${script}</script>`,
};

test("case 151: a workload's page is not opened: not by hand, by a link, in a frame, nor as a script or worker", async () => {
  for (const session of sessions) {
    await stage.reset(session);
    stage.upstream.script(hostile("text/html"));
    const url = `${kube}${workload}/`;
    const html = `<!doctype html><a href="${url}link">x</a><iframe src="${url}frame"></iframe><script src="${url}script"></script>`;
    const page = await stage.visit(hosts.sibling, html);
    await leave(page, "() => { open(document.links[0].href + '-popup'); document.links[0].click(); }");
    const byHand = await (await stage.chromium.tab()).goto(`${url}hand`);
    assert.equal(byHand?.status(), 403);
    for (const by of ["link", "link-popup", "frame", "script", "hand"]) {
      await stage.came(`${by} (${session})`, ({ target }) => target === `${workload}/${by}`);
    }
    await stage.assertUntouched();
  }
});

test("case 151, 155: no workload's script becomes a worker or a service worker of the gateway's origin", async () => {
  for (const session of sessions) {
    await stage.reset(session);
    stage.upstream.script(hostile("text/javascript"));
    const page = await stage.chromium.tab();
    await page.goto(`${kube}/.kube-access/healthz`);
    const register = `(url) => navigator.serviceWorker.register(url).then(() => "registered", String)`;
    assert.match(String(await inPage(page, register, `${workload}/sw.js`)), /bad HTTP response code \(403\)/);
    const start = `(url, Kind) => new Promise((done) => { new Kind(url).onerror = () => done("error"); })`;
    for (const kind of ["Worker", "SharedWorker"]) {
      assert.equal(await inPage(page, `(url) => (${start})(url, ${kind})`, `${workload}/${kind}.js`), "error");
    }
    for (const by of ["sw", "Worker", "SharedWorker"]) {
      await stage.came(by, ({ target }) => target === `${workload}/${by}.js`);
    }
    await stage.assertUntouched();
  }
});

test("case 155: to programs, whatever a workload answers says that its page is nobody's in a browser", async () => {
  for (const type of Object.keys(documents)) {
    for (const status of ["200 OK", "404 Not Found", "500 Internal Server Error", "302 Found"]) {
      await stage.reset();
      stage.upstream.script(hostile(type, status));
      const { status: code, headers } = await stage.program(`${workload}/`);
      assert.equal(code, Number(status.slice(0, 3)));
      assert.equal(headers["content-security-policy"], "sandbox", `${type}, ${status}`);
      assert.equal(headers["x-content-type-options"], "nosniff", `${type}, ${status}`);
      const names = Object.keys(headers).filter((name) =>
        /^(access-control-|set-cookie|report|nel$|clear-site)/.test(name),
      );
      assert.deepEqual(names, [], `${type}, ${status}: nothing for the gateway's origin`);
      assert.equal(headers.location, code === 302 ? `${kube}/api/v1/secrets` : undefined, "a redirect is the caller's");
      assert.equal(stage.upstream.received.length, 1, "and is not followed");
    }
  }
});

test("case 155: in a browser that marks nothing, a workload's page runs nothing and leads nowhere", async () => {
  for (const [type, text] of Object.entries(documents)) {
    await stage.reset();
    stage.front.isOldBrowser = true;
    stage.upstream.script(hostile(type));
    const page = await stage.chromium.tab();
    await page.goto(`${kube}${workload}/page`);
    const shown = await stage.came(`the ${type}`, ({ target, isOver }) => target === `${workload}/page` && isOver);
    assert.equal(shown.answer, text, "the page is the workload's");
    assert.ok(!(await page.title()).includes("ran"), `${type} runs its script`);
    await leave(page, "() => document.querySelector('button')?.click()");
    // A second page, after which whatever the first one asked for has been asked for.
    await page.goto(`${kube}${workload}/page?again`).catch(() => undefined);
    await eventually("all is answered", () => stage.front.visits.every(({ isOver }) => isOver));
    const targets = stage.upstream.received.map(({ head }) => head.start);
    const allowed = [`${workload}/page`, `${workload}/page?again`, "/favicon.ico"];
    assert.deepEqual(
      targets.filter((start) => !allowed.includes(start.split(" ")[1] ?? "")),
      [],
      `${type} asks for more than itself`,
    );
    assert.deepEqual(
      (await stage.chromium.context.cookies(kube)).map(({ name }) => name),
      [],
    );
  }
});

test("case 155: through a proxy on the caller's own machine, a workload's page is what the workload made it", async () => {
  await stage.reset();
  stage.upstream.script(hostile("text/html"));
  const headers = { "X-Forwarded-For": "127.0.0.1", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate" };
  const answer = await stage.program(`${workload}/`, headers);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers["content-security-policy"], "default-src * 'unsafe-inline'");
});

function hostile(type: string, status = "200 OK") {
  return (request: Received) => {
    const lines = [...claims, `Content-Type: ${type}`];
    if (status.startsWith("302")) {
      lines.push(`Location: ${kube}/api/v1/secrets`);
    }
    request.answer(status, lines, request.method === "HEAD" ? "" : (documents[type] ?? script));
  };
}
