// `npm run doctor -- https://kube.example.com`: proves a deployment, from the address to the service account's rights.

import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { accountChecks } from "./doctor/account.ts";
import { bindingChecks } from "./doctor/bindings.ts";
import { callerChecks } from "./doctor/caller.ts";
import { type Check, examine, type Finding } from "./doctor/check.ts";
import { Door } from "./doctor/door.ts";
import { entranceChecks } from "./doctor/entrance.ts";
import { pageChecks } from "./doctor/page.ts";
import { readProject } from "./doctor/project.ts";
import { streamChecks } from "./doctor/streams.ts";

const USAGE = `usage: npm run doctor -- https://HOST [options]

Proves a deployment: who is turned away, who is let in and as whom, that streams stay open, and that the gateway's service
account may do nothing but impersonate.

  --namespace NAME         where a pod and other objects are looked for (default: default)
  --kubeconfig FILE        somebody who may read the cluster's RBAC, past the gateway; needs kubectl
  --timeout SECONDS        time limit of each check (default: 10)
  --json                   print one JSON document
  --config FILE            default: wrangler.toml
  --identities FILE        default: identities.yaml
  --ca-file FILE           another authority to trust, PEM; may be given several times
  --connect-to HOST=ADDRESS:PORT
                           connect there instead of to the host's own address; may be given several times
  --header-env NAME        send the header line that this environment variable holds, "Name: value"
  --help                   this text

Who calls, in this order:
  CF_ACCESS_CLIENT_ID, CF_ACCESS_CLIENT_SECRET   a service token
  CF_ACCESS_TOKEN                                what \`cloudflared access token --app=https://HOST\` prints
  neither                                        this device, which Access knows when WARP is connected

Exit status: 0 nothing failed, 1 something failed, 2 the command line is wrong.`;

class UsageError extends Error {}

const root = resolve(import.meta.dirname, "..");
const MARKS = { ok: "ok         ", failed: "FAILED     ", "not checked": "not checked" };

try {
  const { checks, url, limitMs, isJson, secrets } = await readCommandLine();
  const discreet = (text: string) => secrets.reduce((rest, secret) => rest.replaceAll(secret, "[secret]"), text);
  const findings = await examine(checks, limitMs, (finding) => {
    if (!isJson) {
      console.log(discreet(inWords(finding)));
    }
  });
  const count = (result: Finding["result"]) => findings.filter((finding) => finding.result === result).length;
  const hasFailed = count("failed") > 0;
  if (isJson) {
    console.log(discreet(JSON.stringify({ url: url.href, ok: !hasFailed, checks: findings }, null, 2)));
  } else {
    console.log(`\n${count("ok")} ok, ${count("failed")} failed, ${count("not checked")} not checked`);
  }
  process.exitCode = hasFailed ? 1 : 0;
} catch (error) {
  if (!(error instanceof UsageError)) {
    throw error;
  }
  console.error(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
}

function inWords({ id, what, result, detail, fix }: Finding): string {
  const advice = fix ? `\n${" ".repeat(13)}${result === "failed" ? "Fix" : "To check it"}: ${fix}` : "";
  return `${MARKS[result]}  ${what} [${id}]\n${" ".repeat(13)}${detail}${advice}`;
}

async function readCommandLine() {
  const { values, positionals } = parsed();
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const [address = "", ...more] = positionals;
  if (!URL.canParse(address) || more.length > 0 || new URL(address).protocol !== "https:") {
    throw new UsageError("expected one address that begins with https://");
  }
  const url = new URL("/", address);
  if (url.username || url.password) {
    throw new UsageError("credentials come by the environment, not in the address");
  }
  const seconds = Number(values.timeout);
  if (!(seconds > 0 && seconds <= 600)) {
    throw new UsageError(`--timeout ${values.timeout}: a number of seconds, at most 600, was expected`);
  }
  const limitMs = seconds * 1000;
  const { namespace } = values;
  if (!/^[a-z0-9-]{1,63}$/.test(namespace)) {
    throw new UsageError(`--namespace ${namespace}: the name of a namespace was expected`);
  }
  const project = await orUsage(readProject(values.config, values.identities));
  const authorities = await orUsage(Promise.all(values["ca-file"].map((file) => readFile(file, "utf8"))));
  const connectTo = new Map(values["connect-to"].map(redirection));
  const credentials = credentialsOf(process.env, values["header-env"]);
  const door = new Door({ url, authorities, connectTo, credentials });
  const checks: Check[] = [
    ...entranceChecks(door, project),
    ...bindingChecks(project),
    ...callerChecks(door, project),
    ...pageChecks(door),
    ...streamChecks(door, { namespace, limitMs }),
    ...accountChecks(project, values.kubeconfig),
  ];
  return { checks, url, limitMs, isJson: values.json, secrets: secretsIn(credentials) };
}

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        namespace: { type: "string", default: "default" },
        kubeconfig: { type: "string" },
        timeout: { type: "string", default: "10" },
        json: { type: "boolean", default: false },
        config: { type: "string", default: join(root, "wrangler.toml") },
        identities: { type: "string", default: join(root, "identities.yaml") },
        "ca-file": { type: "string", multiple: true, default: [] },
        "connect-to": { type: "string", multiple: true, default: [] },
        "header-env": { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

async function orUsage<Value>(reading: Promise<Value>): Promise<Value> {
  try {
    return await reading;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function redirection(text: string): [host: string, address: string] {
  const [, host, address] = text.match(/^([^=]+)=(.+:\d+)$/) ?? [];
  if (!host || !address) {
    throw new UsageError(`--connect-to ${text}: HOST=ADDRESS:PORT was expected`);
  }
  return [host, address];
}

/** The header lines by which Access knows the caller. They come by the environment: everybody on a machine sees arguments. */
function credentialsOf(env: NodeJS.ProcessEnv, headerEnv: string | undefined): Record<string, string> {
  const credentials: Record<string, string> = {};
  const { CF_ACCESS_CLIENT_ID: id, CF_ACCESS_CLIENT_SECRET: secret, CF_ACCESS_TOKEN: token } = env;
  if (Boolean(id) !== Boolean(secret)) {
    throw new UsageError("CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET are set together or not at all");
  }
  if (id && secret) {
    credentials["cf-access-client-id"] = id;
    credentials["cf-access-client-secret"] = secret;
  } else if (token) {
    credentials["cf-access-token"] = token;
  }
  if (headerEnv !== undefined) {
    const [, name, value] = env[headerEnv]?.match(/^([\w-]+):\s*(\S.*)$/) ?? [];
    if (!name || !value) {
      throw new UsageError(`--header-env ${headerEnv}: that variable holds no header line "Name: value"`);
    }
    credentials[name.toLowerCase()] = value;
  }
  return credentials;
}

/** What must not be printed: the values, and the parts of one such as "Bearer TOKEN". A client ID is no secret. */
function secretsIn(credentials: Record<string, string>): string[] {
  return Object.entries(credentials)
    .filter(([name]) => name !== "cf-access-client-id")
    .flatMap(([, value]) => [value, ...value.split(/\s+/)])
    .filter((part) => part.length >= 8);
}
