// A process of its own for each side of the measurement, and a question at a time between it and the benchmark.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";

export interface Child<Question, Answer> {
  pid: number;
  ask(question: Question): Promise<Answer>;
  stop(): Promise<void>;
}

type Reply<Answer> = { answer: Answer } | { error: string };

/** Starts one of the benchmark's own files. */
export async function startChild<Question, Answer>(file: string): Promise<Child<Question, Answer>> {
  const child: ChildProcess = fork(resolve(import.meta.dirname, file), { stdio: "inherit" });
  const exited = once(child, "exit").then(([code, signal]) => {
    throw new Error(`${file} ended with ${code ?? signal}`);
  });
  exited.catch(() => {});
  return {
    pid: child.pid ?? 0,
    ask: async (question) => {
      const replied = once(child, "message");
      child.send(question as object);
      const [reply] = (await Promise.race([replied, exited])) as [Reply<Answer>];
      if ("error" in reply) {
        throw new Error(`${file}: ${reply.error}`);
      }
      return reply.answer;
    },
    stop: async () => {
      child.disconnect();
      await exited.catch(() => {});
    },
  };
}

/** The other end: answers each question, until the benchmark goes away. */
export function answerQuestions<Question, Answer>(answer: (question: Question) => Promise<Answer>): void {
  process.on("message", async (question) => {
    const reply: Reply<Answer> = await answer(question as Question).then(
      (answer) => ({ answer }),
      (error: Error) => ({ error: error.message }),
    );
    process.send?.(reply);
  });
  process.on("disconnect", () => process.exit(0));
  // The terminal sends its signals to every process: the benchmark stops this one when it is done itself.
  process.on("SIGINT", () => {});
}
