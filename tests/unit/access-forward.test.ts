// The stand-in for Cloudflare's edge passes on what it is given, as bytes, and takes nothing away: neither what one side still
// sends when the other has closed, nor the difference between an end and a break. Both sides here are raw sockets.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, connect as netConnect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import { type Access, CALLERS_ADDRESS, startAccess } from "../../dev/access.ts";
import { type Certs, startCerts } from "../../dev/access-certs.ts";
import { GatewaySocket } from "../../dev/access-sockets.ts";
import { localApplication, localUsers } from "../../dev/users.ts";

const LIMIT_MS = 60_000;
const CRLF = "\r\n";
const SWITCHED = `HTTP/1.1 101 Switching Protocols${CRLF}Upgrade: websocket${CRLF}Connection: Upgrade${CRLF}`;

/** What the gateway does with a connection, once it has read a head. */
type Script = (gateway: End) => void | Promise<void>;

let certs: Certs;
let access: Access;
let script: Script;
/** Why a script failed: a test that waits for the caller's side would not say it. */
let fault: unknown;
const connections = new Set<Socket>();

const server = createServer({ allowHalfOpen: true }, async (socket) => {
  connections.add(socket.on("close", () => connections.delete(socket)));
  try {
    const gateway = new End(socket);
    await gateway.head();
    await script(gateway);
  } catch (error) {
    fault = error;
  }
});

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  certs = await startCerts();
  const gateway = { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
  access = await startAccess({ certs, gateway, ...localApplication, users: localUsers });
});

after(async () => {
  await access.stop();
  await certs.stop();
  for (const socket of connections) {
    socket.destroy();
  }
  server.close();
  assert.equal(fault, undefined);
});

/** One end of a connection: what came on it so far, and how it came to its end. */
class End {
  readonly socket: Socket;
  /** What came, as latin1. */
  text = "";
  end: "none" | "end" | "break" = "none";

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text) => {
      this.text += text;
    });
    socket.on("end", () => {
      this.end = "end";
    });
    socket.on("error", () => {
      this.end = "break";
    });
  }

  send(text: string): void {
    this.socket.write(text, "latin1");
  }

  /** Waits for something to be so. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    const deadline = performance.now() + LIMIT_MS;
    while (!isSo()) {
      assert.ok(performance.now() < deadline, `${what}: ${this.end}, ${this.text.length} bytes`);
      await sleep(5);
    }
  }

  /** The head that came first, and what follows it. */
  async head(): Promise<{ head: string; rest: () => string }> {
    await this.until("a head", () => this.text.includes(CRLF + CRLF));
    const length = this.text.indexOf(CRLF + CRLF) + 4;
    return { head: this.text.slice(0, length), rest: () => this.text.slice(length) };
  }

  async over(): Promise<"end" | "break"> {
    await this.until("the end", () => this.end !== "none");
    return this.end as "end" | "break";
  }
}

/** A caller's end: TLS, and the TCP connection below it, where it can be reset. */
class Caller extends End {
  readonly below: Socket;

  constructor(socket: Socket, below: Socket) {
    super(socket);
    this.below = below;
  }
}

/** Sends a request as alice, and gives the caller's end of the connection. */
function call(lines: string[], body = "", start = "GET / HTTP/1.1"): Caller {
  const { hostname: host, port } = new URL(access.url);
  const below = netConnect({ host, port: Number(port), allowHalfOpen: true });
  const options = { socket: below, host, ca: access.ca, allowHalfOpen: true };
  const caller = new Caller(tlsConnect(options), below);
  const head = [start, `Host: ${host}`, `Authorization: Bearer ${access.session("alice")}`, ...lines];
  caller.send(`${head.join(CRLF)}${CRLF}${CRLF}${body}`);
  return caller;
}

function upgrade(lines: string[] = []): Caller {
  return call(["Connection: Upgrade", "Upgrade: websocket", ...lines]);
}

