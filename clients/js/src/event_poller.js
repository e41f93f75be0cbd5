// The newest page of a session, joined with its stream: what a page shows that follows a session and looks back by pages.
//
// - It reads the newest page, and then the session's stream by long polls: an event is handed over the moment it is
//   committed, however late that is after its timestamp. While nothing happens, that is three requests a minute.
// - Each event is handed over once, by its id. Those that are older than what you hold are left to `loadOlder()`.
// - A browser opens six connections to a host by HTTP/1.1: four pollers of a page are held at a time, others ask each second.
// - It waits Retry-After (a second or more, or a date) after a 429 or 503, else exponentially longer, with jitter.
// - It rests while its tab is hidden, once what is held has come, and asks at once when it is shown again.
// - `getToken` is asked for the first token, and for the next before that has ended. It is asked again when the API
//   refuses the token (401), and less and less often while it fails or gives the same one.
// - It stops, with a sentence that says why, where asking again changes nothing: 400, 403, 404, and a 401 where no
//   function can give a fresh token, or where it gives null. Where the stream can't be continued (410) it begins again.
// - Where events are so large that a page of them is longer than the API sends, it asks for shorter pages.
//
// What it does not tell: that an event was updated or deleted after it was handed over.

import { Connection, freshnessOf, pageOf, typesAsked } from "./connection.js";
import { isNewer } from "./instants.js";
import { Loop, systemClock } from "./loop.js";
import { NOW, START, StreamReader } from "./stream_reader.js";

const RESTART_SECONDS = 1; // spread over so long: a promotion ends everybody's stream at once
const MOST_A_PAGE = 1000;

/**
 * Follows the events of one session.
 *
 * | option | meaning |
 * |---|---|
 * | `sessionId` | which session |
 * | `baseUrl` | where the API is, its path prefix included |
 * | `getToken` | a function that gives a token that names the session, now or later (`async`), and null when there are no more; it is called with `{ signal }` |
 * | `token` | in its place one token. What has not a token's form is sent as a key |
 * | `apiKey` | in their place a key with the scope `read`, never for a browser of strangers; leave all three out where READSIDE_AUTH is none |
 * | `types` | only events of these types |
 * | `limit` | events on a page, 1–1000; 200 |
 * | `history` | `"newest"`: begin with one page, older ones by `loadOlder()`; `"all"`: begin with every event |
 * | `maxBurst` | in `newest`: past so many new events begin again with the newest page (`restarted`); 2000 |
 * | `onEvents(events, { older, restarted })` | new events, newest first; `restarted`: forget what you hold |
 * | `onState(state)` | what `Loop` tells, and `total`, `hasOlder`, `asOf`, `lagMs`, `source` of the last answer |
 * | `parse(text)` | parses an answer, in the place of what gives each event its `event_data_json` too |
 * | `mostSeconds` | the longest wait between two tries while nothing answers; 30 |
 * | `mostHeld` | held reads of all pollers together; 4 in a browser. More do where the API is reached by HTTP/2 |
 * | `fetch`, `clock`, `random`, `page` | stand-ins; `clock` has what `systemClock` has, `page` tells that the tab is hidden |
 */
export class EventPoller {
  #connection; #reader; #limit; #all; #maxBurst; #types; #random; #onEvents; #onState;
  #loop; #turn = Promise.resolve(); #last = {};
  #offset = null; #events = new Map(); #older = 0; #floor = null; #begun = false; #burst = 0; #passed = 0; #counted = 0;

  constructor({
    sessionId, types = [], limit = 200, history = "newest", maxBurst = 2000, mostSeconds = 30, mostHeld,
    onEvents = () => {}, onState = () => {}, clock = systemClock, random = Math.random, page = globalThis.document, ...access
  }) {
    this.#connection = new Connection(sessionId, { ...access, clock, random });
    this.#reader = new StreamReader(this.#connection, { types, clock, random, mostHeld });
    this.#types = typesAsked(types);
    [this.#limit, this.#all, this.#maxBurst] = [limit, history === "all", history === "all" ? Infinity : maxBurst];
    [this.#onEvents, this.#onState, this.#random] = [onEvents, onState, random];
    this.#loop = new Loop((signal) => this.#round(signal), {
      clock, random, page, mostSeconds, onState: (told) => this.#onState({ ...this.#last, total: this.#events.size + this.#older, hasOlder: this.hasOlder, ...told }),
    });
  }

