// Streams that a guard records or bounds, message by message: the object in the middle, its store, its clock and its faults.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import { until } from "../cluster/until.ts";
import type { Received } from "./recorder.ts";
import { ask, LIMIT_MS, list as listOf, manifestOf, type Session, startSessionsStage } from "./sessions.ts";
import { assertRefused, readAnswer, type Stage } from "./stage.ts";
import { accept, binary, closing, offer, Peer, text } from "./websocket.ts";

const POD = "/api/v1/namespaces/default/pods/web";
const PIPE = `${POD}/exec?command=tar&command=cf&stdin=true&stdout=true&stderr=true`;
const TERMINAL = `${POD}/exec?command=sh&stdin=true&stdout=true&tty=true`;
const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const V5 = "v5.channel.k8s.io";
const SUCCESS = '\x03{"metadata":{},"status":"Success"}';
const FAILURE =
  '\x03{"metadata":{},"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}';

/** What the cluster sees where a command has to end: a close would only say that no more stdin comes. */
const CUT = "the connection ends without a close";

let stage: Stage;

before(async () => {
  stage = await startSessionsStage({ MAX_STREAMS: "2", LOG_LEVEL: "debug" });
});

after(() => stage?.stop());

afterEach(async () => {
  for (const stream of open.splice(0)) {
    stream.client.wire.socket.destroy();
    stream.server.wire.socket.destroy();
  }
  await stage.hurry(1);
  await stage.breakRecordings(false);
  await stage.gateway.setIdentity("email:bob@example.com", undefined);
  // Who went away gives their place back a moment later.
  await nothingIsOpen();
  stage.upstream.reset();
});

interface Stream {
  client: Peer;
  server: Peer;
  request: Received;
  id: string;
}

const open: Stream[] = [];

/** What the API server answers: a stream, or a review. */
function answerWith(
  protocol: string,
  isAllowed = true,
): { server(): Peer | undefined; request(): Received | undefined } {
  let server: Peer | undefined;
  let request: Received | undefined;
  stage.upstream.script((received) => {
    if (received.head.start.includes(REVIEWS)) {
      received.answer(
        "201 Created",
        ["Content-Type: application/json"],
        JSON.stringify({ status: { allowed: isAllowed } }),
      );
      return;
    }
    request = received;
    server = accept(received, protocol);
    return new Promise(() => {});
  });
  return { server: () => server, request: () => request };
}

async function stream(
  as: string,
  target: string,
  protocol = V5,
  lines: string[] = [],
  token?: string,
): Promise<Stream> {
  const before = new Set((await list(as)).map(({ id }) => id));
  const upstream = answerWith(protocol);
  const wire = await stage.open({ as, target, lines: [...offer(protocol), ...lines], ...(token && { token }) });
  const answer = await readAnswer(wire);
  assert.equal(answer.status, 101, answer.text);
  assert.deepEqual(answer.values("sec-websocket-protocol"), [protocol]);
  const [server, request] = [upstream.server(), upstream.request()];
  assert.ok(server && request);
  const id = (await list(as)).map(({ id }) => id).find((candidate) => !before.has(candidate));
  assert.ok(id, "the list has it");
  const opened = { client: new Peer(wire, true), server, request, id };
  open.push(opened);
  return opened;
}

const own = (path: string, as = "bob") => ask(stage, as, path);

const list = (as: string, more?: string) => listOf(stage, as, more);

async function nothingIsOpen(): Promise<void> {
  for (const as of ["bob", "alice", "carol", "dave"]) {
    await until(`nothing of ${as}'s is open`, LIMIT_MS, async () => (await list(as, "&state=live")).length === 0);
  }
}

/** The manifest once the session has ended, and what was recorded. */
async function ended(
  id: string,
  as: string,
): Promise<{ manifest: Session; events: [number, string, string][]; raw: string }> {
  const manifest = await manifestOf(stage, as, id);
  const raw = (await own(`/${id}/cast`, as)).text;
  const [header, ...events] = raw
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line));
  assert.ok(manifest.record === "nothing" || header.version === 2, raw);
  assertChained(manifest, raw);
  return { manifest, events, raw };
}

const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");

