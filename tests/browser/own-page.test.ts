// The gateway's own page, in a browser: for alice it works; for a page of somebody else's there is nothing to read, to change, or to frame.

import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { after, before, test } from "node:test";
import type { Grants } from "../../page/src/api.ts";
import type { Received } from "../e2e/wire/recorder.ts";
import { accept, binary, offer, Peer } from "../e2e/wire/websocket.ts";
import { Wire } from "../e2e/wire/wire.ts";
import { valuesOf } from "./front.ts";
import { canary, hosts, inPage, kube, leave, type Stage, sessions, startStage, workload } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage({ hasPage: true });
});

after(() => stage?.stop());

const home = `${kube}/.kube-access/`;
const grantsUrl = `${kube}/.kube-access/grants`;
const strangers = [hosts.sibling, hosts.evil];
const wish = { email: "mallory@elsewhere.test", groups: ["on-call"], expires: inAnHour(), reason: "theft" };
/** What is the caller's own: nobody else may read any of it. */
const own = ["me", "me?namespace=default", "kubeconfig", "grants", "sessions"];

function inAnHour(): string {
  return new Date(Date.now() + 3_600_000).toISOString();
}

/** The API server lets alice do everything, and answers a workload with what that says. */
async function cluster(request: Received): Promise<void> {
  const { target } = request;
  if (request.values("upgrade").length > 0) {
    const peer = accept(request, "v5.channel.k8s.io");
    peer.send(binary, "\x01hello from the pod\r\n");
    peer.send(binary, `\x03${JSON.stringify({ metadata: {}, status: "Success" })}`);
    peer.close(1000);
    await peer.closed();
    return;
  }
  const json = (status: string, body: object) =>
    request.answer(status, ["Content-Type: application/json"], JSON.stringify(body));
  if (target.includes("/proxy/")) {
    return request.answer("200 OK", ["Content-Type: text/html"], thief);
  }
  if (target.endsWith("selfsubjectaccessreviews")) {
    return json("201 Created", { status: { allowed: true } });
  }
  if (target.endsWith("selfsubjectrulesreviews")) {
    const all = { verbs: ["*"], apiGroups: ["*"], resources: ["*"] };
    return json("201 Created", { status: { incomplete: false, resourceRules: [all], nonResourceRules: [] } });
  }
  if (target.startsWith("/api/v1/namespaces")) {
    return json("200 OK", { metadata: {}, rows: [{ cells: ["default"] }] });
  }
  return json("200 OK", { gitVersion: "v1.37.2", data: canary });
}

/** A page that has its visitor do all it can. */
const thief = `<!doctype html><title>thief</title>
  <script>
    document.title = "ran";
    for (const path of ["me", "grants", "kubeconfig"]) {
      fetch("/.kube-access/" + path).then((answer) => answer.text()).then((text) => { document.title += text; }, () => {});
    }
    fetch("/.kube-access/grants", { method: "POST", headers: { "Content-Type": "application/json" }, body: ${JSON.stringify(JSON.stringify(wish))} });
  </script>
  <iframe src="/.kube-access/"></iframe>
  <form method=post action=/.kube-access/grants enctype=text/plain><input name='${JSON.stringify(wish).slice(0, -1)},"x":"' value='"}'><button>win</button></form>`;

async function reset(session: "device" | "cookie" = "device") {
  await stage.reset(session);
  stage.upstream.script(cluster);
}

async function given(): Promise<Grants["grants"]> {
  const answer = await stage.program("/.kube-access/grants");
  assert.equal(answer.status, 200, answer.text);
  return (JSON.parse(answer.text) as Grants).grants;
}

test("alice opens the host by its name, and sees who she is, what she may do and how she connects", async () => {
  for (const session of sessions) {
    await reset(session);
    const tab = await stage.chromium.tab();
    const wrong: string[] = [];
    tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
    tab.on("pageerror", (error) => wrong.push(error.message));
    await tab.goto(kube);
    assert.equal(tab.url(), home);
    await tab.getByText("platform-admins").first().waitFor();
    const text = (await tab.locator("main").textContent()) ?? "";
    for (const part of ["alice", "developers", "v1.37.2", "pods", "kubectl config set-cluster"]) {
      assert.ok(text.includes(part), `${part} in ${text}`);
    }
    assert.deepEqual(wrong, [], "nothing is refused by its own policy");
  }
});

