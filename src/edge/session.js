// The sockets, the stores and the clock of a stream in our hands: `session.rs` says what is done here, and decides it.

import { tell, within } from "./rim.js";

const encoder = new TextEncoder();

/** How long a store, an object or a pause may take, in milliseconds. */
const [STORE_MS, OBJECT_MS, PAUSE_MS] = [8_000, 5_000, 500];

/** The code of a WebSocket that ended without a close. */
const NO_CLOSE = 1006;

/** How long an end that takes no more is listened to, in milliseconds. */
const LAST_WORDS_MS = 2_000;

/** How long the input gate stays closed for one chunk at most, in milliseconds. */
const GATE_MS = 3_000;

/** The sides, as session.rs has them. */
const [CLIENT, CLUSTER] = [0, 1];

/** What is true of a stream after a piece of a message: much waits to be stored; and the command is over, which takes no more. */
const [FULL, OVER] = [1, 2];

/** How much of a message is written down at once, in bytes: it is copied, and as JSON it may be six times as large. */
const PIECE = 64 * 1024;

/** How much of what a client sends goes on at once at first, in bytes, and how soon more does, in milliseconds: so much more each time. */
const [SLICE, SLICE_MS] = [64 * 1024, 10];

/**
 * How much of an item lies under one key of an object, in characters or bytes: the runtime takes 2 MB, and a character may be two bytes.
 * What is small lies with the others.
 */
const [PART, SMALL] = [512 * 1024, 8 * 1024];

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

function objectOf(env, name) {
  return env.SESSIONS.get(env.SESSIONS.idFromName(name));
}

/** A request that asks for the same as the same, and whose client is nobody who could go away. */
export function remember(request) {
  return new Request("http://localhost", { headers: request.headers });
}

/**
 * Couples the client's end of a stream with the cluster's, which came with an answer. `admit` says whether a message that has come may
 * go on. When its turn has come, `write` is shown it piece by piece, and then the other side gets it. `part` hears of a side that closed
 * its end, after all that came before. While `store` stores a chunk, the runtime's input gate keeps every message where it is, in the
 * sender's own buffers: it is the one back pressure that there is, since what is sent waits in this object's memory.
 * Gives what the client is answered, and what `say` and `bid` speak through.
 */
export function couple(state, env, name, answer, [admit, write, part, store]) {
  const [outer, client] = Object.values(new WebSocketPair());
  const ends = [client, answer.webSocket];
  const hold = gate(state, objectOf(env, `${name} clock`), store);
  const pause = slices();
  const carry = async (side, data) => {
    const bytes = typeof data === "string" ? encoder.encode(data) : new Uint8Array(data);
    if (side === CLIENT) await pause(bytes.length);
    let verdict = 0;
    for (let from = 0; from === 0 || from < bytes.length; from += PIECE) {
      if (verdict & FULL) await hold();
      if (ways[side].isOver) return free(data);
      verdict = write(side, bytes.subarray(from, from + PIECE), from === 0);
      if (verdict & OVER) ways[CLIENT].forget();
    }
    send(ends[1 - side], data);
    if (verdict & FULL) await hold();
  };
  const ways = [new Way((data) => carry(CLIENT, data)), new Way((data) => carry(CLUSTER, data))];
  for (const [side, end] of ends.entries()) {
    end.binaryType = "arraybuffer";
    end.accept({ allowHalfOpen: true });
    end.addEventListener("message", ({ data }) => {
      if (admit(side, data.byteLength ?? encoder.encode(data).length)) ways[side].push(data);
      else free(data);
    });
    end.addEventListener("close", ({ code }) => {
      const leave = () => part(side, code);
      // A client that is gone without a word wants nothing more to be done.
      if (side === CLIENT && code === NO_CLOSE) leave();
      else ways[side].push(leave);
    });
    // An end that takes no more may still say what it had to say: a command ends while its stdin is coming.
    end.addEventListener("error", () => setTimeout(() => part(side, NO_CLOSE), LAST_WORDS_MS));
  }
  const { status, headers } = answer;
  return { answer: new Response(null, { status, headers, webSocket: outer }), ends, ways };
}

/**
 * Stores a chunk behind the closed gate, which opens when that has come to an end, and before that when it takes long. No timer of this object
 * runs meanwhile, if another was due, and after 30 seconds the runtime would take the object away: so another object tells the time.
 */
function gate(state, clock, store) {
  return () =>
    state.blockConcurrencyWhile(async () => {
      const ending = new AbortController();
      const told = clock.fetch("http://object/.kube-access/wait", { signal: ending.signal });
      await Promise.race([store(), told]).catch(() => {});
      ending.abort();
    });
}

/** Comes to an end when the gate of another object has been closed long enough. */
export function wait() {
  return new Promise((done) => setTimeout(done, GATE_MS));
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
export function bid({ ends: [client, cluster], ways }, message, code, reason, isCut) {
  for (const way of ways) way.forget();
  if (message) send(client, message);
  close(client, code, reason);
  if (!isCut) close(cluster, 1000, "");
}

/** One way of a stream: what has come is carried on in its order. */
class Way {
  isOver = false;
  #waiting = [];
  #isGoing = false;
  #carry;

  constructor(carry) {
    this.#carry = carry;
  }

  /** Takes a message, or what is to be done when all that came before has gone on. */
  push(item) {
    this.#waiting.push(item);
    if (!this.#isGoing) this.#go();
  }

  /** Lets no more messages go on. */
  forget() {
    this.isOver = true;
  }

  async #go() {
    this.#isGoing = true;
    while (this.#waiting.length > 0) {
      const turn = this.#waiting;
      this.#waiting = [];
      for (const item of turn) await (item instanceof Function ? item() : this.#carry(item));
    }
    this.#isGoing = false;
  }
}

/**
 * Pauses, so that what comes goes on in slices; each is larger than the one before, as long as something waits. A command may end while its
 * stdin is coming: what has not been sent then is forgotten, and in the pauses `kubectl proxy`, which closes both sides when it cannot
 * write to one, has time to read the last words.
 */
function slices() {
  let [slice, credit, began] = [SLICE, SLICE, 0];
  return async (length) => {
    if (credit <= 0) {
      // Where nothing waits, a new slice begins by itself: a keystroke needs no timer.
      const isLate = Date.now() >= began + SLICE_MS;
      slice = isLate ? SLICE : slice + SLICE;
      if (!isLate) await new Promise((done) => setTimeout(done, SLICE_MS));
      [credit, began] = [slice, Date.now()];
    }
    credit -= length;
  };
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

/** The same for a chunk that is stored. */
export function release(bytes) {
  free(bytes.buffer);
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

/** Stores what must not be lost: at once, or a moment later. */
export async function store(env, key, bytes, summary) {
  const options = summary === undefined ? {} : { customMetadata: { summary } };
  const once = () => within(env.RECORDINGS.put(`recordings/${key}`, bytes, options), STORE_MS);
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
    if (Array.isArray(item)) return item.map(lay);
    if (item === undefined || item.length <= SMALL) return item;
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
