// The player of recordings, a chunk of its own: dev/page-player.ts builds it so that it needs no WebAssembly and one named policy of
// Trusted Types.

import { create } from "asciinema-player";

/** No wait is longer, in seconds of the recording. */
const IDLE_SECONDS = 2;

/** Plays a cast in an element; gives what takes the player away again. */
export function play(element: HTMLElement, cast: string): () => void {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const player = create({ data: cast }, element, {
    fit: "width",
    idleTimeLimit: IDLE_SECONDS,
    autoPlay: !isStill,
    cursorMode: isStill ? "steady" : "blinking",
    controls: true,
    terminalFontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    theme: "asciinema",
  });
  player.el.focus();
  return () => player.dispose();
}