/** Ends a connection as a program does that has not read all its input: with a reset. */
function abandon({ socket }: End): void {
  socket.resetAndDestroy();
}

test("header bytes above 0x7F pass as they are, both ways", async () => {
  const name = "X-Name: b\xe4r \xf0\x9f";
  let received = "";
  const answer: Record<string, string> = {
    plain: `HTTP/1.1 200 Gr\xfcn${CRLF}Warning: 299 - "b\xe4r"${CRLF}Connection: close${CRLF}Content-Length: 2${CRLF}${CRLF}ok`,
    upgrade: `${SWITCHED}Warning: 299 - "b\xe4r"${CRLF}${CRLF}ok`,
    declined: `HTTP/1.1 403 Nein${CRLF}Warning: 299 - "b\xe4r"${CRLF}Connection: close${CRLF}Content-Length: 2${CRLF}${CRLF}ok`,
    posted: `HTTP/1.1 200 Gr\xfcn${CRLF}Warning: 299 - "b\xe4r"${CRLF}Connection: close${CRLF}Content-Length: 2${CRLF}${CRLF}ok`,
  };
  for (const [kind, text] of Object.entries(answer)) {
    script = (gateway) => {
      received = gateway.text;
      gateway.send(text);
    };
    const isUpgrade = kind === "upgrade" || kind === "declined";
    const caller = isUpgrade
      ? upgrade([name])
      : call([name, "Content-Length: 4"], "body", `${kind === "plain" ? "PUT" : "POST"} / HTTP/1.1`);
    await caller.until("the answer", () => caller.text.endsWith("ok"));
    assert.ok(received.includes(`${CRLF}${name}${CRLF}`), `${kind}: ${received}`);
    assert.ok(caller.text.includes(`${CRLF}Warning: 299 - "b\xe4r"${CRLF}`), `${kind}: ${caller.text}`);
    caller.socket.destroy();
  }
});

test("a head is as large as it is, and so is the one that answers", async () => {
  const lines = Array.from({ length: 3000 }, (_, index) => `X-${index}: ${"v".repeat(40)}`);
  const target = `/${"t".repeat(20 * 1024)}`;
  let received = "";
  script = (gateway) => {
    received = gateway.text;
    gateway.send(
      `HTTP/1.1 200 OK${CRLF}${lines.join(CRLF)}${CRLF}Connection: close${CRLF}Content-Length: 2${CRLF}${CRLF}ok`,
    );
  };
  const caller = call(lines, "", `GET ${target} HTTP/1.1`);
  await caller.until("the answer", () => caller.text.endsWith("ok"));
  for (const line of lines) {
    assert.ok(received.includes(`${CRLF}${line}${CRLF}`), line);
    assert.ok(caller.text.includes(`${CRLF}${line}${CRLF}`), line);
  }
  assert.ok(received.startsWith(`GET ${target} HTTP/1.1${CRLF}`));
  caller.socket.destroy();
});

test("the caller's address is added to those that came; the scheme is the edge's to say", async () => {
  for (const [came, expected] of [
    [[], CALLERS_ADDRESS],
    [["X-Forwarded-For: 127.0.0.1"], `127.0.0.1, ${CALLERS_ADDRESS}`],
    [
      ["x-forwarded-for: 192.0.2.1, ::1", "X-Forwarded-For: 192.0.2.2"],
      `192.0.2.1, ::1, 192.0.2.2, ${CALLERS_ADDRESS}`,
    ],
  ] as const) {
    let received = "";
    script = (gateway) => {
      received = gateway.text;
      gateway.send(`HTTP/1.1 204 No Content${CRLF}Connection: close${CRLF}${CRLF}`);
    };
    const caller = call([...came, "X-Forwarded-Proto: http", "Cf-Connecting-Ip: 192.0.2.9"]);
    await caller.head();
    const lines = received.split(CRLF).filter((line) => /^(x-forwarded|cf-connecting)/i.test(line));
    assert.deepEqual(lines, [
      `Cf-Connecting-Ip: ${CALLERS_ADDRESS}`,
      `X-Forwarded-For: ${expected}`,
      "X-Forwarded-Proto: https",
    ]);
    caller.socket.destroy();
  }
});

