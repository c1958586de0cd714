import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { outdatedReadmes, readBlocks } from "../../dev/terraform-docs.ts";

const variables = `# A comment that is nobody's description.

variable "allow" {
  description = "Who \\"enters\\" | who does not."
  type = object({
    emails = optional(set(string), [])
    deep = object({
      name = string
    })
  })

  validation {
    condition     = length(var.allow.emails) > 0
    error_message = "type    = not this"
  }
}

variable "replicas" {
  description = "How many."
  type        = number
  default     = 2
}

variable "settings" {
  description = "Some."
  type        = map(string)
  default = {
    a = "1"
  }
}
`;
const outputs = `output "token" {
  description = "The token."
  value       = var.token
  sensitive   = true
}

output "host" {
  description = "The host."
  value       = var.host
}
`;

test("variables are read as terraform fmt lays them out", () => {
  assert.deepEqual(readBlocks(variables, "variable"), [
    {
      name: "allow",
      description: 'Who "enters" | who does not.',
      type: "object({ emails = optional(set(string), []), deep = object({ name = string }) })",
      default: undefined,
      sensitive: false,
    },
    { name: "replicas", description: "How many.", type: "number", default: "2", sensitive: false },
    { name: "settings", description: "Some.", type: "map(string)", default: '{ a = "1" }', sensitive: false },
  ]);
});

describe("outdatedReadmes", () => {
  let module: string;
  let readme: string;
  before(async () => {
    module = await mkdtemp(join(tmpdir(), "kube-access-docs-"));
    readme = join(module, "README.md");
    await writeFile(join(module, "variables.tf"), variables);
    await writeFile(join(module, "outputs.tf"), outputs);
  });
  after(() => rm(module, { recursive: true, force: true }));

  test("says which README has no place for its tables", async () => {
    await writeFile(readme, "# A module\n");
    await assert.rejects(
      outdatedReadmes([module], false),
      /README\.md has no place for its tables: add the lines\n<!-- made by/,
    );
  });

  test("finds an old table, and renews it without touching the rest", async () => {
    const [, start = "", end = ""] = /add the lines\n(.*)\n(.*)/.exec(await complaint()) ?? [];
    await writeFile(readme, `# A module\n\n${start}\nold\n${end}\n\nThe end.\n`);
    assert.deepEqual(await outdatedReadmes([module], false), [readme]);
    assert.match(await readFile(readme, "utf8"), /old/);
    assert.deepEqual(await outdatedReadmes([module], true), [readme]);
    const text = await readFile(readme, "utf8");
    assert.match(text, /^# A module\n\n<!-- made by .*\n\n## Inputs\n/);
    assert.match(text, /\| `allow` \| Who "enters" \\\| who does not\. \| `object\(.*\)` \| required \|/);
    assert.match(text, /\| `token` \| The token\. \| yes \|\n\| `host` \| The host\. \| no \|/);
    assert.match(text, /\n<!-- end of what is made -->\n\nThe end\.\n$/);
    assert.deepEqual(await outdatedReadmes([module], false), []);
  });

  function complaint(): Promise<string> {
    return outdatedReadmes([module], false).then(
      () => "",
      (error: Error) => error.message,
    );
  }
});

test("npm run test:terraform has a --help, and takes no option that it does not know", () => {
  const script = resolve(import.meta.dirname, "../../dev/terraform.ts");
  const asked = (option: string) => spawnSync(process.execPath, [script, option], { encoding: "utf8" });
  const help = asked("--help");
  assert.equal(help.status, 0, help.stderr);
  assert.match(help.stdout, /^usage: npm run test:terraform/);
  const unknown = asked("--wirte");
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /--wirte/);
});
