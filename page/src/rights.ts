// What one may do, in a namespace: a row for each resource, a column for each verb, and beside a row what no cell can say.

import { type Me, mePath, type Rights, type Row, VERBS } from "./api.ts";
import { Expired, getJson } from "./client.ts";
import { type Child, h, icon, name, names, renew } from "./dom.ts";
import {
  type Cell,
  cellOf,
  hasAny,
  type Note,
  notesOf,
  othersOf,
  RECORDED,
  rightsInWords,
  wildcardInWords,
} from "./matrix.ts";
import { href } from "./place.ts";
import { say } from "./say.ts";
import { failurePart } from "./states.ts";
import type { Failed } from "./view.ts";
import { asSentence, isNamespace, listed } from "./words.ts";

export class RightsSection {
  readonly element: HTMLElement;
  readonly #me: Me;
  readonly #failed: Failed;
  readonly #signal: AbortSignal;
  readonly #body = h("div", { class: "rights-body" });
  readonly #field: HTMLSelectElement | HTMLInputElement;
  /** The namespace that was asked for; none, where the gateway chose one. */
  #asked: string | undefined;
  #asking: AbortController | undefined;

  constructor(me: Me, asked: string | undefined, signal: AbortSignal, failed: Failed) {
    this.#me = me;
    this.#signal = signal;
    this.#failed = failed;
    this.#asked = asked;
    const { field, form } = this.#chooser();
    this.#field = field;
    this.element = h(
      "section",
      { class: "rights", "aria-labelledby": "rights" },
      h("div", { class: "heading" }, h("h2", { id: "rights" }, "What you may do"), form),
      this.#body,
    );
    renew(this.#body, ...rightsParts(me.rights));
  }

  /** Asks for another namespace. What is there stays until the answer has come, so that nothing moves meanwhile. */
  async show(namespace: string | undefined): Promise<void> {
    if (namespace === this.#asked) {
      return;
    }
    this.#asked = namespace;
    this.#choose(namespace ?? this.#field.value);
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    const signal = AbortSignal.any([asking.signal, this.#signal]);
    this.#body.setAttribute("aria-busy", "true");
    try {
      const { rights } = (await getJson(mePath(namespace), signal)) as Me;
      this.#choose(rights.namespace);
      renew(this.#body, ...rightsParts(rights));
      say(rightsInWords(rights));
    } catch (error) {
      if (error instanceof Expired) {
        this.#failed(error);
      } else if (!signal.aborted) {
        const again = () => {
          // It is not there yet, and may be asked for as if it were another.
          this.#asked = "";
          void this.show(namespace);
        };
        renew(this.#body, failurePart(error as Error, again));
      }
    }
    if (this.#asking === asking) {
      this.#body.removeAttribute("aria-busy");
    }
  }

  /** Shows which namespace it is. One that came by a link may be none of those that there are to choose from. */
  #choose(namespace: string): void {
    const field = this.#field;
    if (field instanceof HTMLSelectElement && ![...field.options].some(({ value }) => value === namespace)) {
      field.append(h("option", {}, namespace));
    }
    field.value = namespace;
  }

  /** All namespaces to choose from; or a field to type one, where the gateway could not tell them all. */
  #chooser(): { field: HTMLSelectElement | HTMLInputElement; form: HTMLElement } {
    const { namespaces, rights } = this.#me;
    const go = (event?: Event) => {
      event?.preventDefault();
      const namespace = this.#field.value.trim();
      if (isNamespace(namespace)) {
        location.hash = href({ view: "access", part: "rights", namespace });
      } else {
        say("The name of a namespace has lower-case letters, digits and hyphens, at most 63.");
      }
    };
    const known = [...new Set([...namespaces.names, rights.namespace])].filter(isNamespace).sort();
    if (namespaces.isComplete) {
      const field = h("select", { id: "namespace", onchange: go }, ...known.map((one) => h("option", {}, one)));
      field.value = rights.namespace;
      return { field, form: h("div", { class: "chooser" }, h("label", { for: "namespace" }, "Namespace"), field) };
    }
    const field = h("input", {
      id: "namespace",
      list: "namespaces",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: 63,
    });
    field.value = rights.namespace;
    const form = h(
      "form",
      { class: "chooser", onsubmit: go },
      h("label", { for: "namespace" }, "Namespace"),
      field,
      h("datalist", { id: "namespaces" }, ...known.map((one) => h("option", { value: one }))),
      h("button", { type: "submit" }, "Show"),
      namespaces.problem !== undefined && h("p", { class: "aside" }, name(asSentence(namespaces.problem), "text")),
    );
    return { field, form };
  }
}

function rightsParts(rights: Rights): Child[] {
  const usual = rights.rows.filter(({ isUsual }) => isUsual);
  const others = rights.rows.filter(({ isUsual }) => !isUsual);
  const problem = rights.isComplete
    ? undefined
    : h(
        "p",
        { class: "note" },
        h("strong", {}, "This is not all: "),
        name(rights.problem ?? "an authorizer of the cluster could not say what it grants.", "text"),
      );
  return rights.rows.length === 0
    ? [problem, urlsPart(rights)]
    : [
        h("p", { class: "summary" }, name(rightsInWords(rights), "text")),
        problem,
        wildcardsPart(rights),
        legend(rights.rows),
        matrix("The usual resources, and what you may do with each", usual),
        others.length > 0 && othersPart(others),
        urlsPart(rights),
      ];
}

function matrix(caption: string, rows: Row[]): HTMLElement {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: 0 },
    h(
      "table",
      { class: "matrix" },
      h("caption", { class: "unseen" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Resource"),
          ...VERBS.map((verb) => h("th", { scope: "col", class: `verb ${verb}` }, h("span", {}, verb))),
        ),
      ),
      h("tbody", {}, ...rows.map(rowPart)),
    ),
  );
}

function rowPart(row: Row): HTMLElement {
  const [notes, others] = [notesOf(row), othersOf(row)];
  return h(
    "tr",
    { class: hasAny(row) ? undefined : "nothing" },
    h(
      "th",
      { scope: "row" },
      name(row.resource),
      row.group !== "" && name(row.group, "group"),
      // Each cell says the same to whoever hears the table.
      notes.length > 0 && h("div", { class: "notes", "aria-hidden": "true" }, ...notes.map(notePart)),
      others.length > 0 && h("div", { class: "notes" }, ...others.map(notePart)),
    ),
    ...VERBS.map((verb) => cellPart(cellOf(row, verb))),
  );
}

function cellPart({ is, text, recorded }: Cell): HTMLElement {
  if (is === "none") {
    return h("td", { class: "none" });
  }
  return h(
    "td",
    { class: `${is}${recorded === undefined ? "" : ` ${recorded}`}` },
    icon(is),
    h("span", { class: "unseen" }, name(text, "text")),
  );
}

function notePart({ kind, text, guard }: Note): HTMLElement {
  const parts = [...(text === "" ? [] : [name(text, "text"), " "]), ...(guard === undefined ? [] : [name(guard)])];
  return h("span", { class: kind }, kind === "taken" && icon("taken"), ...parts);
}

function legend(rows: Row[]): HTMLElement {
  const cells = rows.flatMap((row) => VERBS.map((verb) => cellOf(row, verb)));
  const meanings = [
    ["yes", "yes"],
    ["some", "some of them"],
    ["taken", "taken away by a guard"],
    ["no", "no"],
  ] as const;
  return h(
    "p",
    { class: "legend", "aria-hidden": "true" },
    ...meanings
      .filter(([is]) => cells.some((cell) => cell.is === is))
      .map(([is, meaning]) => h("span", { class: is }, icon(is), meaning)),
    ...(["recorded", "partly-recorded"] as const)
      .filter((of) => cells.some(({ recorded }) => recorded === of))
      .map((of) => h("span", { class: of }, h("i", {}), RECORDED[of])),
  );
}

function wildcardsPart({ wildcards }: Rights): HTMLElement | undefined {
  if (wildcards.length === 0) {
    return undefined;
  }
  return h(
    "div",
    { class: "wildcards" },
    h("p", {}, "By rules with a star, RBAC grants you here:"),
    h("ul", {}, ...wildcards.map((one) => h("li", {}, name(wildcardInWords(one), "text")))),
  );
}

/** The rest, on demand. */
function othersPart(rows: Row[]): HTMLElement {
  const count = rows.length === 1 ? "1 other resource" : `${rows.length} other resources`;
  const table = matrix("Other resources that a rule names", rows);
  return h("details", { class: "others" }, h("summary", {}, count), table);
}

function urlsPart({ urls }: Rights): HTMLElement | undefined {
  if (urls.length === 0) {
    return undefined;
  }
  const line = (rule: { verbs: string[]; urls: string[] }): Child[] => [
    h("span", {}, name(listed(rule.verbs), "text")),
    " ",
    ...names(rule.urls),
  ];
  return h(
    "details",
    { class: "urls" },
    h("summary", {}, "Paths that are no resources"),
    h("ul", { class: "plain" }, ...urls.map((rule) => h("li", {}, ...line(rule)))),
  );
}
