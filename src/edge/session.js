// The sockets, the stores and the clock of a stream in our hands: `session.rs` says what is done here, and decides it.

import { tell, within } from "./rim.js";

const encoder = new TextEncoder();

/** How long a store, an object or a pause may take, in milliseconds. */
const [STORE_MS, OBJECT_MS, PAUSE_MS] = [8_000, 5_000, 500];

/** How long an end that takes no more is listened to, in milliseconds. */
const LAST_WORDS_MS = 2_000;

/** What `hear` of session.rs says of a message. */
const [PASS, FULL, OVER] = [1, 2, 4];

/** How much of what a client sends goes on at once at first, in bytes, and how soon more does, in milliseconds: so much more each time. */
const [SLICE, SLICE_MS] = [64 * 1024, 10];

/** Hands a request to the object that has the stream of this name. The object reads `stamp`: when it came, its UUID, and that name. */
export function hand(env, request, name, stamp) {
  const headers = new Headers(request.headers);
  headers.set("kube-access-stamp", stamp);
  return objectOf(env, name).fetch(new Request(request, { headers }));
}

/** What the object of a stream answers to a command, or the roll, which has no name. */
export function command(env, name, path, body, request) {
  const object = name === "" ? env.ROLL.get(env.ROLL.idFromName("roll")) : objectOf(env, name);
  return tell(object, path, body, OBJECT_MS, request);
}
/** How much lies under one key of an object, in characters or bytes: the runtime takes 2 MB, and a character may be two bytes. */
const PART = 512 * 1024;


function objectOf(env, name) {
  return env.SESSIONS.get(env.SESSIONS.idFromName(name));
}

/** A request that asks for the same as the same, and whose client is nobody who could go away. */
export function remember(request) {
  return new Request("http://localhost", { headers: request.headers });
}

/**
 * Couples the client's end of a stream with the cluster's, which came with an answer. `hear` is shown each message and says whether the
 * other side gets it; whether nothing more may come before `store` is done: the runtime's input gate then keeps every message where
 * it is, in the sender's own buffers (it is the one back pressure that there is: what is sent waits in this object's memory); and whether
 * the command is over, which takes no more.
 * `part` hears of a side that closed its end. Gives what the client is answered, and what `say` and `bid` speak through.
 */
export function couple(state, answer, hear, part, store) {
  const [outer, client] = Object.values(new WebSocketPair());
  const ends = [client, answer.webSocket];
  const toClient = (data) => send(client, data);
  const toCluster = paced((data) => send(answer.webSocket, data));
  const ways = [toCluster, toClient];
  for (const [side, end] of ends.entries()) {
    end.binaryType = "arraybuffer";
    end.accept({ allowHalfOpen: true });
    end.addEventListener("message", ({ data }) => {
      const isText = typeof data === "string";
      const verdict = hear(side, isText ? encoder.encode(data) : new Uint8Array(data));
      if (verdict & PASS) ways[side](data);
      else free(data);
      if (verdict & OVER) toCluster.forget();
      if (verdict & FULL) state.blockConcurrencyWhile(store);
    });
    end.addEventListener("close", ({ code }) => part(side, code));
    // An end that takes no more may still say what it had to say: a command ends while its stdin is coming.
    end.addEventListener("error", () => setTimeout(() => part(side, 1006), LAST_WORDS_MS));
  }
  const { status, headers } = answer;
  return { answer: new Response(null, { status, headers, webSocket: outer }), ends };
}

/** What an answer says that both ends speak. */
export function protocol(answer) {
  return answer.headers.get("sec-websocket-protocol") ?? "";
}

/** Says something to the client. */
export function say({ ends: [client] }, message) {
  send(client, message);
}

/** Closes both ends, after a last message to the client. The cluster's is left as it is where it is to be cut. */
export function bid({ ends: [client, cluster] }, message, code, reason, isCut) {
  if (message) send(client, message);
  close(client, code, reason);
  if (!isCut) close(cluster, 1000, "");
}

/**
 * Hands on what comes in slices, with pauses between them; each is larger than the one before, as long as something waits. A command may
 * end while its stdin is coming: what has not been sent then is forgotten, and in the pauses `kubectl proxy`, which closes both sides when
 * it cannot write to one, has time to read the last words.
 */
function paced(send) {
  let [waiting, slice, credit, began, isPausing] = [[], SLICE, SLICE, 0, false];
  const go = () => {
    let count = 0;
    while (count < waiting.length && credit > 0) {
      credit -= waiting[count].byteLength ?? waiting[count].length;
      send(waiting[count++]);
    }
    waiting.splice(0, count);
    if (isPausing || waiting.length === 0) return;
    isPausing = true;
    setTimeout(() => {
      slice += SLICE;
      [credit, began, isPausing] = [slice, Date.now(), false];
      go();
    }, SLICE_MS);
  };
  const hand = (data) => {
    // Where nothing waits, a new slice begins by itself: a keystroke needs no timer.
    if (!isPausing && Date.now() >= began + SLICE_MS) [slice, credit, began] = [SLICE, SLICE, Date.now()];
    waiting.push(data);
    go();
  };
  hand.forget = () => {
    waiting.forEach(free);
    waiting = [];
  };
  return hand;
}

