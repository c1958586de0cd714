// The examples of pipelines in docs/examples, as far as they can be run here: every command after the program is installed, by a shell as
// the pipeline has it, with the service token in its environment, on a real cluster.

import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { parse } from "yaml";
import { Kubectl } from "../cluster/kubectl.ts";
import { type Site, startSite } from "../cluster/site.ts";
import { built, place } from "./cli.ts";

const examples = resolve(import.meta.dirname, "../../../docs/examples");
let site: Site;

before(async () => {
  await built();
  site = await startSite();
});
after(() => site?.stop());

const DEPLOYMENT = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web" },
  spec: {
    replicas: 0,
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "local/web" }] } },
  },
};

/** A pipeline's shell, in a checkout that has k8s/deployment.yaml. */
async function shell(cli: Kubectl, home: string, script: string): Promise<string> {
  await mkdir(join(home, "k8s"), { recursive: true });
  await writeFile(join(home, "k8s/deployment.yaml"), JSON.stringify(DEPLOYMENT));
  const bash = new Kubectl("bash", "", home);
  Object.assign(bash.environment, cli.environment);
  return await bash.ok(["-e", "-o", "pipefail", "-c", `cd ${home}\n${script}`]);
}

/** Nobody runs the deployments of the local cluster: what a controller would say of one. */
async function settle(): Promise<void> {
  const patch = JSON.stringify({ status: { observedGeneration: 1, replicas: 0 } });
  const args = ["patch", "deployment", "web", "-n", "team-a", "--subresource=status", "--type=merge", "-p", patch];
  await site.admin.ok(args);
}

test("GitHub Actions", async (t) => {
  const { access, serviceToken, home } = await place(t, site);
  const workflow = parse(await readFile(join(examples, "github-actions.yml"), "utf8"));
  const { env, steps } = workflow.jobs.deploy;
  const cli = access(serviceToken("ci"));
  for (const name of Object.keys(env)) {
    assert.ok(cli.environment[name], `${name} is what the program reads`);
  }
  const scripts = steps.filter(({ run }: { run?: string }) => run?.includes("kubectl access"));
  assert.equal(scripts.length, 2);
  assert.match(await shell(cli, home, scripts[0].run), /Username +ci-deployer/);
  const [apply = "", ...rest] = scripts[1].run.split("kubectl rollout");
  assert.match(await shell(cli, home, `${apply}'`), /deployment\.apps\/web (created|unchanged|configured)/);
  await settle();
  assert.match(await shell(cli, home, [apply, ...rest].join("kubectl rollout")), /successfully rolled out/);
});

test("GitLab", async (t) => {
  const { access, serviceToken, home } = await place(t, site);
  const { deploy } = parse(await readFile(join(examples, "gitlab-ci.yml"), "utf8"));
  assert.ok(access().environment.KUBE_ACCESS_HOST && deploy.variables.KUBE_ACCESS_HOST);
  const cli = access(serviceToken("ci"));
  for (const line of deploy.script) {
    if (line.includes("rollout")) {
      await settle();
    }
    await shell(cli, home, line);
  }
});
