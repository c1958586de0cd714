// Tabs, by the pattern of WAI-ARIA: arrow keys, Home and End move between them, and one is always open.
// https://www.w3.org/WAI/ARIA/apg/patterns/tabs/

import { h, uniqueId } from "./dom.ts";

export interface Tab {
  label: string;
  content: HTMLElement;
}

export function tabs(label: string, all: Tab[]): HTMLElement {
  const buttons = all.map((tab, index) => {
    const id = uniqueId("tab");
    const panel = h("div", { role: "tabpanel", id: `${id}-panel`, "aria-labelledby": id, tabindex: 0 }, tab.content);
    const button = h(
      "button",
      { type: "button", role: "tab", id, "aria-controls": panel.id, onclick: () => open(index) },
      tab.label,
    );
    return { button, panel };
  });
  const open = (index: number) => {
    for (const [other, { button, panel }] of buttons.entries()) {
      button.setAttribute("aria-selected", String(other === index));
      button.tabIndex = other === index ? 0 : -1;
      // Hidden, it still takes its place: what stands below does not move.
      panel.toggleAttribute("data-closed", other !== index);
      panel.inert = other !== index;
    }
  };
  const move = (event: KeyboardEvent) => {
    const at = buttons.findIndex(({ button }) => button === document.activeElement);
    const last = buttons.length - 1;
    const next = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[
      event.key
    ];
    if (at >= 0 && next !== undefined) {
      event.preventDefault();
      open(next);
      buttons[next]?.button.focus();
    }
  };
  const list = h("div", { role: "tablist", "aria-label": label }, ...buttons.map(({ button }) => button));
  list.addEventListener("keydown", move);
  open(0);
  return h("div", { class: "tabs" }, list, h("div", { class: "panels" }, ...buttons.map(({ panel }) => panel)));
}
