// Asks before something is done that cannot be undone, in a dialog that the keyboard leaves by Escape.

import { type Child, h, uniqueId } from "./dom.ts";
import { sentenceOf } from "./states.ts";

interface Question {
  title: string;
  body: Child[];
  /** What the button says that does it. */
  act: string;
  /** Does it; what it throws is told in the dialog, which stays. */
  run(): Promise<void>;
}

/** Whether it was done. The focus comes back to where it was, unless that is gone. */
export function ask({ title, body, act, run }: Question): Promise<boolean> {
  return new Promise((done) => {
    const id = uniqueId("dialog");
    const problem = h("p", { class: "problem", role: "alert" });
    const yes = h("button", { type: "submit", class: "main danger" }, act);
    const no = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    let isDone = false;
    const submit = async (event: Event) => {
      event.preventDefault();
      if (yes.getAttribute("aria-disabled") === "true") {
        return;
      }
      yes.setAttribute("aria-disabled", "true");
      problem.textContent = "";
      try {
        await run();
        isDone = true;
        dialog.close();
      } catch (error) {
        problem.textContent = sentenceOf(error as Error);
        yes.removeAttribute("aria-disabled");
      }
    };
    const form = h(
      "form",
      { onsubmit: (event) => void submit(event) },
      h("h2", { id }, title),
      ...body,
      problem,
      h("div", { class: "buttons" }, yes, no),
    );
    const dialog = h("dialog", { "aria-labelledby": id }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(isDone);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
