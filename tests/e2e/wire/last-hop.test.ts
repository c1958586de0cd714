// The guarded last hop of terraform/modules/k8s as a program of its own, between raw bytes and an API server that records.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { serverCertificate } from "../../../dev/certificates.ts";
import { guardedLastHop } from "../../../dev/cluster-config.ts";
import { freePorts, Service } from "../../../dev/cluster-service.ts";
import { until } from "../cluster/until.ts";
import { type Recorder, startRecorder } from "./recorder.ts";
import { type Answer, eventually, randomly, readAnswer, theOnly } from "./stage.ts";
import { readHead, Wire } from "./wire.ts";

const LIMIT_MS = 60_000;
const TOKEN = "the-account-s-own-token";
const KEY = randomBytes(32).toString("base64");
const pods = "/api/v1/namespaces/default/pods";
const exec = `${pods}/web/exec?command=sh`;
const alice = ["Impersonate-User: alice", "Impersonate-Group: admins", "Impersonate-Group: devs"];
const upgrade = ["Connection: Upgrade", "Upgrade: websocket"];

interface Hop {
  port: number;
  service: Service;
  logFile: string;
}

let dir: string;
let api: Recorder;
let open: Hop;
let closed: Hop;
const services: Service[] = [];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-last-hop-"));
  const { ca, cert, key } = serverCertificate(["127.0.0.1"]);
  api = await startRecorder(0, { cert, key });
  await writeFile(join(dir, "ca.crt"), ca);
  await writeFile(join(dir, "token"), `${TOKEN}\n`);
  await writeFile(join(dir, "key"), KEY);
  [open, closed] = await Promise.all([startHop("open"), startHop("closed", `--key-file=${join(dir, "key")}`)]);
});

afterEach(() => api.reset());

after(async () => {
  await Promise.all(services.map((service) => service.stop()));
  await api.stop();
  await rm(dir, { recursive: true, force: true });
});

test("what it carries arrives byte for byte, with the account's credential and nobody else's", async () => {
  const body = randomBytes(3_000_000);
  const target = "/api/v1/namespaces/default/services/web:http/proxy/a%2Fb//c/../d?x=%20&y=a+b;c";
  const lines = [...alice, "X-Odd_Name: 1", "x-odd_name: 2", "Cookie: a=b", "Accept-Encoding: gzip"];
  api.script(async (request) => {
    request.answer("200 Fine", ["X-One: 1", "x-one: 2", "Content-Encoding: gzip"], await request.body());
  });
  const own = ["Authorization: Bearer of-a-caller", `Content-Length: ${body.length}`];
  const answer = await ask(open, `PUT ${target}`, [...lines, ...own], body);
  const { head } = theOnly(api.received);
  assert.equal(head.start, `PUT ${target} HTTP/1.1`);
  assert.deepEqual(
    head.lines.filter((line) => !/^(host|content-length|connection|authorization): /i.test(line)),
    lines,
  );
  assert.deepEqual(theOnly(api.received).values("authorization"), [`Bearer ${TOKEN}`]);
  assert.deepEqual(
    [answer.status, answer.values("x-one"), answer.values("content-encoding")],
    [200, ["1", "2"], ["gzip"]],
  );
  assert.ok(answer.body.equals(body));
});

test("case 126: what does not say, once, for whom it is, is refused with a sentence that kubectl prints", async () => {
  for (const lines of [
    [],
    ["Impersonate-User:"],
    ["Impersonate-User: alice", "impersonate-user: bob"],
    ["Impersonate-User: alice", "Impersonate-User: alice"],
    ["Impersonate_User: alice", "Impersonate-Group: admins"],
    ["Impersonate-Uid: 1"],
  ]) {
    for (const more of [[], upgrade]) {
      const answer = await ask(open, `GET ${more.length > 0 ? exec : pods}`, [...lines, ...more]);
      assertRefused(answer, /^the last hop carries nothing that does not say, once, for whom it is/);
    }
    const discovery = await ask(open, "GET /api", lines);
    assert.deepEqual([discovery.status, discovery.values("content-type")], [403, ["text/plain; charset=utf-8"]]);
  }
  assert.deepEqual(api.received, []);
});

