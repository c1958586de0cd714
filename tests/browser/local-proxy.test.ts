// Dashboards: a browser's requests through a proxy on the caller's own machine, which says so in X-Forwarded-For. First
// Kubernetes' own, `kubectl proxy`, with a page of its own in real Chromium; then what other such proxies send, line by line.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { buildCluster } from "../../dev/cluster.ts";
import { kubeconfig } from "../../dev/kubeconfig.ts";
import { Running } from "../e2e/cluster/kubectl.ts";
import type { Received } from "../e2e/wire/recorder.ts";
import { accept, offer, text } from "../e2e/wire/websocket.ts";
import { valuesOf, visitorAddress } from "./front.ts";
import { hosts, inPage, kube, type Stage, secrets, startStage, workload } from "./stage.ts";

const exec = "/api/v1/namespaces/default/pods/web/exec?command=id&stdout=true";
const watch = "/api/v1/namespaces/default/pods?watch=true";
const LIMIT_MS = 60_000;

let stage: Stage;
let dir: string;
let proxy: Running;
/** Where `kubectl proxy` listens. */
let local: string;

before(async () => {
  const { kubectl } = await buildCluster(() => {});
  stage = await startStage();
  dir = await mkdtemp(join(tmpdir(), "kube-access-dashboard-"));
  await mkdir(join(dir, "www"));
  await writeFile(join(dir, "www/index.html"), "<!doctype html><title>dashboard</title><script src=app.js></script>");
  await writeFile(join(dir, "www/app.js"), `document.title = "dashboard runs";`);
  // The edge sees another address than this machine's: that the first hop was here, only the proxy says.
  const config = kubeconfig(`https://127.0.0.1:${stage.front.port}`, stage.ca, [{ name: "alice", token: "access" }]);
  await writeFile(
    join(dir, "config"),
    config.replace("cluster:\n", `cluster:\n      tls-server-name: ${hosts.kube}\n`),
  );
  const args = [
    "proxy",
    "--port=0",
    `--www=${join(dir, "www")}`,
    "--reject-paths=^#",
    `--kubeconfig=${join(dir, "config")}`,
  ];
  const child = spawn(kubectl, args, {
    env: { PATH: process.env.PATH ?? "", HOME: dir },
    stdio: ["ignore", "pipe", "pipe"],
  });
  proxy = new Running(child, "kubectl proxy");
  const [, address] = await proxy.prints(/Starting to serve on (127\.0\.0\.1:\d+)/);
  local = `http://${address}`;
});

after(async () => {
  await proxy?.stop();
  await stage?.stop();
  await rm(dir, { recursive: true, force: true });
});

test("case 154, 156: a dashboard through kubectl proxy reads, writes, watches and execs", async () => {
  await stage.reset();
  stage.upstream.script(cluster);
  const page = await stage.chromium.tab();
  await page.goto(`${local}/static/`);
  assert.equal(await page.title(), "dashboard runs");

  const read = `(path) => new Promise((done) => {
    const request = new XMLHttpRequest();
    request.onloadend = () => done(request.status + " " + request.responseText);
    request.open("GET", path);
    request.send();
  })`;
  assert.equal(await inPage(page, read, "/api/v1/namespaces/default/pods"), "200 GET");
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    const write = `(path, method) => fetch(path, {
      method, headers: { "Content-Type": "application/json" }, body: '{"kind":"ConfigMap"}',
    }).then(async (answer) => answer.status + " " + (await answer.text()))`;
    const path = `/api/v1/namespaces/default/configmaps/${method}`;
    assert.equal(await inPage(page, write, path, method), `200 ${method}{"kind":"ConfigMap"}`);
  }
  const connect = `(path, ...protocols) => new Promise((done) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + path, protocols);
    socket.onopen = () => socket.send("ping");
    socket.onerror = () => done("error");
    socket.onmessage = ({ data }) => done(socket.protocol + " " + data);
  })`;
  assert.equal(await inPage(page, connect, watch), " said ping");
  assert.equal(await inPage(page, connect, exec, "v5.channel.k8s.io"), "v5.channel.k8s.io said ping");

  const asked = stage.front.visits;
  assert.ok(asked.length >= 7 && asked.every(({ status }) => status === 200 || status === 101));
  assert.ok(
    asked.every((visit) => valuesOf(visit, "x-forwarded-for").join() === "127.0.0.1"),
    "kubectl proxy names its client's address, on upgrades too",
  );
  const marked = asked.filter((visit) => valuesOf(visit, "sec-fetch-site").join() === "same-origin");
  assert.equal(
    marked.filter(({ target }) => target.startsWith("/api/")).length,
    5,
    "and hands on what Chromium says of the page",
  );
  for (const request of stage.upstream.received) {
    assert.deepEqual(request.values("impersonate-user"), ["alice"]);
    assert.ok(!request.values("origin").includes(local), "the page's origin is not the cluster's business");
  }
});

test("case 154, 155: through kubectl proxy a document opens, and a workload's page runs as it is", async () => {
  await stage.reset();
  const app = `<!doctype html><title>idle</title><script>
    document.title = "ran"; fetch("data?from=" + origin).then((a) => a.text()).then((text) => { document.title = text; });
  </script>`;
  stage.upstream.script((request) => {
    const isPage = request.target === `${workload}/`;
    request.answer("200 OK", [`Content-Type: ${isPage ? "text/html" : "text/plain"}`], isPage ? app : "data came");
  });
  const page = await stage.chromium.tab();
  assert.equal((await page.goto(`${local}/api/v1/secrets`))?.status(), 200);
  await page.goto(`${local}${workload}/`);
  await page.waitForFunction("document.title === 'data came'");
});

