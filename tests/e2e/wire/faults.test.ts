// What workloads, clients that go away and the runtime itself can do to a gateway: whatever it is, it stays one request's.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { startCerts } from "../../../dev/access-certs.ts";
import { residentBytes } from "../cluster/memory.ts";
import { cluster, kinds } from "./kinds.ts";
import type { Script } from "./recorder.ts";
import { assertRefused, assertStopped, type Call, eventually, readAnswer, type Stage, startStage } from "./stage.ts";

const pod = "/api/v1/namespaces/default/pods/web";
const workload = "/api/v1/namespaces/default/services/web/proxy/x";
const MIB = 1024 * 1024;

let stage: Stage;
let token: string;

before(async () => {
  stage = await startStage({ vars: { ENABLE_K8S_LOGGING: "true" } });
  token = await stage.token("alice");
});

after(() => stage.stop());

beforeEach(() => {
  stage.upstream.reset();
  stage.gateway.logs().length = 0;
});

const call = (call: Call = {}) => stage.call({ token, ...call });

/** The audit events that were written, less those of the requests that a test makes to see that all is well. */
function events(): { auditID: string; responseStatus: { code: number }; annotations: Record<string, string> }[] {
  return stage.gateway
    .logs()
    .filter((line) => line.startsWith('{"kind":"Event"'))
    .map((line) => JSON.parse(line));
}

test("case 157: a status that no server answers is that caller's 502, and nobody else notices", async () => {
  assert.equal((await call()).status, 200);
  for (const status of ["0", "100", "102", "103", "150", "199", "600", "999", "65736"]) {
    for (const lines of [[], ["Server: x"], ["Server: x", "Set-Cookie: a=b", "Content-Length: 2"]]) {
      for (const target of [workload, "/api/v1/pods"]) {
        const held: (() => void)[] = [];
        const script: Script = async (request) => {
          if (request.target.includes("held")) {
            await new Promise<void>((answer) => held.push(answer));
            request.answer("200 OK", [], "held");
          } else {
            request.begin(`${status} Odd`, lines);
            request.wire.socket.end("{}");
          }
        };
        stage.upstream.script(script);
        const waiting = call({ target: "/api/v1/pods?held" });
        await eventually("another caller waits", () => held.length === 1);
        const answer = await call({ target });
        assert.equal(answer.status, 502, `${status} ${lines}: ${answer.text}`);
        held[0]?.();
        assert.equal((await waiting).text, "held", `${status} ${lines}`);
      }
    }
  }
  assert.equal(stage.certs.requests(), 1, "the keys are still there");
  await eventually("each leaves an event", () => events().length === 1 + 9 * 3 * 2 * 2);
});

test("case 165: a WebSocket handshake that is none goes nowhere", async () => {
  stage.upstream.script(cluster);
  const key = "Sec-WebSocket-Key: yPc6qyEdVivBFTmdg5VfRA==";
  const version = "Sec-WebSocket-Version: 13";
  for (const lines of [
    [],
    [key],
    [version],
    [key, "Sec-WebSocket-Version: 12"],
    [key, "Sec-WebSocket-Version:"],
    [version, "Sec-WebSocket-Key: short"],
    [version, "Sec-WebSocket-Key:"],
    [version, key, key],
  ]) {
    const upgrade = [
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Protocol: v5.channel.k8s.io",
      ...lines,
    ];
    assertStopped(
      stage,
      await call({ target: `${pod}/exec?command=x`, lines: upgrade }),
      400,
      /handshake is incomplete/,
    );
  }
});

test("case 160: a client that is reset before the answer leaves one event for what reached the cluster", async () => {
  const all = [...kinds, { kind: "proxy", call: () => ({ target: workload }) }];
  for (const { kind, call: of } of all) {
    stage.gateway.logs().length = 0;
    stage.upstream.received.length = 0;
    stage.upstream.script(() => new Promise(() => {}));
    const wire = await stage.open({ token, ...of() });
    await eventually(`${kind} arrives`, () => stage.upstream.received.length === 1);
    const [auditID] = stage.upstream.received[0]?.values("audit-id") ?? [];
    wire.socket.resetAndDestroy();
    const ours = () => events().filter((event) => event.auditID === auditID);
    await eventually(`${kind} leaves an event`, () => ours().length > 0);
    stage.upstream.reset();
    // What this one still had to write comes before the event of a later request.
    const written = events().length;
    assert.equal((await call()).status, 200);
    await eventually("the next leaves one", () => events().length > written);
    assert.equal(ours().length, 1, kind);
    const [event] = ours();
    assert.equal(event?.responseStatus.code, 499, kind);
    assert.equal(event?.annotations["kube-access.dev/decision"], "forward", kind);
  }
});

