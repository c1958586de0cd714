// `npm run sessions` against a stand-in for the gateway's API, by a stand-in for kubectl: each command, and each way in which a
// recording can be something else than what was recorded.

import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { after, before, beforeEach, describe, test } from "node:test";
import type { Manifest, Summary } from "../../deploy/sessions/answers.ts";
import { RESET } from "../../deploy/sessions/play.ts";
import { type Listening, listen } from "../../dev/listen.ts";

const root = resolve(import.meta.dirname, "../..");
const ID = "01jd8x7c3m-5f2k9q";
const PATH = `/.kube-access/sessions/${ID}`;
const FORBIDDEN =
  'sessions.kube-access.dev is forbidden: User "bob" cannot get it; ask whoever binds kube-access:auditor';
const MIB = 1 << 20;

/** What of kubectl these commands use: a GET or DELETE with the answer on stdout, and a refusal in kubectl's words. */
const KUBECTL = `#!${process.execPath}
const { request } = require("node:http");
const args = process.argv.slice(2);
const at = args.indexOf("--raw");
const [method, path] = [args[at - 1] === "delete" ? "DELETE" : "GET", args[at + 1]];
const fail = (text) => {
  process.stderr.write(text + "\\n");
  process.exitCode = 1;
};
if (process.env.GREETING) process.stderr.write(process.env.GREETING);
const headers = { "x-options": JSON.stringify(args.slice(0, at - 1)) };
request(process.env.API + path, { method, headers }, (response) => {
  if (response.statusCode < 300) {
    response.on("error", () => fail("error: unexpected EOF"));
    response.pipe(process.stdout);
    return;
  }
  let body = "";
  response.on("data", (text) => (body += text));
  response.on("end", () => {
    const { reason, message } = JSON.parse(body);
    fail("Error from server (" + reason + "): " + message);
  });
}).end();
`;

/** A session as it lies in the bucket. */
interface Recording {
  manifest: Manifest;
  chunks: Map<string, Buffer>;
}

interface Run {
  env?: NodeJS.ProcessEnv;
}

let dir: string;
let kubectl: string;
let api: Listening;
/** What the API answers, and what it was asked for: method, path and kubectl's options. */
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: { method: string; path: string; options: string[] }[];

before(async () => {
  dir = await mkdtemp(join(tmpdir(), "kube-access-sessions-"));
  await mkdir(join(dir, "bin"));
  await mkdir(join(dir, "empty"));
  kubectl = join(dir, "bin/kubectl");
  await writeFile(kubectl, KUBECTL);
  await chmod(kubectl, 0o755);
  api = await listen(
    createServer((request, response) => {
      const { method = "", url: path = "", headers } = request;
      asked.push({ method, path, options: JSON.parse(String(headers["x-options"])) });
      answer(request, response);
    }),
  );
});

after(async () => {
  await api?.stop();
  await rm(dir, { recursive: true, force: true });
});

beforeEach(() => {
  asked = [];
  answer = (_, response) => refuse(response, 404, "NotFound", "there is no such session");
});

