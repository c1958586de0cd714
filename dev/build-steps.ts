// What a compiler is at, told from the lines that it prints: it names each module that it downloads and each package that it
// compiles, and says nothing in the minutes between two of them.

interface Step {
  line: RegExp;
  doing: string;
}

const STEPS: Record<string, Step[]> = {
  go: [
    { line: /^go: downloading (\S+)/, doing: "modules downloaded" },
    // `go build -v`: nothing but the package's path.
    { line: /^([\w.~/-]+)$/, doing: "packages compiled" },
  ],
  cargo: [
    { line: /^\s*Downloaded (\S+)/, doing: "crates downloaded" },
    { line: /^\s*Compiling (\S+)/, doing: "crates compiled" },
  ],
};

/** Hears a program's lines, and says how far it is: the latest line, where nothing better is known. */
export class BuildSteps {
  readonly #steps: Step[];
  readonly #counts = new Map<Step, number>();
  #latest = "running";

  constructor(program: string) {
    this.#steps = STEPS[program] ?? [];
  }

  hear(line: string): void {
    const step = this.#steps.find((candidate) => candidate.line.test(line));
    if (!step) {
      this.#latest = line.trim();
      return;
    }
    const count = (this.#counts.get(step) ?? 0) + 1;
    this.#counts.set(step, count);
    const what = line.match(step.line)?.[1];
    this.#latest = `${step.doing} so far: ${count.toLocaleString("en")}, at ${what}`;
  }

  get latest(): string {
    return this.#latest;
  }
}