/** The recording is what the manifest says, chunk by chunk. */
function assertChained({ id, chunks }: Session, raw: string): void {
  const bytes = Buffer.from(raw);
  let [from, chain] = [0, id];
  for (const [place, chunk] of chunks.entries()) {
    const hash = sha256(bytes.subarray(from, from + chunk.size));
    const name = String(place).padStart(5, "0");
    chain = sha256(`${chain} ${name} ${chunk.size} ${hash}`);
    assert.deepEqual(chunk, { name, size: chunk.size, sha256: hash, chain });
    from += chunk.size;
  }
  assert.equal(from, chunks.length > 0 ? bytes.length : from);
}

/** What the client hears until the stream is closed: each message, and the close. */
async function heard({ client }: Stream): Promise<{ messages: string[]; close: number | undefined }> {
  const messages: string[] = [];
  for (let message = await client.receive(); message; message = await client.receive()) {
    if (message.opcode === closing) {
      return { messages, close: message.payload.length < 2 ? undefined : message.payload.readUInt16BE() };
    }
    messages.push(message.payload.toString("latin1"));
  }
  return { messages, close: undefined };
}

test("what goes through is written down, counted and hashed, and passes message by message", async () => {
  const exec = await stream("bob", PIPE);
  exec.client.send(binary, "\x00in");
  assert.deepEqual((await exec.server.receive())?.payload.toString(), "\x00in");
  exec.client.send(text, "\x00as text");
  assert.deepEqual(await exec.server.receive(), { opcode: text, payload: Buffer.from("\x00as text") });
  exec.client.send(binary, "\xff\x00");
  exec.server.send(binary, Buffer.concat([Buffer.from([1]), Buffer.from("é").subarray(0, 1)]));
  exec.server.send(binary, Buffer.concat([Buffer.from([1]), Buffer.from("é").subarray(1)]));
  exec.server.send(binary, "\x02reason");
  exec.server.send(binary, FAILURE);
  exec.server.close(1000);
  assert.deepEqual(await heard(exec), {
    messages: ["\x01\xc3", "\x01\xa9", "\x02reason", FAILURE],
    close: 1000,
  });
  const { manifest, events } = await ended(exec.id, "bob");
  assert.deepEqual(
    events.map(([, code, data]) => [code, data]),
    [
      ["o", "é"],
      ["e", "6"],
      ["o", "reason"],
      ["m", "the command ended with exit code 3"],
    ],
  );
  assert.deepEqual(
    [manifest.by, manifest.exit_code, manifest.bytes, manifest.sha256.stdout, manifest.sha256.stdin],
    ["command", 3, { stdin: 9, stdout: 2, stderr: 6 }, sha256("é"), sha256("inas text")],
  );
  assert.deepEqual(manifest.target, {
    kind: "exec",
    namespace: "default",
    pod: "web",
    command: ["tar", "cf"],
    tty: false,
    stdin: true,
  });
  // The objects of the bucket, and no others.
  const bucket = await stage.gateway.recordings();
  const keys = (await bucket.list({ prefix: "recordings/" })).objects.map(({ key }) => key);
  const mine = keys
    .filter((key) => key.includes(exec.id))
    .map((key) => key.replace(exec.id, "ID").replace(/[0-9a-f]{16}/, "USER"));
  assert.deepEqual(mine, [
    "recordings/chunks/ID/00000",
    "recordings/chunks/ID/00001",
    "recordings/manifests/ID",
    "recordings/users/USER/ID",
  ]);
});

test("the cluster is told who asks and nothing else, as ever", async () => {
  const { request } = await stream("bob", PIPE);
  assert.equal(request.head.start, `GET ${PIPE} HTTP/1.1`);
  assert.deepEqual(request.values("impersonate-user"), ["bob"]);
  assert.deepEqual(request.values("impersonate-group"), ["developers", "on-call"]);
  for (const name of ["kube-access-stamp", "cf-access-jwt-assertion", "authorization", "cookie"]) {
    assert.deepEqual(request.values(name), [], name);
  }
  assert.equal(request.values("audit-id").length, 1);
});

test("whom no guard is for passes natively: no object, no manifest", async () => {
  const upstream = answerWith("channel.k8s.io");
  const wire = await stage.open({ as: "alice", target: PIPE, lines: offer("channel.k8s.io") });
  assert.equal((await readAnswer(wire)).status, 101);
  assert.deepEqual(await list("alice"), []);
  wire.socket.destroy();
  upstream.server()?.wire.socket.destroy();
});

