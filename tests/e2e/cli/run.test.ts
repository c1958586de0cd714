// `kubectl access run` and `connect`: kubectl by a forwarder on this machine, as a program with a service token and as a person by
// cloudflared, to the gateway and a real cluster.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { after, before, type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { Agent, request } from "undici";
import { parse } from "yaml";
import { Kubectl } from "../cluster/kubectl.ts";
import { findKubectls } from "../cluster/kubectls.ts";
import { type Site, startSite } from "../cluster/site.ts";
import { hasTerminals, inTerminal, noTerminals } from "../cluster/terminal.ts";
import { until } from "../cluster/until.ts";
import { built, place } from "./cli.ts";

let site: Site;

before(async () => {
  await built();
  site = await startSite();
});
after(() => site?.stop());

/** What a shell prints of its environment and of the kubeconfig that it was given. */
const LOOK = 'echo "$KUBECONFIG"; stat -c %a "$KUBECONFIG"; env | grep -c CF_ACCESS; exit 0';

test("a pipeline with a service token acts as its entry says, with a kubeconfig of its own that is gone afterwards", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const cli = access(serviceToken("ci"));
  const who = await cli.ok(["run", "--", "kubectl", "auth", "whoami"]);
  assert.match(who, /Username +ci-deployer\nGroups +\[ci system:authenticated\]/);
  const [file = "", mode, secrets] = (await cli.ok(["run", "--", "sh", "-c", LOOK])).split("\n");
  assert.deepEqual([mode, secrets, existsSync(file)], ["600", "0", false]);
  assert.match(await cli.ok(["run", "-n", "team-a", "--", "kubectl", "get", "deployments"]), /^NAME|^$/);
});

test("every kubectl of this machine goes through, with streams, exit codes, copies and watches", async (t) => {
  for (const { path, minor } of await findKubectls(site.cluster.kubectl)) {
    const { access, cloudflared, home } = await place(t, site, path);
    await cloudflared("alice");
    const cli = access();
    const kubectl = (...args: string[]) => ["run", "--", "kubectl", ...args];
    assert.match(await cli.ok(kubectl("get", "pods")), /^NAME +READY[\s\S]*web +1\/1 +Running/, path);
    assert.match(await cli.ok(kubectl("logs", "web", "--tail=1")), /./);
    if (minor < 31) {
      continue; // docs/versions.md: what these speak is told there
    }
    const failed = await cli.run(kubectl("exec", "shell", "--", "sh", "-c", "echo out; echo err >&2; exit 7"));
    assert.deepEqual([failed.code, failed.stdout], [7, "out\n"], failed.stderr);
    const asked = await cli.ok(kubectl("exec", "-i", "shell", "--", "cat"), { input: "x".repeat(300_000) });
    assert.equal(asked.length, 300_000);
    const watch = cli.start(kubectl("get", "pods", "-w"));
    await watch.prints(/web/);
    await watch.stop("SIGTERM");
    await writeFile(join(home, "there"), "x".repeat(100_000));
    await cli.ok(kubectl("cp", join(home, "there"), "shell:there"));
    await cli.ok(kubectl("cp", "shell:there", join(home, "back")));
    assert.equal(await readFile(join(home, "back"), "utf8"), "x".repeat(100_000));
  }
});

test("a command that ends before its input does keeps its last words and its exit code", async (t) => {
  const { access, cloudflared } = await place(t, site);
  await cloudflared("alice");
  const early = ["run", "--", "sh", "-c", "yes | kubectl exec -i shell -- head -1"];
  for (let run = 0; run < 5; run += 1) {
    const { code, stdout } = await access().run(early);
    // kubectl proxy, the last hop, loses some by itself: then it says so.
    assert.ok(stdout === "y\n" || code !== 0, `${code} ${stdout}`);
  }
});

/** A program that connects, and what its kubeconfig leads to. */
async function connected(t: TestContext, cli: Kubectl, args: string[] = []) {
  const running = cli.start(["connect", ...args]);
  t.after(() => running.stop());
  const [, file = ""] = await running.prints(/export KUBECONFIG=(\S+)/);
  const config = parse(await readFile(file, "utf8"));
  const { server, "certificate-authority-data": authority } = config.clusters[0].cluster;
  const ca = Buffer.from(authority, "base64").toString();
  return { running, file, server: server as string, ca, token: config.users[0].user.token as string };
}

/** A shell with what this program has in its environment. */
function shell(cli: Kubectl): Kubectl {
  const shell = new Kubectl("/bin/sh", "", "");
  Object.assign(shell.environment, cli.environment);
  return shell;
}