test("an upgraded connection ends one way at a time, whoever ends first", async () => {
  script = async (gateway) => {
    gateway.send(`${SWITCHED}${CRLF}`);
    assert.equal(await gateway.over(), "end");
    gateway.send("after the caller's end");
    gateway.socket.end();
  };
  const caller = upgrade();
  await caller.head();
  caller.socket.end("input");
  assert.equal(await caller.over(), "end");
  assert.ok(caller.text.endsWith("after the caller's end"));

  let input = "";
  script = async (gateway) => {
    gateway.send(`${SWITCHED}${CRLF}output`);
    gateway.socket.end();
    await gateway.over();
    input = gateway.text;
  };
  const sender = upgrade();
  assert.equal(await sender.over(), "end");
  assert.ok(sender.text.endsWith("output"));
  const sent = "i".repeat(4 * 1024 * 1024);
  sender.socket.end(sent);
  await sender.until("all input arrives", () => input.endsWith(sent));
});

test("an upgraded connection that breaks is no clean end for the other side, and loses nothing that came before", async () => {
  const output = "o".repeat(40_000);
  script = async (gateway) => {
    gateway.send(`${SWITCHED}${CRLF}${output}`);
    await sleep(100);
    abandon(gateway);
  };
  const caller = upgrade();
  assert.equal(await caller.over(), "break");
  assert.ok(caller.text.endsWith(output), `${caller.text.length}`);

  let gatewaysEnd = "none";
  script = async (gateway) => {
    gateway.send(`${SWITCHED}${CRLF}`);
    gatewaysEnd = await gateway.over();
  };
  const leaver = upgrade();
  await leaver.head();
  leaver.below.resetAndDestroy();
  await leaver.until("the gateway hears of it", () => gatewaysEnd !== "none");
  assert.equal(gatewaysEnd, "break");
});

test("case 164: a command that ends while its input is being sent: all of its output arrives", async () => {
  const output = `${"o".repeat(40_000)}exit status 7`;
  for (let round = 0; round < 5; round += 1) {
    script = async ({ socket }) => {
      socket.pause();
      socket.write(`${SWITCHED}${CRLF}${output}`);
      // The input in the way makes a reset of this, as it does at the API server.
      await sleep(20);
      socket.destroy();
    };
    const caller = upgrade();
    const sending = setInterval(() => caller.send("y\n".repeat(20_000)), 1);
    await caller.over();
    clearInterval(sending);
    assert.ok(caller.text.endsWith(output), `round ${round}: ${caller.text.length} bytes`);
    caller.socket.destroy();
  }
});

test("case 164: the same to a slow reader, with more output than anything on the way holds", async () => {
  const output = `${"o".repeat(24 * 1024 * 1024)}exit status 7`;
  script = ({ socket }) => {
    socket.write(`${SWITCHED}${CRLF}`);
    socket.pause();
    socket.end(output);
  };
  const caller = upgrade();
  await caller.head();
  caller.send("y\n".repeat(2_000_000));
  for (let pause = 0; pause < 10; pause += 1) {
    caller.socket.pause();
    await sleep(50);
    caller.socket.resume();
    await sleep(5);
  }
  assert.equal(await caller.over(), "end");
  assert.ok(caller.text.endsWith(output), `${caller.text.length} bytes`);
  caller.socket.destroy();
});

