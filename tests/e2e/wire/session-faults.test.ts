// What the runtime and the store do to a stream in the middle of it. A file of its own, since an object's alarm takes its time: no clock
// is hurried here.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until } from "../cluster/until.ts";
import { LIMIT_MS, list, manifestOf, startSessionsStage } from "./sessions.ts";
import { readAnswer, type Stage } from "./stage.ts";
import { accept, binary, offer, Peer } from "./websocket.ts";
import { chunk } from "./wire.ts";

const EXEC = "/api/v1/namespaces/default/pods/web/exec?command=sh&stdin=true&stdout=true&tty=true";

let stage: Stage;

before(async () => {
  stage = await startSessionsStage({ MAX_STREAMS: "1" });
});

after(() => stage?.stop());

async function stream(as: string): Promise<{ client: Peer; server: Peer; id: string }> {
  let server: Peer | undefined;
  stage.upstream.script((received) => {
    server = accept(received, "v5.channel.k8s.io");
    return new Promise(() => {});
  });
  const wire = await stage.open({ as, target: EXEC, lines: offer("v5.channel.k8s.io") });
  const answer = await readAnswer(wire);
  assert.equal(answer.status, 101, answer.text);
  const [live] = await list(stage, as, "&state=live");
  assert.ok(server && live);
  return { client: new Peer(wire, true), server, id: live.id };
}

test("case 124: what could not be stored to the end is stored when the store is back", async () => {
  const { client, server, id } = await stream("carol");
  server.send(binary, "\x01last words");
  await client.receive();
  await stage.breakRecordings(true);
  server.send(binary, '\x03{"metadata":{},"status":"Success"}');
  server.close(1000);
  await until("it is no longer live", LIMIT_MS, async () => (await list(stage, "carol", "&state=live")).length === 0);
  assert.equal((await stage.call({ as: "carol", target: `/.kube-access/sessions/${id}` })).status, 404);
  for (const seconds of [30, 60]) {
    const line = new RegExp(
      `"error","message":"not stored","detail":"recordings/.*${id}.* again in ${seconds} s: .*10001`,
    );
    await until(`the log has ${line}`, LIMIT_MS, () => stage.gateway.logs().some((written) => line.test(written)));
  }
  await stage.breakRecordings(false);
  const { by, chunks } = await manifestOf(stage, "carol", id);
  assert.equal(by, "command");
  const { text } = await stage.call({ as: "carol", target: `/.kube-access/sessions/${id}/cast` });
  assert.match(text, /last words/);
  assert.equal(
    chunks.reduce((sum, { size }) => sum + size, 0),
    Buffer.from(text).length,
  );
});

test("case 124: a bucket that hangs ends the stream with a sentence, and what was shown is recorded when it is back", async () => {
  const { client, server, id } = await stream("bob");
  await stage.breakRecordings("hung");
  const line = `${"x".repeat(60_000)}\r\n`;
  for (let round = 0; round < 80; round++) {
    server.send(binary, `\x01${line}`);
  }
  const messages: string[] = [];
  for (let message = await client.receive(); message?.opcode === binary; message = await client.receive()) {
    messages.push(message.payload.toString("latin1"));
  }
  const shown = messages.filter((message) => message.startsWith("\x01")).map((message) => message.slice(1));
  assert.match(messages.at(-1) ?? "", /this session ended: what is done here cannot be recorded any more/);
  await stage.breakRecordings(false);
  assert.equal((await manifestOf(stage, "bob", id)).by, "gateway");
  const { text } = await stage.call({ as: "bob", target: `/.kube-access/sessions/${id}/cast` });
  const events = text.trimEnd().split("\n").slice(1);
  const recorded = events.map((event) => JSON.parse(event)).filter(([, code]) => code === "o");
  assert.equal(recorded.map(([, , data]) => data).join(""), shown.join(""));
});

test("a runtime that ends breaks its streams; each has a manifest that says so, and gives its place back", async () => {
  const { client, server, id } = await stream("bob");
  server.send(binary, "\x01$ ");
  await client.receive();
  process.kill(stage.gateway.pid(), "SIGKILL");
  // Nobody is left who could say a sentence.
  assert.equal(await client.closed(), undefined);
  await until("the runtime is back", LIMIT_MS, () => list(stage, "bob").catch(() => undefined));
  const { by, reason, chunks } = await manifestOf(stage, "bob", id);
  assert.equal(by, "runtime");
  assert.match(reason ?? "", /ended by the runtime: what came after the last chunk is lost/);
  assert.equal(chunks[0]?.name, "00000");
  const again = await stream("bob");
  again.client.wire.socket.destroy();
});