test("a client's own words about the gateway's business change nothing", async () => {
  const exec = await stream("bob", PIPE, V5, ["Kube-Access-Stamp: 1 forged", "Kubectl-Command: kubectl cp"]);
  exec.client.wire.socket.destroy();
  const { manifest } = await ended(exec.id, "bob");
  assert.notEqual(manifest.audit_id, "forged");
  assert.match(String(manifest.started), /^20\d\d-/);
});

test("case 125: the first size of the terminal never comes, and it is recorded all the same", async () => {
  const exec = await stream("bob", TERMINAL, "v4.channel.k8s.io");
  exec.server.send(binary, "\x01$ ");
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  assert.deepEqual((await heard(exec)).messages, ["\x01$ ", SUCCESS]);
  const { events, raw } = await ended(exec.id, "bob");
  assert.deepEqual(events[0]?.slice(1), ["o", "$ "]);
  assert.match(raw, /"width":80,"height":24/);
});

test("case 119, 125: a client that vanishes ends the stream on the other side, and its manifest says so", async () => {
  const exec = await stream("bob", TERMINAL);
  exec.server.send(binary, "\x01$ ");
  await exec.client.receive();
  exec.client.wire.socket.destroy();
  assert.equal(await exec.server.closed(), undefined, CUT);
  const { manifest, events } = await ended(exec.id, "bob");
  assert.equal(manifest.by, "client");
  assert.deepEqual(events[0]?.slice(1), ["o", "$ "]);
});

test("the cluster breaks off: the client hears a sentence, and the manifest has it", async () => {
  const exec = await stream("bob", TERMINAL);
  exec.server.send(binary, "\x01$ ");
  await exec.client.receive();
  exec.server.wire.socket.destroy();
  const { messages, close } = await heard(exec);
  assert.match(messages.join(), /this session ended: the connection to the container broke off/);
  assert.equal(close, 1000);
  assert.equal((await ended(exec.id, "bob")).manifest.by, "cluster");
});

test("what is typed is kept for whom the guard says input, and for nobody else", async () => {
  for (const [as, hasInput] of [
    ["carol", true],
    ["bob", false],
  ] as const) {
    const exec = await stream(as, TERMINAL);
    exec.client.send(binary, '\x04{"Width":132,"Height":50}');
    exec.client.send(binary, "\x00ls\r");
    await exec.server.receive();
    await exec.server.receive();
    exec.server.send(binary, SUCCESS);
    exec.server.close(1000);
    const { events } = await ended(exec.id, as);
    const codes = events.map(([, code, data]) => `${code} ${data}`);
    assert.deepEqual(codes.includes("i ls\r"), hasInput);
    assert.ok(codes.includes("r 132x50"));
  }
});

test("a stream that is bounded and not recorded has a manifest without a recording", async () => {
  const exec = await stream("dave", PIPE);
  exec.server.send(binary, "\x01out");
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  await heard(exec);
  const { manifest } = await ended(exec.id, "dave").catch(async () => ({
    manifest: JSON.parse((await own(`/${exec.id}`, "dave")).text),
  }));
  assert.deepEqual([manifest.record, manifest.chunks, manifest.bytes.stdout], ["nothing", [], 3]);
});

test("case 125: without a terminal the beginning of each direction is kept, and all of it counted and hashed", async () => {
  const exec = await stream("bob", PIPE);
  const data = Buffer.alloc(200_000, "0123456789");
  for (let from = 0; from < data.length; from += 32_000) {
    exec.server.send(binary, Buffer.concat([Buffer.from([1]), data.subarray(from, from + 32_000)]));
  }
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  assert.equal((await heard(exec)).messages.join("").length, data.length + 7 + SUCCESS.length);
  const { manifest, events } = await ended(exec.id, "bob");
  assert.deepEqual([manifest.bytes.stdout, manifest.sha256.stdout], [data.length, sha256(data)]);
  const kept = events.filter(([, code]) => code === "o").map(([, , text]) => text);
  assert.equal(kept.join(""), data.subarray(0, 65_536).toString());
});

test("case 115: a stream carries so much, and ends with a sentence when it would carry more", async () => {
  const exec = await stream("dave", PIPE);
  const piece = Buffer.alloc(64 * 1024, 1);
  for (let sent = 0; sent <= 4 * 1024 * 1024; sent += piece.length) {
    exec.server.send(binary, piece);
  }
  const { messages, close } = await heard(exec);
  assert.equal(messages.slice(0, -1).join("").length, 4 * 1024 * 1024);
  assert.match(messages.at(-1) ?? "", /carries at most 4 MiB each way/);
  assert.equal(close, 1000);
  assert.equal(await exec.server.closed(), undefined, CUT);
});