test("case 55, 126: a Connection line takes no line of the identity away", async () => {
  await ask(open, `GET ${pods}`, [...alice, "Connection: Impersonate-User, Impersonate-Group"]);
  const request = theOnly(api.received);
  assert.deepEqual(
    [request.values("impersonate-user"), request.values("impersonate-group")],
    [["alice"], ["admins", "devs"]],
  );
});

test("case 127: what the Worker signed is carried, once", async () => {
  const request = signed();
  const answer = await ask(closed, request.start, request.lines);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    theOnly(api.received).values("kube-access-signature"),
    [],
    "the signature is the last hop's business",
  );
  assertRefused(await ask(closed, request.start, request.lines), /this request came before$/);
  assert.equal(api.received.length, 1);
  // The order of lines may change on the way, that of the groups may not.
  const [signature = "", audit = "", user = "", ...groups] = signed().lines;
  assert.equal((await ask(closed, request.start, [...groups, user.replace("I", "i"), audit, signature])).status, 200);
  const stream = signed({ target: exec });
  api.script((received) => received.answer("403 Forbidden"));
  assert.equal((await ask(closed, stream.start, [...stream.lines, ...upgrade])).status, 403);
  assert.equal(api.received.length, 3);
});

test("case 127, 134: what is not signed, or not like this, is refused and reaches nothing", async () => {
  const right = signed();
  const [signature = "", audit = "", ...identity] = right.lines;
  const now = Math.floor(Date.now() / 1000);
  for (const [what, start, lines, sentence] of [
    ["nothing", right.start, [audit, ...identity], "there is no signature"],
    ["two", right.start, [signature, ...right.lines], "the signature cannot be read"],
    ["garbage", right.start, ["Kube-Access-Signature: x", audit, ...identity], "the signature cannot be read"],
    ["another path", `GET ${pods}/web`, right.lines, "not this request's"],
    ["a query", `GET ${pods}?watch=1`, right.lines, "not this request's"],
    ["another method", `DELETE ${pods}`, right.lines, "not this request's"],
    [
      "another user",
      right.start,
      [signature, audit, "Impersonate-User: root", ...identity.slice(1)],
      "not this request's",
    ],
    ["a group more", right.start, [...right.lines, "Impersonate-Group: system:masters"], "not this request's"],
    ["a group less", right.start, right.lines.slice(0, -1), "not this request's"],
    ["groups turned", right.start, [signature, audit, ...identity.toReversed()], "not this request's"],
    ["an extra more", right.start, [...right.lines, "Impersonate-Extra-a: b"], "not this request's"],
    ["a UID", right.start, [...right.lines, "Impersonate-Uid: 1"], "not this request's"],
    ["another request's name", right.start, [signature, "Audit-ID: other", ...identity], "not this request's"],
    [
      "another cluster's key",
      right.start,
      signed({ key: randomBytes(32).toString("base64") }).lines,
      "not by this key",
    ],
    ["an old one", right.start, signed({ seconds: now - 32 }).lines, "too old"],
    ["a future one", right.start, signed({ seconds: now + 32 }).lines, "too old, or a clock is wrong"],
  ] as const) {
    for (const more of [[], upgrade]) {
      const answer = await ask(closed, start, [...lines, ...more]);
      assertRefused(answer, new RegExp(`only what this gateway's Worker signed: .*${sentence}`), what);
    }
  }
  assert.deepEqual(api.received, []);
});

test("case 126, 127: a stream that is refused reaches nothing, however long its client stays", async () => {
  for (const [hop, lines, host] of [
    [open, [], undefined],
    [open, ["Impersonate-User: alice", "Impersonate-User: root"], undefined],
    [open, alice, ["Host: kube.example.com"]],
    [closed, alice, undefined],
    [closed, signed().lines, undefined],
  ] as const) {
    api.reset();
    const refused = await send(hop, `GET ${exec}`, [...lines, ...upgrade], "", host && [...host]);
    assert.equal((await readAnswer(refused)).status, 403);
    // What comes later and may go on has gone on, by a connection of its own.
    api.script((received) => received.answer("404 Not Found"));
    for (let round = 0; round < 3; round++) {
      const allowed = hop === closed ? signed({ target: exec }).lines : alice;
      assert.equal((await ask(hop, `GET ${exec}`, [...allowed, ...upgrade])).status, 404);
    }
    assert.equal(api.received.length, 3, lines.join());
    refused.socket.destroy();
  }
});