describe("list", () => {
  const summaries: Summary[] = [
    summary("0000000003", { started: "2026-11-25T12:00:00.25Z", state: "live" }),
    summary("0000000002", { ...ended("2026-11-25T11:03:12Z"), started: "2026-11-25T11:00:00Z", exit_code: 137 }),
    summary("0000000001", {
      ...ended("2026-11-25T12:05:00Z"),
      started: "2026-11-25T10:00:00Z",
      kind: "portforward",
      recorded: false,
      by: "policy",
      reason: "open for longer than 2h",
    }),
  ];

  test("a table, the newest first, whatever the pages hold", async () => {
    pages(
      { sessions: [], cursor: "a&b" },
      { sessions: [summaries[2], summaries[0]], cursor: "c" },
      { sessions: [summaries[1]] },
    );
    const { status, stdout, stderr } = await sessions(["list", "--limit", "4"]);
    assert.deepEqual([status, stderr], [0, ""]);
    const lines = stdout.replace(/2026-11-25T12:00:00Z {3}\S+/, (text) => text.replace(/\S+$/, "LASTED")).split("\n");
    assert.deepEqual(
      lines.map((line) => line.split(/ {2,}/)),
      [
        ["ID", "STATE", "USER", "NAMESPACE/POD", "KIND", "STARTED", "LASTED", "EXIT"],
        ["0000000003", "live", "alice", "default/shell", "exec", "2026-11-25T12:00:00Z", "LASTED", "-"],
        ["0000000002", "ended", "alice", "default/shell", "exec", "2026-11-25T11:00:00Z", "3m12s", "137"],
        [
          ...["0000000001", "ended", "alice", "default/shell", "portforward, not recorded"],
          ...["2026-11-25T10:00:00Z", "2h05m", "policy: open for longer than 2h"],
        ],
        [""],
      ],
    );
    assert.deepEqual(
      asked.map(({ path }) => path),
      ["?limit=4", "?limit=4&cursor=a%26b", "?limit=2&cursor=c"].map((query) => `/.kube-access/sessions${query}`),
    );
  });

  test("no more than the limit, and that there is more", async () => {
    pages({ sessions: summaries.slice(0, 2), cursor: "c" });
    const { stdout, stderr } = await sessions(["list", "--limit", "2"]);
    assert.equal(stdout.trim().split("\n").length, 3);
    assert.equal(stderr, "There may be more: --limit 20\n");
    assert.equal(asked.length, 1);
  });

  test("what it is narrowed to is asked for, and kubectl has its options", async () => {
    pages({ sessions: [] });
    const filters = ["--user", "a&b=c d", "--namespace", "prod", "--pod", "web-0", "--day", "2026-02-28", "--live"];
    const options = ["--kubeconfig", "/some file", "--context", "-odd"];
    const { status, stdout, stderr } = await sessions(["list", ...filters, ...options.slice(0, 2), "--context=-odd"]);
    assert.deepEqual([status, stdout, stderr], [0, "", "No session matches.\n"]);
    const query = "user=a%26b%3Dc%20d&namespace=prod&pod=web-0&day=2026-02-28&state=live&limit=50";
    assert.deepEqual(asked, [{ method: "GET", path: `/.kube-access/sessions?${query}`, options }]);
  });

  test("whoever may not list those of others is told so", async () => {
    pages({ scope: "own", sessions: [] });
    const { status, stdout, stderr } = await sessions(["list"]);
    assert.deepEqual([status, stdout], [0, ""]);
    assert.equal(stderr, "There are no sessions.\nOnly your own: you may not list those of others.\n");
  });

  test("one that ends while the pages are read is listed once, as it ended", async () => {
    const [live] = summaries;
    const over = { ...live, ...ended("2026-11-25T12:30:00Z") } as Summary;
    pages({ sessions: [live], cursor: "c" }, { sessions: [over] });
    const { stdout } = await sessions(["list", "-o", "json"]);
    assert.deepEqual(JSON.parse(stdout).sessions, [over]);
  });

  test("as JSON", async () => {
    pages({ scope: "own", sessions: summaries.slice(0, 1), cursor: "c" }, { sessions: [] });
    const { stdout, stderr } = await sessions(["list", "-o", "json", "--limit", "1"]);
    assert.deepEqual(JSON.parse(stdout), { scope: "own", sessions: summaries.slice(0, 1), more: true });
    assert.equal(stderr, "");
  });

  test("nothing that was typed by those who are looked at acts on the terminal", async () => {
    const evil = summary("0000000004", {
      user: "eve\x1b[2J\n",
      pod: "p\u009b31m",
      reason: "\u202etxt.\u{e0001}",
      by: "client",
    });
    for (const [args, isSame] of [
      [["list"], false],
      [["list", "-o", "json"], true],
    ] as const) {
      pages({ sessions: [evil] });
      const { stdout } = await sessions(args.slice());
      assert.doesNotMatch(stdout, /(?!\n)[\p{Cc}\p{Cf}]/u);
      if (isSame) {
        assert.deepEqual(JSON.parse(stdout).sessions, [evil]);
      } else {
        assert.match(stdout, /eve\\x1b\[2J\\n {3}default\/p\\u009b31m .* client: \\u202etxt\.\\U000e0001\n$/);
      }
    }
  });

  test("a list that goes in a circle, and an answer that is none, end with a sentence", async () => {
    pages({ sessions: [], cursor: "a" }, { sessions: [], cursor: "a" }, { sessions: [], cursor: "a" });
    await fails(["list"], /the gateway's list does not go on/);
    pages({ sessions: [{ ...summary("0000000003"), id: "../x" }] });
    await fails(["list"], /^a session in the gateway's list is not as expected: "id" is "\.\.\/x"\n$/);
    answer = (_, response) => response.end("<html>");
    await fails(["list"], /does not speak JSON: see that the kubeconfig leads to the gateway/);
  });
});

describe("show", () => {
  test("everything that the manifest has", async () => {
    const { manifest } = serve(recording(["one", "two"]));
    const { status, stdout, stderr } = await sessions(["show", ID]);
    assert.deepEqual([status, stderr], [0, ""]);
    const rows = new Map(stdout.split("\n").map((line) => [line.slice(0, 13).trim(), line.slice(13)]));
    for (const [label, value] of Object.entries({
      "ID:": ID,
      "State:": "ended",
      "User:": "alice (alice@example.com)",
      "Groups:": "platform-admins, developers",
      "Acts as:": "breakglass, on-call",
      "Session:": "exec with a terminal, stdin open",
      "Pod:": "default/shell",
      "Container:": "sh",
      "Command:": String.raw`sh -c $'echo \x1b[31m "it\'s"' '' 'a b' 'it'\''s'`,
      "Guards:": "recorded",
      "Lasted:": "42s",
      "Ended by:": "client",
      "Reason:": String.raw`gone\nUser: root`,
      "Exit code:": "0",
      "Bytes:": "stdin 3, stdout 6, stderr 0",
      "Chunks:": "2 chunks, 6 bytes",
      "Chain ends:": manifest.chunks[1]?.chain,
      "Audit ID:": "5c0b",
    })) {
      assert.equal(rows.get(label), value, label);
    }
    const json = await sessions(["show", ID, "-o", "json"]);
    assert.deepEqual(JSON.parse(json.stdout), manifest);
  });

  test("a live session, of which less is known", async () => {
    const target = { kind: "attach", namespace: "default", pod: "shell" };
    const live = {
      version: 1,
      id: ID,
      state: "live",
      caller: { user: "alice" },
      target,
      started: new Date().toISOString(),
    };
    answer = (_, response) => send(response, live);
    const { status, stdout } = await sessions(["show", ID]);
    assert.equal(status, 0);
    assert.match(stdout, /^State: +live$/m);
    assert.doesNotMatch(stdout, /undefined|Ended|Chunks|SHA/);
  });
});

describe("play", () => {
  test("what was written is written; resizes, input, markers and who wrote it show nothing", async () => {
    serve(
      recording(
        cast([0, "o", "\x1b[31mü"], [0, "r", "80x24"], [0, "e", "3"], [0, "o", "err"], [0, "i", "x"], [0, "m", ""]),
      ),
    );
    const { status, stdout, stderr } = await sessions(["play", ID]);
    assert.deepEqual([status, stdout, stderr], [0, `\x1b[31müerr${RESET}`, ""]);
    assert.deepEqual(asked, [{ method: "GET", path: `${PATH}/cast`, options: [] }]);
    for (const part of ["\x1b[?25h", "\x1b[0m", "\x1b[?1049l"]) {
      assert.ok(RESET.includes(part));
    }
  });

  test("waits as long as was waited, by the speed, and no longer than is asked for", async () => {
    serve(recording(cast([0, "o", "a"], [86_400, "o", "b"], [86_399, "o", "c"])));
    for (const [args, seconds] of [
      [["--idle", "1", "--speed", "0.5"], 2],
      [["--idle", "86400", "--speed", "1e9"], 0],
      [[], 2],
    ] as const) {
      const started = performance.now();
      const { stdout } = await sessions(["play", ID, ...args]);
      assert.equal(stdout, `abc${RESET}`);
      assert.ok(performance.now() - started >= seconds * 1000 - 5);
    }
  });

  test("Ctrl-C ends it: the terminal is put right, and nothing is left running", async () => {
    const closed = Promise.withResolvers<void>();
    answer = (_, response) => {
      response.on("close", closed.resolve).write(cast([0, "o", "\x1b[?1049hseen"], [3600, "o", "never"]));
    };
    const child = start(["play", ID, "--idle", "3600"]);
    const shown = child.stdout.setEncoding("utf8");
    let stdout = "";
    shown.on("data", (text: string) => {
      stdout += text;
      if (stdout.endsWith("seen")) {
        child.kill("SIGINT");
        child.kill("SIGINT"); // the terminal sends one, and npm passes another on
      }
    });
    const [status] = await once(child, "close");
    assert.deepEqual([status, stdout], [0, `\x1b[?1049hseen${RESET}`]);
    await closed.promise;
  });

  test("50 MB are shown as they come, and not when all have come", async () => {
    const half = "ü→x".repeat(MIB);
    const seen = Promise.withResolvers<void>();
    answer = async (_, response) => {
      response.write(cast([0, "o", "first"]));
      await seen.promise; // nothing more comes before this was shown
      for (let count = 0; count < 8; count += 1) {
        response.write(`${JSON.stringify([0, "o", half])}\n`);
      }
      response.end();
    };
    const child = start(["play", ID, "--idle", "0"]);
    const hash = createHash("sha256");
    child.stdout.on("data", (bytes: Buffer) => {
      hash.update(bytes);
      seen.resolve();
    });
    const [status] = await once(child, "close");
    const expected = createHash("sha256").update("first");
    for (let count = 0; count < 8; count += 1) {
      expected.update(half);
    }
    assert.deepEqual([status, hash.digest("hex")], [0, expected.update(RESET).digest("hex")]);
  });

  test("a cast that breaks off", async () => {
    serve(recording(`${cast([0, "o", "seen"])}[1,"o","ha`));
    const live = await sessions(["play", ID]);
    assert.deepEqual([live.status, live.stdout], [0, `seen${RESET}`]);
    answer = breakOff(cast([0, "o", "seen"]));
    const broken = await sessions(["play", ID]);
    assert.deepEqual([broken.status, broken.stdout], [1, `seen${RESET}`]);
    assert.equal(broken.stderr, "error: unexpected EOF\n");
  });

  test("what is no asciicast v2", async () => {
    for (const [text, sentence] of [
      ["", /^the recording is empty\n$/],
      ["hello\n", /^what came is no recording: an asciicast v2 was expected\n$/],
      ['{"version":3}\n', /an asciicast v2 was expected/],
      [`${cast()}{}\n`, /^line 2 of the recording is no event/],
      [`${cast()}[1,"o\n[1,"o",""]\n`, /^line 2 of the recording is no event/],
    ] as const) {
      answer = (_, response) => response.end(text);
      await fails(["play", ID], sentence);
    }
  });

  test("saved: byte by byte, for its owner alone, and over no other file", async () => {
    const { chunks } = serve(recording([Buffer.alloc(30 * MIB, "a"), Buffer.alloc(20 * MIB, "b\n")]));
    const file = join(dir, "saved.cast");
    const { status, stdout, stderr } = await sessions(["play", ID, "--save", file]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.equal(stdout, `Saved ${50 * MIB} bytes: asciinema play ${file}\n`);
    assert.ok((await readFile(file)).equals(Buffer.concat([...chunks.values()])));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    await fails(["play", ID, "--save", file], /saved\.cast is there already/);
    assert.equal((await stat(file)).size, 50 * MIB);
    await fails(["play", ID, "--save", join(dir, "none/x.cast")], /^ENOENT/);
    answer = breakOff("half");
    const half = join(dir, "half.cast");
    await fails(["play", ID, "--save", half], /^error: unexpected EOF\n$/);
    await assert.rejects(stat(half), { code: "ENOENT" });
  });
});

describe("end", () => {
  test("says what happened", async () => {
    answer = (_, response) => send(response, { kind: "Status", status: "Success", message: "session ended\x07" });
    const { status, stdout } = await sessions(["end", ID, "--reason", "INC-7: ü & more"]);
    assert.deepEqual([status, stdout], [0, "session ended\\x07\n"]);
    const path = `${PATH}?reason=INC-7%3A%20%C3%BC%20%26%20more`;
    assert.deepEqual(asked, [{ method: "DELETE", path, options: [] }]);
    answer = (_, response) => send(response, { kind: "Status", status: "Success" });
    assert.equal((await sessions(["end", ID])).stdout, `Session ${ID} was ended.\n`);
    assert.equal(asked[1]?.path, PATH);
    answer = (_, response) => send(response, { kind: "Status", status: "Failure", message: "it has ended before" });
    await fails(["end", ID], /^it has ended before\n$/);
  });
});

describe("verify", () => {
  const texts = ["zero", "one", "two", "three"];

  test("what is as it was", async () => {
    const { manifest } = serve(recording(["zero", "", "two", ""]));
    const { status, stdout, stderr } = await sessions(["verify", ID]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.equal(stdout, `ok: 4 chunks, 7 bytes, chain ends in ${manifest.chunks[3]?.chain}\n`);
    // The chain as it is written down, and not as this test's own helper makes it.
    const link = (text: string) => createHash("sha256").update(text).digest("hex");
    assert.equal(manifest.chunks[0]?.chain, link(`${ID} 00000 4 ${link("zero")}`));
    serve(recording([]));
    assert.match(
      (await sessions(["verify", ID])).stdout,
      /^ok: 0 chunks, 0 bytes: nothing of this session was recorded$/m,
    );
    assert.equal(asked.filter(({ path }) => path.endsWith("/cast")).length, 1);
  });

  test("50 MB of it", async () => {
    const { manifest } = serve(recording(Array.from({ length: 10 }, (_, count) => Buffer.alloc(5 * MIB, `${count}`))));
    const { stdout } = await sessions(["verify", ID]);
    assert.equal(stdout, `ok: 10 chunks, ${50 * MIB} bytes, chain ends in ${manifest.chunks[9]?.chain}\n`);
  });

  test("a large one is hashed as it comes, and not held", { skip: process.platform !== "linux" }, async () => {
    const { manifest } = serve(recording(Array.from({ length: 300 }, (_, count) => Buffer.alloc(MIB, `${count}`))));
    const peak = join(dir, "peak");
    // The most memory that the process ever had, in KiB.
    const probe = `import { readFileSync, writeFileSync } from "node:fs";
      process.on("exit", () => {
        const [, peak] = readFileSync("/proc/self/status", "utf8").match(/^VmHWM:\\s+(\\d+)/m);
        writeFileSync(${JSON.stringify(peak)}, peak);
      });`;
    await writeFile(join(dir, "probe.mjs"), probe);
    const env = { NODE_OPTIONS: `--import=${join(dir, "probe.mjs")}` };
    const { status, stdout } = await sessions(["verify", ID], { env });
    assert.equal(stdout, `ok: 300 chunks, ${300 * MIB} bytes, chain ends in ${manifest.chunks[299]?.chain}\n`);
    assert.equal(status, 0);
    const mebibytes = Number(await readFile(peak, "utf8")) / 1024;
    assert.ok(mebibytes > 0 && mebibytes < 250, `${mebibytes} MiB`);
  });

  /** What somebody with a key to the bucket may do, and what is said of it. */
  const changes: [what: string, change: (recording: Recording) => void, sentences: RegExp[]][] = [
    [
      "an edited chunk",
      ({ chunks }) => chunks.set("00002", Buffer.from("owt")),
      [/^chunk 00002 was edited: it had 3 bytes and SHA-256 3fc4\w+, and has 3 and \w+$/],
    ],
    [
      "a chunk that grew",
      ({ chunks }) => chunks.set("00000", Buffer.from("zero and more")),
      [/^chunk 00000 was edited: it had 4 bytes and SHA-256 \w+, and has 13 and \w+$/],
    ],
    ["a chunk that is missing", ({ chunks }) => chunks.delete("00001"), [/^chunk 00001 is missing$/]],
    ["the last chunk missing", ({ chunks }) => chunks.delete("00003"), [/^chunk 00003 is missing$/]],
    [
      "all chunks missing",
      ({ chunks }) => chunks.clear(),
      texts.map((_, count) => RegExp(`^chunk 0000${count} is missing$`)),
    ],
    ["an added chunk", ({ chunks }) => chunks.set("00004", Buffer.from("four")), [/^chunk 00004 was added$/]],
    [
      "two chunks that changed places",
      ({ chunks }) => chunks.set("00001", Buffer.from("two")).set("00002", Buffer.from("one")),
      [
        /^chunk 00001 is out of order: it holds what was written as chunk 00002$/,
        /^chunk 00002 is out of order: it holds what was written as chunk 00001$/,
      ],
    ],
    [
      "a chunk that is missing, and those after it moved up",
      ({ chunks }) => {
        chunks.set("00001", Buffer.from("two")).set("00002", Buffer.from("three")).delete("00003");
      },
      [/^chunk 00001 is out of order/, /^chunk 00002 is out of order/, /^chunk 00003 is missing$/],
    ],
    [
      "a chunk edited, and the manifest to match",
      (changed) => Object.assign(changed, withEntry(changed, 2, "owt")),
      [/^the chain breaks at chunk 00002: the manifest was edited there, or just before it$/],
    ],
    [
      "a chunk taken out, and out of the manifest",
      ({ chunks, manifest }) => {
        chunks.delete("00001");
        manifest.chunks.splice(1, 1);
      },
      [/^the chain breaks at chunk 00002/],
    ],
    [
      "a manifest in another order",
      ({ manifest }) => manifest.chunks.push(...manifest.chunks.splice(2, 1)),
      [
        /^the chain breaks at chunk 00003/,
        /^the chain breaks at chunk 00002/,
        /^chunk 00002 is out of order in the manifest$/,
      ],
    ],
  ];
  for (const [what, change, sentences] of changes) {
    test(`${what}, in the bucket and in a directory`, async () => {
      const changed = recording(texts);
      change(changed);
      serve(changed);
      const copy = await copied(changed);
      for (const args of [[ID], ["--dir", copy]]) {
        const { status, stdout, stderr } = await sessions(["verify", ...args]);
        assert.deepEqual([status, stdout], [1, ""]);
        const [title, ...problems] = stderr.trimEnd().split("\n");
        assert.equal(title, `Session ${ID} is not as the gateway wrote it:`);
        assert.equal(problems.length, sentences.length, stderr);
        for (const [index, sentence] of sentences.entries()) {
          assert.match(problems[index]?.trim() ?? "", sentence);
        }
      }
    });
  }

  test("many problems are not all told", async () => {
    const many = recording(Array.from({ length: 30 }, (_, count) => String(count)));
    many.chunks.clear();
    serve(many);
    const { stderr } = await sessions(["verify", ID]);
    assert.match(stderr, /chunk 00019 is missing\n {2}and 10 more\n$/);
  });

  test("a directory needs neither kubectl nor the gateway, and what else lies there is no chunk", async () => {
    const { manifest, chunks } = recording(texts);
    const copy = await copied({ manifest, chunks });
    await writeFile(join(copy, "session.cast"), "saved");
    const env = { PATH: join(dir, "empty") };
    const ok = `ok: 4 chunks, 15 bytes, chain ends in ${manifest.chunks[3]?.chain}\n`;
    assert.equal((await sessions(["verify", "--dir", copy], { env })).stdout, ok);
    assert.equal((await sessions(["verify", ID, "--dir", copy], { env })).stdout, ok);
    assert.deepEqual(asked, []);
    await fails(["verify", `${ID}x`, "--dir", copy], new RegExp(`manifest\\.json is that of session ${ID}\\.\n$`));
    await fails(
      ["verify", "--dir", join(dir, "none")],
      /^ENOENT: no such file or directory, open '.*none\/manifest\.json'\n$/,
    );
    await writeFile(join(copy, "manifest.json"), "{");
    await fails(["verify", "--dir", copy], /manifest\.json is no JSON\n$/);
    await writeFile(
      join(copy, "manifest.json"),
      JSON.stringify({ ...manifest, chunks: [{ name: "00000", size: -1 }] }),
    );
    await fails(["verify", "--dir", copy], /a chunk of .*manifest\.json is not as expected: "size" is -1\n$/);
  });

  test("a session that is live, or has no manifest, or another's", async () => {
    const { manifest } = recording(texts);
    answer = (_, response) => send(response, { ...manifest, state: "live" });
    await fails(["verify", ID], /^Session \S+ is still live: its manifest is complete when it has ended\.\n$/);
    answer = (_, response) => refuse(response, 404, "NotFound", "there is no such session");
    await fails(
      ["verify", ID],
      /^Error from server \(NotFound\): there is no such session\nSession \S+ has no manifest: there is nothing to verify it by\.\n$/,
    );
    answer = (_, response) => send(response, { ...manifest, id: "another-session" });
    await fails(["verify", ID], /^the manifest is that of session another-session\n$/);
  });

  test("a cast that is cut off, or is not what the list says", async () => {
    const { manifest, chunks } = recording(texts);
    const bytes = Buffer.concat([...chunks.values()]);
    for (const [other, sentence] of [
      [
        (response: ServerResponse) => response.end(bytes.subarray(1)),
        /^The cast came with 14 bytes, and its chunks have 15/,
      ],
      [(response: ServerResponse) => response.end(`${bytes}!`), /^The cast came with 16 bytes, and its chunks have 15/],
      [(response: ServerResponse) => breakOff("zero")(undefined, response), /^error: unexpected EOF\n$/],
    ] as const) {
      serve({ manifest, chunks });
      const whole = answer;
      answer = (request, response) => (request.url?.endsWith("/cast") ? other(response) : whole(request, response));
      await fails(["verify", ID], sentence);
    }
  });
});

test("a refusal is told in the gateway's words, whatever was asked for", async () => {
  answer = (_, response) => refuse(response, 403, "Forbidden", FORBIDDEN);
  const file = join(dir, "refused.cast");
  for (const args of [
    ["list"],
    ["show", ID],
    ["play", ID],
    ["play", ID, "--save", file],
    ["end", ID],
    ["verify", ID],
  ]) {
    const { status, stdout, stderr } = await sessions(args);
    assert.deepEqual([status, stdout, stderr], [1, "", `Error from server (Forbidden): ${FORBIDDEN}\n`], args[0]);
  }
  await assert.rejects(stat(file), { code: "ENOENT" });
  answer = (_, response) => refuse(response, 403, "Forbidden", "\x1b[2Jno");
  assert.equal((await sessions(["list"])).stderr, "Error from server (Forbidden): \\x1b[2Jno\n");
});

test("a kubeconfig that leads past the gateway", async () => {
  for (const [code, reason, message] of [
    [404, "NotFound", "the server could not find the requested resource"],
    [403, "Forbidden", 'forbidden: User "alice" cannot get path "/.kube-access/sessions"'],
  ] as const) {
    answer = (_, response) => refuse(response, code, reason, message);
    await fails(
      ["list"],
      /\nThis kubeconfig may lead past the gateway: name another with --kubeconfig FILE or --context NAME\.\n$/,
    );
  }
});

test("what a program that signs in says is told, and is no failure", async () => {
  pages({ sessions: [] });
  const { status, stderr } = await sessions(["list"], { env: { GREETING: "Open https://example.com/device: " } });
  assert.deepEqual([status, stderr], [0, "Open https://example.com/device: There are no sessions.\n"]);
});

test("kubectl is missing, is elsewhere, or is nothing that runs", async () => {
  const env = { PATH: join(dir, "empty") };
  for (const args of [["list"], ["play", ID], ["verify", ID], ["end", ID]]) {
    const { status, stdout, stderr } = await sessions(args, { env });
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /^kubectl is missing: install it \(https:\S+\), or say where it is: --kubectl PATH\n$/);
  }
  pages({ sessions: [] });
  assert.equal((await sessions(["list", "--kubectl", kubectl], { env })).status, 0);
  await fails(["list", "--kubectl", dir], /does not run \(.*EACCES\): install it/);
});

test("the command line is wrong: a sentence, the usage, exit status 2, and nothing is asked", async () => {
  const wrong: [args: string[], sentence: RegExp][] = [
    [[], /^expected a command: list, show, play, end, verify\n/],
    [["toString"], /^toString: there is no such command\n/],
    [["list", "--frob"], /^Unknown option '--frob'/],
    [["list", ID], /^list takes no ID/],
    [["list", "--speed", "2"], /^--speed is no option of list\n/],
    [["list", "--limit", "0"], /^--limit 0: a whole number from 1 to 100000 was expected\n/],
    [["list", "--limit", "1.5"], /^--limit 1\.5: a whole number/],
    [["list", "--limit", "ten"], /^--limit ten: a number was expected\n/],
    [["list", "--day", "2026-02-30"], /^--day 2026-02-30: a day was expected/],
    [["list", "--day", "yesterday"], /^--day yesterday: a day was expected/],
    [["list", "--user", ""], /^--user: the name of a user was expected\n/],
    [["list", "--namespace", "A/b"], /^--namespace A\/b: the name of a namespace was expected\n/],
    [["list", "--pod", ""], /^--pod : the name of a pod was expected\n/],
    [["list", "-o", "yaml"], /^-o yaml: there is json/],
    [["show"], /^expected the ID of one session, as list prints it\n/],
    [["show", ID, ID], /^expected the ID of one session/],
    [["show", "short"], /^short: this is no ID of a session/],
    [["show", "0123456789/../../api"], /this is no ID of a session/],
    [["show", "0123456789?x=y"], /this is no ID of a session/],
    [["play", ID, "--speed", "0"], /^--speed 0: a number above 0 was expected\n/],
    [["play", ID, "--speed", "-1"], /^Option '--speed' argument is ambiguous/],
    [["play", ID, "--speed=-1"], /^--speed -1: a number above 0 was expected\n/],
    [["play", ID, "--speed", "Infinity"], /^--speed Infinity: a number was expected\n/],
    [["play", ID, "--speed", " "], /^--speed {2}: a number was expected\n/],
    [["play", ID, "--idle=-1"], /^--idle -1: a number of seconds was expected\n/],
    [["play", ID, "--save", "x", "--speed", "2"], /^--save: saved is all, as it was/],
    [["end", ID, "--save", "x"], /^--save is no option of end\n/],
    [["verify"], /^expected the ID of one session/],
    [["verify", "--dir", dir, "short"], /^short: this is no ID/],
  ];
  for (const [args, sentence] of wrong) {
    const { status, stdout, stderr } = await sessions(args);
    assert.deepEqual([status, stdout], [2, ""], args.join(" "));
    assert.match(stderr, sentence);
    assert.match(stderr, /\n\nusage: npm run sessions -- COMMAND/);
  }
  assert.deepEqual(asked, []);
  const help = await sessions(["play", "--help"]);
  assert.deepEqual([help.status, help.stderr], [0, ""]);
  assert.match(help.stdout, /^usage: npm run sessions -- COMMAND/);
});

function summary(id: string, more: Partial<Summary> = {}): Summary {
  const common = { state: "ended", user: "alice", namespace: "default", pod: "shell", kind: "exec" } as const;
  return { id, ...common, tty: true, recorded: true, started: "2026-11-25T09:00:00Z", ...more };
}

function ended(at: string): Partial<Summary> {
  return { state: "ended", ended: at, by: "command" };
}

/** A session with these chunks, of which nothing was changed. */
function recording(contents: (string | Buffer)[] | string): Recording {
  const chunks = new Map<string, Buffer>();
  for (const content of [contents].flat()) {
    chunks.set(String(chunks.size).padStart(5, "0"), Buffer.from(content));
  }
  let chain = ID;
  const entries = [...chunks].map(([name, bytes]) => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    chain = createHash("sha256").update(`${chain} ${name} ${bytes.length} ${sha256}`).digest("hex");
    return { name, size: bytes.length, sha256, chain };
  });
  const caller = {
    ...{ user: "alice", email: "alice@example.com", groups: ["platform-admins", "developers"], grants: [] },
    acts_as: { user: "breakglass", groups: ["on-call"] },
  };
  const command = ["sh", "-c", `echo \x1b[31m "it's"`, "", "a b", "it's"];
  const target = { kind: "exec", namespace: "default", pod: "shell", container: "sh", command, tty: true, stdin: true };
  const manifest = {
    ...{ version: 1, id: ID, state: "ended", caller, audit_id: "5c0b", guards: ["recorded"], target, record: "output" },
    ...{ started: "2026-11-25T12:00:00Z", ended: "2026-11-25T12:00:42Z", by: "client", reason: "gone\nUser: root" },
    ...{ protocol: "v5.channel.k8s.io", exit_code: 0, bytes: { stdin: 3, stdout: 6, stderr: 0 }, chunks: entries },
  } as const;
  return { manifest: manifest as unknown as Manifest, chunks };
}

/** A chunk of other bytes, and an entry that says so, but for the chain, which its forger could not know how to go on. */
function withEntry({ manifest, chunks }: Recording, index: number, content: string): Recording {
  const bytes = Buffer.from(content);
  const entries = manifest.chunks.map((chunk, count) => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return count === index ? { ...chunk, size: bytes.length, sha256 } : chunk;
  });
  chunks.set(String(index).padStart(5, "0"), bytes);
  return { manifest: { ...manifest, chunks: entries }, chunks };
}

/** An asciicast v2. */
function cast(...events: [seconds: number, kind: string, data: string][]): string {
  const header = { version: 2, width: 80, height: 24, timestamp: 1_795_608_000 };
  return [header, ...events].map((line) => `${JSON.stringify(line)}\n`).join("");
}

/** The API has this session, as the bucket has it. */
function serve(session: Recording): Recording {
  const { manifest, chunks } = session;
  const names = () => [...chunks.keys()].sort();
  answer = ({ url }, response) => {
    switch (url) {
      case PATH:
        return send(response, manifest);
      case `${PATH}/chunks`:
        return send(response, { chunks: names().map((name) => ({ name, size: chunks.get(name)?.length })) });
      case `${PATH}/cast`:
        return response.end(Buffer.concat(names().map((name) => chunks.get(name) ?? Buffer.alloc(0))));
      default:
        return refuse(response, 404, "NotFound", "there is no such session");
    }
  };
  return session;
}

/** The API has these pages, one after the other. */
function pages(...all: { scope?: string; sessions: (Summary | undefined)[]; cursor?: string }[]): void {
  answer = (_, response) => send(response, { scope: "all", ...all.shift() });
}

async function copied({ manifest, chunks }: Recording): Promise<string> {
  const copy = await mkdtemp(join(dir, "copy-"));
  await writeFile(join(copy, "manifest.json"), JSON.stringify(manifest));
  for (const [name, bytes] of chunks) {
    await writeFile(join(copy, name), bytes);
  }
  assert.equal((await readdir(copy)).length, chunks.size + 1);
  return copy;
}

function send(response: ServerResponse, body: object): void {
  response.end(JSON.stringify(body));
}

function refuse(response: ServerResponse, code: number, reason: string, message: string): void {
  response.writeHead(code).end(JSON.stringify({ kind: "Status", status: "Failure", reason, message, code }));
}

/** The connection ends in the middle of an answer, as soon as its beginning is on its way. */
function breakOff(beginning: string): (request: unknown, response: ServerResponse) => void {
  return (_, response) => {
    response.writeHead(200, { "content-length": beginning.length + 1 });
    response.write(beginning, () => response.socket?.end());
  };
}

async function fails(args: string[], sentence: RegExp): Promise<void> {
  const { status, stdout, stderr } = await sessions(args);
  assert.deepEqual([status, stdout], [1, ""], stderr);
  assert.match(stderr, sentence);
  assert.doesNotMatch(stderr, /^\s+at /m);
}

function start(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, [join(root, "deploy/sessions.ts"), ...args], {
    env: { PATH: join(dir, "bin"), HOME: dir, API: `http://127.0.0.1:${api.port}`, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function sessions(args: string[], { env = {} }: Run = {}) {
  const child = start(args, env);
  const [stdout, stderr, [status]] = await Promise.all([
    child.stdout.setEncoding("utf8").toArray(),
    child.stderr.setEncoding("utf8").toArray(),
    once(child, "close") as Promise<[number]>,
  ]);
  return { status, stdout: stdout.join(""), stderr: stderr.join("") };
}
