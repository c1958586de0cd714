// Text to copy: lines as they are typed, and a button that puts them on the clipboard.

import { h, icon, uniqueId } from "./dom.ts";

const TOLD_MS = 2_500;

export function copyable(label: string, lines: string[]): HTMLElement {
  const code = h(
    "pre",
    { id: uniqueId("code"), tabindex: 0, role: "group", "aria-label": label },
    ...lines.map((line) => h("span", {}, ...words(line))),
  );
  const told = h("span", { class: "unseen", role: "status" });
  const word = h("span", {}, "Copy");
  const button = h("button", { type: "button", "aria-describedby": code.id }, icon("copy"), word);
  let timer: ReturnType<typeof setTimeout> | undefined;
  button.addEventListener("click", async () => {
    const isCopied = await navigator.clipboard.writeText(`${lines.join("\n")}\n`).then(
      () => true,
      () => false,
    );
    if (!isCopied) {
      // Without the right to write to the clipboard it is for the reader to do.
      getSelection()?.selectAllChildren(code);
    }
    word.textContent = isCopied ? "Copied" : "Ctrl+C";
    told.textContent = isCopied ? "Copied." : "Selected: press Ctrl+C to copy.";
    clearTimeout(timer);
    timer = setTimeout(() => {
      word.textContent = "Copy";
      told.textContent = "";
    }, TOLD_MS);
  });
  return h("div", { class: "copyable" }, code, button, told);
}

/** Where a line is too long for its place, it goes on below between two words, never at a hyphen. */
function words(line: string): (HTMLElement | string)[] {
  return line.split(" ").flatMap((word, index) => [index === 0 ? "" : " ", h("span", {}, word)]);
}
