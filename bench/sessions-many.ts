// Many recorded terminals at once: what each client saw has to be in its recording, event by event.

import { exchange } from "../tests/e2e/cluster/raw-http.ts";
import { STDIN, STDOUT, WebSocketClient } from "../tests/e2e/cluster/websocket.ts";
import { frame, OPCODE } from "./frames.ts";
import { buildRecording, type Recording, startRecording } from "./recorded.ts";
import { PROMPT } from "./upstream-websocket.ts";
import type { Work } from "./work.ts";

const SESSIONS = 200;
const LINES = 200;
const PAGE = 100;
const CLOSE = frame(OPCODE.close, Buffer.from([0x03, 0xe8]), true);

export const manyWork: Work = {
  name: "sessions-many",
  subjects: { recorded: "kube-access, recorded" },
  figures: [
    {
      title: `${SESSIONS} recorded terminals at once, ${LINES} lines each: events lost`,
      unit: "events",
      digits: 0,
      limit: { atMost: 0 },
    },
    { title: "the same", unit: "terminals/s", digits: 1 },
    { title: "the same: events", unit: "events/s", digits: 0 },
  ],
  isSlow: true,
  isExact: true,
  open: async (stage) => {
    const recording = await startRecording(stage, await buildRecording());
    return {
      measure: async () => {
        const started = performance.now();
        const seen = await Promise.all(Array.from({ length: SESSIONS }, (_, index) => converse(recording, index)));
        await recording.settle();
        const seconds = (performance.now() - started) / 1000;
        const ids = await idsByPod(recording);
        let lost = 0;
        for (const [index, events] of seen.entries()) {
          const recorded = outputOf(await recording.own(`/${ids.get(podOf(index))}/cast`));
          lost += Math.abs(recorded.length - events.length);
          lost += events.filter((text, place) => place < recorded.length && recorded[place] !== text).length;
        }
        return [lost, SESSIONS / seconds, seen.flat().length / seconds];
      },
      close: recording.stop,
    };
  },
};

function podOf(index: number): string {
  return `web-${index}`;
}

/** Types a line, waits for the prompt, and so on. Gives the events of a faithful recording: each message's whole characters. */
async function converse({ host, port, upgrade }: Recording, index: number): Promise<string[]> {
  const path = `/api/v1/namespaces/default/pods/${podOf(index)}/exec?command=converse&stdin=true&stdout=true&tty=true`;
  const { socket, status, rest } = await exchange({ host, port }, upgrade("recorded", path));
  if (status !== 101) {
    throw new Error(`terminal ${index} was answered with ${status}: ${rest}`);
  }
  const client = new WebSocketClient(socket, rest);
  const decoder = new TextDecoder();
  const events: string[] = [];
  let text = "";
  for (let line = 1; line <= LINES; line += 1) {
    client.send(STDIN, `line ${line}\r`);
    do {
      const message = await client.next();
      if (!message || !("channel" in message) || message.channel !== STDOUT) {
        throw new Error(`terminal ${index} ended at line ${line}: ${JSON.stringify(message)}`);
      }
      const event = decoder.decode(message.data, { stream: true });
      text += event;
      if (event !== "") {
        events.push(event);
      }
    } while (!text.endsWith(PROMPT));
    if (!text.startsWith(`${line}: `)) {
      throw new Error(`terminal ${index} was answered out of turn: ${text}`);
    }
    text = "";
  }
  socket.end(CLOSE);
  return events;
}

async function idsByPod(recording: Recording): Promise<Map<string, string>> {
  const ids = new Map<string, string>();
  let cursor = "";
  do {
    const page = JSON.parse(await recording.own(`?user=bob&limit=${PAGE}${cursor && `&cursor=${cursor}`}`));
    for (const { id, pod } of page.sessions as { id: string; pod: string }[]) {
      ids.set(pod, id);
    }
    cursor = page.cursor ?? "";
  } while (cursor !== "");
  return ids;
}

/** The texts of the output events of a cast. */
function outputOf(cast: string): string[] {
  const lines = cast.trimEnd().split("\n").slice(1);
  const events = lines.map((line) => JSON.parse(line) as [number, string, string]);
  return events.filter(([, code]) => code === "o").map(([, , text]) => text);
}
