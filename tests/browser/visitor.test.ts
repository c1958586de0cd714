// Alice herself, with a browser: what she opens by hand, and what history and reload open for her.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { valuesOf } from "./front.ts";
import { hosts, kube, leave, type Stage, secrets, sessions, startStage, workload } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

test("case 151: what is typed into the address bar opens nothing of the API and no workload", async () => {
  for (const session of sessions) {
    await stage.reset(session);
    const tab = await stage.chromium.tab();
    for (const path of ["/version", "/api/v1/secrets", "/api/v1/pods?watch=true", `${workload}/`]) {
      const answer = await tab.goto(kube + path);
      assert.equal(answer?.status(), 403, `${path} (${session})`);
      if (path.startsWith("/api/")) {
        const { kind, reason } = await answer.json();
        assert.deepEqual([kind, reason], ["Status", "Forbidden"]);
      }
    }
    const visit = await stage.came("the address bar's", ({ target }) => target === "/api/v1/secrets");
    assert.deepEqual(valuesOf(visit, "sec-fetch-site"), ["none"], "Chromium takes it for alice's own wish");
    await stage.assertUntouched();
  }
});

test("case 151: the gateway's own path is served to a browser", async () => {
  for (const session of sessions) {
    await stage.reset(session);
    const tab = await stage.chromium.tab();
    const answer = await tab.goto(`${kube}/.kube-access/healthz`);
    assert.deepEqual([answer?.status(), (await answer?.text())?.trim()], [200, "ok"]);
    await stage.assertUntouched();
  }
});

test("case 152: F5, history.back() and location.reload() onto a redirect read nothing and reach nothing", async () => {
  for (const session of sessions) {
    for (const host of [hosts.sibling, hosts.evil]) {
      for (const way of ["F5", "reload", "back"]) {
        await stage.reset(session);
        // The page that was there a moment ago leads to the API now.
        let leadsOn = false;
        stage.pages.put(host, "/before", (_, response) => {
          const head = leadsOn ? { location: secrets } : { "content-type": "text/html", "cache-control": "no-store" };
          response.writeHead(leadsOn ? 302 : 200, head).end("<!doctype html>before");
        });
        stage.pages.put(host, "/after", "<!doctype html>after");
        const page = await stage.visit(host);
        // A window that another one opened is not kept for going back to.
        const opened = page.waitForEvent("popup");
        await page.evaluate("self.other = open('/before'), 0");
        const other = await opened;
        await other.waitForURL("**/before");
        if (way === "back") {
          await page.evaluate("other.location = '/after', 0");
          await other.waitForURL("**/after");
        }
        leadsOn = true;
        const arrived = other.waitForURL(secrets);
        if (way === "F5") {
          await other.reload();
        } else {
          await page.evaluate(way === "back" ? "other.history.back()" : "other.location.reload()");
        }
        await arrived;
        const visit = await stage.came(`${way} on ${host}`, ({ target }) => target === "/api/v1/secrets");
        assert.equal(visit.status, 403, `${way} on ${host} (${session}): ${visit.answer}`);
        await stage.assertUntouched();
      }
    }
  }
});

test("case 151, 152: reloading what a form or a link led to, and going back and forward to it, stays refused", async () => {
  for (const session of sessions) {
    for (const host of [hosts.sibling, hosts.evil]) {
      await stage.reset(session);
      const html = `<form method=post enctype=text/plain action="${kube}/api/v1/namespaces/default/pods">
        <input name=a value=b></form><a href="${secrets}">secrets</a>`;
      const page = await stage.visit(host, `<!doctype html>${html}`);
      await leave(page, "() => document.forms[0].submit()");
      await page.waitForURL(`${kube}/**`);
      await page.reload();
      const posts = () => stage.front.visits.filter(({ method }) => method === "POST");
      assert.equal(posts().length, 2, "Chromium sends the form once more");

      await page.goto(`https://${host}/`);
      await leave(page, "() => document.links[0].click()");
      await page.waitForURL(secrets);
      await page.reload();
      await leave(page, "() => history.back()");
      await page.waitForURL(`https://${host}/`, { waitUntil: "commit" });
      await leave(page, "() => history.forward()");
      await page.waitForURL(secrets, { waitUntil: "commit" });
      await stage.assertUntouched();
    }
  }
});
