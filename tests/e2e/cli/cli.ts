// `kubectl access` as a person or a pipeline runs it: as a process, with nothing of this machine's own settings.

import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import { buildCli } from "../../../dev/cli.ts";
import { Kubectl } from "../cluster/kubectl.ts";
import type { Site } from "../cluster/site.ts";

export interface Place {
  /** A home folder that goes away with the test. */
  home: string;
  /** `kubectl access`, with this environment beside its own. */
  access(env?: Record<string, string>): Kubectl;
  /** The variables of the service token of a program that Access knows. */
  serviceToken(user: string): Record<string, string>;
  /** Puts a program named cloudflared on the PATH, which tells a person's token. */
  cloudflared(user: string): Promise<void>;
}

const program = buildCli(() => {});

/** Built before the tests' own time begins. */
export const built = () => program;

export async function place(t: TestContext, site: Site, kubectl = site.cluster.kubectl): Promise<Place> {
  const home = await mkdtemp(join(site.dir, "home-"));
  t.after(() => rm(home, { recursive: true, force: true }));
  const bin = join(home, "bin");
  await mkdir(bin);
  await symlink(await program, join(bin, "kubectl-access"));
  await symlink(kubectl, join(bin, "kubectl"));
  const { access } = site.stack;
  const path = `${bin}:${dirname(process.execPath)}:/usr/bin:/bin`;
  const own = {
    PATH: path,
    KUBECONFIG: join(home, "config"),
    KUBE_ACCESS_HOST: access.url,
    SSL_CERT_FILE: access.caFile,
    TMPDIR: home,
    XDG_STATE_HOME: join(home, "state"),
  };
  return {
    home,
    access: (env = {}) => {
      const kubectl = new Kubectl(join(bin, "kubectl-access"), own.KUBECONFIG, home);
      Object.assign(kubectl.environment, own, env);
      return kubectl;
    },
    serviceToken: (user) => {
      const { id, secret } = access.serviceToken(user);
      return { CF_ACCESS_CLIENT_ID: id, CF_ACCESS_CLIENT_SECRET: secret };
    },
    cloudflared: async (user) => {
      const file = join(bin, "cloudflared");
      const asked = `access token -app=${access.url}`;
      await writeFile(file, `#!/bin/sh\n[ "$*" = "${asked}" ] || exit 1\nprintf %s ${await access.mint(user)}\n`);
      await chmod(file, 0o755);
    },
  };
}