test("case 154: a page of a stranger gets nothing of the gateway, though kubectl proxy runs beside it", async () => {
  for (const host of [hosts.sibling, hosts.evil]) {
    await stage.reset();
    const page = await stage.visit(host);
    const ask = `(url) => fetch(url, { headers: { "X-Forwarded-For": "127.0.0.1" } }).then((a) => a.text()).catch(String)`;
    assert.match(String(await inPage(page, ask, secrets)), /TypeError/);
    await stage.came("the preflight", ({ method }) => method === "OPTIONS");
    await stage.assertUntouched();
  }
});

/** What browsers send to their proxy, and it hands on. */
const browser = {
  Origin: "http://localhost:4466",
  Referer: "http://localhost:4466/c/main/pods",
  Cookie: "headlamp=1",
  "User-Agent": "Mozilla/5.0",
  "Sec-Fetch-Site": "same-origin",
  "Sec-Fetch-Mode": "cors",
  "Sec-Fetch-Dest": "empty",
};

test("case 154, 156: what Lens' and Headlamp's back ends hand on is served, WebSockets too", async () => {
  for (const first of ["127.0.0.1", "127.8.9.10", "::1", "127.0.0.1, 192.0.2.1"]) {
    for (const origin of ["http://localhost:4466", "https://renderer.freelens.app:61234", "file://", "null", kube]) {
      await stage.reset();
      stage.upstream.script(cluster);
      const headers = { ...browser, Origin: origin, "X-Forwarded-For": first };
      for (const method of ["GET", "POST", "DELETE"]) {
        const { status } = await stage.program("/api/v1/namespaces/default/pods", headers, method);
        assert.equal(status, 200, `${method}, ${first}, ${origin}`);
      }
      for (const path of [watch, exec]) {
        assert.equal(await handshake(path, headers), 101, `${path}, ${first}, ${origin}`);
      }
      assert.equal(stage.upstream.received.length, 5);
    }
  }
});

test("case 151, 154: the first hop counts, and only where it is loopback", async () => {
  for (const first of [
    "",
    "192.0.2.1",
    "192.0.2.1, 127.0.0.1",
    "localhost",
    "128.0.0.1",
    "127.0.0.1.evil.test",
    "::2",
  ]) {
    await stage.reset();
    const headers = { ...browser, ...(first && { "X-Forwarded-For": first }) };
    for (const method of ["GET", "POST", "DELETE"]) {
      assert.equal((await stage.program("/api/v1/namespaces/default/pods", headers, method)).status, 403, first);
    }
    for (const path of [watch, exec]) {
      assert.equal(await handshake(path, headers), 403, first);
    }
    await stage.assertUntouched();
  }
  for (const name of [
    "Sec-Fetch-Site",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Dest",
    "Sec-Fetch-User",
    "Sec-Purpose",
    "Purpose",
  ]) {
    for (const value of ["none", "", "anything"]) {
      await stage.reset();
      const answer = await stage.program("/api/v1/secrets", { [name]: value });
      assert.equal(answer.status, 403, `${name}: ${value}`);
      assert.equal((await stage.program("/.kube-access/healthz", { [name]: value })).status, 200);
      await stage.assertUntouched();
    }
  }
});

test("case 153: a program that names the gateway's own origin is served, and any other origin is not", async () => {
  for (const [origin, status] of [
    [kube, 200],
    [`${kube}:443`, 200],
    ["null", 403],
    [kube.replace("https", "http"), 403],
    [`${kube}:8443`, 403],
    [`${kube}.evil.test`, 403],
    [kube.toUpperCase(), 403],
    [`https://${hosts.sibling}`, 403],
    [`https://${visitorAddress}`, 403],
  ] as const) {
    await stage.reset();
    stage.upstream.script(cluster);
    assert.equal((await stage.program("/api/v1/pods", { Origin: origin })).status, status, origin);
    assert.equal(await handshake(exec, { Origin: origin }), status === 200 ? 101 : 403, origin);
    assert.equal(await handshake(exec, { Origin: origin, Cookie: "a=b" }), 403, `${origin} with a cookie`);
    assert.equal(stage.upstream.received.length, status === 200 ? 2 : 0);
  }
});

/** Answers with what it was sent, and to a WebSocket's first message with that. */
async function cluster(request: Received): Promise<void> {
  if (request.values("upgrade").length > 0) {
    const peer = accept(request, request.values("sec-websocket-protocol")[0]);
    const message = await peer.receive();
    peer.send(text, `said ${message?.payload}`);
    await peer.closed();
    return;
  }
  request.answer("200 OK", ["Content-Type: text/plain"], request.method + (await request.body()));
}

/** The status that answers a handshake for a WebSocket. */
async function handshake(path: string, headers: Record<string, string>): Promise<number> {
  const lines = [...offer("v5.channel.k8s.io"), `Host: ${hosts.kube}`];
  const offered = Object.fromEntries(lines.map((line) => line.split(": ") as [string, string]));
  const { host, port } = stage.front;
  const options = { host, port, path, ca: stage.ca, agent: false as const, servername: hosts.kube };
  const request = httpsRequest({ ...options, headers: { ...headers, ...offered } });
  request.end();
  const signal = AbortSignal.timeout(LIMIT_MS);
  const [answer] = (await Promise.race([
    once(request, "upgrade", { signal }),
    once(request, "response", { signal }),
  ])) as [IncomingMessage];
  answer.socket.destroy();
  return answer.statusCode ?? 0;
}
