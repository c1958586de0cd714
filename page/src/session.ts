// One session: its recording and a player, whether it is what the gateway wrote, and all that is known of it.

import { castPath, type Manifest, manifestOf, sessionPath } from "../../deploy/sessions/answers.ts";
import { factsOf } from "../../deploy/sessions/show.ts";
import { shellWords, span } from "../../deploy/sessions/text.ts";
import type { Me } from "./api.ts";
import { Expired, getJson, getText } from "./client.ts";
import { everySecond } from "./clock.ts";
import { facts, h, icon, name, renew } from "./dom.ts";
import { href, type Place } from "./place.ts";
import { endSession } from "./sessions.ts";
import { comingPart, failurePart, sentenceOf } from "./states.ts";
import { recordedBytes, verify } from "./verify.ts";
import type { Failed, View } from "./view.ts";
import { bytes, moment } from "./words.ts";

/** Up to here a recording is verified without being asked for. */
const VERIFIED_AT_ONCE_BYTES = 8 << 20;

/** How many problems are told. */
const PROBLEMS_SHOWN = 20;

/** Told above, or of no use to whoever reads the rest. */
const TOLD_ELSEWHERE = ["State", "Started", "Lasted", "Chunks", "Chain ends", "User", "Pod", "Command"];

const DIGESTS = ["ID", "Subject", "Audit ID", "Ray", "stdin", "stdout", "stderr"];

type SessionPlace = Extract<Place, { view: "session" }>;

export function sessionView(me: Me, { id }: SessionPlace, signal: AbortSignal, failed: Failed): View {
  const back = h("a", { href: href({ view: "sessions" }), class: "back" }, icon("back"), "Sessions");
  const body = h("div", { class: "replaced" }, h("h1", {}, "Session"), comingPart("Asking for the session.", 8));
  const load = async () => {
    try {
      const manifest = manifestOf(await getJson(sessionPath(id), signal), "the manifest");
      renew(body, ...parts(me, manifest, signal, failed, load));
    } catch (error) {
      if (error instanceof Expired) {
        failed(error);
      } else if (!signal.aborted) {
        renew(
          body,
          h("h1", {}, "Session"),
          failurePart(error as Error, () => void load()),
        );
      }
    }
  };
  void load();
  return { element: h("div", { class: "session" }, back, body) };
}

function parts(
  me: Me,
  manifest: Manifest,
  signal: AbortSignal,
  failed: Failed,
  again: () => Promise<void>,
): HTMLElement[] {
  const { target, caller, state, started, ended } = manifest;
  const lasted = h("span", {}, span(started, ended ?? Date.now()));
  if (state === "live") {
    everySecond(signal, () => {
      lasted.textContent = span(started, Date.now());
    });
  }
  const end = async () => {
    if (await endSession({ id: manifest.id, user: caller.user, namespace: target.namespace, pod: target.pod })) {
      await again();
    }
  };
  const isRecorded = manifest.record !== undefined && manifest.record !== "nothing";
  const title = h("h1", {}, name(`${target.namespace}/${target.pod}`));
  const lead = h(
    "p",
    { class: "lead" },
    h(
      "span",
      {},
      name(caller.user),
      `, ${moment(started, Date.now())}, ${state === "live" ? "going on for " : ""}`,
      lasted,
    ),
    state === "live" && h("button", { type: "button", class: "danger", onclick: () => void end() }, "End this session"),
  );
  const command = target.command && target.command.length > 0 ? shellWords(target.command) : target.kind;
  return [
    h("div", { class: "heading" }, title),
    lead,
    h("pre", { class: "command", tabindex: 0, role: "group", "aria-label": "Command" }, name(command, "all")),
    h(
      "div",
      { class: "columns" },
      h(
        "section",
        { class: "recording", "aria-labelledby": "recording" },
        h("h2", { id: "recording" }, "Recording"),
        recordingPart(me, manifest, isRecorded, signal, failed),
      ),
      h(
        "div",
        { class: "beside" },
        me.features.recordings && state === "ended" && verdictPart(manifest, signal, failed),
        manifestPart(manifest),
      ),
    ),
  ];
}

function manifestPart(manifest: Manifest): HTMLElement {
  const rows = factsOf(manifest, Date.now()).filter(([label]) => !TOLD_ELSEWHERE.includes(label));
  return h(
    "section",
    { class: "manifest", "aria-labelledby": "manifest" },
    h("h2", { id: "manifest" }, "Manifest"),
    facts(rows.map(([label, value]) => [label.trim(), name(value, DIGESTS.includes(label.trim()) ? "digest" : "all")])),
  );
}