test("case 159: clients that are reset leave no memory behind, wherever their request was", async () => {
  for (const audit of ["true", "false"]) {
    const identities = { "email:bob@example.com": JSON.stringify({ user: "bob" }) };
    const own = await startStage({ vars: { ENABLE_K8S_LOGGING: audit }, identities });
    try {
      own.upstream.script(() => new Promise(() => {}));
      // Known callers wait for the cluster, strangers to this isolate for a signature, for the store and for the cluster.
      const known = await own.token("alice");
      const tokens = await Promise.all(Array.from({ length: 50 }, (_, n) => own.token("bob", { claims: { n } })));
      const [exec] = kinds.filter(({ kind }) => kind === "exec").map(({ call: of }) => of());
      const calls: Call[] = [{ token: known }, { token: known, target: workload }, { ...exec, token: known }];
      const reset = async (count: number, from: number) => {
        for (let index = from; index < from + count; index += 50) {
          const wires = await Promise.all(
            tokens.map((token, n) => {
              const each = (n + index) % 4 === 0 ? { token } : (calls[(n + index) % 3] ?? {});
              return own.open({ ...each, lines: [...(each.lines ?? []), `X-Fill: ${"x".repeat(100_000)}`] });
            }),
          );
          // Some are reset at once, some while they wait for the cluster.
          if (index % 100 === 0) await eventually("some arrive", () => own.upstream.received.length > 10);
          own.upstream.received.length = 0;
          for (const wire of wires) wire.socket.resetAndDestroy();
        }
      };
      await reset(1_000, 0);
      const before = await residentBytes(own.gateway.pid());
      await reset(2_000, 1_000);
      const grown = (await residentBytes(own.gateway.pid())) - before;
      // 119 KiB of each would be 230 MiB.
      assert.ok(grown < 60 * MIB, `audit ${audit}: ${(grown / MIB).toFixed(1)} MiB more after 2,000 resets`);
      own.upstream.reset();
      assert.equal((await own.call({ token: known })).status, 200);
    } finally {
      await own.stop();
    }
  }
});

test("case 159: a client that is reset while the keys are fetched takes them from nobody", async () => {
  const certs = await startCerts();
  const own = await startStage({ certs });
  try {
    const finish = certs.hold();
    const first = await own.open({});
    await eventually("the keys are asked for", () => certs.requests() === 1);
    const second = await own.open({ as: "bob" });
    first.socket.resetAndDestroy();
    finish();
    assert.equal((await readAnswer(second)).status, 200);
    assert.equal((await own.call()).status, 200);
    assert.equal(certs.requests(), 1);
  } finally {
    await own.stop();
    await certs.stop();
  }
});

test("case 161: what is kept is bounded in bytes, with the largest identities, the largest heads and the oddest names", async () => {
  const groups = Array.from({ length: 300 }, (_, n) => `${n}-${"g".repeat(250)}`);
  const identities = { "email:bob@example.com": JSON.stringify({ user: "bob", groups }) };
  const own = await startStage({ identities });
  try {
    const tokens = await Promise.all(Array.from({ length: 40 }, (_, n) => own.token("bob", { claims: { n } })));
    const small = await own.token("alice");
    const visit = async (from: number, count: number) => {
      for (let index = from; index < from + count; index += 1) {
        const large = tokens[index % tokens.length] ?? "";
        const fill = `Accept: ${"x".repeat(30_000)}`;
        const answers = await Promise.all([
          own.call({ token: large, lines: [fill, `${index % 2 ? "If-Match" : "Range"}: ${index}`] }),
          // A name that nobody had before, as only workloads may get it.
          own.call({ token: small, target: workload, lines: [`X-${index}: ${"y".repeat(6_000)}`] }),
        ]);
        assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
        own.upstream.received.length = 0;
      }
    };
    await visit(0, 800);
    const before = await residentBytes(own.gateway.pid());
    await visit(800, 1_200);
    const grown = (await residentBytes(own.gateway.pid())) - before;
    assert.ok(grown < 200 * MIB, `${(grown / MIB).toFixed(1)} MiB more after 1,200 of each`);
  } finally {
    await own.stop();
  }
});

test("case 158: a call into the runtime that throws is that request's error", async () => {
  // A KV namespace that is none: the call into it throws at once.
  const own = await startStage({ vars: { IDENTITIES: "no namespace" } });
  try {
    assertRefused(await own.call(), 503, /identity store failed/);
    assert.equal((await own.call({ target: "/.kube-access/healthz", as: null })).status, 200);
    assertRefused(await own.call(), 503, /identity store failed/);
    assert.equal(own.certs.requests(), 1, "the isolate is the same");
  } finally {
    await own.stop();
  }
});