test("nobody else on this machine is served, and the credential that opened the way is told to none", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const cli = access(serviceToken("ci"));
  const { running, file, server, ca, token } = await connected(t, cli);
  const dispatcher = new Agent({ connect: { ca } });
  t.after(() => dispatcher.close());
  const ask = async (headers: Record<string, string>) => {
    const { statusCode, body } = await request(`${server}/api/v1/namespaces/team-a/pods`, { dispatcher, headers });
    return [statusCode, (await body.text()).slice(0, 400)] as const;
  };
  for (const headers of [
    {},
    { authorization: "Bearer access" },
    { authorization: `Bearer ${token}x` },
    { cookie: token },
  ]) {
    const [status, text] = await ask(headers);
    assert.equal(status, 401);
    assert.match(text, /"kind":"Status".*serves who it was started for/);
  }
  assert.equal((await ask({ authorization: `Bearer ${token}` }))[0], 200);
  // By no list of processes can anybody see what is secret.
  const arguments_ = await readFile(`/proc/${running.child.pid}/cmdline`, "utf8");
  assert.ok(!arguments_.includes(token) && !arguments_.includes(serviceToken("ci").CF_ACCESS_CLIENT_SECRET ?? "-"));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  running.child.kill("SIGTERM");
  assert.equal(await running.end(), 0);
  assert.ok(!existsSync(file), "the kubeconfig is gone");
  await assert.rejects(ask({ authorization: `Bearer ${token}` }), "and so is the way");
});