function send(end, message) {
  try {
    end.send(message);
  } catch {
    // It is closed, which its listener hears.
  }
  // The runtime has copied it.
  free(message);
}

/** Left to the garbage collector, as much again as what waits would lie about. */
function free(message) {
  if (message instanceof ArrayBuffer) message.transfer(0);
}

function close(end, code, reason) {
  try {
    end.close(code, reason);
  } catch {
    // It is closed.
  }
}

/** Calls `tick` until that says no. */
export function tick(milliseconds, then) {
  setTimeout(() => then() && tick(milliseconds, then), milliseconds);
}

/** The SHA-256 in hexadecimal digits. */
export async function digest(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * Stores something, if that can be done at once. Nothing bounds it: while the input gate is closed no timer runs, if another was due.
 * After 30 seconds the runtime would take the object away.
 */
export async function put(env, key, bytes, summary) {
  const options = summary === undefined ? {} : { customMetadata: { summary } };
  await env.RECORDINGS.put(`recordings/${key}`, bytes, options);
}

/** Stores what must not be lost: at once, or a moment later. */
export async function store(env, key, bytes, summary) {
  const once = () => within(put(env, key, bytes, summary), STORE_MS);
  try {
    await once();
  } catch {
    await new Promise((done) => setTimeout(done, PAUSE_MS));
    // The first may have come through, and what is there under a lock cannot be written again.
    if (!(await within(env.RECORDINGS.head(`recordings/${key}`), STORE_MS))) await once();
  }
}

/** Whether something could be stored: under a name of its own, since R2 takes one write a second under each. */
export async function probe(env, name) {
  const key = `probe/${name}`;
  await within(env.RECORDINGS.put(key, ""), STORE_MS);
  await within(env.RECORDINGS.delete(key), STORE_MS).catch(() => {});
}

/** Keeps what is known of the stream with the object, and has it looked at when the object has said nothing for a while. */
export async function keep(state, known, milliseconds) {
  const { storage } = state;
  const options = { allowUnconfirmed: true };
  // What is large is laid in parts, and what says which they are under "known". Those of before that are no longer named lie there in vain.
  let place = 0;
  const lay = (item) => {
    if (item === undefined) return item;
    if (Array.isArray(item)) return item.map(lay);
    const first = place;
    do storage.put(`part ${place}`, item.slice((place - first) * PART, (place - first + 1) * PART), options);
    while ((++place - first) * PART < item.length);
    return { first, end: place };
  };
  storage.put("known", lay(known), options);
  rouse(state, milliseconds);
}

/** What was kept. */
export async function kept({ storage }) {
  const raise = async (item) => {
    if (Array.isArray(item)) return Promise.all(item.map(raise));
    if (item?.end === undefined) return item;
    const keys = Array.from({ length: item.end - item.first }, (_, place) => `part ${item.first + place}`);
    const parts = await Promise.all(keys.map((key) => storage.get(key)));
    return typeof parts[0] === "string" ? parts.join("") : new Blob(parts).bytes();
  };
  return raise(await storage.get("known"));
}

/** Has what was kept looked at, so many milliseconds from now. */
export function rouse({ storage }, milliseconds) {
  storage.setAlarm(Date.now() + milliseconds, { allowUnconfirmed: true });
}

/** Forgets the stream. */
export async function forget(state) {
  await state.storage.deleteAlarm();
  await state.storage.deleteAll();
}

/** The text under a key of the recordings, undefined when there is none. */
export async function find(env, key, request) {
  const object = await within(env.RECORDINGS.get(`recordings/${key}`), STORE_MS, request);
  return object ? object.text() : undefined;
}

/** Names, summaries and sizes under a prefix, in the order of names, after one of them; last of all whether there are more. */
export async function list(env, prefix, after, limit, request) {
  const startAfter = after === "" ? undefined : `recordings/${prefix}${after}`;
  const options = { prefix: `recordings/${prefix}`, startAfter, limit, include: ["customMetadata"] };
  const { objects, truncated } = await within(env.RECORDINGS.list(options), STORE_MS, request);
  const found = objects.map(({ key, size, customMetadata }) => {
    return [key.slice(options.prefix.length), customMetadata?.summary ?? "", String(size)];
  });
  return [...found.flat(), truncated];
}

/**
 * The chunks of a recording, one after the other, from pipe to pipe, or undefined without the first. They have so many bytes in all, one
 * alone has its own: where one is gone, or cannot be read, there are fewer than the answer's head says.
 */
export async function concatenate(env, prefix, names, bytes) {
  const get = (name) => within(env.RECORDINGS.get(`recordings/${prefix}${name}`), STORE_MS);
  const first = await get(names[0]);
  if (!first) return undefined;
  const { readable, writable } = new FixedLengthStream(names.length > 1 ? Number(bytes) : first.size);
  const copy = async () => {
    await first.body.pipeTo(writable, { preventClose: true });
    for (const name of names.slice(1)) await (await get(name)).body.pipeTo(writable, { preventClose: true });
    await writable.close();
  };
  copy().catch((error) => writable.abort(error).catch(() => {}));
  return readable;
}