  start() { this.#loop.start(); }
  stop() { this.#loop.stop(); }
  pause() { this.#loop.pause(); }
  resume() { this.#loop.resume(); }
  hurry() { this.#loop.hurry(); }

  /** Whether the session has events older than those handed over; false once it is stopped, since `loadOlder()` brings none then. */
  get hasOlder() {
    return this.#loop.running && this.#older > 0;
  }

  /** Hand over the next page of older events; resolves to how many there were, 0 once it is stopped. Rejects with a ReadsideError. */
  async loadOlder() {
    const { signal } = this.#loop;
    if (signal === null) return 0;
    const done = this.#turn.then(() => this.#fitting(() => this.#loadOlder(signal))).catch((error) => {
      if (!signal.aborted) throw error;
      return 0;
    });
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Take note that the consumer no longer holds these events, its oldest: `loadOlder()` brings them again. */
  forget(ids) {
    for (const id of ids) {
      const event = this.#events.get(id);
      if (!this.#events.delete(id)) continue;
      this.#older += 1;
      if (this.#floor === null || isNewer(event, this.#floor)) this.#floor = event;
    }
  }

  // One read of the stream. It gives the seconds to wait before the next.
  async #round(signal) {
    if (this.#offset === null) return this.#begin(signal);
    const behind = this.#offset;
    let rest;
    try {
      rest = await this.#stream(behind, signal);
    } catch (error) {
      if (error.status !== 410 || behind === START) throw error;
      [this.#offset, this.#begun] = [null, false];
      return RESTART_SECONDS * this.#random();
    }
    if (this.#passed !== this.#counted) await this.#count(signal);
    if (this.#burst >= this.#maxBurst) this.#offset = null;
    return rest;
  }

  // Where the stream ends; then the newest page, as of later than that. What is in both is told by its id.
  async #begin(signal) {
    if (this.#all) {
      [this.#events, this.#offset] = [new Map(), START];
      return 0;
    }
    const { offset, headers } = await this.#reader.read(NOW, signal);
    signal.throwIfAborted();
    this.#note(headers);
    const { items, total } = await this.#fitting(() => this.#page(1, this.#limit, signal));
    [this.#offset, this.#begun, this.#burst] = [offset, false, 0];
    [this.#events, this.#older, this.#floor] = [new Map(), total - items.length, items.at(-1) ?? null];
    this.#hand(items, false);
    return 0;
  }

  async #stream(behind, signal) {
    const { events, offset, upToDate, restSeconds, headers } = await this.#reader.read(behind, signal);
    signal.throwIfAborted();
    this.#note(headers);
    const each = new Map(events.map((event) => [event.id, event])); // updated meanwhile, one may be there twice
    const fresh = [...each.values()].filter(({ id }) => !this.#events.has(id));
    const ours = this.#older > 0 ? fresh.filter((event) => isNewer(event, this.#floor)) : fresh;
    this.#passed += fresh.length - ours.length; // they are left to loadOlder()
    this.#burst = upToDate ? 0 : this.#burst + fresh.length + 1;
    this.#offset = offset;
    ours.sort((a, b) => (isNewer(a, b) ? -1 : 1));
    if (ours.length || !this.#begun) this.#hand(ours, false);
    return restSeconds;
  }

  // What is older than what we hold came or was updated: only a page tells how many there are now.
  async #count(signal) {
    const passed = this.#passed, { items, total } = await this.#page(1, 1, signal);
    if (!items.every(({ id }) => this.#events.has(id))) return; // it is ahead of what we hold
    [this.#older, this.#counted] = [Math.max(0, total - this.#events.size), passed];
  }

  async #loadOlder(signal) {
    signal.throwIfAborted();
    const events = this.#events;
    for (let page = Math.floor(events.size / this.#limit) + 1; this.#begun && this.hasOlder; page += 1) {
      const passed = this.#passed, { items, pagination } = await this.#page(page, this.#limit, signal);
      if (events !== this.#events) return 0; // it has begun again meanwhile
      if (passed !== this.#passed) {
        page -= 1; // what was passed over meanwhile may belong to this page, and is not in it
        continue;
      }
      const fresh = items.filter((event) => !events.has(event.id));
      this.#older = pagination.has_next ? Math.max(1, this.#older - fresh.length) : 0;
      if (items.length && isNewer(this.#floor, items.at(-1))) this.#floor = items.at(-1); // it may be ahead of the stream
      if (fresh.length) this.#hand(fresh, true);
      if (fresh.length) return fresh.length;
    }
    return 0;
  }

  #hand(events, older) {
    const restarted = !this.#begun;
    this.#begun = true;
    for (const { id, timestamp } of events) this.#events.set(id, { id, timestamp }); // no more is kept of them
    this.#onEvents(events, { older, restarted });
  }

  // As of no earlier than what we know: another worker may be behind the one that answered last. What comes once it is stopped
  // counts no more: it may be started again, or another poller in its place.
  async #page(page, limit, signal) {
    const parameters = [...this.#types, ["limit", limit], ...(page > 1 ? [["page", page]] : [])];
    const { headers, body } = await this.#connection.ask("events", {
      parameters, headers: { "Readside-Not-Before": this.#last.asOf }, signal,
    });
    signal.throwIfAborted();
    this.#note(headers);
    return pageOf(body);
  }

  #note(headers) {
    Object.assign(this.#last, freshnessOf(headers));
  }

  // Pages of large events may be longer than the API sends: it then refuses the limit.
  async #fitting(work) {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (error.parameter !== "limit" || !(this.#limit > 1 && this.#limit <= MOST_A_PAGE)) throw error;
        this.#limit = Math.floor(this.#limit / 2);
      }
    }
  }
}