/** How many bytes come, and with which code the other side closes. */
async function arriving(server: Peer): Promise<{ bytes: number; close: number | undefined }> {
  let bytes = 0;
  for (let message = await server.receive(); message; message = await server.receive()) {
    if (message.opcode === closing) {
      return { bytes, close: message.payload.readUInt16BE() };
    }
    bytes += message.payload.length;
  }
  return { bytes, close: undefined };
}

test("what a client sent before it closed arrives, all of it, and is counted", async () => {
  for (const [as, target, protocol, channel] of [
    ["bob", PIPE, "v4.channel.k8s.io", 1],
    ["dave", `${POD}/portforward?ports=80`, "SPDY/3.1+portforward.k8s.io", 0],
  ] as const) {
    const sent = await stream(as, target, protocol);
    for (let count = 0; count < 60; count++) {
      sent.client.send(binary, Buffer.alloc(32 * 1024));
    }
    sent.client.close(1000);
    assert.deepEqual(await arriving(sent.server), { bytes: 60 * 32 * 1024, close: 1000 });
    const manifest = await manifestOf(stage, as, sent.id);
    assert.deepEqual([manifest.by, manifest.bytes.stdin], ["client", 60 * (32 * 1024 - channel)]);
  }
});

test("what the command no longer took is not counted", async () => {
  const exec = await stream("bob", PIPE);
  for (let count = 0; count < 300; count++) {
    exec.client.send(binary, Buffer.alloc(32 * 1024));
  }
  await exec.server.receive();
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  const { bytes } = await arriving(exec.server);
  const { manifest } = await ended(exec.id, "bob");
  assert.equal(manifest.bytes.stdin, (bytes / (32 * 1024) + 1) * (32 * 1024 - 1));
});

test("a status that comes in two messages is the command's end", async () => {
  const exec = await stream("bob", PIPE);
  exec.server.send(binary, FAILURE.slice(0, 60));
  exec.server.send(binary, `\x03${FAILURE.slice(60)}`);
  exec.server.close(1000);
  assert.deepEqual((await heard(exec)).messages, [FAILURE.slice(0, 60), `\x03${FAILURE.slice(60)}`]);
  const { manifest } = await ended(exec.id, "bob");
  assert.deepEqual([manifest.by, manifest.exit_code], ["command", 3]);

  const half = await stream("bob", PIPE);
  half.server.send(binary, FAILURE.slice(0, 60));
  half.server.wire.socket.destroy();
  assert.deepEqual((await heard(half)).messages, [FAILURE.slice(0, 60)], "nothing is added to half of one");
  assert.equal((await ended(half.id, "bob")).manifest.by, "cluster");
});

test("a message that is six times as large as JSON is recorded whole, in chunks of the usual size", async () => {
  const exec = await stream("bob", TERMINAL);
  const message = Buffer.alloc(2 * 1024 * 1024, 1);
  exec.server.send(binary, message);
  assert.ok((await exec.client.receive())?.payload.equals(message));
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  await heard(exec);
  const { manifest, events } = await ended(exec.id, "bob");
  assert.equal(events.map(([, code, text]) => (code === "o" ? text : "")).join("").length, message.length - 1);
  assert.ok(manifest.chunks.length > 8 && manifest.chunks.every(({ size }) => size < 1_500_000));
});

test("case 113: large messages pass whole, both ways, and one that is too large ends the stream with a sentence", async () => {
  const exec = await stream("bob", PIPE);
  for (const bytes of [1024 * 1024, 16 * 1024 * 1024]) {
    const message = Buffer.alloc(bytes, 1);
    exec.server.send(binary, message);
    assert.ok((await exec.client.receive())?.payload.equals(message), `${bytes} bytes to the client`);
    message.fill(0);
    exec.client.send(binary, message);
    assert.ok((await exec.server.receive())?.payload.equals(message), `${bytes} bytes to the cluster`);
  }
  exec.client.send(binary, Buffer.alloc(16 * 1024 * 1024));
  assert.match((await heard(exec)).messages.join(), /a message is too large .* send it in pieces of at most 4 MiB/);
  assert.equal(await exec.server.closed(), undefined, CUT);
});

