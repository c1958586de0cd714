// A way to an address that takes time: what a client has in front of it that is no process of the same machine.

import { connect, createServer, type Socket } from "node:net";
import { type Listening, listen } from "../dev/listen.ts";
import type { Address } from "./workerd.ts";

/** What a client waits for before it can say anything: the handshakes of TCP and of TLS 1.3, in round trips. */
const HANDSHAKES = 2;

/** Listens, and passes everything on, each way half of so many milliseconds later; and nothing before handshakes could be over. */
export function farFrom(address: Address, roundTripMs: number): Promise<Listening> {
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ ...address, noDelay: true });
    near.pause();
    setTimeout(() => delay(near, far, roundTripMs / 2), HANDSHAKES * roundTripMs);
    delay(far, near, roundTripMs / 2);
  });
  return listen(server);
}

/** In order, as all timers of one length are. */
function delay(from: Socket, to: Socket, milliseconds: number): void {
  from.on("data", (chunk) => setTimeout(() => to.write(chunk), milliseconds));
  from.on("close", () => setTimeout(() => to.destroy(), milliseconds));
  from.on("error", () => {}); // its close follows
  from.resume();
}
