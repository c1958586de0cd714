// The rows as text: one line for each comparison.

import type { Comparison, Goal, Row } from "./work.ts";

const HEAD = ["figure", "kube-access", "over", "", "ratio (quartiles)", "goal", ""];

/** A table in Markdown, aligned to be read as it is. */
export function table(rows: Row[]): string {
  return markdown(HEAD, rows.flatMap(linesOf));
}

/** Lines of cells under a head, each column as wide as its widest cell. */
export function markdown(head: string[], cells: string[][]): string {
  const lines = [head, ...cells];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const text = lines.map((line) => `| ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`);
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [text[0], rule, ...text.slice(1)].join("\n");
}

function linesOf(row: Row): string[][] {
  const { digits, unit, limit } = row;
  const number = (value: number) => value.toFixed(digits);
  const limits: (Comparison | undefined)[] = limit || row.over.length === 0 ? [undefined, ...row.over] : row.over;
  return limits.map((comparison, index) => {
    const head = index === 0 ? [`${row.title}, ${unit}`, number(row.subject.median)] : ["", ""];
    if (!comparison) {
      return [...head, "", "", "", goalText(limit), verdict(row.subject.median, limit)];
    }
    const { other, ratio, goal } = comparison;
    const spread = ratio.lower === ratio.upper ? "" : ` (${ratio.lower.toFixed(2)}..${ratio.upper.toFixed(2)})`;
    const text = `${ratio.median.toFixed(2)}${spread}`;
    return [...head, other.title, number(other.median), text, goalText(goal), verdict(ratio.median, goal)];
  });
}

function goalText(goal: Goal | undefined): string {
  if (!goal) {
    return "";
  }
  return "atLeast" in goal ? `>= ${goal.atLeast}` : `<= ${goal.atMost}`;
}

/** The goal is held against the rounded number that the table shows. */
function verdict(value: number, goal: Goal | undefined): string {
  if (!goal) {
    return "";
  }
  const shown = Number(value.toFixed(2));
  const isReached = "atLeast" in goal ? shown >= goal.atLeast : shown <= goal.atMost;
  return isReached ? "reached" : "NOT REACHED";
}
