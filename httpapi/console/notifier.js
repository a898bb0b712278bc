// notifier.js follows the events of a notifier: for any page, without anything else.
//
//   import { Notifier } from "https://notifier.example/notifier.js";
//   const notifier = new Notifier({ topics: ["issueUpdate.*.*"], token: () => fetch("/token").then(r => r.text()) });
//   notifier.addEventListener("event", ({ event }) => console.log(event.type, event.key, event.payload));
//
// It speaks Server-Sent Events over fetch() and not by EventSource: so the token goes in a header and in no URL, and
// each status can be told from the others. Each event comes once, whatever is lost on the way: the cursor of the last
// one is kept, and a new connection goes on behind it.

// How long things may take, in milliseconds.
const OPENING = 30_000; // from a request to the head of its answer; also for the page's token function
const LONGEST_PAUSE = 30_000; // between two attempts, unless the server asks for more
const RETRY = 2_000; // the first pause is up to this long; the server says its own
const HEARTBEAT = 30_000; // the server says something at least this often; it says its own, too
const SILENCE = 2.5; // heartbeats without a byte, and the line is taken for dead

/**
 * What tells its listeners:
 * - `event`: `event` (an object with id, type, action, key, recipient, dataset_id, principal, created_at, payload and
 *   original), `cursor` (behind it; "" in a replay by time), `text` (the object as it came)
 * - `state`: `state` is "connecting", "live", "waiting" (then `until`, in milliseconds as of Date.now(), and `asked`
 *   if the server chose it), or "closed", which is final; `reason`, a word, and `text`, for people, say why
 * - `verdict`: `verdict` and `replayed`, at each connection: "resumed" (nothing was missed), "replayed" (so many events
 *   follow that were missed), or "gap"
 * - `gap`: what was missed can't be had any more; load your page's data again, `cursor` is where it goes on
 * - `revoked`: `topics` that the user may not follow any more; the others go on
 * - `error`: `error`, of the page's token function or of its storage; it goes on trying
 */
export class Notifier extends EventTarget {
  #url;
  #topics;
  #recipient;
  #since;
  #token; // text, a function, or nothing
  #shown; // the token in use; undefined: ask the function
  #storage;
  #name;
  #cursor;
  #stored; // the cursor that the storage has
  #delivered = new Set(); // ids of events without a cursor, until the first one comes
  #followed = false; // there was a verdict
  #lost = false; // the server did not take the cursor
  #state = { state: "connecting" };
  #life = new AbortController(); // ends with close()
  #attempt; // an AbortController: of the connection that there is
  #pause; // ends the pause that there is
  #failures = 0; // attempts in a row that gave no verdict
  #renewals = 0; // refused tokens in a row
  #retry = RETRY;
  #heartbeat = HEARTBEAT;
  #heard = Date.now(); // when the last byte came
  #alarm;

