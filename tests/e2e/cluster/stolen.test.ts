// The service account is harmless without the gateway, and in constrained impersonation also as somebody who may do everything: the
// cluster itself holds it to the guards for everybody. Here in the local cluster; tests/terraform has the same in rights of Terraform's.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startCluster } from "../../../dev/cluster.ts";
import { denied, identities, policies, Stolen } from "./stolen.ts";

for (const name of Object.keys(denied)) {
  test(`case 98, 129, 130, 131, 181: ${name}: a stolen account can do nothing of it, nor be anybody else`, async () => {
    const dir = await mkdtemp(join(tmpdir(), "kube-access-stolen-"));
    const file = join(dir, "identities.yaml");
    await writeFile(file, JSON.stringify({ identities, guards: policies[name] })); // JSON is YAML
    const cluster = await startCluster({ log: () => {}, auditLog: false, identities: file });
    try {
      const stolen = new Stolen(cluster, await readFile(join(cluster.dir, "account", "token"), "utf8"));
      await stolen.mayDoNothing();
      await stolen.canBeNobodyElse();
      await stolen.isHeldTo(name);
    } finally {
      await cluster.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });
}
