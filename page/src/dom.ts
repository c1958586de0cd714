// Elements, made one by one: no text ever becomes HTML. Whatever came from elsewhere, such as the name of a pod, is shown by
// `name`, which writes out what would turn the text around it, and cuts what nobody would read.

import { visible } from "../../deploy/sessions/text.ts";

export type Child = Node | string | undefined | false;
type Value = string | number | boolean | undefined | ((event: Event) => void);

const SVG = "http://www.w3.org/2000/svg";
/** How much of a text is shown, by its kind: names of Kubernetes have at most 253 characters, a request's path and query 16 KiB. */
const LONGEST: Record<string, number> = { name: 300, command: 300, text: 1_500 };
const LONGEST_OF_ALL = 20_000;

/** An element. A property `onclick` is a listener, `true` an empty attribute; what is `false` or left out is not there. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      element.addEventListener(key.slice(2), value);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter(isThere));
  return element;
}

export function isThere(child: Child): child is Node | string {
  return child !== undefined && child !== false;
}

/** A name, a sentence or a number that somebody else chose. */
export function name(text: string, kind = "name"): HTMLElement {
  const shown = visible(text);
  const longest = LONGEST[kind] ?? LONGEST_OF_ALL;
  return h("bdi", { class: kind }, shown.length > longest ? `${shown.slice(0, longest)}…` : shown);
}

/** Names, with a comma between them. */
export function names(texts: string[]): Child[] {
  return texts.flatMap((text, index) => (index === 0 ? [name(text)] : [", ", name(text)]));
}

/** What only a screen reader says. */
export function unseen(text: string): HTMLElement {
  return h("span", { class: "unseen" }, text);
}

const SHAPES = {
  yes: "M4 8.5l2.7 2.7L12.2 5.3",
  no: "M7 8h2",
  taken: "M4.8 4.8l6.4 6.4M11.2 4.8l-6.4 6.4",
  some: "M8 3.2a4.8 4.8 0 1 0 0 9.6a4.8 4.8 0 0 0 0-9.6z",
  copy: "M5.8 5.8v-3h7.4v7.4h-3M2.8 5.8h7.4v7.4H2.8z",
  download: "M8 2.5v7.6M4.8 7.2L8 10.4l3.2-3.2M2.8 13.2h10.4",
  back: "M9.8 3.6L5.4 8l4.4 4.4",
  play: "M5 3.4l7.4 4.6L5 12.6z",
} as const;

export function icon(shape: keyof typeof SHAPES): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { class: `icon icon-${shape}`, viewBox: "0 0 16 16", "aria-hidden": "true" };
  for (const [key, value] of Object.entries(attributes)) {
    svg.setAttribute(key, value);
  }
  svg.append(path(SHAPES[shape]));
  if (shape === "some") {
    const half = path("M8 3.2a4.8 4.8 0 0 0 0 9.6z");
    half.setAttribute("class", "half");
    svg.append(half);
  }
  return svg;
}

function path(d: string): SVGPathElement {
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("d", d);
  return element;
}

/** Names that no other element of the page has: for labels, and for what describes what. */
let count = 0;
export function uniqueId(prefix: string): string {
  count += 1;
  return `${prefix}-${count}`;
}

/** Moves the focus to a heading or another part, so that whoever does not see the page hears where they are. */
export function focusOn(element: HTMLElement | null): void {
  if (element && element.tabIndex < 0) {
    element.setAttribute("tabindex", "-1");
  }
  element?.focus({ preventScroll: true });
}

/** Where the focus may be put. */
const STOPS = "h1, h2, h3, a[href], button, input, select, summary, [tabindex='0']";

/**
 * Puts other children into a part. The focus, if it was inside, would fall to the top of the page with what had it: it goes to what has
 * the same name now, or else to the first heading or control.
 */
export function renew(part: HTMLElement, ...children: Child[]): void {
  const had = document.activeElement;
  const hadFocus = part.contains(had);
  part.replaceChildren(...children.filter(isThere));
  if (hadFocus) {
    const stops = [...part.querySelectorAll<HTMLElement>(STOPS)];
    const same = stops.find((stop) => stop.tagName === had?.tagName && nameOf(stop) === nameOf(had));
    focusOn(same ?? stops[0] ?? part);
  }
}

function nameOf(element: Element): string {
  return element.getAttribute("aria-label") ?? element.textContent;
}

/** Rows of a label and what it stands for; those without a value are left out. */
export function facts(rows: [label: string, ...value: Child[]][]): HTMLDListElement {
  const filled = rows.filter(([, ...value]) => value.some(isThere));
  return h(
    "dl",
    { class: "facts" },
    ...filled.map(([label, ...value]) => h("div", {}, h("dt", {}, label), h("dd", {}, ...value))),
  );
}