test("case 128, 132: it answers on its own address, to its own names", async () => {
  for (const host of ["kube.example.com", "localhost.evil.test", "127.0.0.1.evil.test", ""]) {
    const answer = await ask(open, `GET ${pods}`, alice, undefined, [`Host: ${host}`]);
    assert.ok([400, 403].includes(answer.status), host);
  }
  for (const host of ["localhost", "127.0.0.1", `LOCALHOST:${open.port}`]) {
    assert.equal((await ask(open, `GET ${pods}`, alice, undefined, [`Host: ${host}`])).status, 200, host);
  }
  assert.equal(api.received.length, 3);
  const elsewhere = connect(open.port, "127.0.0.2");
  const [error] = await once(elsewhere, "error");
  assert.equal((error as NodeJS.ErrnoException).code, "ECONNREFUSED");
});

test("a new token is used within seconds, and one that cannot be read leaves the old one", async () => {
  await writeFile(join(dir, "token"), "the-next-token");
  await until("the next token is used", LIMIT_MS, async () => {
    api.reset();
    await ask(open, `GET ${pods}`, alice);
    return theOnly(api.received).values("authorization")[0] === "Bearer the-next-token";
  });
  await rm(join(dir, "token"));
  await new Promise((done) => setTimeout(done, 1_500));
  api.reset();
  await ask(open, `GET ${pods}`, alice);
  assert.deepEqual(theOnly(api.received).values("authorization"), ["Bearer the-next-token"]);
  await writeFile(join(dir, "token"), TOKEN);
});

test("an answer that breaks off does not look whole", async () => {
  for (const framing of ["Content-Length: 1000", "Transfer-Encoding: chunked"]) {
    api.script((request) => {
      request.begin("200 OK", [framing]);
      request.wire.write(framing.startsWith("C") ? "abc" : "3\r\nabc\r\n");
      setTimeout(() => request.wire.socket.destroy(), 50);
    });
    const wire = await send(open, `GET ${pods}`, alice);
    const broken = once(wire.socket, "error");
    assert.match((await readHead(wire))?.start ?? "", /200/);
    assert.equal(((await broken)[0] as NodeJS.ErrnoException).code, "ECONNRESET", framing);
  }
});

test("case 119: a client that goes away ends what it asked for", async () => {
  for (const lines of [[], upgrade]) {
    let isOver = false;
    api.script(async (request) => {
      request.begin(lines.length > 0 ? "101 Switching Protocols" : "200 OK", [...lines, "Transfer-Encoding: chunked"]);
      isOver = (await request.wire.some()) === undefined;
    });
    const wire = await send(open, `GET ${exec}`, [...alice, ...lines]);
    await readHead(wire);
    wire.socket.destroy();
    await eventually("the API server sees the end", () => isOver);
  }
});

test("a stream ends on each side when that side ends it", async () => {
  api.script(async (request) => {
    request.begin("101 Switching Protocols", upgrade);
    let heard = "";
    for (let some = await request.wire.some(); some; some = await request.wire.some()) {
      heard += some.toString();
    }
    // The client has said its last word, and listens.
    request.wire.write(`heard ${heard}`);
  });
  const wire = await send(open, `GET ${exec}`, [...alice, ...upgrade], "early ");
  await readHead(wire);
  wire.write("late");
  wire.socket.end();
  assert.equal((await rest(wire)).toString(), "heard early late");
});

test("what a command says before it ends arrives whole, however much the client still sends", async () => {
  const words = randomBytes(30_000); // what the system takes at once
  for (let round = 0; round < 100; round++) {
    api.script(async (request) => {
      request.begin("101 Switching Protocols", upgrade);
      await request.wire.some();
      request.wire.socket.pause();
      // What lies unread makes the system break the connection once it is closed.
      request.wire.socket.end(words, () => request.wire.socket.destroy());
    });
    const wire = await send(open, `GET ${exec}`, [...alice, ...upgrade]);
    await readHead(wire);
    const flood = setInterval(() => wire.write(Buffer.alloc(256 * 1024)), 1);
    const heard = await rest(wire);
    clearInterval(flood);
    assert.ok(heard.equals(words), `${heard.length} of ${words.length} bytes, round ${round}`);
    wire.socket.destroy();
  }
});