test("case 30, 123: it ends with its time, warns before, and says why", async () => {
  const exec = await stream("dave", PIPE);
  await stage.advance(301);
  const warning = (await exec.client.receive())?.payload.toString();
  assert.ok(warning?.startsWith("\x02\nkube-access: this session ends in 5 minutes"), warning);
  await stage.advance(300);
  const { messages, close } = await heard(exec);
  const status = JSON.parse((messages[0] ?? "").slice(1));
  assert.deepEqual(
    [status.status, status.message, status.reason, close],
    ["Failure", "this session ended: a session here lasts at most 10 m", "Forbidden", 1000],
  );
  assert.equal(await exec.server.closed(), undefined, CUT);
});

test("case 30, 123: it ends with its caller's token", async () => {
  const exec = await stream("bob", PIPE);
  await stage.advance(86_400);
  const { messages } = await heard(exec);
  // Everybody's tokens have ended; the others want to be somebody still.
  await stage.advance(-86_400);
  assert.match(messages.join(), /this session ended: your login at Cloudflare Access ends/);
  assert.equal((await ended(exec.id, "bob")).manifest.by, "policy");
});

test("case 123, 180: it ends when its caller is denied, loses a group, or their grant ends", async () => {
  const soon = new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+Z/, "Z");
  const granted = { grants: [{ groups: ["helpers"], expires: soon, id: "grant-1" }] };
  for (const [first, then, sentence] of [
    [undefined, { deny: true }, /has withdrawn the access of bob@example.com/],
    [granted, undefined, /you are no longer in the group helpers, with which you entered/],
    [{ user: "bob", groups: ["developers"] }, { user: "robert", groups: ["developers"] }, /you are no longer bob/],
  ] as const) {
    // What the Worker remembers of the caller is older than the entry.
    await stage.advance(60);
    await stage.gateway.setIdentity("email:bob@example.com", first && JSON.stringify(first));
    const exec = await stream("bob", PIPE);
    await stage.hurry(20);
    await stage.gateway.setIdentity("email:bob@example.com", then && JSON.stringify(then));
    assert.match((await heard(exec)).messages.join(), sentence);
    await stage.hurry(1);
    await stage.gateway.setIdentity("email:bob@example.com", undefined);
    await stage.advance(60);
    const { manifest } = await ended(exec.id, "bob");
    assert.equal(manifest.by, "policy");
  }
});

test("case 123, 179: it ends when its caller leaves a group of the provider, whatever their token tells", async () => {
  // Old enough to be asked about at once, and young enough to be believed of whoever enters.
  const iat = Math.floor(stage.now() / 1000) - 30;
  // A login of its own, of which nobody has asked yet.
  const claims = { iat, identity_nonce: "another", custom: { groups: ["g-helpers"] } };
  const token = await stage.token("carol", { claims });
  const exec = await stream("carol", PIPE, V5, [], token);
  await stage.hurry(20);
  assert.match((await heard(exec)).messages.join(), /you are no longer in the group developers, with which you/);
});

test("a guard that comes to be its caller's bounds it from its beginning, and it is told how little time is left", async () => {
  const exec = await stream("bob", PIPE);
  await stage.advance(480);
  await stage.hurry(20);
  const guest = { user: "bob", groups: ["developers", "on-call", "guests"] };
  await stage.gateway.setIdentity("email:bob@example.com", JSON.stringify(guest));
  const warning = (await exec.client.receive())?.payload.toString() ?? "";
  assert.match(warning, /this session ends in \d+ seconds: a session here lasts at most 10 m/);
  await stage.advance(120);
  assert.match((await heard(exec)).messages.join(), /this session ended: a session here lasts at most 10 m/);
});

test("a stream that does not come about leaves no connection to the cluster, and gives its place back", async () => {
  let late: Received | undefined;
  stage.upstream.script((received) => {
    late = received;
    return new Promise(() => {});
  });
  // A client that leaves, and a cluster that is too late.
  const wire = await stage.open({ as: "bob", target: PIPE, lines: offer(V5) });
  await until("the cluster is asked", LIMIT_MS, async () => late);
  wire.socket.resetAndDestroy();
  await late?.wire.ended(LIMIT_MS);
  await nothingIsOpen();
  const [left] = await list("bob", "&state=ended");
  assert.deepEqual([left?.by, left?.reason], ["client", "the client went away before the answer came"]);

  late = undefined;
  await stage.hurry(20);
  const answer = await stage.call({ as: "bob", target: PIPE, lines: offer(V5) });
  assertRefused(answer, 504, /did not answer in time/);
  const slow = late as Received | undefined;
  assert.ok(slow);
  await slow.wire.ended(LIMIT_MS);
});

