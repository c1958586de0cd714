// What a browser fetches ahead of the visitor's wish because a page proposes it: Chromium then marks the request as the
// visitor's own (`Sec-Fetch-Site: none`), and without a cookie it goes to other sites, too.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { type Session, valuesOf } from "./front.ts";
import { canary, hosts, inPage, kube, leave, type Stage, secrets, sessions, startStage, workload } from "./stage.ts";

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage.stop());

/** Whose pages Chromium lets propose: it fetches nothing ahead from another site for which it holds a cookie. */
const proposers: [Session, string][] = [
  ["device", hosts.kube],
  ["device", hosts.sibling],
  ["device", hosts.evil],
  ["cookie", hosts.kube],
  ["cookie", hosts.sibling],
];

test("case 152: speculation rules of any page fetch nothing ahead, and show nothing when they are followed", async () => {
  for (const [session, host] of proposers) {
    for (const kind of ["prefetch", "prerender"]) {
      await stage.reset(session);
      const page = await opened(host);
      for (const [index, path] of ["/api/v1/secrets", `${workload}/`].entries()) {
        const url = `${kube}${path}?ahead=${index}`;
        await inPage(page, propose, { [kind]: [{ urls: [url], eagerness: "immediate" }] });
        const who = `${kind} from ${host} (${session})`;
        const visit = await stage.came(who, ({ target }) => target === `${path}?ahead=${index}`);
        assert.deepEqual(valuesOf(visit, "sec-fetch-site"), ["none"], `${who}: as if alice had typed it`);
        assert.match(valuesOf(visit, "sec-purpose")[0] ?? "", /^prefetch/);
        assert.equal(visit.status, 403, who);
      }
      const target = `${secrets}?ahead=0`;
      await leave(page, "(target) => { location = target; }", target);
      await page.waitForURL(target);
      assert.ok(!(await page.content()).includes(canary));
      await stage.assertUntouched();
    }
  }
});

test("case 152: links that propose to fetch ahead fetch nothing", async () => {
  for (const session of sessions) {
    for (const host of [hosts.kube, hosts.sibling, hosts.evil]) {
      await stage.reset(session);
      const page = await opened(host);
      const rels = ["prefetch", "preload", "modulepreload"];
      for (const rel of rels) {
        await inPage(page, link, rel, `${secrets}?ahead=${rel}`);
        await inPage(page, link, rel, `${secrets}?ahead=${rel}-plain`, "plain");
        for (const target of [`/api/v1/secrets?ahead=${rel}`, `/api/v1/secrets?ahead=${rel}-plain`]) {
          await stage.came(`${rel} from ${host} (${session})`, (visit) => visit.target === target);
        }
      }
      await stage.assertUntouched();
    }
  }
});

/** A page of the host. Nobody's script runs under the gateway's own name: there, the tests' own stands in for it. */
async function opened(host: string): Promise<Page> {
  if (host !== hosts.kube) {
    return stage.visit(host);
  }
  const page = await stage.chromium.tab();
  await page.goto(`${kube}/.kube-access/healthz`);
  return page;
}

const propose = `(rules) => {
  const script = document.createElement("script");
  script.type = "speculationrules";
  script.textContent = JSON.stringify(rules);
  document.head.append(script);
}`;

const link = `(rel, href, isPlain) => {
  const link = document.createElement("link");
  Object.assign(link, { rel, href, as: rel === "modulepreload" ? "script" : "fetch" });
  if (!isPlain) {
    link.crossOrigin = "use-credentials";
  }
  document.head.append(link);
}`;
