// Who one is to the cluster: groups and where each comes from, whom one may act as, the guards that hold, and which cluster it is.

import type { Group, Me } from "./api.ts";
import { countdown } from "./clock.ts";
import { type Child, facts, h, name, names } from "./dom.ts";
import { actAsOptions, asSentence, guardInWords, originInWords } from "./words.ts";

export function whoSection(me: Me, signal: AbortSignal): HTMLElement {
  return h(
    "section",
    { class: "who", "aria-labelledby": "who" },
    h("h2", { id: "who" }, "Who you are here"),
    facts([
      ["Groups", groupList(me.groups, signal)],
      ["Guards", guardList(me)],
      ["Act as", ...actAs(me)],
      ["Cluster", ...cluster(me)],
      ["Questions", me.contact !== undefined && name(me.contact, "text")],
    ]),
  );
}

function groupList(groups: Group[], signal: AbortSignal): HTMLElement {
  if (groups.length === 0) {
    return h("p", { class: "empty" }, "None: RBAC knows you by your user name alone.");
  }
  return h(
    "ul",
    { class: "plain" },
    ...groups.map((group) =>
      h(
        "li",
        {},
        name(group.name),
        " ",
        h(
          "span",
          { class: "aside" },
          originInWords(group),
          ...(group.expires === undefined ? [] : [", ", ...lasts(group.expires, signal)]),
        ),
      ),
    ),
  );
}

function lasts(expires: string, signal: AbortSignal): Child[] {
  return [countdown(expires, (left) => [left, " left"], ["over: reload the page"], signal)];
}

function guardList({ guards }: Me): HTMLElement {
  if (guards.length === 0) {
    return h("p", { class: "empty" }, "None: you may what RBAC grants.");
  }
  return h(
    "ul",
    { class: "plain" },
    ...guards.map((guard) =>
      h(
        "li",
        {},
        name(guard.name),
        ...guardInWords(guard).map((line) => h("p", { class: "aside" }, name(line, "text"))),
      ),
    ),
  );
}

function actAs({ actAs: others }: Me): Child[] {
  const options = others ? actAsOptions(others) : [];
  if (!others || options.length === 0) {
    return [];
  }
  return [
    h(
      "ul",
      { class: "plain" },
      ...options.map(({ option, names: who }) => h("li", {}, h("code", {}, option), " ", ...names(who))),
    ),
    h(
      "p",
      { class: "aside" },
      "If RBAC lets you.",
      ...(others.reasonRequired ? [" Say why: ", h("code", {}, "--as-user-extra reason=WHY"), "."] : []),
    ),
  ];
}

function cluster({ cluster: { host, version, problem } }: Me): Child[] {
  return [
    name(host),
    h(
      "p",
      { class: "aside" },
      version === undefined
        ? name(asSentence(problem ?? "its version could not be had"), "text")
        : `Kubernetes ${version}`,
    ),
  ];
}
