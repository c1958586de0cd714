// A unified diff of two texts of a few dozen lines.

const CONTEXT = 3;

type Edit = { sign: " " | "-" | "+"; line: string };

/** The difference in the form that `patch` and eyes are used to; "" when there is none. */
export function unifiedDiff(name: string, before: string, after: string): string {
  const edits = compare(linesOf(before), linesOf(after));
  const changed = edits.flatMap((edit, index) => (edit.sign === " " ? [] : [index]));
  if (changed.length === 0) {
    return "";
  }
  return [`--- ${name}`, `+++ ${name}`, ...hunks(edits, changed), ""].join("\n");
}

/** The end of the last line is not a line of its own. */
function linesOf(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
}

function hunks(edits: Edit[], changed: number[]): string[] {
  const ranges: [number, number][] = [];
  for (const index of changed) {
    const [start, end] = [Math.max(0, index - CONTEXT), Math.min(edits.length, index + CONTEXT + 1)];
    const last = ranges.at(-1);
    if (last && start <= last[1]) {
      last[1] = end;
    } else {
      ranges.push([start, end]);
    }
  }
  return ranges.flatMap(([start, end]) => {
    const hunk = edits.slice(start, end);
    const position = (sign: string) => edits.slice(0, start).filter((edit) => edit.sign !== sign).length + 1;
    const length = (sign: string) => hunk.filter((edit) => edit.sign !== sign).length;
    const header = `@@ -${position("+")},${length("+")} +${position("-")},${length("-")} @@`;
    return [header, ...hunk.map(({ sign, line }) => sign + line)];
  });
}

/** The shortest edit, by the longest common subsequence. */
function compare(before: string[], after: string[]): Edit[] {
  const lengths = before.map(() => new Array<number>(after.length + 1).fill(0));
  lengths.push(new Array<number>(after.length + 1).fill(0));
  const at = (i: number, j: number) => lengths[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const row = lengths[i] ?? [];
      row[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const edits: Edit[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      edits.push({ sign: " ", line: before[i] ?? "" });
      i++;
      j++;
    } else if (j >= after.length || (i < before.length && at(i + 1, j) >= at(i, j + 1))) {
      edits.push({ sign: "-", line: before[i] ?? "" });
      i++;
    } else {
      edits.push({ sign: "+", line: after[j] ?? "" });
      j++;
    }
  }
  return edits;
}