test("it ends on its owner's word, and on that of whom RBAC lets", async () => {
  const first = await stream("bob", TERMINAL);
  assertRefused(
    await stage.call({ as: "bob", method: "DELETE", target: `/.kube-access/sessions/${first.id.slice(0, -1)}x` }),
    404,
  );
  const answer = await stage.call({
    as: "bob",
    method: "DELETE",
    target: `/.kube-access/sessions/${first.id}?reason=lunch%0A`,
  });
  assert.equal(answer.status, 200, answer.text);
  assert.match((await heard(first)).messages.join(), /this session ended: bob ended it: lunch"/);
  const { manifest } = await ended(first.id, "bob");
  assert.deepEqual([manifest.by, manifest.reason], ["order", "bob ended it: lunch"]);
  assertRefused(
    await stage.call({ as: "bob", method: "DELETE", target: `/.kube-access/sessions/${first.id}` }),
    404,
    /has ended already/,
  );

  const second = await stream("bob", TERMINAL);
  answerWith(V5, false);
  assertRefused(
    await stage.call({ as: "dave", method: "DELETE", target: `/.kube-access/sessions/${second.id}` }),
    403,
    /auditor/,
  );
  assertRefused(await own(`/${second.id}/cast`, "dave"), 403);
  answerWith(V5, true);
  assert.equal(
    (await stage.call({ as: "alice", method: "DELETE", target: `/.kube-access/sessions/${second.id}` })).status,
    200,
  );
  assert.match((await heard(second)).messages.join(), /alice ended it/);
});

test("the page reads a recording chunk by chunk, and ends a session by POST and JSON from its own origin alone", async () => {
  const third = await stream("bob", TERMINAL);
  third.server.send(binary, "\x01shown");
  const end = (lines: string[], body: string, as = "bob") =>
    stage.call({ as, method: "POST", target: `/.kube-access/sessions/${third.id}/end`, lines, body });
  const page = ["Sec-Fetch-Site: same-origin", "Origin: http://kube.example.com"];
  const json = "Content-Type: application/json";
  assertRefused(await end([json, "Sec-Fetch-Site: same-site", "Origin: http://other.example.com"], "{}"), 403, /page/);
  assertRefused(await end([...page, "Content-Type: text/plain"], "{}"), 400, /JSON/);
  answerWith(V5, false);
  assertRefused(await end([...page, json], "{}", "dave"), 403, /auditor/);
  const answer = await end([...page, json], JSON.stringify({ reason: "tea\u001b" }));
  assert.equal(answer.status, 200, answer.text);
  await heard(third);
  const { manifest, raw } = await ended(third.id, "bob");
  assert.equal(manifest.reason, "bob ended it: tea");
  const chunks = await Promise.all(manifest.chunks.map(({ name }) => own(`/${third.id}/chunks/${name}`, "bob")));
  assert.equal(chunks.map(({ text }) => text).join(""), raw);
  assert.deepEqual(chunks[0]?.values("content-type"), ["application/octet-stream"]);
  assertRefused(await own(`/${third.id}/chunks/00000`, "dave"), 403);
  assertRefused(await own(`/${third.id}/chunks/0`, "bob"), 404);
});

test("case 147: so many streams of one caller, and no more; a place comes back", async () => {
  const [first] = [await stream("bob", PIPE), await stream("bob", PIPE)];
  for (const lines of [offer(V5), ["Connection: Upgrade", "Upgrade: SPDY/3.1"]]) {
    const method = lines.length > 2 ? "GET" : "POST";
    const answer = await stage.call({ as: "bob", method, target: PIPE, lines });
    assertRefused(answer, 429, /you have 2 streams open that are recorded or bounded/);
  }
  assert.ok(first);
  first.client.wire.socket.destroy();
  await ended(first.id, "bob");
  await until("a place is free", LIMIT_MS, async () => (await list("bob", "&state=live")).length < 2);
  await stream("bob", PIPE);
});

test("case 124: what cannot be recorded does not begin, and nothing runs", async () => {
  await stage.breakRecordings(true);
  answerWith(V5);
  for (const lines of [offer(V5), ["Connection: Upgrade", "Upgrade: SPDY/3.1"]]) {
    const method = lines.length > 2 ? "GET" : "POST";
    const answer = await stage.call({ as: "bob", method, target: PIPE, lines });
    assertRefused(answer, 503, /must be recorded, and the recordings cannot be written right now: nothing was run/);
  }
  assert.deepEqual(stage.upstream.received, []);
});

test("case 124: a recording that breaks off ends its stream with a sentence, and nothing of it is lost when the store is back", async () => {
  const exec = await stream("bob", TERMINAL);
  await stage.breakRecordings(true);
  const line = `${"x".repeat(60_000)}\r\n`;
  const sent: string[] = [];
  for (let round = 0; round < 20; round++) {
    sent.push(line);
    exec.server.send(binary, `\x01${line}`);
  }
  const { messages, close } = await heard(exec);
  assert.match(messages.at(-1) ?? "", /this session ended: what is done here cannot be recorded any more/);
  assert.equal(close, 1000);
  await stage.breakRecordings(false);
  // What could not be stored is tried again by the object's alarm, half a minute later.
  const { manifest, events } = await ended(exec.id, "bob");
  assert.equal(manifest.by, "gateway");
  const shown = messages
    .slice(0, -1)
    .map((message) => message.slice(1))
    .join("");
  const recorded = events
    .filter(([, code]) => code === "o")
    .map(([, , text]) => text)
    .join("");
  assert.equal(recorded, shown);
});

test("case 124: many who only ask are told the truth at once, though R2 takes one write a second of each key", async () => {
  await stage.limitRecordings();
  stage.upstream.script((received) => received.answer("404 Not Found", ["Content-Type: application/json"], "{}"));
  const spdy = { as: "bob", method: "POST", target: PIPE, lines: ["Connection: Upgrade", "Upgrade: SPDY/3.1"] };
  const answers = await Promise.all([1, 2, 3].map(() => stage.call(spdy)));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [404, 404, 404],
  );
  const bucket = await stage.gateway.recordings();
  assert.deepEqual((await bucket.list({ prefix: "probe" })).objects, [], "nothing of it stays");
});