test("with an empty cache the page shows something within a second", async () => {
  const paints: number[] = [];
  // The best of five: what a busy machine adds is not the page's.
  for (let time = 0; time < 5; time++) {
    await reset();
    const tab = await stage.chromium.tab();
    const devtools = await stage.chromium.context.newCDPSession(tab);
    await devtools.send("Network.clearBrowserCache");
    await tab.goto(home);
    await tab.getByText("platform-admins").first().waitFor();
    paints.push(Number(await inPage(tab, "() => performance.getEntriesByName('first-contentful-paint')[0].startTime")));
  }
  assert.ok(Math.min(...paints) < 1000, `first contentful paint after ${paints.map(Math.round).join(", ")} ms`);
});

test("alice gives bob a group and takes it back, by hand", async () => {
  await reset();
  const tab = await stage.chromium.tab();
  await tab.goto(`${home}#grants`);
  await tab.getByLabel("Address").fill("bob@example.com");
  await tab.getByLabel("Reason").fill("INC-7");
  await tab.getByRole("button", { name: "Give" }).click();
  const take = tab.getByRole("button", { name: /Take back on-call from bob@example\.com/ });
  await take.waitFor();
  const [grant] = await given();
  assert.deepEqual(
    [grant?.email, grant?.groups, grant?.reason, grant?.by],
    ["bob@example.com", ["on-call"], "INC-7", "alice"],
  );
  const post = await stage.came(
    "the giving",
    ({ method, target }) => method === "POST" && target === "/.kube-access/grants",
  );
  assert.deepEqual(
    [post.status, ...valuesOf(post, "sec-fetch-site"), ...valuesOf(post, "origin")],
    [201, "same-origin", kube],
  );
  await take.click();
  await tab.getByRole("button", { name: "Take it back" }).click();
  await take.waitFor({ state: "detached" });
  assert.deepEqual(await given(), []);
});

test("alice sees what was recorded of her, plays it, and reads that it is what the gateway wrote", async () => {
  await reset();
  const exec = "/api/v1/namespaces/default/pods/shell/exec?command=sh&stdout=true&stdin=true&tty=true";
  const { host, port } = stage.front;
  const offered = offer("v5.channel.k8s.io").map((line) => line.split(": ") as [string, string]);
  const request = httpsRequest({
    ...{ host, port, path: exec, ca: stage.ca, agent: false, servername: hosts.kube },
    headers: { ...Object.fromEntries(offered), host: hosts.kube },
  });
  request.end();
  const [answer] = (await once(request, "upgrade")) as [IncomingMessage];
  const client = new Peer(new Wire(answer.socket), true);
  await client.closed();
  client.close(1000);
  const tab = await stage.chromium.tab();
  const wrong: string[] = [];
  tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  await tab.goto(`${home}#sessions`);
  await tab.getByRole("link", { name: "default/shell" }).first().click();
  await tab.getByText("It is what the gateway wrote").waitFor();
  await tab.getByRole("button", { name: /Play the recording/ }).click();
  await tab.getByText("hello from the pod").first().waitFor();
  assert.deepEqual(wrong, []);
});

test("a stranger sees whom to ask and what to send, and nothing else", async () => {
  await reset();
  stage.front.user = "mallory";
  const tab = await stage.chromium.tab();
  const answer = await tab.goto(home);
  assert.equal(answer?.status(), 403);
  const text = (await tab.locator("body").textContent()) ?? "";
  assert.match(text, /mallory@elsewhere\.test[\s\S]*Ask the platform team/);
  const size = await inPage(tab, "() => getComputedStyle(document.querySelector('main')).maxWidth");
  assert.notEqual(size, "none", "it has its style");
  for (const name of ["page.js", "page.css", "index.html"]) {
    assert.equal((await stage.program(`/.kube-access/assets/${name}`)).status, 403, name);
  }
});

