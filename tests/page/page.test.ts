// What somebody does on the page, and sees of it.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { builtKubectl } from "../../dev/cluster-binaries.ts";
import { PAGE_HEADERS } from "../../dev/page-server.ts";
import { HOSTILE } from "../../page/sample/people.ts";
import {
  become,
  ids,
  type Stage,
  settled,
  sizes,
  startStage,
  TEST_LIMIT_MS,
  type Visit,
  type VisitOptions,
} from "./stage.ts";

const MINUTE_MS = 60_000;
const PAINT_LIMIT_MS = 1_000;
const PAINTS = 5;
const timed = { timeout: TEST_LIMIT_MS };

let stage: Stage;
let open: Visit[];

before(async () => {
  stage = await startStage();
});

after(() => stage?.stop());

beforeEach(() => {
  stage.server.reset();
  open = [];
});

afterEach(async () => {
  for (const { close } of open) {
    await close();
  }
});

async function visit(state: string, hash?: string, options?: VisitOptions): Promise<Visit> {
  const visit = await stage.visit(state, hash, options);
  open.push(visit);
  return visit;
}

test("it comes with a policy that lets nothing in but its own files", timed, async () => {
  const response = await fetch(stage.server.url);
  for (const [name, value] of Object.entries(PAGE_HEADERS)) {
    assert.equal(response.headers.get(name), value, name);
  }
  assert.match(PAGE_HEADERS["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self'; /);
  assert.doesNotMatch(PAGE_HEADERS["content-security-policy"], /unsafe|data:|blob:|\*/);
});

test("something is seen within a second, with an empty cache", timed, async (t) => {
  const paints: number[] = [];
  for (let count = 0; count < PAINTS; count += 1) {
    const { page, close } = await stage.visit("auditor", "", { clock: "real" });
    await page.getByRole("heading", { name: "You are alice" }).waitFor();
    paints.push(Number(await page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")));
    await close();
  }
  t.diagnostic(`first contentful paints: ${paints.map(Math.round).join(", ")} ms`);
  // The best of them is the page's own: what a busy machine adds to the others says nothing of it.
  assert.ok(Math.min(...paints) < PAINT_LIMIT_MS, `${paints}`);
});

describe("who", () => {
  test(
    "groups are told with where each comes from, guards in words, whom one may act as, and the cluster",
    timed,
    async () => {
      const { page, assertCalm } = await visit("auditor");
      await page.getByText("let in by your address").waitFor();
      const who = page.getByRole("region", { name: "Who you are here" });
      const lines = (await who.innerText()).split("\n").filter((line) => line !== "");
      assert.deepEqual(lines.slice(1, 7), [
        "Groups",
        "platform-admins by your address",
        "developers by your address",
        "on-call by a group of the identity provider",
        "sre granted, 2 h 12 min left",
        "Guards",
      ]);
      for (const told of [
        "No get, list or watch of secrets.",
        "--as breakglass",
        "Kubernetes v1.37.2",
        "the platform team (#platform)",
      ]) {
        assert.ok(
          lines.some((line) => line.includes(told)),
          told,
        );
      }
      await assertCalm();
    },
  );

  test("a grant and the login are counted down by name, and said to be over when they are", timed, async () => {
    const { page, assertCalm } = await visit("auditor", "", { clock: "moved" });
    const greeting = page.locator(".greeting p");
    const toast = page.getByRole("status").filter({ has: page.getByRole("button", { name: "Dismiss" }) });
    const grant = page.locator(".who li", { hasText: "sre" });
    const greets = async (...sentences: string[]) =>
      assert.deepEqual(await greeting.allInnerTexts(), ["alice@example.com, let in by your address.", ...sentences]);
    await greeting.first().waitFor();
    await greets(
      "Your grant of sre ends at 14:12, in 2 h 12 min: reload the page then.",
      "Your login ends at 17:40, in 5 h 40 min: then you log in again.",
    );
    assert.equal(await grant.innerText(), "sre granted, 2 h 12 min left");
    await page.clock.runFor(10 * MINUTE_MS);
    assert.equal(await grant.innerText(), "sre granted, 2 h 2 min left");
    await page.clock.fastForward(60 * MINUTE_MS + 56 * MINUTE_MS);
    await page.clock.runFor(65_000);
    await toast.getByText("Your grant of sre ends in 5 minutes.").waitFor();
    await page.clock.fastForward(5 * MINUTE_MS);
    await page.clock.runFor(2_000);
    const over = "Your grant of sre has ended: reload the page.";
    await toast.getByText(over).waitFor();
    assert.equal(await grant.innerText(), "sre granted, over: reload the page");
    await greets(over, "Your login ends at 17:40, in 3 h 28 min: then you log in again.");

    await page.clock.fastForward(3 * 60 * MINUTE_MS + 22 * MINUTE_MS);
    await page.clock.runFor(58_000);
    await toast.getByText("Your login ends in 5 minutes.").waitFor();
    await page.clock.fastForward(60 * MINUTE_MS);
    await page.clock.runFor(2_000);
    const end = "Your login has ended: reload the page to log in again.";
    await toast.getByText(end).waitFor();
    await page.clock.fastForward(60 * MINUTE_MS);
    await page.clock.runFor(2_000);
    assert.ok(await toast.getByText(end).isVisible(), "whoever comes back later reads it too");
    await page.getByRole("button", { name: "Dismiss" }).click();
    await toast.waitFor({ state: "detached" });
    await greets(over, end);
    await assertCalm();
  });

  test("an entry that ends is told as one, and without anything of the policy's the login alone", timed, async () => {
    const { page } = await visit("developer");
    await page.getByText("Your entry for developers ends at 12:48, in 48 min:").waitFor();
    const other = await visit("contractor");
    await other.page.getByText("Your login ends at 17:40").waitFor();
    assert.equal(await other.page.locator(".greeting .countdown").count(), 1);
  });

  test("seconds are told in the last minute", timed, async () => {
    const { page } = await visit("ending", "", { clock: "moved" });
    const left = page.locator(".greeting .countdown");
    await left.waitFor();
    assert.equal(await left.innerText(), "2 min");
    await page.clock.runFor(48_000);
    assert.equal(await left.innerText(), "42 s");
  });
});

describe("what", () => {
  test("the matrix has a row for each usual resource, and each cell says its piece", timed, async () => {
    const { page, assertCalm } = await visit("developer");
    const table = page.getByRole("table");
    await table.waitFor();
    assert.deepEqual(
      (await table.getByRole("columnheader").allInnerTexts()).map((text) => text.trim()),
      ["Resource", "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
    );
    assert.equal(await table.getByRole("rowheader").count(), 19);
    const pods = table.getByRole("row").filter({ has: page.getByRole("rowheader", { name: "pods", exact: true }) });
    assert.deepEqual(await pods.getByRole("cell").allTextContents(), [
      "yes",
      "no: RBAC grants it, the guard no-lists takes it away",
      "no: RBAC grants it, the guard no-lists takes it away",
      "no",
      "no",
      "yes, but not what the guard no-web takes away",
      "only web, web-canary, web-1, web-2, web-3 and 2 more",
      "no",
    ]);
    const exec = page.getByRole("row").filter({ has: page.getByText("pods/exec", { exact: true }) });
    assert.match(await exec.innerText(), /some of it is recorded, what you type as well/);
    assert.equal(await exec.getByRole("cell").nth(3).textContent(), "yes, some of it is recorded");
    assert.match(await page.locator(".legend").innerText(), /some of it is recorded/);
    await assertCalm();
  });

  test("verbs without a column stand beside their row, and are heard there", timed, async () => {
    const { page, assertCalm } = await visit("auditor");
    const header = (name: RegExp) => page.getByRole("rowheader", { name });
    await header(/^serviceaccounts.*also impersonate: only deployer and backup$/).waitFor();
    await page.getByText("8 other resources").click();
    await header(/^clusterroles.*also: bind, escalate$/).waitFor();
    await header(/^signers.*also approve: only issuers\.cert-manager\.io\/team-a\.\*$/).waitFor();
    const reader = await visit("contractor");
    await reader.page
      .getByRole("rowheader", { name: /^serviceaccounts.*impersonate: taken away by contractors-read-only$/ })
      .waitFor();
    await assertCalm();
  });

  test("on a phone the verbs stand upright on one line", timed, async () => {
    const { page } = await visit("auditor", "", { viewport: sizes.phone });
    await page.getByRole("table").waitFor();
    const feet =
      "[...document.querySelectorAll('.verb span')].map((one) => Math.round(one.getBoundingClientRect().bottom))";
    const found = (await page.evaluate(feet)) as number[];
    assert.deepEqual([found.length % 8, new Set(found.slice(0, 8)).size], [0, 1], `${found}`);
  });

  test("the summary counts what it says that it counts", timed, async () => {
    const { page } = await visit("developer");
    const counted = page.getByText(
      "In default you may read 12 and change 1 of the 15 usual resources, not counting subresources, and may enter pods (some of it is recorded).",
    );
    await counted.waitFor();
    const names = await page.getByRole("rowheader").locator("> .name").allInnerTexts();
    assert.equal(names.filter((name) => !name.includes("/")).length, 15);
  });

  test("a namespace that is in no list is chosen where a link leads to it", timed, async () => {
    const { page } = await visit("auditor");
    const chosen = page.getByRole("combobox", { name: "Namespace" });
    await chosen.waitFor();
    await page.evaluate("location.hash = '#rights/elsewhere'");
    await page.locator(".summary", { hasText: "In elsewhere" }).waitFor();
    assert.equal(await chosen.inputValue(), "elsewhere");
    await chosen.selectOption("team-a");
    await page.locator(".summary", { hasText: "In team-a" }).waitFor();
    await page.goBack();
    await page.locator(".summary", { hasText: "In elsewhere" }).waitFor();
    assert.equal(await chosen.inputValue(), "elsewhere");
    assert.equal(await chosen.locator("option").count(), 6);
  });

  test("the rest comes on demand; stars and what is not complete are said as such", timed, async () => {
    const { page } = await visit("partial");
    await page.getByText("get, list and watch on every resource of the API group example.com").waitFor();
    await page.getByText("get on */status of the API group apps, named web").waitFor();
    await page.getByText("This is not all: webhook authorizer does not support user rule resolution").waitFor();
    await page.getByText("The API server does not tell its version right now.").waitFor();
    const other = page.getByText("certificates");
    assert.ok(!(await other.isVisible()));
    await page.getByText("8 other resources").click();
    assert.ok(await other.isVisible());
    await page.getByText("Paths that are no resources").click();
    await page.getByText("/openapi/*").waitFor();
  });

  test("another namespace is asked for, stands in the address, and is there after a reload", timed, async () => {
    const { page, assertCalm } = await visit("developer");
    await page.getByText("The namespaces cannot be listed: RBAC does not let you").waitFor();
    await page.getByLabel("Namespace").fill("team-a");
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator(".summary", { hasText: "In team-a you may read none" }).waitFor();
    assert.match(page.url(), /#rights\/team-a$/);
    await page.reload();
    await page.locator(".summary", { hasText: "In team-a you may read none" }).waitFor();
    assert.equal(await page.getByLabel("Namespace").inputValue(), "team-a");
    await page.goBack();
    await page.locator(".summary", { hasText: "In default you may read 12" }).waitFor();
    await assertCalm();
  });

  test("a text that cannot be a namespace is not asked for", timed, async () => {
    const { page } = await visit("developer");
    await page.getByLabel("Namespace").fill("Not/One");
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("The name of a namespace has lower-case letters").waitFor();
    assert.ok(!page.url().includes("Not"));
  });
});

describe("how", () => {
  test("the four lines are copied as they stand there", timed, async () => {
    const { page } = await visit("auditor", "", { permissions: ["clipboard-read", "clipboard-write"] });
    await page.getByRole("button", { name: "Copy" }).first().click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    assert.equal(
      await page.evaluate("navigator.clipboard.readText()"),
      `kubectl config set-cluster kube.example.com --server=https://kube.example.com
kubectl config set-credentials kube.example.com --token=access
kubectl config set-context kube.example.com --cluster=kube.example.com --user=kube.example.com
kubectl config use-context kube.example.com
`,
    );
  });

  test("without a clipboard they are selected, to be copied by hand", timed, async () => {
    const { page } = await visit("auditor", "", { permissions: [] });
    await page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))");
    await page.getByRole("button", { name: "Copy" }).first().click();
    await page.getByRole("button", { name: "Ctrl+C" }).waitFor();
    assert.match(
      String(await page.evaluate("String(getSelection())")),
      /^kubectl config set-cluster .*\n[\s\S]*use-context kube\.example\.com$/,
    );
  });

  test("kubectl takes the lines twice, keeps what else there is, and has what the file has", timed, async () => {
    const kubectl = await builtKubectl();
    assert.ok(kubectl, "`npm test -- --only page` builds the local cluster, and kubectl with it");
    const { page } = await visit("auditor");
    const lines = await page.getByLabel("Lines that add the cluster").locator(":scope > span").allTextContents();
    assert.equal(lines.length, 4);
    const dir = await mkdtemp(join(tmpdir(), "kube-access-lines-"));
    try {
      const other = { name: "other", context: { cluster: "other", user: "other" } };
      const file = join(dir, "config");
      await writeFile(file, JSON.stringify({ apiVersion: "v1", kind: "Config", contexts: [other] }));
      const script = lines.map((line) => line.replace(/^kubectl /, '"$KUBECTL" ')).join(" && ");
      const take = () => {
        run("sh", ["-c", script], { KUBECONFIG: file, KUBECTL: kubectl });
        return kubeconfigOf(kubectl, file);
      };
      const seen = [take(), take()];
      assert.deepEqual(seen[0], seen[1]);
      assert.deepEqual(seen[0]?.contexts.map(({ name }) => name).sort(), ["kube.example.com", "other"]);

      const arrival = page.waitForEvent("download");
      await page.getByRole("link", { name: "Download the kubeconfig" }).click();
      const download = await arrival;
      assert.equal(download.suggestedFilename(), "kube.example.com.kubeconfig");
      const downloaded = kubeconfigOf(kubectl, await download.path());
      for (const key of ["clusters", "users", "current-context"] as const) {
        assert.deepEqual(downloaded[key], seen[0]?.[key], key);
      }
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test(
    "with WARP, without it and for programs it says what is documented, and which kubectl is too old",
    timed,
    async () => {
      const { page } = await visit("auditor");
      await page.getByText("Switch the Cloudflare One Client (WARP) on").waitFor();
      await page.getByRole("tab", { name: "Without WARP" }).click();
      assert.ok(await page.getByText("kubectl access setup https://kube.example.com --login").isVisible());
      assert.ok(!(await page.getByText("Switch the Cloudflare One Client (WARP) on").isVisible()));
      await page.getByRole("tab", { name: "CI and agents" }).click();
      assert.ok(await page.getByText("CF_ACCESS_CLIENT_SECRET").isVisible());
      await page.getByText("exec needs kubectl 1.30 or newer").click();
      assert.ok(await page.getByText("KUBECTL_PORT_FORWARD_WEBSOCKETS=true").isVisible());
      const versions = await readFile(join(import.meta.dirname, "../../docs/versions.md"), "utf8");
      assert.match(versions, /\| 1\.29\.\d+ .*with `KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true`/);
      assert.match(versions, /\| 1\.30\.\d+ .*with `KUBECTL_PORT_FORWARD_WEBSOCKETS=true`/);
    },
  );
});

describe("sessions", () => {
  test("they are found by user, namespace, pod and day, a page at a time", timed, async () => {
    const { page, assertCalm } = await visit("auditor", "#sessions");
    const rows = page.locator("section[aria-labelledby=ended] li");
    await rows.first().waitFor();
    assert.equal(await rows.count(), 25);
    await page.getByRole("button", { name: "Older sessions" }).click();
    await page.getByText("25 more.").waitFor();
    assert.equal(await rows.count(), 50);
    await page.getByRole("button", { name: "Older sessions" }).click();
    await page.getByText("4 more.").waitFor();
    assert.equal(await page.getByRole("button", { name: "Older sessions" }).count(), 0);

    await page.getByLabel("User").fill("bob@example.com");
    await page.getByLabel("Pod").fill("shell");
    await page.getByLabel("Day (UTC)").fill("2026-11-25");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("0 going on, 1 ended.").waitFor();
    assert.match(await rows.innerText(), /default\/shell\s+bob@example\.com\s+exec sh -c 'exit 137'/);
    assert.match(page.url(), /#sessions\?user=bob%40example\.com&pod=shell&day=2026-11-25$/);
    await page.reload();
    await page.getByText("0 going on, 1 ended.").waitFor();
    assert.equal(await page.getByLabel("Pod").inputValue(), "shell");
    await page.getByRole("link", { name: "Clear" }).click();
    await page.getByLabel("Namespace").fill("nowhere");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("None that match. Names are matched whole.").waitFor();
    await assertCalm();
  });

  test("a live one is ended with a reason, and is among those that have ended", timed, async () => {
    const { page, assertCalm } = await visit("auditor", "#sessions");
    await page.getByRole("button", { name: "End the session of bob@example.com in shell" }).click();
    const dialog = page.getByRole("dialog", { name: "End this session?" });
    await dialog.getByLabel("Reason").fill("INC-9");
    await dialog.getByRole("button", { name: "End it" }).click();
    await page.getByText("The session of bob@example.com was ended.").waitFor();
    await page.getByText("order: alice ended it: INC-9").waitFor();
    assert.equal(await page.getByRole("dialog").count(), 0);
    const ended = page.locator("section[aria-labelledby=ended] li").first();
    assert.match(await ended.innerText(), /order: alice ended it: INC-9/);
    assert.equal(await page.locator("section[aria-labelledby=live] li").count(), 1);
    await assertCalm();
  });

  test("one that has ended meanwhile says so in the dialog, which stays until it is left", timed, async () => {
    const { page } = await visit("auditor", `#sessions/${ids.live}`);
    await page.getByRole("button", { name: "End this session" }).waitFor();
    const other = await visit("auditor", `#sessions/${ids.live}`);
    for (const { page: where } of [other, { page }]) {
      await where.getByRole("button", { name: "End this session" }).click();
      await where.getByRole("button", { name: "End it" }).click();
    }
    await page.getByRole("alert").getByText(`The session ${ids.live} has ended already.`).waitFor();
    await page.keyboard.press("Escape");
    assert.equal(await page.getByRole("dialog").count(), 0);
  });

  for (const [fate, id, verdict] of [
    ["whole", ids.whole, /It is what the gateway wrote\s+2 chunks, 2110 bytes, chain ends in [0-9a-f]{64}/],
    [
      "edited",
      ids.edited,
      /It is not what the gateway wrote\s+chunk 00000 was edited: it had 1511 bytes and SHA-256 [0-9a-f]{64}/,
    ],
    ["missing", ids.missing, /It is not what the gateway wrote\s+chunk 00001 is missing/],
    ["added", ids.added, /It is not what the gateway wrote\s+chunk 00002 was added/],
  ] as const) {
    test(`the verdict on a recording: ${fate}`, timed, async () => {
      const { page, assertCalm } = await visit("auditor", `#sessions/${id}`);
      await settled(page);
      assert.match(await page.getByRole("region", { name: "Verdict" }).innerText(), verdict);
      await assertCalm();
    });
  }

  test("a recording is played, by a player that comes only then", timed, async () => {
    const { page, assertCalm } = await visit("auditor", `#sessions/${ids.whole}`, {
      clock: "real",
      reducedMotion: "reduce",
    });
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url().split("/").at(-1) ?? ""));
    const play = page.getByRole("button", { name: /^Play the recording/ });
    await play.waitFor();
    assert.ok(!asked.includes("player.js"));
    await play.click();
    const screen = page.locator(".playing");
    await screen.locator(".ap-control-bar").waitFor({ state: "attached" });
    // Nothing moves for whoever does not want that, until they say so.
    await page.keyboard.press("Space");
    await screen.getByText("node worker.js --queue mail").waitFor();
    const heights = "[...document.querySelectorAll('.playing, .playing .ap-player')].map((one) => one.offsetHeight)";
    const [around, player] = (await page.evaluate(heights)) as number[];
    assert.ok(player && around && around - player < 2, `${player} px of player in ${around} px`);
    assert.ok(asked.includes("player.js") && asked.includes("player.css") && asked.includes("cast"));
    await assertCalm();
  });

  test("what was not recorded, what goes on, and what is not there say so", timed, async () => {
    const { page } = await visit("auditor", `#sessions/${ids.notRecorded}`);
    await page.getByText("Nothing was recorded").waitFor();
    await page.goto(`${stage.server.url}#sessions/${ids.live}`);
    await page.getByText("It can be played when the session has ended.").waitFor();
    const id = ids.live.replace(/.$/, "f");
    await page.goto(`${stage.server.url}#sessions/${id}`);
    await page.getByRole("alert").getByText(`There is no session ${id}`).waitFor();
  });

  test("whoever may not see those of others sees their own, and is told so", timed, async () => {
    const { page } = await visit("developer", "#sessions");
    await page.getByText("These are your own: those of others are for auditors.").waitFor();
    assert.deepEqual([...new Set(await page.locator(".list .who").allInnerTexts())], ["bob@example.com (you)"]);
    await page.goto(`${stage.server.url}?state=developer#sessions/${ids.whole}`);
    await page.getByRole("alert").getByText("kube-access:auditor").waitFor();
  });
});

describe("grants", () => {
  test("a group is given until a time with a reason, stands in the list, and is taken back", timed, async () => {
    const { page, assertCalm } = await visit("auditor", "#grants");
    await page.getByLabel("Address").fill("eve@example.com");
    await page.getByRole("checkbox", { name: "on-call" }).check();
    await page.getByText("4 h", { exact: true }).click();
    await page.getByText("Ends 16:00, in 4 h.").waitFor();
    await page.getByLabel("Reason").fill("INC-8");
    await page.getByRole("button", { name: "Give" }).click();
    const said = "eve@example.com has on-call until 16:00. The gateway knows it everywhere within a minute.";
    await page.getByText(said).waitFor();
    const given = page.locator(".given li").filter({ hasText: "eve@example.com" });
    await given.waitFor();
    assert.match(await given.innerText(), /on-call\s+4 h left, until 16:00\s+INC-8 by alice, 12:00/);

    await page.getByRole("button", { name: "Take back on-call from eve@example.com" }).click();
    await page.getByRole("dialog").getByText("eve@example.com loses on-call").waitFor();
    await page.getByRole("button", { name: "Take it back" }).click();
    await page.getByText("on-call was taken back from eve@example.com.").waitFor();
    await given.waitFor({ state: "detached" });
    await assertCalm();
  });

  test("a service token gets one until an exact time, and a note that comes with it is shown", timed, async () => {
    const { page } = await visit("auditor", "#grants");
    await page.getByText("A service token").click();
    await page.getByLabel("Client ID").fill("00ff.access");
    await page.getByRole("checkbox", { name: "sre" }).check();
    await page.getByText("Until …").click();
    await page.getByLabel("Until", { exact: true }).fill("2026-11-27T09:30");
    await page.getByText("Ends 27 Nov, 09:30, in 21 h 30 min.").waitFor();
    await page.getByLabel("Reason").fill("the migration");
    await page.getByRole("button", { name: "Give" }).click();
    await page.getByText("00ff.access has sre until 27 Nov, 09:30.").waitFor();
    await page.getByText("A person").click();
    await page.getByLabel("Address").fill("eve@elsewhere.test");
    await page.getByText("1 h", { exact: true }).click();
    await page.getByLabel("Reason").fill("INC-9");
    await page.getByRole("button", { name: "Give" }).click();
    await page.getByText("No entry of the policy lets them in, and a grant alone does not").waitFor();
  });

  test("a note stays until it is read", timed, async () => {
    const { page } = await visit("auditor", "#grants", { clock: "moved" });
    await page.getByLabel("Address").fill("eve@elsewhere.test");
    await page.getByRole("checkbox", { name: "sre" }).check();
    await page.getByLabel("Reason").fill("INC-9");
    await page.getByRole("button", { name: "Give" }).click();
    const note = page.getByText("that Workers KV or the policy has an entry.");
    await note.waitFor();
    await page.clock.runFor(MINUTE_MS);
    assert.ok(await note.isVisible());
    await page.getByRole("button", { name: "Dismiss" }).click();
    await note.waitFor({ state: "detached" });
  });

  test("what is missing is said beside the field, and nothing is sent", timed, async () => {
    const { page } = await visit("auditor", "#grants");
    const posts: string[] = [];
    page.on("request", (request) => request.method() === "POST" && posts.push(request.url()));
    const give = page.getByRole("button", { name: "Give" });
    const problem = page.locator(".giving .problem");
    for (const [step, told] of [
      [async () => {}, "Say to whom"],
      [() => page.getByLabel("Address").fill("bob@example.com"), "Choose at least one group."],
      [() => page.getByRole("checkbox", { name: "sre" }).check(), "Say why"],
      [() => page.getByLabel("Reason").fill("   "), "Say why"],
      [() => page.getByText("Until …").click(), "Say until when."],
      [() => page.getByLabel("Until", { exact: true }).fill("2026-11-26T11:59"), "That is over already"],
      [() => page.getByLabel("Until", { exact: true }).fill("2027-11-26T11:59"), "A grant lasts 30 days at most."],
    ] as const) {
      await step();
      await give.click();
      await problem.getByText(told).waitFor();
    }
    assert.deepEqual(posts, []);
  });

  test("what the gateway refuses is told as it says it", timed, async () => {
    const { page } = await visit("auditor", "#grants");
    await page.getByLabel("Address").fill("bob@example.com");
    await page.getByRole("checkbox", { name: "sre" }).check();
    await page.getByLabel("Reason").fill("INC-7");
    await page.route("**/grants", (route) =>
      route.fulfill({
        status: 403,
        contentType: "application/json",
        body: JSON.stringify({ message: "you may not give sre: ask dana" }),
      }),
    );
    await page.getByRole("button", { name: "Give" }).click();
    await page.getByRole("alert").getByText("You may not give sre: ask dana.").waitFor();
    assert.equal(await page.getByLabel("Address").inputValue(), "bob@example.com", "what was typed is still there");
  });

  test(
    "whoever may give nothing sees what was given to them, may give it up, and reads what it takes to give",
    timed,
    async () => {
      const { page } = await visit("developer", "#grants");
      await page.getByText("It takes the ClusterRole kube-access:granter, bound to you.").waitFor();
      assert.equal(await page.getByRole("button", { name: "Give" }).count(), 0);
      assert.equal(await page.locator(".given li").count(), 1);
      await page.getByRole("button", { name: /Take back .* from bob@example\.com/ }).click();
      await page.getByRole("button", { name: "Take it back" }).click();
      await page.getByText("Nothing is given now.").waitFor();
    },
  );

  test("a grant that ends while one looks is struck out", timed, async () => {
    const { page } = await visit("auditor", "#grants", { clock: "moved" });
    const first = page.locator(".given li").first();
    await first.waitFor();
    await page.clock.fastForward(3 * 60 * MINUTE_MS);
    await page.clock.runFor(2_000);
    assert.match(await first.innerText(), /\sover\s/);
    assert.doesNotMatch(await first.innerText(), /left/);
    assert.equal(await page.locator(".given li.over").count(), 1);
  });
});

describe("when something is wrong", () => {
  test("a session of Access that ends while one looks shows the login, whatever one does next", timed, async () => {
    const { page, complaints } = await visit("auditor");
    await page.getByRole("heading", { name: "You are alice" }).waitFor();
    await become(page, "expired");
    await page.getByRole("link", { name: "Sessions" }).click();
    await page.getByRole("heading", { name: "Your session has ended" }).waitFor();
    // Logging in again is for Access: the page is loaded anew, at the same place.
    const loaded = page.waitForEvent("load");
    await page.getByRole("button", { name: "Log in again" }).click();
    await loaded;
    await page.getByRole("heading", { name: "Sessions" }).waitFor();
    assert.match(page.url(), /#sessions$/);
    assert.deepEqual(complaints, []);
  });

  test("a gateway that is not there, or is somebody else, is a sentence with what to do", timed, async () => {
    for (const [answer, told] of [
      [undefined, "The gateway cannot be reached: see that this machine is online, then try again."],
      [
        { status: 502, contentType: "text/html", body: "<h1>Bad gateway</h1>" },
        "The gateway answered 502 and did not say why: try again in a moment.",
      ],
      [
        { status: 200, contentType: "text/html", body: "<h1>Log in to the hotel</h1>" },
        "What answered is not the gateway",
      ],
      [{ status: 401, contentType: "application/json", body: "{}" }, "Cloudflare Access does not know you any more."],
    ] as const) {
      const { page } = await visit("stranger");
      await page.route("**/me", (route) => (answer ? route.fulfill(answer) : route.abort()));
      await page.goto(`${stage.server.url}?state=auditor`);
      await page.getByText(told).waitFor();
    }
  });

  test("a part that fails leaves the rest, and can be tried again", timed, async () => {
    const { page } = await visit("halting", "#sessions");
    await page.getByText("the API server did not answer the question.").waitFor();
    await become(page, "auditor");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("link", { name: "default/web-7d4b9c6f5d-x2x9k" }).waitFor();
  });

  test("a namespace that cannot be asked about leaves who one is, and can be tried again", timed, async () => {
    const { page } = await visit("auditor");
    await become(page, "failing");
    await page.getByLabel("Namespace").selectOption("team-a");
    await page.getByRole("alert").getByText("Who you are to the cluster cannot be told right now").waitFor();
    await page.getByRole("heading", { name: "You are alice" }).waitFor();
    await become(page, "auditor");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.locator(".summary", { hasText: "In team-a you may read" }).waitFor();
  });

  test("without JavaScript it says so, and leads to the kubeconfig", timed, async () => {
    const { page } = await visit("auditor", "", { javaScriptEnabled: false, clock: "real" });
    await page.getByRole("heading", { name: "This page needs JavaScript" }).waitFor();
    assert.equal(
      await page.getByRole("link", { name: "the kubeconfig" }).getAttribute("href"),
      "/.kube-access/kubeconfig",
    );
  });
});

describe("hostile text", () => {
  for (const hash of ["", "#sessions", "#grants"]) {
    test(`is shown as text and does nothing: ${hash || "the first view"}`, timed, async () => {
      const { page, assertCalm } = await visit("hostile", hash);
      await settled(page);
      assert.doesNotMatch(await page.title(), /^taken/);
      assert.equal(await page.locator("main img, main script").count(), 0);
      const text = await page.locator("body").innerText();
      assert.ok(text.includes(HOSTILE.html), "HTML is read as it was written");
      assert.ok(text.includes("web\\u202egnp.exe\\u2066\\u200f"), "what turns text is written out");
      assert.ok(text.includes("a\\x1b[2Jb\\x07\\u0085\\n\\u2028c"), "so are controls");
      assert.ok(
        !text.includes("a".repeat(2_000)) && text.includes("a".repeat(250)),
        "nobody has to read 10,000 letters",
      );
      assert.equal(await page.evaluate(`/[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.textContent)`), false);
      await assertCalm();
    });
  }

  test("a session's command is shown as it may be typed, and its manifest as text", timed, async () => {
    const { page, assertCalm } = await visit("hostile", "#sessions");
    await page.locator("section[aria-labelledby=ended] li a").first().click();
    await page.locator("pre.command", { hasText: "web\\u202egnp.exe" }).waitFor();
    await settled(page);
    await assertCalm();
  });

  test("a host that is none is in no line to paste", timed, async () => {
    const { page } = await visit("hostile");
    await page.getByText("This host's name cannot stand in a line for a shell: take the file.").waitFor();
    assert.ok(!(await page.locator("pre").allInnerTexts()).join().includes("rm -rf"));
  });
});

interface Kubeconfig {
  clusters: unknown;
  users: unknown;
  contexts: { name: string }[];
  "current-context": string;
}

function kubeconfigOf(kubectl: string, file: string): Kubeconfig {
  return JSON.parse(run(kubectl, ["config", "view", "--raw", "-o", "json"], { KUBECONFIG: file }));
}

function run(program: string, args: string[], env: Record<string, string>): string {
  const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: "utf8" });
  assert.deepEqual([status, stderr], [0, ""]);
  return stdout;
}