test("a stream that breaks off is handed on as broken, after all that came before", async () => {
  api.script(async (request) => {
    request.begin("101 Switching Protocols", upgrade);
    request.wire.write("said");
    await request.wire.some();
    request.breakOff();
  });
  const wire = await send(open, `GET ${exec}`, [...alice, ...upgrade]);
  await readHead(wire);
  assert.equal((await wire.exactly(4)).toString(), "said");
  const broken = once(wire.socket, "error");
  const flood = setInterval(() => wire.write(Buffer.alloc(64 * 1024)), 1);
  const [error] = (await broken) as [NodeJS.ErrnoException];
  clearInterval(flood);
  assert.ok(["ECONNRESET", "EPIPE"].includes(error.code ?? ""), error.code);
});

/** What the system lets a connection hold that was received, and that is to be sent, in bytes. */
async function largestBuffers(): Promise<number> {
  const sizes = ["rmem", "wmem"].map((name) => readFile(`/proc/sys/net/ipv4/tcp_${name}`, "utf8"));
  return (await Promise.all(sizes)).reduce((sum, text) => sum + Number(text.trim().split(/\s+/)[2]), 0);
}

test("case 115: clients that do not read cost a bounded memory", async () => {
  const piece = Buffer.alloc(64 * 1024);
  let sent = 0;
  api.script(async (request) => {
    request.begin("101 Switching Protocols", upgrade);
    const { socket } = request.wire;
    const closed = heard(socket, "close");
    while (!socket.destroyed) {
      sent += piece.length;
      if (!socket.write(piece)) {
        await Promise.race([heard(socket, "drain"), closed]);
      }
    }
  });
  const wires = await Promise.all([1, 2, 3, 4].map(() => send(open, `GET ${exec}`, [...alice, ...upgrade])));
  for (const { socket } of wires) {
    socket.pause();
  }
  let [before, still] = [-1, 0];
  const megabytesSent = () => sent / 1024 / 1024;
  // A busy machine stands still for a moment too: many times, and with what is read ahead at the least.
  await until("the API server has to wait", LIMIT_MS, async () => {
    still = before === sent ? still + 1 : 0;
    before = sent;
    await new Promise((done) => setTimeout(done, 300));
    return still >= 5 && megabytesSent() > 64;
  });
  // 64 MiB ahead of each, 192 MiB in all, and what the system's own buffers hold at the most: two ways of each stream, with two ends.
  const megabytes = megabytesSent();
  const most = 192 + (4 * 2 * (await largestBuffers())) / 1024 / 1024;
  assert.ok(megabytes > 64 && megabytes < most, `${megabytes} MiB were taken from the API server, of at most ${most}`);
  for (const { socket } of wires) {
    socket.destroy();
  }
  await until("the next stream may read ahead again", LIMIT_MS, async () => {
    sent = 0;
    const wire = await send(open, `GET ${exec}`, [...alice, ...upgrade]);
    wire.socket.pause();
    await new Promise((done) => setTimeout(done, 1_000));
    wire.socket.destroy();
    return sent > 32 * 1024 * 1024;
  });
});

test("case 104: an upgrade that the API server declines comes back as it is", async () => {
  api.script((request) => request.answer("403 Forbidden", ["Content-Type: application/json"], '{"kind":"Status"}'));
  const answer = await ask(open, `GET ${exec}`, [...alice, ...upgrade]);
  assert.deepEqual([answer.status, answer.text, answer.values("connection")], [403, '{"kind":"Status"}', ["close"]]);
});

test("an API server that cannot be reached, or is another, is a sentence", async () => {
  const [port = 0] = await freePorts(1);
  const nowhere = await startHop("nowhere", `--server=https://127.0.0.1:${port}`);
  const other = serverCertificate(["127.0.0.1"]);
  const stranger = await startRecorder(0, other);
  const untrusted = await startHop("untrusted", `--server=https://127.0.0.1:${stranger.port}`);
  for (const hop of [nowhere, untrusted]) {
    for (const lines of [[], upgrade]) {
      assertRefused(
        await ask(hop, `GET ${exec}`, [...alice, ...lines]),
        /^the last hop cannot reach the API server$/,
        "",
        502,
      );
    }
    assert.equal((await ask(hop, "GET /.last-hop/ready", [])).status, 503);
    assert.equal((await ask(hop, "GET /.last-hop/live", [])).status, 200);
  }
  assert.deepEqual(stranger.received, []);
  await stranger.stop();
});

