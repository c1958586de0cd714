// What a piece of work is, and what its rounds make of it.

import type { Stage } from "./stage.ts";

/** A figure that a work gives for each of its subjects. */
export interface Figure {
  title: string;
  unit: string;
  /** Digits after the point. */
  digits: number;
  /** What the ratio of kube-access over another subject has to reach; the key is the subject's name. */
  goals?: Record<string, Goal>;
  /** What kube-access has to reach by itself. */
  limit?: Goal;
}

export type Goal = { atLeast: number } | { atMost: number };

export interface Work {
  name: string;
  /** What is compared, in the table's words. The last one is kube-access. */
  subjects: Record<string, string>;
  figures: Figure[];
  /** Not part of `--quick`. */
  isSlow?: boolean;
  /** Measured once: nothing about it varies. */
  isExact?: boolean;
  open(stage: Stage): Promise<Opened>;
}

export interface Opened {
  /** One measurement: a value for each figure. `round` is undefined in the warm-up, whose values nobody looks at. */
  measure(subject: string, round: number | undefined): Promise<number[]>;
  close?(): Promise<void>;
}

/** A figure with its measured values. */
export interface Row {
  work: string;
  title: string;
  unit: string;
  digits: number;
  subject: Value;
  limit?: Goal;
  over: Comparison[];
}

/** Values of many rounds: half of them lie between the quartiles. */
export interface Spread {
  lower: number;
  median: number;
  upper: number;
}

export interface Value extends Spread {
  title: string;
}

export interface Comparison {
  other: Value;
  /** Of the ratios within each round. */
  ratio: Spread;
  goal?: Goal;
}

/**
 * After so many rounds the peers start anew: a process has luck of its own, good or bad, with where its memory lies and
 * what is compiled when. On one machine two processes of the same Worker differed by a tenth for as long as they ran.
 */
const ROUNDS_OF_A_PROCESS = 15;

/** Runs a work: a warm-up, then its subjects in turn, there and back again, so that a drift of the machine evens out. */
export async function runWork(work: Work, stage: Stage): Promise<Row[]> {
  const names = Object.keys(work.subjects);
  const values = new Map<string, number[][]>(names.map((name) => [name, []]));
  const opened = await work.open(stage);
  try {
    for (let round = 0; round < (work.isExact ? 1 : stage.rounds); round += 1) {
      if (!work.isExact && round % ROUNDS_OF_A_PROCESS === 0) {
        await stage.renew();
        for (const name of names) {
          await opened.measure(name, undefined);
        }
      }
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        values.get(name)?.push(await opened.measure(name, round));
      }
    }
  } finally {
    await opened.close?.();
  }
  return work.figures.map((figure, index) => row(work, figure, (name) => column(values.get(name) ?? [], index)));
}

function row(work: Work, figure: Figure, valuesOf: (subject: string) => number[]): Row {
  const { title, unit, digits, goals = {}, limit } = figure;
  const names = Object.keys(work.subjects);
  const ours = names.at(-1) ?? "";
  const value = (name: string) => ({ title: work.subjects[name] ?? name, ...spread(valuesOf(name)) });
  const over = names.slice(0, -1).map((name) => {
    const others = valuesOf(name);
    const ratio = spread(valuesOf(ours).map((value, round) => value / (others[round] ?? Number.NaN)));
    const goal = goals[name];
    return { other: value(name), ratio, ...(goal ? { goal } : {}) };
  });
  return { work: work.name, title, unit, digits, subject: value(ours), over, ...(limit ? { limit } : {}) };
}

function column(rounds: number[][], index: number): number[] {
  return rounds.map((figures) => figures[index] ?? Number.NaN);
}

export function spread(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const quantile = (part: number) => {
    const place = (sorted.length - 1) * part;
    return ((sorted[Math.floor(place)] ?? Number.NaN) + (sorted[Math.ceil(place)] ?? Number.NaN)) / 2;
  };
  return { lower: quantile(0.25), median: quantile(0.5), upper: quantile(0.75) };
}
