// Everything on the page by keyboard alone: what has the focus is seen, and nothing takes it away.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { Page } from "playwright-core";
import { become, ids, type Stage, settled, startStage, TEST_LIMIT_MS } from "./stage.ts";

/** How often Tab is pressed for something before it is not there. */
const MAX_TABS = 80;
const timed = { timeout: TEST_LIMIT_MS };

let stage: Stage;

before(async () => {
  stage = await startStage();
});

after(() => stage?.stop());

beforeEach(() => stage.server.reset());

test("the first view: what is skipped, tabs, what unfolds, another namespace", timed, async () => {
  const { page, assertCalm, close } = await stage.visit("auditor");
  await settled(page);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the content");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.match(await focused(page), /^kubectl config set-cluster/, "the bar is behind");

  await tabTo(page, "With WARP");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(page), "Without WARP");
  await page.keyboard.press("End");
  assert.equal(await focused(page), "CI and agents");
  await page.keyboard.press("ArrowRight");
  assert.equal(await focused(page), "With WARP");
  await page.keyboard.press("Shift+Tab");
  assert.match(await focused(page), /Download the kubeconfig/, "tabs are one stop");

  await tabTo(page, "exec needs kubectl 1.30 or newer, port-forward 1.31");
  await page.keyboard.press("Enter");
  await page.getByText("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true").waitFor();

  await tabTo(page, "Namespace");
  await page.keyboard.type("team");
  await page.locator(".summary", { hasText: "In team-a" }).waitFor();
  assert.equal(await focused(page), "Namespace", "the focus stays where the namespace was chosen");

  await tabTo(page, "8 other resources");
  await page.keyboard.press("Enter");
  await page.getByText("certificates").waitFor();
  await assertCalm();
  await close();
});

test("a session is searched, opened, judged, played, and left again", timed, async () => {
  const { page, assertCalm, close } = await stage.visit("auditor", "", { clock: "real", reducedMotion: "reduce" });
  await settled(page);
  await tabTo(page, "Sessions");
  await page.keyboard.press("Enter");
  await page.locator("h1:focus", { hasText: "Sessions" }).waitFor();
  await tabTo(page, "Pod");
  await page.keyboard.type("web-7d4b9c6f5d-x2x9k");
  await page.keyboard.press("Enter");
  await page.getByText("0 going on, 1 ended.").waitFor();
  await tabTo(page, "default/web-7d4b9c6f5d-x2x9k");
  await page.keyboard.press("Enter");
  await page.locator("h1:focus", { hasText: "default/web-7d4b9c6f5d-x2x9k" }).waitFor();
  await page.getByText("It is what the gateway wrote").waitFor();
  await tabTo(page, "Play the recording (2.1 KiB)");
  await page.keyboard.press("Enter");
  await page.locator(".playing .ap-control-bar").waitFor({ state: "attached" });
  await page.keyboard.press("Space");
  await page.locator(".playing").getByText("node worker.js --queue mail").waitFor();
  for (
    let tabs = 0;
    tabs < MAX_TABS && (await page.evaluate("document.activeElement.closest('.playing') !== null"));
    tabs += 1
  ) {
    await page.keyboard.press("Tab");
  }
  assert.ok(await page.evaluate("document.activeElement.closest('.playing') === null"), "the player lets the focus go");
  await page.goBack();
  await page.locator("h1:focus", { hasText: "Sessions" }).waitFor();
  await assertCalm();
  await close();
});

test("a live session is ended, or is not after Escape, and the focus is where one can go on", timed, async () => {
  const { page, assertCalm, close } = await stage.visit("auditor", "#sessions");
  await settled(page);
  const end = "End the session of bob@example.com in shell";
  await tabTo(page, end);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "End this session?" }).waitFor();
  assert.equal(await focused(page), "Reason, which they are told");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), end);
  await page.keyboard.press("Enter");
  await page.keyboard.type("INC-9");
  await page.keyboard.press("Enter");
  await page.getByText("order: alice ended it: INC-9").waitFor();
  await page.locator("h2:focus", { hasText: "Going on now" }).waitFor();
  await assertCalm();
  await close();
});

test("what is asked for again keeps the focus where it came", timed, async () => {
  for (const [hash, then] of [
    ["#sessions", "h2:focus:has-text('Going on now')"],
    [`#sessions/${ids.whole}`, "h1:focus:has-text('default/web')"],
    ["#grants", "h2:focus:has-text('Give')"],
  ] as const) {
    const { page, close } = await stage.visit("halting", hash);
    await settled(page);
    await tabTo(page, "Try again");
    await fail(page);
    assert.equal(await focused(page), "Try again", `${hash}, which fails again`);
    await become(page, "auditor");
    await page.keyboard.press("Enter");
    await page.locator(then).waitFor();
    await close();
  }
});

test("sessions that are asked for again keep the focus on what asked for them", timed, async () => {
  const { page, close } = await stage.visit("auditor", "#sessions");
  await settled(page);
  await tabTo(page, "Refresh");
  await page.keyboard.press("Enter");
  await page.getByText("2 going on, 25 or more ended.").waitFor();
  assert.equal(await focused(page), "Refresh");

  await tabTo(page, "Older sessions");
  await become(page, "halting");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.equal(await focused(page), "Try again");
  await become(page, "auditor");
  await page.keyboard.press("Enter");
  await page.getByText("25 more.").waitFor();
  await page.locator("section[aria-labelledby=ended] li:nth-child(26) a:focus").waitFor();
  await close();
});

