// Groups for a time: who may gives them to a person or a service token, sees what is given, and takes it back.

import {
  endGrantPath,
  type Grant,
  type Grantable,
  type Grants,
  grantsPath,
  LONGEST_GRANT_DAYS,
  LONGEST_REASON,
  type Me,
  type Wish,
} from "./api.ts";
import { ask } from "./ask.ts";
import { Expired, getJson, postJson } from "./client.ts";
import { countdown, everySecond } from "./clock.ts";
import { type Child, h, name, names, renew, uniqueId } from "./dom.ts";
import { say, sayOn } from "./say.ts";
import { comingPart, emptyPart, failurePart, sentenceOf } from "./states.ts";
import type { Failed, View } from "./view.ts";
import { asSentence, left, listed, moment } from "./words.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const HOURS = [1, 4, 8];
const DELAY = "The gateway knows it everywhere within a minute.";

export function grantsView(me: Me, signal: AbortSignal, failed: Failed): View {
  // Replaced as a whole by what comes, so that nothing moves.
  const body = h("div", { class: "replaced" }, comingPart("Asking what is given.", 8));
  const load = async () => {
    try {
      const answer = (await getJson(grantsPath, signal)) as Grants;
      const list = h("div", { class: "part" }, givenPart(me, answer, signal, again));
      async function again() {
        const next = (await getJson(grantsPath, signal)) as Grants;
        renew(list, givenPart(me, next, signal, again));
      }
      const whose =
        answer.scope === "own"
          ? "What was given to you: the rest is for those who may give."
          : "All that is given now.";
      renew(
        body,
        h(
          "div",
          { class: "columns" },
          givingPart(answer.groups, signal, failed, again),
          h(
            "section",
            { "aria-labelledby": "given" },
            h("h2", { id: "given" }, "Given"),
            h("p", { class: "aside" }, whose),
            list,
          ),
        ),
      );
    } catch (error) {
      if (error instanceof Expired) {
        failed(error);
      } else if (!signal.aborted) {
        renew(
          body,
          failurePart(error as Error, () => void load()),
        );
      }
    }
  };
  void load();
  return {
    element: h(
      "div",
      { class: "grants" },
      h("h1", {}, "Grants"),
      h("p", { class: "lead" }, "Groups for a time, beside those of the policy. They end by themselves."),
      body,
    ),
  };
}

function givingPart(
  groups: Grantable[],
  signal: AbortSignal,
  failed: Failed,
  onGiven: () => Promise<void>,
): HTMLElement {
  const may = groups.filter(({ mayGive }) => mayGive);
  const title = h("h2", { id: "give" }, "Give");
  if (may.length === 0) {
    const why = `The cluster's RBAC lets you give none of the groups that the policy lists: ${listed(groups.map((group) => group.name))}. It takes the ClusterRole kube-access:granter, bound to you.`;
    return h("section", { class: "giving", "aria-labelledby": "give" }, title, emptyPart(name(why, "text")));
  }
  return h("section", { class: "giving", "aria-labelledby": "give" }, title, givingForm(may, signal, failed, onGiven));
}

