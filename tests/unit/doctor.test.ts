// The doctor's checks that need neither Worker nor cluster.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { bindingChecks } from "../../deploy/doctor/bindings.ts";
import { callerChecks } from "../../deploy/doctor/caller.ts";
import type { Check, Outcome } from "../../deploy/doctor/check.ts";
import type { Answer, Door, Question } from "../../deploy/doctor/door.ts";
import { entranceChecks } from "../../deploy/doctor/entrance.ts";
import { pageChecks } from "../../deploy/doctor/page.ts";
import { type Project, readProject } from "../../deploy/doctor/project.ts";
import { remedyFor } from "../../deploy/doctor/refusals.ts";
import { excesses, missingActions } from "../../deploy/doctor/rights.ts";
import { actionRules, type Entry, type Guard, type Rule } from "../../deploy/impersonation.ts";

const root = resolve(import.meta.dirname, "../..");
const noDoor = {} as Door;

type Headers = Record<string, string>;
type Edge = (headers: Headers) => Partial<Answer> & { status: number; text: string };

describe("wrangler.toml", () => {
  let dir: string;
  let shipped: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "kube-access-doctor-"));
    shipped = await readFile(join(root, "wrangler.toml"), "utf8");
  });
  after(() => rm(dir, { recursive: true, force: true }));

  test("as it is shipped keeps the arguments of exec out of Cloudflare's logs and traces", async () => {
    assert.equal((await logs(shipped)).result, "ok");
  });

  for (const [what, pattern, missing] of [
    ["query strings that are not redacted", /^redact_query_string.*\n/m, /redact_query_string = true/],
    ["redaction that is switched off", /(?<=^redact_query_string = )true/m, /redact_query_string = true/],
    [
      "traces that nothing is said of",
      /^\[observability\.traces\]\n.*\n/m,
      /\[observability\.traces\] enabled = false/,
    ],
  ] as const) {
    test(`${what} are found`, async () => {
      assert.match(shipped, pattern);
      const { result, fix } = await logs(shipped.replace(pattern, (text) => (text === "true" ? "false" : "")));
      assert.equal(result, "failed");
      assert.match(fix ?? "", missing);
      assert.match(fix ?? "", /npm run deploy/);
    });
  }

  test("is read as TOML: audiences in one string or in a list, tables in whatever notation", async () => {
    for (const [toml, audiences] of [
      ['[vars]\nACCESS_AUD = "a, b"', ["a", "b"]],
      ["vars = { ACCESS_AUD = 'a' }", ["a"]],
      ['vars.ACCESS_AUD = [ "a", # one\n "b" ]', ["a", "b"]],
      ['[vars]\nACCESS_AUD = "<AUD_TAG>"', []],
      ['[vars]\nACCESS_AUD = """\na"""\n[env.x.vars]\nACCESS_AUD = "b"', ["a"]],
      ["", []],
    ] as const) {
      assert.deepEqual((await project(toml)).audiences, audiences, toml);
    }
    assert.equal((await project("kv_namespaces = [{ binding = 'IDENTITIES', id = '0f' }]")).hasKv, true);
    assert.equal((await project('# binding = "IDENTITIES"')).hasKv, false);
    await assert.rejects(project('name = "a'), /^Error: wrangler\.toml, line 1: /);
  });

  const objects = ["SESSIONS", "ROLL"];
  const written: Record<string, string> = {
    RECORDINGS: '[[r2_buckets]]\nbinding = "RECORDINGS"\nbucket_name = "b"\n',
    IDENTITIES: '[[kv_namespaces]]\nbinding = "IDENTITIES"\nid = "0f"\n',
  };
  const page = '[assets]\ndirectory = "build/page"\nbinding = "ASSETS"\nrun_worker_first = true\n';
  const [sessions, kv] = [
    /^Set sessions = true.*apply && npm run deploy/,
    /^Set identities_kv = true.*apply && npm run deploy/,
  ];
  for (const [policy, bound, missing, fix] of [
    ["guards: [{ name: g, record: true }]", [], [...objects, "RECORDINGS"], sessions],
    ["guards: [{ name: g, record: input, max_session: 4h }]", objects, ["RECORDINGS"], sessions],
    ["guards: [{ name: g, record: true }]", [...objects, "RECORDINGS"], [], sessions],
    ["guards: [{ name: g, max_session: 4h }]", ["RECORDINGS"], objects, sessions],
    ["guards: [{ name: g, max_session: 4h }]", objects, [], sessions],
    ["guards: [{ name: g, allow: read-only }]", [], [], sessions],
    ["guards: [{ name: g, allow: read-only }]", [...objects, "RECORDINGS"], [], sessions],
    ["grants: { groups: [on-call] }", [], ["IDENTITIES", "GRANTS"], kv],
    ["grants: { groups: [on-call], users: [carol] }", ["IDENTITIES"], ["GRANTS"], kv],
    ["grants: { groups: [on-call] }", ["GRANTS"], ["IDENTITIES"], kv],
    ["grants: { groups: [on-call] }", ["IDENTITIES", "GRANTS"], [], kv],
    ["grants: { users: [carol] }", [], ["IDENTITIES"], kv],
    ["grants: { users: [carol] }", ["IDENTITIES"], [], kv],
    ["grants: { groups: [] }", [], [], kv],
    ["grants: {}", [], [], kv],
  ] as const) {
    test(`${policy}, and ${bound.join(", ") || "nothing"} bound: what is missing is named`, async () => {
      const toml = bound.map(
        (name) => written[name] ?? `[[durable_objects.bindings]]\nname = "${name}"\nclass_name = "C"\n`,
      );
      const found = await bindings(page + toml.join(""), policy);
      assert.equal(found.result, missing.length === 0 ? "ok" : "failed");
      if (missing.length > 0) {
        assert.ok(found.detail.endsWith(`does not bind ${missing.join(", ")}`), found.detail);
        assert.match(found.fix ?? "", fix);
      }
    });
  }

  test("the page's files are bound, and served by the Worker alone", async () => {
    assert.equal((await bindings(shipped, "")).result, "ok");
    const without = await bindings("", "");
    assert.match(without.detail, /^the page .* does not bind ASSETS$/);
    assert.match(without.fix ?? "", /^Take \[assets\] over.*npm run deploy/);
    for (const other of ["false", '["/.kube-access/*"]']) {
      const some = await bindings(page.replace(/(?<=run_worker_first = ).*/, other), "");
      assert.match(some.detail, /without the Worker, to people whom no entry names$/);
      assert.match(some.fix ?? "", /^Say run_worker_first = true/);
    }
  });

  test("all that is missing is told at once", async () => {
    const { detail, fix } = await bindings("", "guards: [{ name: g, max_session: 4h }]\ngrants: { groups: [on-call] }");
    assert.deepEqual(
      detail.split("; ").map((gap) => gap.replace(/.* does not bind /, "")),
      ["SESSIONS, ROLL", "IDENTITIES, GRANTS", "ASSETS"],
    );
    assert.match(fix ?? "", /sessions = true.*identities_kv = true.*\[assets\]/);
  });

  async function bindings(toml: string, policy: string): Promise<Outcome> {
    const identities = join(dir, "identities.yaml");
    await writeFile(identities, `identities: []\n${policy}\n`);
    return outcome(bindingChecks(await project(toml, identities)), "bindings");
  }

  async function project(toml: string, identities = join(root, "identities.yaml")): Promise<Project> {
    await writeFile(join(dir, "wrangler.toml"), toml);
    return readProject(join(dir, "wrangler.toml"), identities);
  }

  async function logs(toml: string): Promise<Outcome> {
    return outcome(entranceChecks(noDoor, await project(toml)), "logs");
  }
});