test("rights that are asked for again take the focus along", timed, async () => {
  const { page, close } = await stage.visit("auditor");
  await settled(page);
  await become(page, "failing");
  await page.getByLabel("Namespace").selectOption("team-a");
  await page.getByRole("alert").waitFor();
  await tabTo(page, "Try again");
  await fail(page);
  assert.equal(await focused(page), "Try again");
  await become(page, "auditor");
  await page.keyboard.press("Enter");
  await page.locator(".rights-body :focus, .rights-body:focus").waitFor();
  await page.locator(".summary", { hasText: "In team-a" }).waitFor();
  assert.equal(await focused(page), "The usual resources, and what you may do with each");
  await close();
});

test(
  "a verdict that is asked for again, and a recording that cannot be had, leave the focus there",
  timed,
  async () => {
    const { page, close } = await stage.visit("auditor", "", { clock: "real", reducedMotion: "reduce" });
    await settled(page);
    const broken = ["**/chunks", "**/cast"];
    for (const path of broken) {
      await page.route(path, (route) => route.abort());
    }
    await page.evaluate(`location.hash = "#sessions/${ids.whole}"`);
    await page.getByRole("alert").waitFor();
    await tabTo(page, "Play the recording (2.1 KiB)");
    await page.keyboard.press("Enter");
    await page.locator(".told", { hasText: "The gateway cannot be reached" }).waitFor();
    assert.equal(await focused(page), "Play the recording (2.1 KiB)");
    await tabTo(page, "Try again");
    await fail(page);
    assert.equal(await focused(page), "Try again");
    for (const path of broken) {
      await page.unroute(path);
    }
    await page.keyboard.press("Enter");
    await page.getByText("It is what the gateway wrote").waitFor();
    assert.ok(await page.evaluate("document.activeElement.closest('.verdict') !== null"));
    await close();
  },
);

test("a session is ended where its manifest stands", timed, async () => {
  const { page, close } = await stage.visit("auditor", `#sessions/${ids.live}`);
  await settled(page);
  await tabTo(page, "End this session");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.locator("h1:focus").waitFor();
  await page.getByText("alice ended it").waitFor();
  assert.equal(await page.getByRole("button", { name: "End this session" }).count(), 0);
  await close();
});

test("a group is given and taken back", timed, async () => {
  const { page, assertCalm, close } = await stage.visit("auditor", "#grants");
  await settled(page);
  await tabTo(page, "Address");
  await page.keyboard.type("eve@example.com");
  await tabTo(page, "sre");
  await page.keyboard.press("Space");
  await tabTo(page, "1 h");
  await page.keyboard.press("ArrowRight");
  await page.getByText("Ends 16:00, in 4 h.").waitFor();
  await tabTo(page, "Reason");
  await page.keyboard.type("INC-8");
  await page.keyboard.press("Enter");
  await page.getByText("eve@example.com has sre until 16:00.").waitFor();
  await page.locator("#who:focus").waitFor();

  await tabTo(page, "Take back sre from eve@example.com");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Take this back?" }).waitFor();
  assert.equal(await focused(page), "Take it back");
  await page.keyboard.press("Enter");
  await page.getByText("sre was taken back from eve@example.com.").waitFor();
  await page.getByText("eve@example.com", { exact: true }).waitFor({ state: "detached" });
  await page.locator(".given button:focus").waitFor();
  await assertCalm();
  await close();
});

/** Presses "Try again", and waits until another one stands there, since it has failed again. */
async function fail(page: Page): Promise<void> {
  await page.evaluate("document.activeElement.dataset.pressed = ''");
  await page.keyboard.press("Enter");
  await page.locator(".failed button:not([data-pressed])").waitFor();
}

/** What has the focus, by the name that a screen reader says. */
async function focused(page: Page): Promise<string> {
  return String(
    await page.evaluate(`(() => {
      const element = document.activeElement;
      const label = element.labels?.[0]?.textContent ?? element.getAttribute("aria-label");
      return (element.matches("pre") ? element.textContent : label ?? element.textContent).trim();
    })()`),
  );
}

/** Presses Tab until something has the focus. On the way, whatever has it is seen to have it. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let tabs = 0; tabs < MAX_TABS; tabs += 1) {
    await page.keyboard.press("Tab");
    const isOutside = await page.evaluate("document.activeElement === document.body");
    if (!isOutside) {
      assert.ok(await page.evaluate(IS_SEEN), `${await focused(page)} has the focus, and does not look like it`);
    }
    if ((await focused(page)) === name) {
      return;
    }
  }
  assert.fail(`not found by Tab: ${name}`);
}

/** An outline around it, or around the control that it is a part of; and it is on the screen. */
const IS_SEEN = `(() => {
  const element = document.activeElement;
  const around = [element, element.parentElement].some((one) => getComputedStyle(one).outlineStyle !== "none");
  const { top, bottom } = element.getBoundingClientRect();
  return around && bottom > 0 && top < innerHeight;
})()`;