function givingForm(may: Grantable[], signal: AbortSignal, failed: Failed, onGiven: () => Promise<void>): HTMLElement {
  const kind = choice("to", "To", [
    ["email", "A person"],
    ["serviceToken", "A service token"],
  ]);
  const who = h("input", { id: "who", autocomplete: "off", spellcheck: "false", maxlength: 320, required: true });
  const whoLabel = h("label", { for: "who" }, "Address");
  const isPerson = () => kind.value() === "email";
  kind.element.addEventListener("change", () => {
    whoLabel.textContent = isPerson() ? "Address" : "Client ID";
    who.placeholder = isPerson() ? "bob@example.com" : "0123456789abcdef.access";
  });
  who.placeholder = "bob@example.com";
  const boxes = may.map((group) => {
    const input = h("input", { type: "checkbox", id: uniqueId("group"), value: group.name });
    input.checked = may.length === 1;
    return { input, element: h("div", { class: "check" }, input, h("label", { for: input.id }, name(group.name))) };
  });
  const until = untilField(signal);
  const reason = h("input", {
    id: "reason",
    autocomplete: "off",
    maxlength: LONGEST_REASON,
    required: true,
    placeholder: "INC-7",
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const button = h("button", { type: "submit", class: "main" }, "Give");

  const wish = (): Wish | string => {
    const text = who.value.trim();
    const groups = boxes.filter(({ input }) => input.checked).map(({ input }) => input.value);
    const expires = until.value();
    if (isPerson() ? !/^[^\s@]+@[^\s@]+$/.test(text) : text === "") {
      who.focus();
      return isPerson()
        ? "Say to whom: an address, such as bob@example.com."
        : "Say to which service token, by its client ID.";
    }
    if (groups.length === 0) {
      boxes[0]?.input.focus();
      return "Choose at least one group.";
    }
    if (typeof expires === "string") {
      return expires;
    }
    if (reason.value.trim() === "") {
      reason.focus();
      return "Say why: it is kept beside the grant, and logged.";
    }
    return {
      ...(isPerson() ? { email: text } : { serviceToken: text }),
      groups,
      expires: expires.toISOString().replace(/\.\d+Z$/, "Z"),
      reason: reason.value.trim(),
    };
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    problem.textContent = "";
    const wanted = wish();
    if (typeof wanted === "string") {
      problem.textContent = wanted;
      return;
    }
    if (button.getAttribute("aria-disabled") === "true") {
      return;
    }
    button.setAttribute("aria-disabled", "true");
    try {
      const { note } = (await postJson(grantsPath, wanted)) as Grant;
      who.value = "";
      reason.value = "";
      // That it was given stands, whether or not the list can be had.
      await onGiven().catch(() => {});
      const receiver = wanted.email ?? wanted.serviceToken ?? "";
      const given = `${receiver} has ${listed(wanted.groups)} until ${moment(wanted.expires, Date.now())}. ${DELAY}`;
      if (note === undefined) {
        say(given);
      } else {
        sayOn(`${given} ${asSentence(note)}`);
      }
      who.focus({ preventScroll: true });
    } catch (error) {
      if (error instanceof Expired) {
        failed(error);
      }
      problem.textContent = sentenceOf(error as Error);
    }
    button.removeAttribute("aria-disabled");
  };
  return h(
    "form",
    { class: "giving-form", novalidate: true, onsubmit: (event) => void submit(event) },
    kind.element,
    h("div", {}, whoLabel, who),
    h("fieldset", {}, h("legend", {}, "Groups"), ...boxes.map(({ element }) => element)),
    until.element,
    h("div", {}, h("label", { for: "reason" }, "Reason"), reason),
    problem,
    h("div", { class: "buttons" }, button, h("span", { class: "aside" }, DELAY)),
  );
}

/** One of a few: radio buttons that look like one control. */
function choice(
  key: string,
  label: string,
  options: [value: string, text: string][],
): { element: HTMLElement; value(): string } {
  const inputs = options.map(([value]) => h("input", { type: "radio", name: key, id: uniqueId(key), value }));
  const [first] = inputs;
  if (first) {
    first.checked = true;
  }
  const parts = inputs.map((input, index) => [input, h("label", { for: input.id }, options[index]?.[1] ?? "")]);
  return {
    element: h("fieldset", { class: "choice" }, h("legend", {}, label), h("div", {}, ...parts.flat())),
    value: () => inputs.find(({ checked }) => checked)?.value ?? "",
  };
}

/** How long: a span, or a moment in the reader's own time. What comes out is told below it. */
function untilField(signal: AbortSignal): { element: HTMLElement; value(): Date | string } {
  const span = choice("span", "For", [
    ...HOURS.map((hours): [string, string] => [String(hours), `${hours} h`]),
    ["until", "Until …"],
  ]);
  const field = h("input", { type: "datetime-local", id: "until" });
  const told = h("p", { class: "aside", id: "ends" });
  field.setAttribute("aria-describedby", "ends");
  const exact = h("div", { class: "exact" }, h("label", { for: "until" }, "Until"), field);
  const isExact = () => span.value() === "until";
  const value = (): Date | string => {
    const now = Date.now();
    const end = isExact() ? new Date(field.value) : new Date(now + Number(span.value()) * HOUR_MS);
    if (Number.isNaN(end.getTime())) {
      return "Say until when.";
    }
    if (end.getTime() <= now) {
      return "That is over already: choose a time to come.";
    }
    return end.getTime() > now + LONGEST_GRANT_DAYS * DAY_MS
      ? `A grant lasts ${LONGEST_GRANT_DAYS} days at most.`
      : end;
  };
  const tell = () => {
    const end = value();
    const text =
      typeof end === "string"
        ? end
        : `Ends ${moment(end.toISOString(), Date.now())}, in ${left(end.getTime() - Date.now())}.`;
    if (told.textContent !== text) {
      told.textContent = text;
    }
  };
  const switchTo = () => {
    field.disabled = !isExact();
    exact.hidden = !isExact();
    tell();
  };
  span.element.addEventListener("change", switchTo);
  field.addEventListener("input", tell);
  switchTo();
  everySecond(signal, tell);
  return { element: h("div", { class: "until" }, span.element, exact, told), value };
}

function givenPart(me: Me, { grants, groups }: Grants, signal: AbortSignal, again: () => Promise<void>): HTMLElement {
  if (grants.length === 0) {
    return emptyPart("Nothing is given now.");
  }
  // What was given to oneself may be given up: fewer rights are free.
  const mayTake = (grant: Grant) =>
    isOwn(me, grant) || grant.groups.every((group) => groups.some((one) => one.name === group && one.mayTake));
  const soonest = grants.toSorted((one, other) => Date.parse(one.expires) - Date.parse(other.expires));
  return h(
    "ul",
    { class: "list given" },
    ...soonest.map((grant) => grantPart(me, grant, mayTake(grant), signal, again)),
  );
}

function grantPart(
  me: Me,
  grant: Grant,
  mayTake: boolean,
  signal: AbortSignal,
  again: () => Promise<void>,
): HTMLElement {
  const receiver = grant.email ?? grant.serviceToken ?? "";
  const row = h("li", {});
  const children: Child[] = [
    h("span", { class: "where" }, name(receiver), isOwn(me, grant) && h("span", { class: "aside" }, " (you)")),
    h("span", { class: "groups" }, ...names(grant.groups)),
    h(
      "span",
      { class: "when" },
      countdown(
        grant.expires,
        (left) => [left, h("span", { class: "aside" }, ` left, until ${moment(grant.expires, Date.now())}`)],
        ["over"],
        signal,
        () => row.classList.add("over"),
      ),
    ),
    h(
      "span",
      { class: "why" },
      name(grant.reason, "text"),
      h("span", { class: "aside" }, " by ", name(grant.by), `, ${moment(grant.given, Date.now())}`),
    ),
  ];
  row.append(...children.filter((child) => child !== undefined && child !== false));
  if (mayTake) {
    const take = async () => {
      if (await takeBack(grant, receiver)) {
        await again().catch(() => {});
      }
    };
    const label = `Take back ${listed(grant.groups)} from ${receiver}`;
    row.append(
      h("button", { type: "button", class: "danger", "aria-label": label, onclick: () => void take() }, "Take back"),
    );
  }
  return row;
}

function isOwn(me: Me, { email, serviceToken }: Grant): boolean {
  return email === undefined ? serviceToken !== undefined && serviceToken === me.serviceToken : email === me.email;
}

function takeBack(grant: Grant, receiver: string): Promise<boolean> {
  return ask({
    title: "Take this back?",
    body: [h("p", {}, name(receiver), " loses ", ...names(grant.groups), `. ${DELAY}`)],
    act: "Take it back",
    run: async () => {
      await postJson(endGrantPath(grant.id), {});
      say(`${listed(grant.groups)} was taken back from ${receiver}. ${DELAY}`);
    },
  });
}
