// The Worker of backpressure.ts: hands each WebSocket to an object, which passes on what the upstream says.

const PAUSED_AFTER_BYTES = 4_000_000;
const PAUSE_MS = 5_000;

export class Relay {
  constructor(state, env) {
    this.state = state;
    this.env = env;
  }

  async fetch(request) {
    const { pathname, search, searchParams } = new URL(request.url);
    const mode = searchParams.get("mode");
    const answer = await this.env.KUBE_API.fetch(`http://localhost${pathname}${search}`, request);
    const [outer, client] = Object.values(new WebSocketPair());
    const ends = [client, answer.webSocket];
    for (const [side, end] of ends.entries()) {
      end.binaryType = "arraybuffer";
      end.accept();
      end.addEventListener("close", () => ends[1 - side].close(1000));
    }
    client.addEventListener("message", ({ data }) => answer.webSocket.send(data));
    let [passed, hasPaused] = [0, false];
    answer.webSocket.addEventListener("message", ({ data }) => {
      passed += data.byteLength;
      client.send(data);
      if (mode === "freed") data.transfer(0);
      if (mode === "paused" && passed > PAUSED_AFTER_BYTES && !hasPaused) {
        hasPaused = true;
        this.state.blockConcurrencyWhile(() => new Promise((done) => setTimeout(done, PAUSE_MS)));
      }
    });
    const { status, headers } = answer;
    return new Response(null, { status, headers, webSocket: outer });
  }
}

export default {
  fetch(request, { RELAY }) {
    return RELAY.get(RELAY.newUniqueId()).fetch(request);
  },
};
