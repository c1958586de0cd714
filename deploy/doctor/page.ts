// The page that people open in a browser: that the deployed Worker has it, and that nothing on the way loosens what guards it.

import { type Check, failed, type Outcome, ok } from "./check.ts";
import type { Door } from "./door.ts";
import { remedyFor, saying } from "./refusals.ts";

const PATH = "/.kube-access/";

export function pageChecks(door: Door): Check[] {
  return [
    {
      id: "page",
      what: `The page at ${PATH} is there, and no other page may frame it`,
      needs: ["cluster"],
      run: (signal) => page(door, signal),
    },
  ];
}

async function page(door: Door, signal: AbortSignal): Promise<Outcome> {
  // Not as a browser asks, for whom a refusal would be a page too.
  const answer = await door.ask(PATH, { signal });
  const { status, headers } = answer;
  const type = headers["content-type"] ?? "";
  if (status === 404 || (status === 200 && !type.startsWith("text/html"))) {
    return failed(
      `GET ${PATH} was answered ${saying(answer)}`,
      "The deployed Worker is an old one, or has no page: see that wrangler.toml has [assets] as it is shipped, then run `npm run deploy`.",
    );
  }
  if (status !== 200) {
    return failed(`GET ${PATH} was answered ${saying(answer)}`, remedyFor(answer));
  }
  const policy = String(headers["content-security-policy"] ?? "");
  return policy.includes("default-src 'none'") && policy.includes("frame-ancestors 'none'")
    ? ok(`people find what they may do, and how they connect, at ${new URL(PATH, door.url)}`)
    : failed(
        `the page arrives ${policy ? `under another Content-Security-Policy: ${policy}` : "without its Content-Security-Policy"}`,
        "Something in front of the Worker takes it away or sets another: see Rules > Transform Rules, and Snippets.",
      );
}