test("the probes' own command tells whether it serves", async () => {
  assert.equal(await probe(open.port, "/.last-hop/ready"), 0);
  assert.equal(await probe(closed.port, "/.last-hop/live"), 0);
  assert.deepEqual(
    api.received.map(({ head, values }) => [head.start, values.call(api.received[0], "impersonate-user")]),
    [["GET /readyz HTTP/1.1", []]],
  );
  api.script((request) => request.answer("500 Internal Server Error"));
  assert.equal(await probe(open.port, "/.last-hop/ready"), 1);
  const [port = 0] = await freePorts(1);
  assert.notEqual(await probe(port, "/.last-hop/live"), 0);
});

test("a head that is too large or no HTTP is refused, and the next request is served", async () => {
  assert.equal((await ask(open, `GET ${pods}`, [...alice, `X-Large: ${"x".repeat(200_000)}`])).status, 200);
  assert.equal((await ask(open, `GET ${pods}`, [...alice, `X-Large: ${"x".repeat(300_000)}`])).status, 400);
  assert.equal((await ask(open, `GET ${pods}`, ["no colon"])).status, 400);
  assert.equal((await ask(open, "GET http://127.0.0.1/api", alice)).status, 400);
  assert.equal((await ask(open, `GET ${pods}`, alice)).status, 200);
});

test("whatever is sent, nothing of it ends what others have open", async () => {
  api.script(async (request) => {
    if (request.values("upgrade").length === 0) {
      request.answer("200 OK");
    } else {
      request.begin("101 Switching Protocols", upgrade);
      await request.wire.some();
      request.wire.write("alive");
    }
  });
  const stream = await send(open, `GET ${exec}`, [...alice, ...upgrade]);
  await readHead(stream);
  const random = randomly();
  const pick = <Item>(items: readonly Item[]): Item => items[random(items.length)] as Item;
  const odd = (count: number) => Array.from({ length: random(count) }, () => pick(oddities));
  const one = async (text: string) => {
    const socket = connect(open.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.end(Buffer.from(text, "latin1"));
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), 200);
    await heard(socket, "close");
    clearTimeout(timer);
  };
  for (let round = 0; round < 40; round++) {
    const texts = Array.from({ length: 20 }, () =>
      random(2) === 0
        ? odd(12).join(pick([" ", "\r\n", ""]))
        : `${pick(["GET", "POST", "HEAD", "OPTIONS", "QUERY"])} ${pick(["/", "/a b", "/\xff", pods, "*", "//", "/%"])} HTTP/1.1\r\n` +
          `${["Host: localhost", ...alice, ...odd(8)].join("\r\n")}\r\n\r\nabcde`,
    );
    await Promise.all(texts.map(one));
  }
  assert.ok(open.service.isRunning);
  stream.write("?");
  assert.equal((await rest(stream)).toString(), "alive");
});

/** What a head may be made of that Node.js, HTTP or this program may stumble over. */
const oddities = [
  ...[
    "GET",
    "CONNECT",
    " ",
    "/",
    pods,
    "/.last-hop/ready",
    "\x00",
    "\x7f",
    "\xff",
    "\r\n",
    "\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/9.9",
  ],
  ...[
    "Host: localhost",
    "Impersonate-User: \xff",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Connection: close",
  ],
  ...[
    "Content-Length: 5",
    "Content-Length: -1",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip",
    "Expect: 100-continue",
  ],
  ...[
    "5\r\nabcde\r\n0\r\n\r\n",
    "abc",
    "?",
    "#",
    "%",
    "%zz",
    "Trailer: x",
    "TE: trailers",
    "*",
    "Date: x",
    "Keep-Alive: 1",
    ": x",
    "a: b",
  ],
];

test("told to end, it takes no more, and lets running streams finish", async () => {
  const hop = await startHop("ending");
  api.script(async (request) => {
    request.begin("101 Switching Protocols", upgrade);
    await request.wire.some();
    request.wire.write("said");
  });
  const wire = await send(hop, `GET ${exec}`, [...alice, ...upgrade]);
  await readHead(wire);
  process.kill(hop.service.pid, "SIGTERM");
  await until("nobody new is let in", LIMIT_MS, () => isRefused(hop.port));
  wire.write("go");
  assert.equal((await rest(wire)).toString(), "said");
  wire.socket.end();
  await eventually("it ends", () => !hop.service.isRunning);
});