test("case 151: a page of another site reads nothing of what is alice's, in no way of asking", async () => {
  const ways: Record<string, string> = {
    cors: `(url) => fetch(url, { credentials: "include" }).then((answer) => answer.text())`,
    "no-cors": `(url) => fetch(url, { mode: "no-cors", credentials: "include" }).then((answer) => answer.text())`,
    script: `(url) => new Promise((done) => {
      const script = document.createElement("script");
      script.onload = () => done("loaded");
      script.onerror = () => done("");
      script.src = url;
      document.head.append(script);
    })`,
    import: `(url) => import(url).then((found) => "loaded " + Object.keys(found))`,
    style: `(url) => new Promise((done) => {
      const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: url });
      link.onload = () => done("loaded");
      link.onerror = () => done("");
      document.head.append(link);
    })`,
  };
  for (const session of sessions) {
    for (const host of strangers) {
      await reset(session);
      const page = await stage.visit(host);
      for (const path of [...own, "assets/page.js", "assets/page.css", ""]) {
        for (const [way, ask] of Object.entries(ways)) {
          const learnt = String(await inPage(page, `(url) => (${ask})(url).catch(() => "")`, home + path));
          assert.ok(
            !/alice|loaded|token|doctype/i.test(learnt),
            `${way} of ${path} from ${host} (${session}) reads ${learnt}`,
          );
        }
      }
      const visits = stage.front.visits.filter(({ target }) => target.startsWith("/.kube-access/"));
      assert.ok(visits.length > 0);
      assert.ok(
        visits.every(({ status }) => status === 403 || status === 302 || status === 0),
        "each was refused",
      );
    }
  }
});

test("case 151: a page of another site changes nothing: neither by a script, nor by a form, nor by a link", async () => {
  for (const session of sessions) {
    for (const host of strangers) {
      await reset(session);
      const body = JSON.stringify(wish);
      const page = await stage.visit(host);
      for (const [mode, type] of [
        ["cors", "application/json"],
        ["cors", "text/plain"],
        ["no-cors", "text/plain"],
        ["no-cors", "application/x-www-form-urlencoded"],
      ]) {
        const post = `(url, mode, type, body) => fetch(url, {
          method: "POST", credentials: "include", mode, headers: { "Content-Type": type }, body,
        }).then((answer) => answer.text()).catch(() => "")`;
        assert.equal(await inPage(page, post, grantsUrl, mode, type, body), "");
      }
      await inPage(
        page,
        "(url, body) => navigator.sendBeacon(url, new Blob([body], { type: 'text/plain' }))",
        grantsUrl,
        body,
      );
      for (const enctype of ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]) {
        await page.goto(`https://${host}/`);
        await leave(page, submitForm, grantsUrl, enctype, body);
        await page.waitForURL(`${kube}/**`);
      }
      assert.deepEqual(await given(), [], `${host} (${session})`);
    }
  }
});

const submitForm = `(action, enctype, body) => {
  const form = Object.assign(document.createElement("form"), { method: "post", action, enctype });
  form.append(Object.assign(document.createElement("input"), { name: body.slice(0, -1) + ',"x":"', value: '"}' }));
  document.body.append(form);
  form.submit();
}`;

test("case 151: nobody frames the page, and nobody keeps hold of its window", async () => {
  for (const host of strangers) {
    await reset();
    const frames = ["", " sandbox=allow-scripts", " credentialless"].map(
      (more) => `<iframe${more} src="${home}"></iframe>`,
    );
    const page = await stage.visit(
      host,
      `<!doctype html><title>frames</title>${frames.join("")}<object data="${home}"></object>`,
    );
    await stage.came(`a frame in ${host}`, ({ target }) => target === "/.kube-access/");
    for (const frame of page.frames().slice(1)) {
      assert.ok(!(await frame.content().catch(() => "")).includes("page.js"), `${host} frames the page`);
    }
    const opened = page.waitForEvent("popup");
    await inPage(page, "(url) => { self.other = open(url); }", home);
    const popup = await opened;
    await popup.getByText("platform-admins").first().waitFor();
    assert.equal(
      await inPage(
        page,
        "() => { try { return other.closed || String(other.length); } catch (error) { return String(error); } }",
      ),
      true,
    );
  }
});

test("case 151, 155: in a browser that marks nothing, a workload's page does nothing as its visitor", async () => {
  await reset();
  stage.front.isOldBrowser = true;
  const page = await stage.chromium.tab();
  await page.goto(`${kube}${workload}/page`);
  assert.equal(await page.title(), "thief", "its script does not run");
  for (const frame of page.frames().slice(1)) {
    assert.ok(!(await frame.content().catch(() => "")).includes("page.js"), "it frames nothing");
  }
  await leave(page, "() => document.querySelector('button').click()");
  assert.deepEqual(await given(), []);
});

test("without JavaScript the page says that it needs it, and nothing else happens", async () => {
  await reset();
  const tab = await stage.chromium.tab();
  const devtools = await stage.chromium.context.newCDPSession(tab);
  await devtools.send("Emulation.setScriptExecutionDisabled", { value: true });
  await tab.goto(home);
  await tab
    .getByText(/JavaScript/)
    .first()
    .waitFor();
  assert.deepEqual(stage.upstream.received.length, 0);
  await tab.close();
});