test("a stream whose object has the name of another's is refused: it could not be ended", async () => {
  answerWith(V5);
  const name = "8204352649123-81b637d8fcd2c6da-4f350c310174471e";
  const answer = await stage.call({ as: "bob", target: PIPE, lines: [...offer(V5), `X-Clock-Object: ${name}`] });
  assertRefused(answer, 503, /who you are here has just changed/);
  assert.deepEqual(stage.upstream.received, [], "nothing ran");
});

test("a refused request has its manifest, and its place in the lists, whatever it asked for", async () => {
  stage.upstream.script((received) => received.answer("404 Not Found", ["Content-Type: application/json"], "{}"));
  for (const [pod, query] of [
    ["y".repeat(9_000), "command=sh"],
    ["%22".repeat(1_500), `container=${"%01".repeat(1_500)}&command=${"%01".repeat(1_000)}`],
    ["web", "command=&".repeat(1_500)],
  ] as const) {
    const target = `/api/v1/namespaces/default/pods/${pod}/exec?${query}`;
    const before = new Set((await list("bob")).map(({ id }) => id));
    assert.equal((await stage.call({ as: "bob", target, lines: offer(V5) })).status, 404);
    const id = await until("it is in the list", LIMIT_MS, async () => {
      return (await list("bob", "&state=ended")).map(({ id }) => id).find((id) => !before.has(id));
    });
    const { manifest } = await ended(id, "bob");
    assert.equal(manifest.target.pod, decodeURIComponent(pod), "whole");
  }
});

test("a refusal of the cluster is the cluster's, and its manifest says so", async () => {
  const before = (await list("bob")).length;
  stage.upstream.script((received) =>
    received.answer("403 Forbidden", ["Content-Type: application/json"], '{"kind":"Status"}'),
  );
  const answer = await stage.call({ as: "bob", target: PIPE, lines: offer(V5) });
  assert.deepEqual([answer.status, answer.text], [403, '{"kind":"Status"}']);
  await until("it is in the list", LIMIT_MS, async () => (await list("bob", "&state=ended")).length > before);
  const [newest] = await list("bob", "&state=ended");
  assert.deepEqual([newest?.by, newest?.reason], ["cluster", "the API server answered with status 403"]);
});

