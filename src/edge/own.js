// Files, bodies and the store of grants, for the gateway's own paths: `own.rs` and `grants.rs` say what is done here, and decide it.

import { read, tell, within } from "./rim.js";

/** How long the body of a change, the page's files, the object and Workers KV may take, in milliseconds. */
const [BODY_MS, FILE_MS, LEDGER_MS, STORE_MS, PAUSE_MS] = [10_000, 10_000, 20_000, 4_000, 1_100];

/** The text of a body, undefined when it is longer. */
export function body(request, bytes) {
  const text = read(request.body, bytes).then((text) => (text.length > bytes ? undefined : text));
  return within(text, BODY_MS, request);
}

/** A file of the page, or that it is still the one that the browser has. */
export function file(env, name, request) {
  const tag = request.headers.get("if-none-match");
  const headers = tag ? { "if-none-match": tag } : {};
  return within(env.ASSETS.fetch(`http://assets/${name}`, { method: request.method, headers }), FILE_MS, request);
}

/** What the object that keeps the grants answers to a command. */
export function ledger(env, path, body, request) {
  return tell(env.GRANTS.get(env.GRANTS.idFromName("grants")), path, body, LEDGER_MS, request);
}

/** What the object keeps: a line for each caller, key TAB text. */
export async function lines(state) {
  const kept = await state.storage.list();
  return [...kept].map(([key, text]) => `${key}\t${text}`).join("\n");
}

/**
 * Makes a change, while no other is made. `decide` is shown what is kept, and says what changes: the key, the text (empty for none), when it
 * ends in seconds since the Unix epoch, whether somebody has more after it, and the keys of what has ended; or nothing. Whoever gets
 * more has it last in Workers KV, and whoever gets less has it first. A write that fails may have come through, or may yet: so nothing is
 * undone, and what may hold is listed, until it is taken back.
 */
export function change(state, env, decide) {
  return state.blockConcurrencyWhile(async () => {
    const change = decide(await lines(state));
    if (!change) return true;
    const [to, text, until, gives, ...ended] = change;
    const steps = [() => keep(state, to, text), () => publish(env, `grants:${to}`, text, until)];
    try {
      for (const step of gives ? steps : steps.reverse()) await step();
    } catch {
      return false;
    }
    await state.storage.delete(ended);
    return true;
  });
}

function keep(state, key, text) {
  return text === "" ? state.storage.delete(key) : state.storage.put(key, text);
}

/** Workers KV takes one write of a key in a second. */
async function publish(env, key, text, until) {
  const expiration = Math.max(until, Math.floor(Date.now() / 1000) + 60) + 60;
  const once = () =>
    within(text === "" ? env.IDENTITIES.delete(key) : env.IDENTITIES.put(key, text, { expiration }), STORE_MS);
  for (let tries = 2; tries > 0; tries--) {
    try {
      return await once();
    } catch {
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
  }
  return once();
}