  /**
   * @param {object} options
   * @param {string[]} [options.topics] what to follow: TYPE.ACTION.KEY, where a part may be `*` or a list with commas
   * @param {string} [options.recipient] "me": only what is addressed to the user; an admin may name another
   * @param {string | (() => string | Promise<string>)} [options.token] a function is asked again when a token has ended
   * @param {Date | string | number} [options.since] begin with what is stored since then; a number is in seconds
   * @param {string} [options.cursor] go on behind this one
   * @param {Storage} [options.storage] where the cursor is kept, as sessionStorage, so that a reloaded page goes on
   * @param {string} [options.name] by which name; two that follow at once need two
   * @param {string | URL} [options.url] of /events; by default, where this module comes from
   */
  constructor({ url, topics = [], recipient, since, cursor, token, storage, name } = {}) {
    super();
    this.#url = new URL(url ?? "events", url ? globalThis.location?.href : import.meta.url);
    this.#topics = [...topics];
    this.#recipient = recipient;
    this.#since = since instanceof Date ? since.toISOString() : since;
    this.#token = token;
    this.#storage = storage;
    this.#name = name ?? `notifier ${this.#url} ${JSON.stringify([topics, recipient])}`;
    this.#stored = this.#recall();
    this.#cursor = cursor || this.#stored;
    this.#lookAfterThePage();
    queueMicrotask(() => this.#run()); // who makes it can add listeners first
  }

  /** The cursor behind the last event; "" before there is one. */
  get cursor() { return this.#cursor; }

  /** What the last `state` told. */
  get state() { return this.#state; }

  /** Ends it for good. */
  close() { this.#close("closed", ""); }

  /** Ends a pause at once. */
  reconnect() { this.#pause?.(); }

  // The loop: one connection after another, and what lies between them.

  async #run() {
    while (!this.#life.signal.aborted) {
      this.#become({ state: "connecting" });
      const attempt = this.#attempt = new AbortController();
      let next;
      try {
        this.#expect(OPENING);
        next = await this.#connect(attempt.signal);
      } catch (error) {
        const { reason = "lost", text = "the connection was lost" } = attempt.signal.reason ?? error;
        next = { reason, text };
      } finally {
        clearTimeout(this.#alarm);
        attempt.abort(); // what is left of it
      }
      if (next && !this.#life.signal.aborted) await this.#wait(next);
    }
  }

  /** Returns why to wait, and how long if the server says so; nothing: come again at once, unless it is closed. */
  async #connect(signal) {
    const headers = { Accept: "text/event-stream" };
    const token = await this.#currentToken(signal);
    if (token) headers.Authorization = `Bearer ${token}`;
    const cursor = this.#cursor;
    if (cursor) headers["Last-Event-ID"] = cursor;
    const response = await fetch(this.#request(), { headers, signal, cache: "no-store" });
    this.#expect(this.#heartbeat * SILENCE);
    if (response.ok && response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
      this.#renewals = 0;
      return this.#read(response.body, signal);
    }
    return this.#refused(response, cursor, { headers, signal });
  }

  #request(topics = this.#topics) {
    const url = new URL(this.#url);
    for (const topic of topics) url.searchParams.append("topic", topic);
    if (this.#recipient) url.searchParams.set("recipient", this.#recipient);
    if (this.#since !== undefined) url.searchParams.set("since", this.#since);
    return url;
  }

  async #currentToken(signal) {
    if (typeof this.#token !== "function") return this.#token;
    if (this.#shown === undefined) {
      try {
        this.#shown = await Promise.race([this.#token(), rejected(signal)]);
      } catch (error) {
        if (!signal.aborted) this.#tell("error", { error });
        throw { reason: "no_token", text: "the page has no token" };
      }
    }
    return this.#shown;
  }

  async #refused(response, cursor, how) {
    const text = (await response.text()).slice(0, 300);
    switch (response.status) {
      case 400:
        if (!cursor) return this.#close("refused", text, 400);
        this.#forget(); // it may be the cursor: of another database, or of nobody's making
        return undefined;
      case 403:
        return this.#forbidden(text, how);
      case 401:
        return this.#renew("token_refused", text, this.#renewals++ === 0);
    }
    return { reason: "status", text: `the answer was ${response.status}`, status: response.status };
  }

  /** One topic that was revoked meanwhile has all refused: it is left out, as one that is revoked while it is followed. */
  async #forbidden(text, { headers, signal }) {
    const revoked = [];
    if (this.#followed && this.#topics.length > 1) {
      delete headers["Last-Event-ID"];
      for (const topic of this.#topics) {
        const { status } = await fetch(this.#request([topic]), { method: "HEAD", headers, signal, cache: "no-store" });
        this.#expect(OPENING);
        if (status === 403) revoked.push(topic);
        else if (status !== 200) return { reason: "status", text: `the answer was ${status}`, status };
      }
      if (revoked.length === 0) return { reason: "status", text, status: 403 }; // it was given again
    }
    if (revoked.length === 0 || revoked.length === this.#topics.length) return this.#close("refused", text, 403);
    this.#revoke(revoked);
    return undefined;
  }

  #revoke(topics) {
    this.#topics = this.#topics.filter(topic => !topics.includes(topic)); // one would have the rest refused
    this.#tell("revoked", { topics });
  }

  /** Has the page's function asked for a token: at once, or after a pause. */
  #renew(reason, text, atOnce) {
    if (typeof this.#token !== "function") return this.#close(reason, text, 401);
    this.#shown = undefined;
    return atOnce ? undefined : { reason, text };
  }

  #forget() {
    this.#cursor = "";
    this.#lost = true;
    this.#since = undefined; // it would bring again what has come
  }

  /** Reads blocks until the stream ends, and returns what to do then. */
  async #read(body, signal) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const blocks = new Blocks();
    let end;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      this.#expect(this.#heartbeat * SILENCE);
      for (const block of blocks.of(decoder.decode(value, { stream: true }))) {
        if (signal.aborted) return undefined; // by a listener
        end = this.#take(block) ?? end;
      }
      this.#keep(); // once for all that came at once: the page can't go in between
    }
    switch (end?.reason) {
      case undefined:
        return { reason: "lost", text: "the connection was lost" };
      case "token_expired":
        return this.#renew(end.reason, end.text, true);
      case "unauthorized": // nothing is left of what was asked for
        return this.#close(end.reason, end.text);
    }
    return end;
  }

  /** Returns what the last block says: why the stream ends, and when to come again. */
  #take({ id, event, data, retry, heartbeat }) {
    if (heartbeat > 0) this.#heartbeat = heartbeat;
    if (data === undefined) {
      this.#moveTo(id);
      if (retry >= 0) this.#retry = retry;
      return undefined;
    }
    const said = JSON.parse(data); // before the cursor moves: what was cut short comes again
    this.#moveTo(id);
    if (event === "notifier") return this.#notice(said, retry);
    if (event !== undefined) return undefined; // of a later version
    if (!id) { // a replay by time, which comes again as a whole if it is cut off
      if (this.#delivered.has(said.id)) return undefined;
      this.#delivered.add(said.id);
    }
    this.#tell("event", { event: said, cursor: id ?? "", text: data });
    return undefined;
  }

  #notice({ verdict, replayed, revoked, end, reason }, retry) {
    if (end !== undefined) return { reason: end, text: reason, after: retry };
    if (revoked !== undefined) this.#revoke(revoked);
    if (verdict !== undefined) this.#judged(this.#lost ? "gap" : verdict, replayed);
    return undefined;
  }

  #judged(verdict, replayed) {
    this.#followed = true;
    this.#lost = false;
    this.#failures = 0;
    this.#become({ state: "live" });
    this.#tell("verdict", { verdict, replayed });
    if (verdict === "gap") this.#tell("gap", { cursor: this.#cursor });
  }

  #moveTo(cursor) {
    if (!cursor) return;
    this.#cursor = cursor;
    if (this.#delivered.size > 0) this.#delivered = new Set();
  }

  // Pauses, and when they end early.

  /** Waits for as long as the server says; or for any time up to a bound that doubles: those who were cut off together
   *  shall not come back together. */
  async #wait({ reason, text, status, after }) {
    const bound = Math.min(LONGEST_PAUSE, this.#retry * 2 ** Math.min(this.#failures++, 10));
    const pause = Math.max(after ?? 0, Math.random() * bound);
    const asked = after !== undefined;
    this.#become({ state: "waiting", reason, text, status, asked, until: Date.now() + pause });
    let timer;
    await new Promise(resolve => {
      this.#pause = resolve;
      timer = setTimeout(resolve, pause);
    });
    clearTimeout(timer);
    this.#pause = undefined;
  }

  /** The line is dead if no byte comes for so long. */
  #expect(within) {
    this.#heard = Date.now();
    clearTimeout(this.#alarm);
    const attempt = this.#attempt;
    this.#alarm = setTimeout(() => attempt.abort({ reason: "silent", text: "nothing was heard of the server" }), within);
  }

  #lookAfterThePage() {
    const look = () => {
      if (globalThis.document?.visibilityState === "hidden") return;
      if (this.#state.state === "waiting" && !this.#state.asked) {
        this.#pause?.();
      } else if (this.#state.state === "live" && Date.now() - this.#heard > 1.2 * this.#heartbeat) { // it was asleep
        this.#attempt.abort({ reason: "silent", text: "nothing was heard of the server" });
      }
    };
    const { signal } = this.#life;
    globalThis.addEventListener?.("online", look, { signal });
    globalThis.document?.addEventListener("visibilitychange", look, { signal });
  }

  // What the page is told, and what is kept for it.

  #become(state) {
    if (this.#state.state === "closed") return;
    this.#state = state;
    this.#tell("state", state);
  }

  #close(reason, text, status) {
    if (this.#life.signal.aborted) return undefined;
    this.#keep();
    this.#become({ state: "closed", reason, text, status });
    this.#life.abort();
    this.#attempt?.abort();
    this.#pause?.();
    return undefined;
  }

  #tell(type, what) { this.dispatchEvent(Object.assign(new Event(type), what)); }

  #recall() {
    try {
      return this.#storage?.getItem(this.#name) ?? "";
    } catch {
      return ""; // it is forbidden to the page
    }
  }

