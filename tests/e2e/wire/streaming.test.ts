// Bodies pass through as they come, both ways: nothing is collected on the way.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Received } from "./recorder.ts";
import { eventually, readAnswer, type Stage, startStage, theOnly } from "./stage.ts";
import { chunk, pieces, readHead, whole } from "./wire.ts";

const MiB = 1024 * 1024;

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage();
  token = await stage.token("alice");
  // The first request fetches the keys; what follows is timed.
  await stage.call({ token });
});

after(() => stage.stop());

beforeEach(() => stage.upstream.reset());

/** The answer's head is sent by the test, whenever it likes. */
async function request(): Promise<Received> {
  await eventually("the request arrives", () => stage.upstream.received.length > 0);
  return theOnly(stage.upstream.received);
}

/** Leaves answering to the test, which then has the connection to itself. */
const silent = (): Promise<void> => new Promise(() => {});
const lone = "Connection: close";

/** The next bytes of a body, in however many pieces they come. */
async function next(body: AsyncGenerator<Buffer>, length: number): Promise<string> {
  let text = "";
  while (text.length < length) {
    const { value, done } = await body.next();
    assert.ok(!done, `the body ended after ${text}`);
    text += value;
  }
  return text;
}

test("case 148: an upload of 10 MiB reaches the cluster while it is still being sent", async () => {
  stage.upstream.script(silent);
  for (const isChunked of [true, false]) {
    stage.upstream.received.length = 0;
    const framing = isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${10 * MiB}`;
    const client = await stage.open({ token, method: "POST", lines: [framing] });
    const send = (bytes: Buffer) => client.write(isChunked ? chunk(bytes) : bytes);
    const upload = randomBytes(10 * MiB);
    let sent = 0;
    let seen = 0;
    send(upload.subarray(0, MiB));
    sent += MiB;
    const arriving = await request();
    const arrived: Buffer[] = [];
    for await (const piece of arriving.pieces()) {
      arrived.push(piece);
      seen += piece.length;
      // The next mebibyte is sent only when the last one has come through.
      if (seen === sent && sent < upload.length) {
        send(upload.subarray(sent, sent + MiB));
        sent += MiB;
      } else if (seen === upload.length && isChunked) {
        client.write("0\r\n\r\n");
      }
    }
    assert.ok(Buffer.concat(arrived).equals(upload));
    arriving.answer("201 Created", [lone], "stored");
    assert.equal((await readAnswer(client)).text, "stored");
    client.socket.destroy();
  }
});

test("case 148: the answer to an upload may begin before the upload ends", async () => {
  stage.upstream.script(silent);
  const client = await stage.open({ token, method: "POST", lines: ["Transfer-Encoding: chunked"] });
  client.write(chunk("first"));
  const arriving = await request();
  assert.equal(await next(arriving.pieces(), 5), "first");
  arriving.begin("200 OK", [lone, "Transfer-Encoding: chunked"]);
  arriving.wire.write(chunk("heard"));
  const head = await readHead(client);
  assert.ok(head);
  const answer = pieces(client, head, true);
  assert.equal(await next(answer, 5), "heard");
  client.write(chunk("second"));
  client.write("0\r\n\r\n");
  assert.equal(await next(arriving.pieces(), 6), "second");
  arriving.wire.write("0\r\n\r\n");
  await whole(answer);
  client.socket.destroy();
});

test("case 107: a watch's head comes before its first event, and events within a second of being written", async () => {
  stage.upstream.script(silent);
  const client = await stage.open({ token, target: "/api/v1/pods?watch=1" });
  const arriving = await request();
  arriving.begin("200 OK", [lone, "Content-Type: application/json", "Transfer-Encoding: chunked"]);
  const head = await readHead(client);
  assert.ok(head);
  const events = pieces(client, head, true);
  const times: number[] = [];
  for (let index = 0; index < 20; index++) {
    const event = `{"type":"ADDED","object":{"index":${index}}}\n`;
    const written = performance.now();
    arriving.wire.write(chunk(event));
    assert.equal(await next(events, event.length), event);
    times.push(performance.now() - written);
  }
  // A busy machine may hold up one or another; who collects events holds up each.
  const most = times.toSorted((a, b) => a - b)[15] ?? 0;
  assert.ok(most < 1_000, `the events took ${times.map(Math.round)} ms`);
  arriving.wire.write("0\r\n\r\n");
  assert.equal((await events.next()).done, true);
  client.socket.destroy();
});

test("case 107: a compressed stream keeps its encoding and its pace", async () => {
  stage.upstream.script(silent);
  const client = await stage.open({ token, target: "/api/v1/pods", lines: ["Accept-Encoding: gzip"] });
  const arriving = await request();
  assert.deepEqual(arriving.values("accept-encoding"), ["gzip"]);
  const zipped = gzipSync("x".repeat(1000));
  arriving.begin("200 OK", [lone, "Content-Encoding: gzip", "Transfer-Encoding: chunked"]);
  arriving.wire.write(chunk(zipped.subarray(0, 12)));
  const head = await readHead(client);
  assert.ok(head);
  assert.ok(head.lines.includes("Content-Encoding: gzip"));
  const answer = pieces(client, head, true);
  let start = Buffer.alloc(0);
  while (start.length < 12) {
    start = Buffer.concat([start, (await answer.next()).value]);
  }
  assert.ok(start.equals(zipped.subarray(0, 12)));
  arriving.wire.write(Buffer.concat([chunk(zipped.subarray(12)), Buffer.from("0\r\n\r\n")]));
  assert.equal(gunzipSync(Buffer.concat([start, await whole(answer)])).toString(), "x".repeat(1000));
  client.socket.destroy();
});

test("a client that goes away ends the watch at the cluster within 5 s, or with the next event", async () => {
  for (const how of ["resetAndDestroy", "destroy"] as const) {
    stage.upstream.reset();
    stage.upstream.script(silent);
    const client = await stage.open({ token, target: "/api/v1/pods?watch=1" });
    const arriving = await request();
    arriving.begin("200 OK", [lone, "Transfer-Encoding: chunked"]);
    arriving.wire.write(chunk("event"));
    assert.ok(await readHead(client));
    client.socket[how]();
    if (how === "destroy") {
      // A connection that is closed in good order might be closed one way only: workerd finds out when it writes.
      const events = setInterval(() => arriving.wire.write(chunk("event")), 100);
      arriving.wire.socket.on("close", () => clearInterval(events));
    }
    await arriving.wire.ended(5_000);
  }
});

test("a client that goes away before the answer ends the request at the cluster within 5 s", async () => {
  stage.upstream.script(silent);
  const client = await stage.open({ token, target: "/api/v1/pods?watch=1" });
  const arriving = await request();
  client.socket.resetAndDestroy();
  await arriving.wire.ended(5_000);
});

test("a slow reader slows the cluster down, and nobody's memory is filled", async () => {
  stage.upstream.script(silent);
  const client = await stage.open({ token, target: "/api/v1/namespaces/default/pods/web/log" });
  client.socket.pause();
  const arriving = await request();
  const { socket } = arriving.wire;
  arriving.begin("200 OK", [lone, "Transfer-Encoding: chunked"]);
  const block = chunk(Buffer.alloc(MiB, "x"));
  // More than every socket buffer on the way holds: what is not taken is not read.
  let written = 0;
  for (; written < 256 && socket.writableLength < 16 * MiB; written++) {
    socket.write(block);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.ok(written < 256, "all of 256 MiB went somewhere, though nobody reads");
  client.socket.resume();
  arriving.wire.write("0\r\n\r\n");
  const head = await readHead(client);
  assert.ok(head);
  let length = 0;
  for await (const piece of pieces(client, head, true)) {
    length += piece.length;
  }
  assert.equal(length, written * MiB);
  client.socket.destroy();
});

test("two hundred watches at once each get their own events", async () => {
  const watches: Received[] = [];
  stage.upstream.script((arriving) => {
    watches.push(arriving);
    arriving.begin("200 OK", [lone, "Transfer-Encoding: chunked"]);
    return silent();
  });
  const clients = await Promise.all(
    Array.from({ length: 200 }, (_, index) => stage.open({ token, target: `/api/v1/pods?watch=1&limit=${index}` })),
  );
  await eventually("all watches arrive", () => watches.length === clients.length);
  for (const watch of watches) {
    watch.wire.write(Buffer.concat([chunk(`${watch.target}\n`), Buffer.from("0\r\n\r\n")]));
  }
  const answers = await Promise.all(clients.map((client) => readAnswer(client)));
  answers.forEach(({ status, text }, index) => {
    assert.deepEqual([status, text], [200, `/api/v1/pods?watch=1&limit=${index}\n`]);
    clients[index]?.socket.destroy();
  });
});
