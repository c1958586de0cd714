// The columns of the table: what kubectl must do through the gateway, and how the run knows that it did.

import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Kubectl } from "../e2e/cluster/kubectl.ts";
import type { Attempt } from "./attempt.ts";

export interface Command {
  name: string;
  /** What a "yes" stands for. */
  proof: string;
  /** Set to "true", it makes a kubectl that can speak WebSockets, and does not by itself, speak them. */
  variable?: string;
  /** Fails when kubectl does anything else than it should. */
  prove(attempt: Attempt): Promise<void>;
}

const LIMIT_MS = 60_000;
const REMOTE_COMMAND = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS";
const PORT_FORWARD = "KUBECTL_PORT_FORWARD_WEBSOCKETS";

/** A pod whose command repeats what it hears. */
export const ECHO_POD = "echo";

export const commands: Command[] = [
  {
    name: "get",
    proof: "lists the pods as a table",
    prove: async (attempt) => {
      assert.match(await attempt.run(["get", "pods"]), /^NAME +READY +STATUS.*\nweb +1\/1 +Running /s);
    },
  },
  {
    name: "get -w",
    proof: "prints an object, and prints it again when it has changed, while it still runs",
    prove: async (attempt) => {
      const { admin, id } = attempt;
      await apply(admin, configMap(id, "before"));
      const watch = attempt.start(["get", "configmap", id, "-w", "-o", 'jsonpath={.data.value}{"\\n"}']);
      await watch.prints(/^before\n/, LIMIT_MS);
      await apply(admin, configMap(id, "after"));
      await watch.prints(/^before\nafter\n/, LIMIT_MS);
    },
  },
  {
    name: "apply --server-side",
    proof: "creates an object, then changes it",
    prove: async (attempt) => {
      const name = `applied-${attempt.id}`;
      for (const value of ["first", "second"]) {
        await attempt.run(["apply", "--server-side", "-f", "-"], configMap(name, value));
        assert.equal(await attempt.admin.ok(["get", "configmap", name, "-o", "jsonpath={.data.value}"]), value);
      }
    },
  },
  {
    name: "logs -f",
    proof: "prints the last line, and the next one when the pod has written it",
    prove: async (attempt) => {
      await attempt.start(["logs", "-f", "--tail=1", "web"]).prints(/^tick \d+\ntick \d+\n/, LIMIT_MS);
    },
  },
  {
    name: "exec",
    proof: "prints what the command prints, and ends with its exit code",
    variable: REMOTE_COMMAND,
    prove: async (attempt) => {
      assert.equal(await attempt.run(["exec", "shell", "--", "sh", "-c", "echo out; exit 7"], undefined, 7), "out\n");
    },
  },
  {
    name: "exec -i",
    proof: "the command reads kubectl's stdin to its end, and answers after it",
    variable: REMOTE_COMMAND,
    prove: async (attempt) => {
      assert.equal(await attempt.run(["exec", "-i", "shell", "--", "wc", "-c"], "12345\n"), "6\n");
    },
  },
  {
    name: "cp",
    proof: "a file goes to a pod and comes back, the same to the byte",
    variable: REMOTE_COMMAND,
    prove: async (attempt) => {
      const [sent, received] = [join(attempt.dir, "sent"), join(attempt.dir, "received")];
      const bytes = Buffer.alloc(300_000, attempt.id);
      await writeFile(sent, bytes);
      await attempt.run(["cp", sent, `shell:${attempt.id}`]);
      await attempt.run(["cp", `shell:${attempt.id}`, received]);
      assert.ok(bytes.equals(await readFile(received)), "the file came back changed");
    },
  },
  {
    name: "attach",
    proof: "the running command hears kubectl's stdin, and its answer is printed",
    variable: REMOTE_COMMAND,
    prove: async (attempt) => {
      const attached = attempt.start(["attach", "-i", ECHO_POD], `${attempt.id}\n`);
      await attached.prints(new RegExp(`^${attempt.id}\n`, "m"), LIMIT_MS);
    },
  },
  {
    name: "port-forward",
    proof: "a program of this machine speaks HTTP with one in the pod",
    variable: PORT_FORWARD,
    prove: async (attempt) => {
      const forward = attempt.start(["port-forward", "pod/web", ":8080"]);
      const [, port] = await forward.prints(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/, LIMIT_MS);
      const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(LIMIT_MS) });
      assert.equal(await response.text(), "hello from web\n");
    },
  },
  {
    name: "auth whoami",
    proof: "shows the user that the gateway names, and each group by itself",
    prove: async (attempt) => {
      const { status } = JSON.parse(await attempt.run(["auth", "whoami", "-o", "json"]));
      assert.equal(status.userInfo.username, "alice");
      for (const group of ["platform-admins", "system:authenticated"]) {
        assert.ok(status.userInfo.groups.includes(group), `the groups are ${JSON.stringify(status.userInfo.groups)}`);
      }
    },
  },
  {
    name: "--as",
    proof: "with one's own user and one of one's own groups, shows that user and that group alone",
    prove: async (attempt) => {
      const args = ["auth", "whoami", "-o", "json", "--as", "alice", "--as-group", "developers"];
      const { username, groups } = JSON.parse(await attempt.run(args)).status.userInfo;
      assert.deepEqual([username, groups.toSorted()], ["alice", ["developers", "system:authenticated"]]);
    },
  },
];

function configMap(name: string, value: string): string {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { value } });
}

async function apply(kubectl: Kubectl, input: string): Promise<void> {
  await kubectl.ok(["apply", "-f", "-"], { input });
}