  #keep() {
    if (!this.#storage || !this.#cursor || this.#stored === this.#cursor) return;
    this.#stored = this.#cursor;
    try {
      this.#storage.setItem(this.#name, this.#cursor);
    } catch (error) {
      this.#storage = undefined;
      this.#tell("error", { error });
    }
  }
}

/** Blocks makes of pieces of a stream what stands between its blank lines. */
class Blocks {
  #begun = []; // pieces of a line
  #block = {};

  *of(text) {
    const lines = text.split("\n");
    this.#begun.push(lines[0]);
    if (lines.length === 1) return;
    lines[0] = this.#begun.join("");
    this.#begun = [lines.pop()];
    for (const line of lines) {
      const field = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (field !== "") {
        this.#add(field);
        continue;
      }
      const block = this.#block;
      this.#block = {};
      yield block;
    }
  }

  #add(field) {
    const colon = field.indexOf(":");
    if (colon <= 0) return; // a comment
    const name = field.slice(0, colon);
    const value = field.slice(field[colon + 1] === " " ? colon + 2 : colon + 1);
    switch (name) {
      case "data":
        this.#block.data = this.#block.data === undefined ? value : `${this.#block.data}\n${value}`;
        break;
      case "retry":
      case "heartbeat":
        this.#block[name] = Number(value);
        break;
      case "id":
      case "event":
        this.#block[name] = value;
    }
  }
}

/** A promise that fails as soon as a signal says so. */
function rejected(signal) {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