test("case 30: logs and what a workload streams end with their caller's token, as if they had come to their end", async () => {
  const seconds = 4;
  for (const path of [
    "/api/v1/namespaces/default/pods/web/log?follow=true",
    "/api/v1/namespaces/default/services/web/proxy/events",
  ]) {
    let isOver = false;
    stage.upstream.script(async (request) => {
      request.begin("200 OK", ["Content-Type: text/plain", "Transfer-Encoding: chunked"]);
      const lines = setInterval(() => request.wire.write(chunk("a line\n")), 100);
      await request.wire.ended(LIMIT_MS);
      clearInterval(lines);
      isOver = true;
    });
    const exp = Math.floor(Date.now() / 1000) + seconds;
    const token = await stage.token("alice", { claims: { exp } });
    const answer = await stage.call({ token, target: path });
    assert.equal(answer.status, 200);
    assert.match(answer.text, /^(a line\n)+$/);
    const late = Date.now() / 1000 - exp;
    assert.ok(late > -1 && late < 5, `${late} s after the token's end`);
    await until("the cluster hears of it", LIMIT_MS, () => isOver);
  }
});

test("case 30: by a WebSocket logs end with their caller's token too, and a workload's with max_session; till then all is as it was", async () => {
  const log = "/api/v1/namespaces/default/pods/web/log?follow=true";
  const workload = "/api/v1/namespaces/default/services/web/proxy/socket";
  for (const [as, path, isCut] of [
    ["alice", log, true],
    ["dave", log, true],
    ["dave", workload, true],
    ["alice", workload, false],
  ] as const) {
    let server: Peer | undefined;
    stage.upstream.script((received) => {
      server = accept(received, "binary.k8s.io");
      return new Promise(() => {});
    });
    const exp = Math.floor(Date.now() / 1000) + 4;
    const token = await stage.token(as, { claims: { exp } });
    const wire = await stage.open({ token, target: path, lines: offer("binary.k8s.io") });
    const answer = await readAnswer(wire);
    assert.deepEqual([answer.status, answer.values("sec-websocket-protocol")], [101, ["binary.k8s.io"]], answer.text);
    assert.ok(server);
    const client = new Peer(wire, true);
    for (const [from, to] of [
      [server, client],
      [client, server],
    ] as const) {
      const message = Buffer.alloc(1024 * 1024, path);
      from.send(binary, message);
      assert.ok((await to.receive())?.payload.equals(message));
    }
    assert.deepEqual(await list(stage, as, "&state=live"), [], "it is not counted, and has no manifest");
    if (isCut) {
      assert.deepEqual([await client.closed(), await server.closed()], [undefined, undefined]);
      const late = Date.now() / 1000 - exp;
      assert.ok(late > -1 && late < 5, `${late} s after the token's end`);
    } else {
      await new Promise((resolve) => setTimeout(resolve, exp * 1000 + 2_000 - Date.now()));
      server.send(binary, "late");
      assert.equal(String((await client.receive())?.payload), "late");
      wire.socket.destroy();
      assert.equal(await server.closed(), undefined, "who goes away is gone on the other side too");
    }
  }
});

test("what ends by itself, or is whole, is handed on as it is", async () => {
  stage.upstream.script(async (request) => {
    const isLog = request.head.start.includes("/log");
    request.begin("200 OK", isLog ? ["Transfer-Encoding: chunked"] : ["Content-Length: 5", "Content-Encoding: x-odd"]);
    request.wire.write(isLog ? `${chunk("abc\n").toString()}${chunk("").toString()}` : "whole");
  });
  const log = await stage.call({ as: "alice", target: "/api/v1/namespaces/default/pods/web/log" });
  assert.deepEqual([log.status, log.text], [200, "abc\n"]);
  const whole = await stage.call({ as: "alice", target: "/api/v1/namespaces/default/services/web/proxy/x" });
  assert.deepEqual([whole.values("content-length"), whole.text], [["5"], "whole"]);
});
