// exec, attach and port-forward: WebSockets pass through as they are, message by message.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import type { Received } from "./recorder.ts";
import { assertStopped, eventually, readAnswer, type Stage, startStage, theOnly } from "./stage.ts";
import { accept, binary, closing, offer, Peer, ping, pong, text } from "./websocket.ts";

const MiB = 1024 * 1024;
const exec = "/api/v1/namespaces/default/pods/web/exec?command=sh&stdin=true&stdout=true";

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage();
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

interface Session {
  client: Peer;
  server: Peer;
  request: Received;
}

/** An open exec: kubectl's end, and the cluster's. */
async function session(protocol = "v5.channel.k8s.io", ...more: string[]): Promise<Session> {
  let server: Peer | undefined;
  let request: Received | undefined;
  stage.upstream.script((received) => {
    request = received;
    server = accept(received, protocol);
    return new Promise(() => {});
  });
  const wire = await stage.open({ token, target: exec, lines: [...offer(protocol), ...more] });
  const answer = await readAnswer(wire);
  assert.equal(answer.status, 101);
  assert.deepEqual(answer.values("sec-websocket-protocol"), [protocol]);
  assert.ok(server && request);
  return { client: new Peer(wire, true), server, request };
}

function end({ client, server }: Session): void {
  client.wire.socket.destroy();
  server.wire.socket.destroy();
}

test("case 111: the subprotocol is the cluster's choice from what was offered, to the letter", async () => {
  for (const [offered, chosen] of [
    [["v5.channel.k8s.io"], "v5.channel.k8s.io"],
    [["SPDY/3.1+portforward.k8s.io"], "SPDY/3.1+portforward.k8s.io"],
    [["v5.channel.k8s.io, v4.channel.k8s.io"], "v4.channel.k8s.io"],
    [["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"], "channel.k8s.io"],
    [["unknown.example.com"], undefined],
  ] as [string[], string | undefined][]) {
    stage.upstream.reset();
    stage.upstream.script((request) => void accept(request, chosen));
    const answer = await stage.call({ token, target: exec, lines: offer(...offered) });
    assert.equal(answer.status, 101);
    assert.deepEqual(answer.values("sec-websocket-protocol"), chosen === undefined ? [] : [chosen]);
    assert.deepEqual(theOnly(stage.upstream.received).values("sec-websocket-protocol"), [offered.join(", ")]);
  }
});

test("case 69: a bearer token among the subprotocols is taken out, and is refused alone", async () => {
  const bearer = "base64url.bearer.authorization.k8s.io.c2VjcmV0";
  for (const offered of [
    [bearer, "v5.channel.k8s.io", "v4.channel.k8s.io"],
    ["v5.channel.k8s.io", bearer, "v4.channel.k8s.io"],
    [`v5.channel.k8s.io,${bearer.toUpperCase()},v4.channel.k8s.io`],
    ["v5.channel.k8s.io, v4.channel.k8s.io", `${bearer}, ${bearer}`],
  ]) {
    stage.upstream.reset();
    stage.upstream.script((request) => void accept(request, "v5.channel.k8s.io"));
    assert.equal((await stage.call({ token, target: exec, lines: offer(...offered) })).status, 101);
    const request = theOnly(stage.upstream.received);
    assert.deepEqual(request.values("sec-websocket-protocol"), ["v5.channel.k8s.io, v4.channel.k8s.io"]);
    assert.ok(!request.head.lines.join().toLowerCase().includes("bearer"));
  }
  stage.upstream.reset();
  for (const offered of [[bearer], [bearer, bearer], ["a,,b"], ["a\x80b"]]) {
    assertStopped(stage, await stage.call({ token, target: exec, lines: offer(...offered) }), 400, /subprotocol/);
  }
  assert.ok(!stage.gateway.logs().join().toLowerCase().includes("c2vjcmv0"));
});

test("case 112: binary stays binary, text stays text, and a message stays one message", async () => {
  const open = await session();
  const messages: [number, Buffer][] = [
    [binary, Buffer.from([0, 1, 2, 255])],
    [text, Buffer.from("MGhlbGxv")],
    [binary, Buffer.alloc(0)],
    [text, Buffer.alloc(0)],
    [binary, Buffer.from([0])],
    [text, Buffer.from("\u00e9\u{1f4a9}")],
    ...[125, 126, 127, 65_535, 65_536, 65_537].map((length): [number, Buffer] => [binary, randomBytes(length)]),
  ];
  for (const [from, to] of [
    [open.client, open.server],
    [open.server, open.client],
  ] as const) {
    for (const [opcode, payload] of messages) {
      from.send(opcode, payload);
    }
    for (const [opcode, payload] of messages) {
      const received = await to.receive();
      assert.equal(received?.opcode, opcode);
      assert.ok(received.payload.equals(payload), `${payload.length} bytes`);
    }
    from.send(binary, "first half, ", false);
    from.send(0, "second half");
    assert.equal(String((await to.receive())?.payload), "first half, second half");
  }
  end(open);
});

test("case 113: messages of 1 MiB and of 16 MiB arrive whole, both ways", async () => {
  const open = await session();
  for (const size of [MiB, 16 * MiB]) {
    const payload = randomBytes(size);
    for (const [from, to] of [
      [open.client, open.server],
      [open.server, open.client],
    ] as const) {
      from.send(binary, payload);
      const received = await to.receive();
      assert.equal(received?.opcode, binary);
      assert.ok(received.payload.equals(payload), `${size} bytes`);
    }
  }
  end(open);
});

