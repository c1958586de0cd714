// Servers on the loopback address.

import { once } from "node:events";
import type { AddressInfo, Server, Socket } from "node:net";

export interface Listening {
  host: string;
  port: number;
  stop(): Promise<void>;
}

/** Listens on 127.0.0.1, on a free port unless one is given. `stop` closes upgraded and busy connections as well. */
export async function listen(server: Server, port = 0): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (error) {
    const inUse = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
    throw inUse ? new Error(`Port ${port} is in use: choose another one with --port.`, { cause: error }) : error;
  }
  const address = server.address() as AddressInfo;
  const stop = async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) {
      socket.destroy();
    }
    await closed;
  };
  return { host: "127.0.0.1", port: address.port, stop };
}