describe("browsers", () => {
  const [version, refusal] = ['{"gitVersion":"v1.37.2"}', "web pages are not served"];
  /** What the gateway makes of the headers that arrive. */
  const gateway: Edge = (headers) => {
    const isBrowser = Object.keys(headers).some((name) => name.startsWith("sec-fetch-"));
    const isLocal = /^(127\.|::1)/.test(headers["x-forwarded-for"] ?? "");
    return isBrowser && !isLocal ? { status: 403, text: refusal } : { status: 200, text: version };
  };
  /** What Cloudflare makes of those that were sent. */
  const appended = (headers: Headers) => ({
    ...headers,
    "x-forwarded-for": [headers["x-forwarded-for"], "198.51.100.7"].filter(Boolean).join(", "),
  });

  test("are served through a proxy on their own machine alone, when X-Forwarded-For is appended to", async () => {
    assert.equal((await browsers((headers) => gateway(appended(headers)))).result, "ok");
  });

  test("are refused behind a local proxy too, when X-Forwarded-For is replaced or taken away", async () => {
    for (const address of ["198.51.100.7", ""]) {
      const { result, fix } = await browsers((headers) => gateway({ ...headers, "x-forwarded-for": address }));
      assert.equal(result, "failed");
      assert.match(fix ?? "", /without what the caller sent.*Lens and Headlamp are refused.*Transform Rules/);
    }
  });

  test("would be served from any page, when their headers are lost or another proxy's loopback address comes first", async () => {
    for (const edge of [
      (headers: Headers) => appended({ "x-forwarded-for": headers["x-forwarded-for"] ?? "" }),
      (headers: Headers) => ({ ...headers, "x-forwarded-for": `127.0.0.1, ${headers["x-forwarded-for"] ?? ""}` }),
    ]) {
      const { result, detail, fix } = await browsers((headers) => gateway(edge(headers)));
      assert.equal(result, "failed");
      assert.match(detail, /^a web page's request was answered 200/);
      assert.match(fix ?? "", /old one \(`npm run deploy`\).*Transform Rules/);
    }
  });

  test("a 403 of Access itself, and a cluster that fails, say nothing about them", async () => {
    const byAccess = await browsers(() => ({ status: 403, text: "", headers: { "cf-access-error": "x" } }));
    assert.equal(byAccess.result, "failed");
    const down = await browsers(() => ({ status: 502, text: "the tunnel to the cluster is down" }));
    assert.match(down.fix ?? "", /Look at the pods/);
  });

  function browsers(answer: Edge): Promise<Outcome> {
    const ask = async (_: string, { headers = {} }: Question) => ({ headers: {}, ...answer(headers) });
    return outcome(callerChecks({ ask } as unknown as Door, {} as Project), "browsers");
  }
});

describe("a caller", () => {
  const ended = "2001-01-01T00:00:00Z";
  const far = "9999-12-31T23:59:59Z";

  test("arrives as the entry says that holds: one that has ended is as good as none", async () => {
    const domain = { email_domain: "x.y", user: "guest", groups: ["guests"] };
    const own = { email: "a@x.y", user: "alice", groups: ["admins"] };
    assert.equal((await arriving("a@x.y", "guest", ["guests"], [{ ...own, expires: ended }, domain])).result, "ok");
    assert.equal((await arriving("a@x.y", "alice", ["admins"], [{ ...own, expires: far }, domain])).result, "ok");
    const late = await arriving("a@x.y", "alice", ["admins"], [{ ...own, expires: ended }, domain]);
    assert.match(late.detail, /should arrive as guest; group guests is missing; group admins is not in the map/);
    const left = { idp_group: "g", user: "guest", groups: ["on-call"], expires: ended };
    const added = await arriving("a@x.y", "alice", ["admins", "on-call"], [own, left]);
    assert.match(added.detail, /group on-call is not in the map/);
    assert.match((await arriving("a@x.y", "guest", [], [left])).detail, /no entry for it/);
  });

  test("may have an address with what a pattern's replacement means", async () => {
    for (const email of ["a$$b@x.y", "a$&b@x.y", "a$`b@x.y", "a$'b@x.y"]) {
      for (const kind of [{ email }, { email_domain: "x.y" }, { idp_group: "g" }]) {
        const found = await arriving(email, `u-${email}`, [], [{ ...kind, user: "u-{email}" }]);
        assert.equal(found.result, "ok", found.detail);
      }
    }
  });

  function arriving(email: string, username: string, groups: string[], identities: Entry[]): Promise<Outcome> {
    const extra = { "kube-access.dev/email": [email], "kube-access.dev/subject": ["id-1"] };
    const text = JSON.stringify({ status: { userInfo: { username, groups, extra } } });
    const ask = async () => ({ status: 201, headers: {}, text });
    const project = { policy: { identities }, hasKv: false };
    return outcome(callerChecks({ ask } as unknown as Door, project as Project), "identity");
  }
});

describe("the page", () => {
  const html = { "content-type": "text/html; charset=utf-8" };
  const guarded = {
    ...html,
    "content-security-policy": "default-src 'none'; script-src 'self'; frame-ancestors 'none'",
  };
  const about = (answer: Partial<Answer>): Promise<Outcome> => {
    const ask = async (path: string, { headers }: Question) => {
      assert.deepEqual([path, headers], ["/.kube-access/", undefined]);
      return { status: 200, headers: {}, text: "<!doctype html>", ...answer };
    };
    return outcome(pageChecks({ ask, url: new URL("https://kube.example.com") } as unknown as Door), "page");
  };

  test("is where people look for it", async () => {
    const { result, detail } = await about({ headers: guarded });
    assert.equal(result, "ok");
    assert.match(detail, /https:\/\/kube\.example\.com\/\.kube-access\/$/);
  });

  test("is missing in an old Worker, and where something else is answered", async () => {
    for (const answer of [
      { status: 404, text: '{"kind":"Status","message":"the gateway itself has nothing at this path"}' },
      { headers: { "content-type": "application/json" }, text: '{"gitVersion":"v1.37.2"}' },
      { text: "ok" },
    ]) {
      const { result, fix } = await about(answer);
      assert.equal(result, "failed");
      assert.match(fix ?? "", /\[assets\].*npm run deploy/);
    }
  });

  test("that fails says what the gateway says of it", async () => {
    const { detail, fix } = await about({ status: 502, text: "the tunnel to the cluster is down" });
    assert.match(detail, /answered 502: the tunnel/);
    assert.match(fix ?? "", /^Look at the pods/);
  });

  test("does not arrive with fewer guards than it was sent with", async () => {
    const loose = { ...html, "content-security-policy": "default-src *" };
    for (const [headers, wrong] of [
      [html, /without its Content-Security-Policy$/],
      [loose, /under another Content-Security-Policy: default-src \*$/],
    ] as const) {
      const { result, detail, fix } = await about({ headers });
      assert.equal(result, "failed");
      assert.match(detail, wrong);
      assert.match(fix ?? "", /Transform Rules/);
    }
  });
});

describe("what the account may do as somebody", () => {
  const identities = [{ email: "alice@example.com", user: "alice" }];
  const noSecrets = [{ name: "g", deny: [{ api_groups: [""], resources: ["secrets"], verbs: ["get"] }] }];
  const noExec = [{ name: "g", deny: [{ resources: ["pods/exec"], verbs: ["create"] }] }];
  const noMetrics = [{ name: "g", deny: [{ non_resource_urls: ["/metrics*"] }] }];
  const readOnly = [{ name: "g", allow: "read-only" }];
  const on = (verb: string, apiGroups: string[], resources: string[]) => {
    return { apiGroups, resources, verbs: [`impersonate-on:user-info:${verb}`] };
  };
  const onUrl = (verb: string, url: string) => {
    return { nonResourceURLs: [url], verbs: [`impersonate-on:user-info:${verb}`] };
  };

  test("case 181: is too much, by whatever rule, where a guard for everybody denies it", () => {
    for (const [guards, rule, isTooMuch] of [
      [noSecrets, on("get", ["*"], ["*"]), true],
      [noSecrets, on("get", ["*"], ["secrets"]), true],
      [noSecrets, on("get", [""], ["secrets"]), true],
      [noSecrets, on("get", [""], ["*"]), true],
      [noSecrets, on("get", ["example.com"], ["secrets"]), false],
      [noSecrets, on("list", ["*"], ["*"]), false],
      [noExec, on("get", ["*"], ["*"]), true],
      [noExec, on("get", [""], ["pods/exec"]), true],
      [noExec, on("create", ["*"], ["*/exec"]), true],
      [noExec, on("get", ["*"], ["*/log"]), false],
      [noExec, on("get", [""], ["pods"]), false],
      [noMetrics, onUrl("get", "*"), true],
      [noMetrics, onUrl("post", "/metrics/slis"), true],
      [noMetrics, onUrl("get", "/healthz"), false],
      [readOnly, onUrl("get", "/healthz"), true],
      [readOnly, onUrl("get", "/apis/apps/*"), false],
      [readOnly, onUrl("post", "/apis/*"), true],
      [readOnly, on("get", ["*"], ["*/proxy"]), true],
      [readOnly, on("create", ["authentication.k8s.io"], ["selfsubjectreviews"]), false],
    ] as const) {
      const found = excesses(rule as Rule, { identities, guards: [...guards] as Guard[] });
      assert.equal(found.length > 0, isTooMuch, `${JSON.stringify(rule)}: ${found}`);
    }
  });

  test("is what Terraform gives, neither more nor less", () => {
    for (const guards of [[], noSecrets, noExec, noMetrics, readOnly]) {
      const policy = { identities, guards };
      const rules = actionRules(policy);
      assert.deepEqual(
        rules.flatMap((rule) => excesses(rule, policy)),
        [],
      );
      assert.deepEqual(missingActions(rules, policy), []);
    }
  });

  test("is too little under a guard that there was before", () => {
    const before = actionRules({ identities, guards: noSecrets });
    assert.deepEqual(missingActions(before, { identities }), ["get *"]);
    const [most] = missingActions(actionRules({ identities, guards: readOnly }), { identities, guards: noSecrets });
    assert.match(most ?? "", /^list \*/);
    assert.match(missingActions([], { identities })[0] ?? "", /^do anything: no rule says what/);
  });
});

test("how the tunnel finds the last hop is put right by what Workers VPC says of it", () => {
  const fix = (sentence: string) => remedyFor({ status: 502, headers: {}, text: sentence });
  for (const code of ["destination_ip_prohibited", "destination_ip_unroutable"]) {
    const sentences = ["Workers VPC refuses to carry this request", "the tunnel to the cluster is down"];
    for (const sentence of sentences) {
      assert.match(fix(`${sentence} (${code}): look`), /kube_api_host = "localhost"/);
    }
  }
  assert.match(fix("the tunnel to the cluster is down (dns_error): is it?"), /kube_api_host = "127\.0\.0\.1"/);
  assert.match(fix("the tunnel to the cluster is down (destination_unavailable): is it?"), /^Look at the pods/);
  assert.match(
    fix("the last hop does not answer behind the tunnel (connection_refused): is it?"),
    /::1.*"127\.0\.0\.1"/,
  );
});

function outcome(checks: Check[], wanted: string): Promise<Outcome> {
  const check = checks.find(({ id }) => id === wanted) ?? assert.fail(`no check ${wanted}`);
  return check.run(AbortSignal.timeout(60_000));
}