test("case 116: a close goes through with its code and reason, both ways", async () => {
  for (const [code, reason] of [
    [1000, ""],
    [1000, "done"],
    [1001, "going away"],
    [1008, "policy"],
    [1011, "r\u00e9ason"],
    [3000, "registered"],
    [4999, "x".repeat(123)],
  ] as const) {
    for (const isClients of [true, false]) {
      const open = await session();
      const [from, to] = isClients ? [open.client, open.server] : [open.server, open.client];
      from.close(code, reason);
      assert.deepEqual(await to.closed(), { code, reason });
      to.close(code, reason);
      assert.deepEqual(await from.closed(), { code, reason }, "and so does the answer to it");
      end(open);
    }
  }
});

test("case 116: a close without a code is no code that may not be sent", async () => {
  const open = await session();
  open.server.close();
  const closed = await open.client.closed();
  assert.ok(closed && ![1005, 1006, 1015].includes(closed.code ?? 1000), `${closed?.code}`);
  end(open);
});

test("case 117: what a client has sent before it closes arrives before the close", async () => {
  const open = await session();
  open.client.send(binary, "\0input");
  open.client.send(binary, Buffer.from([255, 0]));
  open.client.close(1000);
  assert.equal(String((await open.server.receive())?.payload), "\0input");
  assert.deepEqual([...((await open.server.receive())?.payload ?? [])], [255, 0]);
  // The half-close ends stdin alone; the output still arrives.
  open.server.send(binary, "\x01output");
  assert.equal((await open.server.receive())?.opcode, closing);
  const output = await open.client.receive();
  assert.equal(String(output?.payload), "\x01output");
  end(open);
});

test("case 120: pings and pongs arrive, so that a silent session is kept", async () => {
  const open = await session();
  for (let beat = 0; beat < 3; beat++) {
    open.client.send(ping, `beat ${beat}`);
    const arrived = await open.server.receive();
    assert.equal(arrived?.opcode, ping);
    assert.equal(String(arrived.payload), `beat ${beat}`);
    open.server.send(pong, arrived.payload);
    const answered = await open.client.receive();
    assert.equal(answered?.opcode, pong);
    assert.equal(String(answered.payload), `beat ${beat}`);
  }
  end(open);
});

test("case 115: a slow reader slows the sender down, and nothing is lost", async () => {
  const open = await session();
  const { socket } = open.client.wire;
  open.server.wire.socket.pause();
  const message = randomBytes(MiB);
  let sent = 0;
  for (; sent < 256 && socket.writableLength < 16 * MiB; sent++) {
    open.client.send(binary, message);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(sent < 256, "all of 256 MiB went somewhere, though nobody reads");
  open.server.wire.socket.resume();
  for (let arrived = 0; arrived < sent; arrived++) {
    assert.ok((await open.server.receive())?.payload.equals(message), `message ${arrived}`);
  }
  end(open);
});

test("case 119: a client that vanishes ends the session at the cluster within 5 s", async () => {
  for (const how of ["destroy", "resetAndDestroy"] as const) {
    const open = await session();
    open.client.send(binary, "\0x");
    assert.ok(await open.server.receive());
    open.client.wire.socket[how]();
    await open.server.wire.ended(5_000);
    end(open);
  }
});

test("case 119: a cluster that vanishes ends the client's session, without a clean close", async () => {
  for (const how of ["destroy", "resetAndDestroy"] as const) {
    const open = await session();
    open.server.send(binary, "\x01x");
    assert.ok(await open.client.receive());
    open.server.wire.socket[how]();
    const closed = await open.client.closed();
    assert.ok(closed === undefined || closed.code !== 1000, "kubectl must not take it for the end of the command");
    await open.client.wire.ended(5_000);
    end(open);
  }
});

test("case 121: twenty sessions at once do not mix", async () => {
  const servers = new Map<string, Peer>();
  stage.upstream.script(async (request) => {
    const server = accept(request, "v5.channel.k8s.io");
    servers.set(request.target, server);
    for (let message = await server.receive(); message; message = await server.receive()) {
      server.send(message.opcode, message.payload);
    }
  });
  await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const wire = await stage.open({
        token,
        target: `${exec}&container=c${index}`,
        lines: offer("v5.channel.k8s.io"),
      });
      assert.equal((await readAnswer(wire)).status, 101);
      const client = new Peer(wire, true);
      const message = Buffer.alloc(256 * 1024, index);
      for (let round = 0; round < 8; round++) {
        client.send(binary, message);
      }
      for (let round = 0; round < 8; round++) {
        assert.ok((await client.receive())?.payload.equals(message));
      }
      wire.socket.destroy();
    }),
  );
  await eventually("all sessions end", () => [...servers.values()].every(({ wire }) => wire.hasEnded));
  assert.equal(servers.size, 20);
});

test("compression is between the two ends, if they agree on it at all", async () => {
  const open = await session(
    "v5.channel.k8s.io",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
  );
  const payload = Buffer.alloc(100_000, "compressible ");
  open.server.send(binary, payload);
  assert.ok((await open.client.receive())?.payload.equals(payload));
  end(open);
});