function recordingPart(
  me: Me,
  manifest: Manifest,
  isRecorded: boolean,
  signal: AbortSignal,
  failed: Failed,
): HTMLElement {
  const screen = h("div", { class: "screen" });
  const nothing = (sentence: string) => {
    screen.append(h("p", {}, sentence));
    return screen;
  };
  if (!me.features.recordings) {
    return nothing("This gateway has no bucket for recordings.");
  }
  if (manifest.state === "live") {
    return nothing("It can be played when the session has ended.");
  }
  if (!isRecorded && manifest.chunks.length === 0) {
    return nothing("Nothing was recorded: its guard bounds it, and no more.");
  }
  const size = recordedBytes(manifest);
  const told = h("p", { class: "told", role: "status" });
  const button = h(
    "button",
    { type: "button", class: "main play" },
    icon("play"),
    `Play the recording${size > 0 ? ` (${bytes(size)})` : ""}`,
  );
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    // A button that is disabled would lose the focus.
    button.setAttribute("aria-disabled", "true");
    told.textContent = "Loading the recording.";
    try {
      const [{ play }, cast] = await Promise.all([loadPlayer(), getText(castPath(manifest.id), signal)]);
      screen.replaceChildren();
      // The player takes the width that it finds.
      screen.classList.add("playing");
      const dispose = play(screen, cast);
      signal.addEventListener("abort", dispose);
    } catch (error) {
      if (error instanceof Expired) {
        failed(error);
      } else if (!signal.aborted) {
        told.textContent = sentenceOf(error as Error);
        button.removeAttribute("aria-disabled");
      }
    }
  });
  screen.append(button, told);
  return screen;
}

/** The player is ten times the page: it comes when somebody wants to see a recording. */
async function loadPlayer(): Promise<typeof import("./player.ts")> {
  const style = h("link", { rel: "stylesheet", href: "/.kube-access/assets/player.css" });
  const isStyled = new Promise((resolve) => {
    style.addEventListener("load", resolve);
    style.addEventListener("error", resolve);
  });
  document.head.append(style);
  const [player] = await Promise.all([import("./player.ts"), isStyled]);
  return player;
}

function verdictPart(manifest: Manifest, signal: AbortSignal, failed: Failed): HTMLElement {
  const body = h("div", { role: "status" });
  const size = recordedBytes(manifest);
  const run = async () => {
    const progress = h("p", { class: "aside" }, "Reading the chunks.");
    renew(body, h("span", { class: "bone verdict-line", "aria-hidden": "true" }), progress);
    try {
      const { problems, sentence } = await verify(manifest, signal, (done, all) => {
        progress.textContent = `Read ${done} of ${all} chunks.`;
      });
      renew(
        body,
        problems.length === 0
          ? h("p", { class: "good" }, icon("yes"), "It is what the gateway wrote")
          : h("p", { class: "bad" }, icon("taken"), "It is not what the gateway wrote"),
        problems.length === 0
          ? h("p", { class: "aside" }, name(sentence, "all"))
          : h(
              "ul",
              { class: "problems", tabindex: 0, "aria-label": "What is wrong" },
              ...problems.slice(0, PROBLEMS_SHOWN).map((problem) => h("li", {}, name(problem, "all"))),
            ),
        ...(problems.length > PROBLEMS_SHOWN ? [h("p", {}, `And ${problems.length - PROBLEMS_SHOWN} more.`)] : []),
        h(
          "p",
          { class: "aside" },
          "Computed by this browser. Whoever can write the bucket could write manifest and chunks that fit: compare the chain's end with the gateway's log.",
        ),
      );
    } catch (error) {
      if (error instanceof Expired) {
        failed(error);
      } else if (!signal.aborted) {
        renew(
          body,
          failurePart(error as Error, () => void run()),
        );
      }
    }
  };
  if (size <= VERIFIED_AT_ONCE_BYTES) {
    void run();
  } else {
    body.append(h("button", { type: "button", onclick: () => void run() }, `Verify it (reads ${bytes(size)})`));
  }
  return h("section", { class: "verdict", "aria-labelledby": "verdict" }, h("h2", { id: "verdict" }, "Verdict"), body);
}