test("case 133: no answer and no line of the log holds a secret", async () => {
  for (const { logFile } of [open, closed]) {
    const log = await readFile(logFile, "utf8");
    assert.ok(!log.includes(TOKEN) && !log.includes(KEY), log);
  }
  const { lines, start } = signed({ seconds: 1 });
  const { text } = await ask(closed, start, lines);
  assert.ok(!text.includes(TOKEN) && !text.includes(KEY));
});

test("what is no option is a sentence and the usage", async () => {
  await writeFile(join(dir, "short"), "short");
  for (const [args, sentence] of [
    [["--prot=1"], /Unknown option '--prot'/],
    [["--server=nothing"], /--server nothing: the https:\/\/ address of an API server was expected/],
    [[], /--server: outside of a pod, the https:\/\/ address of an API server was expected/],
    [["--server=https://127.0.0.1", `--key-file=${join(dir, "short")}`], /at least 32 characters/],
    [["--server=https://127.0.0.1", `--key-file=${join(dir, "missing")}`], /no such file/],
  ] as const) {
    const { code, text } = await run(args);
    assert.equal(code, 2, text);
    assert.match(text, sentence);
    assert.match(text, /usage: node last-hop.mjs/);
  }
  assert.equal((await run(["--help"])).code, 0);
});

/** A request that the Worker would have signed, with its lines. */
function signed({
  target = pods,
  key = KEY,
  seconds = Math.floor(Date.now() / 1000),
}: {
  target?: string;
  key?: string;
  seconds?: number;
} = {}) {
  const audit = randomBytes(8).toString("hex");
  const identity = "impersonate-user:alice\nimpersonate-group:admins\nimpersonate-group:devs";
  const text = `${seconds}\nGET\n${target}\n${audit}\n${identity}`;
  const mac = createHmac("sha256", key).update(text).digest("base64url");
  return {
    start: `GET ${target}`,
    lines: [`Kube-Access-Signature: ${seconds} ${mac}`, `Audit-ID: ${audit}`, ...alice],
  };
}

async function startHop(name: string, ...more: string[]): Promise<Hop> {
  const [port = 0] = await freePorts(1);
  const logFile = join(dir, `${name}.log`);
  const args = [
    guardedLastHop,
    `--port=${port}`,
    `--account=${dir}`,
    `--server=https://127.0.0.1:${api.port}`,
    ...more,
  ];
  const service = new Service({ name, binary: process.execPath, args, endsOn: "SIGKILL", logFile });
  services.push(service);
  service.start();
  await service.ready(async () => !(await isRefused(port)), 60);
  return { port, service, logFile };
}

async function isRefused(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  const refused = await once(socket, "connect").then(
    () => false,
    () => true,
  );
  socket.destroy();
  return refused;
}

/** Sends a request on a connection of its own. */
async function send(
  { port }: { port: number },
  start: string,
  lines: string[],
  body: string | Uint8Array = "",
  host = ["Host: localhost"],
): Promise<Wire> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => {}); // whoever waits for it hears it
  const wire = new Wire(socket);
  wire.write(`${start} HTTP/1.1\r\n${[...host, ...lines].map((line) => `${line}\r\n`).join("")}\r\n`);
  wire.write(body);
  return wire;
}

async function ask(...call: Parameters<typeof send>): Promise<Answer> {
  const wire = await send(...call);
  const answer = await readAnswer(wire);
  wire.socket.destroy();
  return answer;
}

/** An event; `once` would fail with the error that comes before it. */
function heard(socket: Socket, event: string): Promise<unknown> {
  return new Promise((done) => socket.once(event, done));
}

async function rest(wire: Wire): Promise<Buffer> {
  const all: Buffer[] = [];
  for (let some = await wire.some(); some; some = await wire.some()) {
    all.push(some);
  }
  return Buffer.concat(all);
}

function assertRefused(answer: Answer, sentence: RegExp, what = "", code = 403): void {
  const status = JSON.parse(answer.text);
  assert.deepEqual([answer.status, status.kind, status.code], [code, "Status", code], `${what}: ${answer.text}`);
  assert.match(status.message, sentence, what);
}

async function probe(port: number, path: string): Promise<number | null> {
  return (await run([`--port=${port}`, `--probe=${path}`])).code;
}

async function run(args: readonly string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [guardedLastHop, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      text += chunk;
    });
  }
  const [code] = (await once(child, "close")) as [number | null];
  return { code, text };
}