test("what came before a reset can be read after it, also when writing has failed", async () => {
  const output = "o".repeat(40_000);
  const abrupt = createServer({ pauseOnConnect: true }, (socket) => {
    socket.write(output);
    setTimeout(() => socket.destroy(), 100);
  }).listen(0, "127.0.0.1");
  await once(abrupt, "listening");
  const socket = new GatewaySocket({ allowHalfOpen: true });
  socket.connect((abrupt.address() as AddressInfo).port, "127.0.0.1");
  const closed = new Promise((resolve) => socket.on("close", resolve));
  const deadline = performance.now() + LIMIT_MS;
  while (!socket.isDeaf) {
    assert.ok(performance.now() < deadline, "a write fails");
    socket.write("input that nobody reads");
    await sleep(20);
  }
  let text = "";
  let isOver = false;
  socket.on("data", (chunk) => {
    text += chunk;
  });
  socket.on("end", () => {
    isOver = socket.wasReset;
    socket.end();
  });
  socket.on("error", () => {
    isOver = true;
  });
  await closed;
  abrupt.close();
  assert.equal(text.length, output.length);
  assert.ok(isOver, "and it is told apart from an end");
});

test("an answer that breaks reaches the caller as broken, however it is framed", async () => {
  for (const [framing, body] of [
    ["Transfer-Encoding: chunked", `5${CRLF}first${CRLF}`],
    ["Content-Length: 100", "first"],
    ["Connection: close", "first"],
  ]) {
    for (const version of ["1.0", "1.1"]) {
      script = async (gateway) => {
        gateway.send(`HTTP/1.1 200 OK${CRLF}${framing}${CRLF}${CRLF}${body}`);
        await sleep(50);
        abandon(gateway);
      };
      const caller = call([], "", `GET / HTTP/${version}`);
      assert.equal(await caller.over(), "break", `${framing}, HTTP/${version}: ${caller.text}`);
      assert.match(caller.text, /first/, `${framing}, HTTP/${version}`);
    }
  }
});

test("a declined upgrade whose answer breaks is broken as well", async () => {
  script = async (gateway) => {
    gateway.send(`HTTP/1.1 403 Forbidden${CRLF}Transfer-Encoding: chunked${CRLF}${CRLF}5${CRLF}first${CRLF}`);
    await sleep(50);
    abandon(gateway);
  };
  const caller = upgrade();
  assert.equal(await caller.over(), "break");
  assert.match(caller.text, /403 Forbidden[\s\S]*first$/);
});

test("an answer in the middle of an upload arrives, though the gateway reads no further", async () => {
  for (let round = 0; round < 5; round += 1) {
    script = async ({ socket }) => {
      socket.pause();
      socket.write(`HTTP/1.1 413 Too Large${CRLF}Content-Length: 7${CRLF}Connection: close${CRLF}${CRLF}too big`);
      await sleep(20);
      socket.destroy();
    };
    const size = 8 * 1024 * 1024;
    const caller = call([`Content-Length: ${size}`], "b".repeat(size), "PUT / HTTP/1.1");
    await caller.until("the answer", () => caller.text.endsWith("too big"));
    // The connection goes on: the rest of the upload was swallowed.
    script = (gateway) =>
      gateway.send(`HTTP/1.1 200 OK${CRLF}Connection: close${CRLF}Content-Length: 4${CRLF}${CRLF}next`);
    caller.send(`GET / HTTP/1.1${CRLF}Host: a${CRLF}Authorization: Bearer ${access.session("alice")}${CRLF}${CRLF}`);
    await caller.until("the next answer", () => caller.text.endsWith("next"));
    caller.socket.destroy();
  }
});

test("a caller who leaves before an upgrade is answered is not waited for", async () => {
  let gatewaysEnd = "no connection yet";
  script = async (gateway) => {
    gatewaysEnd = "none";
    gatewaysEnd = await gateway.over();
  };
  const caller = upgrade();
  await caller.until("the request arrives", () => gatewaysEnd === "none");
  caller.socket.end();
  await caller.until("the gateway hears of it", () => gatewaysEnd !== "none");
});