test("who connects without the secret keeps nobody away, and who brought it is never sent away", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const { server, ca, token } = await connected(t, access(serviceToken("ci")));
  const { hostname: host, port } = new URL(server);
  const open = () => connectTls({ host, port: Number(port), ca }).on("error", () => {});
  const client = open().setEncoding("utf8");
  let answers = "";
  client.on("data", (text) => {
    answers += text;
  });
  const ask = async (count: number) => {
    client.write(`GET /version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    await until("an answer", 60_000, () => answers.split("HTTP/1.1 200").length > count);
  };
  await ask(1);
  let gone = 0;
  const strangers = Array.from({ length: 100 }, () => open().on("close", () => (gone += 1)));
  t.after(() => [client, ...strangers].map((socket) => socket.destroy()));
  await until("all strangers are sent away", 60_000, () => gone === strangers.length);
  await ask(2);
});

test("connect removes the file that it wrote, and no other in its place", async (t) => {
  const { access, serviceToken, home } = await place(t, site);
  const file = join(home, "written");
  for (const text of [undefined, "another's"]) {
    const { running } = await connected(t, access(serviceToken("ci")), ["--write", file]);
    if (text) {
      await writeFile(file, text);
    }
    running.child.kill("SIGTERM");
    assert.equal(await running.end(), 0);
    assert.equal(await readFile(file, "utf8").catch(() => undefined), text);
  }
});

test("signals are the command's, and so is the exit status", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const cli = access(serviceToken("ci"));
  assert.equal((await cli.run(["run", "--", "sh", "-c", "exit 42"])).code, 42);
  const trapping = "trap 'echo told; exit 3' TERM INT HUP; echo ready; while :; do sleep 0.1; done";
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    const running = cli.start(["run", "--", "sh", "-c", trapping]);
    await running.prints(/ready/);
    running.child.kill(signal);
    assert.equal(await running.end(), 3, signal);
    assert.match(running.stdout, /told/);
  }
  const killed = cli.start(["run", "--", "sh", "-c", "echo ready; exec sleep 60"]);
  await killed.prints(/ready/);
  killed.child.kill("SIGTERM");
  assert.equal(await killed.end(), 143);
  const missing = await cli.run(["run", "--", "no-such-program"]);
  assert.deepEqual([missing.code, /no-such-program: /.test(missing.stderr)], [1, true]);
});

test("what was ignored at the start, the command ignores too", { skip: process.platform !== "linux" }, async (t) => {
  const { access, serviceToken } = await place(t, site);
  const waiting = "trap 'echo survived; exit 0' USR1; echo ready; while :; do sleep 0.1; done";
  const nohup = 'exec nohup kubectl-access run -- sh -c "$0"';
  const running = shell(access(serviceToken("ci"))).start(["-c", nohup, waiting]);
  await running.prints(/ready/);
  running.child.kill("SIGHUP");
  running.child.kill("SIGUSR1");
  assert.equal(await running.end(), 0);
  assert.match(running.stdout, /survived/);
});

test("Ctrl-C in a terminal reaches the command once", { skip: !hasTerminals && noTerminals }, async (t) => {
  const { access, serviceToken, home } = await place(t, site);
  // A shell's trap would take two that come together for one.
  const counting = `let count = 0;
    const tell = () => { console.log("interrupted", count); process.exit(); };
    process.on("SIGINT", () => { count += 1; setTimeout(tell, 1000); });
    setTimeout(tell, 50_000);
    console.log("ready");`;
  // With the terminal as its input, and without.
  for (const input of ["", "</dev/null"]) {
    const run = ["-c", `exec kubectl-access run -- node -e "$0" ${input}`, counting];
    const { running, type } = await inTerminal(shell(access(serviceToken("ci"))), run, home);
    await running.prints(/ready/);
    type("\x03");
    assert.equal(await running.end(), 0);
    assert.match(running.stdout, /interrupted 1\r?\n/, input);
  }
});

test("what Access does not take is a sentence that says what to do", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const wrong = { ...serviceToken("ci"), CF_ACCESS_CLIENT_SECRET: "wrong" };
  const refused = await access(wrong).run(["run", "--", "kubectl", "get", "pods"]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /does not take this service token: see that CF_ACCESS_CLIENT_ID/);
  const half = await access({ CF_ACCESS_CLIENT_ID: "x" }).run(["run", "--", "kubectl", "get", "pods"]);
  assert.match(half.stderr, /CF_ACCESS_CLIENT_SECRET is not: a service token is both/);
  const odd = 'CF_ACCESS_CLIENT_SECRET=$(printf "\\377") exec kubectl-access run -- true';
  const noText = await shell(access({ CF_ACCESS_CLIENT_ID: "x" })).run(["-c", odd]);
  assert.match(noText.stderr, /CF_ACCESS_CLIENT_SECRET: no header can hold this value: see that it is text/);
  const neither = await access().run(["run", "--", "kubectl", "get", "pods"]);
  assert.match(neither.stderr, /there is no service token .* cloudflared does not run/);
  const nowhere = { ...serviceToken("ci"), KUBE_ACCESS_HOST: "https://127.0.0.1:1" };
  const unreachable = await access(nowhere).run(["run", "--", "kubectl", "get", "pods"]);
  assert.match(unreachable.stderr, /cannot be reached from here/);
  const plain = await access({ KUBE_ACCESS_HOST: "http://kube.example.com" }).run(["run", "--", "true"]);
  assert.deepEqual([plain.code, /is reached by https/.test(plain.stderr)], [2, true]);
});

test("behind a proxy that the environment names, that proxy is asked for the gateway, and for nothing on this machine", async (t) => {
  const { access, serviceToken } = await place(t, site);
  const proxy = await startProxy();
  t.after(() => proxy.server.close());
  const env = { ...serviceToken("ci"), HTTPS_PROXY: `http://user:pass@127.0.0.1:${proxy.port}` };
  assert.match(await access(env).ok(["run", "--", "kubectl", "auth", "whoami"]), /ci-deployer/);
  const gateway = new URL(site.stack.access.url).host;
  assert.ok(
    proxy.asked.length > 0 && proxy.asked.every((asked) => asked === `${gateway} Basic dXNlcjpwYXNz`),
    String(proxy.asked),
  );
  const asked = proxy.asked.length;
  const past = await access({ ...env, NO_PROXY: gateway }).ok(["run", "--", "kubectl", "auth", "whoami"]);
  assert.deepEqual([proxy.asked.length, /ci-deployer/.test(past)], [asked, true]);
  const unreadable = await access({ ...env, HTTPS_PROXY: "http://u:p ss@127.0.0.1:1" }).run(["run", "--", "true"]);
  assert.deepEqual([unreadable.code, /HTTPS_PROXY is no proxy's address/.test(unreadable.stderr)], [1, true]);
  const seen = await access(env).ok(["run", "--", "sh", "-c", 'echo "$NO_PROXY"']);
  assert.equal(seen, "127.0.0.1\n");
});

test("a context of setup --service-token leads to connect, whenever it runs", async (t) => {
  const { access, serviceToken, home } = await place(t, site);
  const port = await freePort();
  const { url } = site.stack.access;
  await access().ok(["setup", url, "--service-token", "--port", String(port), "--context", "ci", "--yes"]);
  const kubectl = new Kubectl(site.cluster.kubectl, join(home, "config"), home);
  for (let run = 0; run < 2; run += 1) {
    const running = access(serviceToken("ci")).start(["connect", "--port", String(port)]);
    await running.prints(/Forwarding/);
    assert.match(await kubectl.ok(["auth", "whoami"]), /ci-deployer/);
    running.child.kill("SIGINT");
    assert.equal(await running.end(), 0);
  }
});

interface Proxy {
  server: Server;
  port: number;
  asked: string[];
}

/** A proxy that notes what it is asked for, and by whom. */
async function startProxy(): Promise<Proxy> {
  const asked: string[] = [];
  const server = createServer();
  server.on("connect", (request, socket, head) => {
    asked.push(`${request.url} ${request.headers["proxy-authorization"]}`);
    const { hostname, port } = new URL(`http://${request.url}`);
    const onward = connect(Number(port), hostname, () => {
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, port: (server.address() as AddressInfo).port, asked };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  await until("the port is free", 5000, () => !server.listening);
  return port;
}