test("lists are paged, filtered, and show others' to whom RBAC lets", async () => {
  answerWith(V5, true);
  const all: string[] = [];
  let cursor = "";
  do {
    const page = JSON.parse((await own(`?limit=3&state=ended${cursor && `&cursor=${cursor}`}`, "alice")).text);
    assert.equal(page.scope, "all");
    assert.ok(page.sessions.length <= 3);
    all.push(...page.sessions.map(({ id }: Session) => id));
    cursor = page.cursor ?? "";
  } while (cursor);
  const users = new Set(JSON.parse((await own("?limit=100", "alice")).text).sessions.map(({ user }: Session) => user));
  assert.deepEqual([...users].toSorted(), ["bob", "carol", "dave"]);
  assert.deepEqual(all, all.toSorted(), "the newest first");
  assert.equal(new Set(all).size, all.length);
  answerWith(V5, false);
  const mine = JSON.parse((await own("", "dave")).text);
  assert.equal(mine.scope, "own");
  assert.ok(mine.sessions.every(({ user }: Session) => user === "dave") && mine.sessions.length > 0);
  assertRefused(await own("?user=bob", "dave"), 403);
  assert.deepEqual(JSON.parse((await own("?user=bob&day=2001-01-01", "bob")).text).sessions, []);
});

test("those that go on are paged too", async () => {
  const open = [(await stream("bob", PIPE)).id, (await stream("bob", PIPE)).id].toSorted();
  const page = async (more: string) => JSON.parse((await own(`?user=bob&limit=1${more}`)).text);
  const first = await page("");
  const second = await page(`&cursor=${first.cursor}`);
  const third = await page(`&cursor=${second.cursor}`);
  const pages: Session[][] = [first, second, third].map(({ sessions }) => sessions);
  assert.deepEqual(
    pages.map((sessions) => sessions.map(({ state }) => state)),
    [["live"], ["live"], ["ended"]],
  );
  assert.deepEqual(
    pages.slice(0, 2).flatMap((sessions) => sessions.map(({ id }) => id)),
    open,
  );
  const last = await page(`&state=live&cursor=live:${open[1]}`);
  assert.deepEqual([last.sessions, last.cursor], [[], undefined]);
});

test("a chunk that is not there is not an empty one, and a recording without one of its own is not whole", async () => {
  const exec = await stream("bob", TERMINAL);
  assertRefused(await own(`/${exec.id}/chunks/00099`), 404, /no such chunk/);
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  const { raw } = await ended(exec.id, "bob");
  const whole = await own(`/${exec.id}/cast`);
  assert.deepEqual(whole.values("content-length"), [String(Buffer.from(raw).length)]);
  await stage.loseRecordings("00001");
  await assert.rejects(own(`/${exec.id}/cast`), /the connection ended after/);
  await stage.loseRecordings("");
});

test("a recording of more chunks than a bucket lists at once is whole", async () => {
  const exec = await stream("bob", TERMINAL);
  exec.server.send(binary, SUCCESS);
  exec.server.close(1000);
  await ended(exec.id, "bob");
  const bucket = await stage.gateway.recordings();
  const names = Array.from({ length: 1_100 }, (_, place) => String(10_000 + place));
  // All at once, they would wait for each other longer than a connection does.
  for (let from = 0; from < names.length; from += 50) {
    const some = names.slice(from, from + 50);
    await Promise.all(some.map((name) => bucket.put(`recordings/chunks/${exec.id}/${name}`, `${name}\n`)));
  }
  const { chunks } = JSON.parse((await own(`/${exec.id}/chunks`)).text);
  assert.deepEqual(
    chunks.slice(2).map(({ name }: { name: string }) => name),
    names,
  );
  assert.ok((await own(`/${exec.id}/cast`)).text.endsWith(`${names.join("\n")}\n`));
});

test("case 138: no line of the log has what a command was told or said", async () => {
  const lines = stage.gateway.logs().join("\n");
  assert.match(lines, /"message":"session ended"/);
  assert.doesNotMatch(lines, /"tar"|command=|xxxx/);
});
