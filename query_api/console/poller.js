// Polls readside as it likes to be polled: an ES module without dependencies, for the console and for your own pages.
//
//   import { EventPoller } from "https://readside.example/console/poller.js";
//
//   const poller = new EventPoller({
//     sessionId: "7d444840-9dc0-41d1-b245-5ffdce74fad2",
//     token: () => myBackend.freshToken(),           // sent as Authorization: Bearer, never in an address
//     onEvents: (events) => show(events),            // each event once, newest first
//     onState: ({ state, error }) => tell(state, error),
//   });
//   poller.start();
//
// A page of another origin than the service's needs READSIDE_CORS_ORIGINS to name it. What it does for you:
//
// - It reads the newest page, and then the session's stream by long polls: an event is handed over the moment it is
//   committed, however late that is after its timestamp. While nothing happens, that is three requests a minute.
// - Each event is handed over once, by its id. Those that are older than what you hold are left to `loadOlder()`.
// - A browser opens six connections to a host by HTTP/1.1: four pollers of a page are held at a time, others ask each second.
// - It waits Retry-After (seconds or a date) after a 429 or 503, and exponentially longer, with jitter, while nothing answers.
// - It rests while its tab is hidden, once what is held has come, and asks at once when it is shown again.
// - Where `token` is a function, it is asked for the first token, and for the next before that has ended. It is asked
//   again when the API refuses the token (401), and less and less often while it fails or gives the same one.
// - It stops, with a sentence that says why, where asking again changes nothing: 400, 403, 404, and a 401 where no
//   function can give a fresh token, or where it gives null. Where the stream can't be continued (410) it begins again.
//
// - An event's `event_data` is what JSON.parse gives, which rounds numbers past 2^53 and makes 1 of 1.0. The text as Postgres
//   holds it, digit for digit, is in `event.event_data_json`, for a parser of your choice.
// - `isNewer(a, b)` compares two events as Postgres orders them. Strings do not: `infinity`, years past 9999 and before 1 are
//   printed as Postgres prints them.
// - Where events are so large that a page of them is longer than the API sends, it asks for shorter pages.
//
// What it does not tell: that an event was updated or deleted after it was handed over.

import { Credential, headersFor, keyHeaders } from "./credential.js";
import { parseAnswer } from "./exact.js";
import { isNewer } from "./instants.js";
import { Loop, PollError, request, systemClock } from "./loop.js";

export { claimsOf, isToken } from "./credential.js";
export { isNewer } from "./instants.js";
export { Loop, PollError, request, retryAfterSeconds, systemClock, waitAfter } from "./loop.js";

const START = "-1", NOW = "now";
const HOLD_SECONDS = 20; // the API's; what outlives its token is refused
const INTERVAL_SECONDS = 1; // between reads that nobody holds
const BREATH_SECONDS = 0.1; // between news, so that a burst of commits is some answers
const MOST_HELD = 4;
const MOST_A_PAGE = 1000;
let held = 0; // of all pollers of the page

/**
 * Follows the events of one session.
 *
 * | option | meaning |
 * |---|---|
 * | `sessionId` | which session |
 * | `token` | a token that names the session, or a function that gives one, now or later (`async`), and null when there are no more; it is called with `{ signal }`. What has not a token's form is sent as a key |
 * | `apiKey` | in its place a key with the scope `read`, never for a browser of strangers; leave both out where READSIDE_AUTH is none |
 * | `baseUrl` | where the service is; by default the one that this module came from |
 * | `types` | only events of these types |
 * | `limit` | events on a page, 1–1000; 200 |
 * | `history` | `"newest"`: begin with one page, older ones by `loadOlder()`; `"all"`: begin with every event |
 * | `maxBurst` | in `newest`: past so many new events begin again with the newest page (`restarted`); 2000 |
 * | `onEvents(events, { older, restarted })` | new events, newest first; `restarted`: forget what you hold |
 * | `onState(state)` | what `Loop` tells, and `total`, `hasOlder`, `asOf`, `lagMs`, `source` of the last answer |
 * | `parse(text)` | parses an answer, in the place of what gives each event its `event_data_json` too |
 * | `fetch`, `clock`, `random`, `page` | stand-ins, for tests |
 */
export class EventPoller {
  #url; #credential; #limit; #all; #maxBurst; #types; #random; #clock; #transport; #onEvents; #onState;
  #loop; #turn = Promise.resolve(); #last = {};
  #offset = null; #events = new Map(); #older = 0; #floor = null; #begun = false; #burst = 0; #passed = 0; #counted = 0;

  constructor({
    sessionId, token = null, apiKey = null, baseUrl = new URL("..", import.meta.url), types = [], limit = 200,
    history = "newest", maxBurst = 2000, mostSeconds = 30, onEvents = () => {}, onState = () => {},
    parse = parseAnswer, fetch = (...given) => globalThis.fetch(...given), clock = systemClock, random = Math.random, page = globalThis.document,
  }) {
    const base = String(baseUrl).replace(/\/*$/, "/");
    this.#url = new URL(`api/v2/sessions/${encodeURIComponent(sessionId)}/`, base);
    if (token !== null && apiKey !== null) throw new TypeError("Give a token or an apiKey, not both.");
    this.#credential = new Credential(token ?? apiKey, { headers: apiKey === null ? headersFor : keyHeaders, clock, random });
    this.#types = types.map((type) => ["event_type", type]);
    [this.#limit, this.#all, this.#maxBurst] = [limit, history === "all", history === "all" ? Infinity : maxBurst];
    [this.#onEvents, this.#onState] = [onEvents, onState];
    [this.#random, this.#clock, this.#transport] = [random, clock, { fetch, clock, parse }];
    this.#loop = new Loop((signal) => this.#round(signal), {
      clock, random, page, mostSeconds, onState: (told) => this.#onState({ ...this.#last, total: this.#events.size + this.#older, hasOlder: this.hasOlder, ...told }),
    });
  }

  start() { this.#loop.start(); }
  stop() { this.#loop.stop(); }
  pause() { this.#loop.pause(); }
  resume() { this.#loop.resume(); }
  hurry() { this.#loop.hurry(); }

  /** Whether the session has events older than those handed over. */
  get hasOlder() {
    return this.#older > 0;
  }

  /** Hand over the next page of older events; resolves to how many there were. Rejects with a PollError. */
  loadOlder() {
    const done = this.#turn.then(() => this.#fitting(() => this.#loadOlder()));
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
    const live = held < MOST_HELD && this.#credential.lasts(HOLD_SECONDS), asked = this.#clock.now(), behind = this.#offset;
    held += live;
    try {
      this.#offset = await this.#stream(behind, live, signal);
    } catch (error) {
      if (error.status !== 410 || behind === START) throw error;
      [this.#offset, this.#begun] = [null, false];
      return INTERVAL_SECONDS * this.#random();
    } finally {
      held -= live;
    }
    if (this.#passed !== this.#counted) await this.#count(signal);
    if (this.#burst >= this.#maxBurst) this.#offset = null;
    if (this.#burst > 0) return 0;
    if (live && this.#offset !== behind) return BREATH_SECONDS;
    return live && this.#clock.now() - asked >= INTERVAL_SECONDS * 1000 ? 0 : INTERVAL_SECONDS * (1 + 0.1 * this.#random());
  }

  // Where the stream ends; then the newest page, as of later than that. What is in both is told by its id.
  async #begin(signal) {
    if (this.#all) {
      [this.#events, this.#offset] = [new Map(), START];
      return 0;
    }
    const { headers } = await this.#read("stream", [["offset", NOW]], signal);
    const { items, total } = await this.#fitting(() => this.#page(1, this.#limit, signal));
    [this.#offset, this.#begun, this.#burst] = [headers.get("Stream-Next-Offset"), false, 0];
    [this.#events, this.#older, this.#floor] = [new Map(), total - items.length, items.at(-1) ?? null];
    this.#hand(items, false);
    return 0;
  }

  async #stream(behind, live, signal) {
    const { headers, body } = await this.#read("stream", [["offset", behind], ...(live ? [["live", "long-poll"]] : [])], signal);
    const each = new Map((body ?? []).map((event) => [event.id, event])); // updated meanwhile, one may be there twice
    const fresh = [...each.values()].filter(({ id }) => !this.#events.has(id));
    const ours = this.#older > 0 ? fresh.filter((event) => isNewer(event, this.#floor)) : fresh;
    this.#passed += fresh.length - ours.length; // they are left to loadOlder()
    this.#burst = headers.has("Stream-Up-To-Date") ? 0 : this.#burst + fresh.length + 1;
    ours.sort((a, b) => (isNewer(a, b) ? -1 : 1));
    if (ours.length || !this.#begun) this.#hand(ours, false);
    return headers.get("Stream-Next-Offset");
  }

  // What is older than what we hold came or was updated: only a page tells how many there are now.
  async #count(signal) {
    const passed = this.#passed, { items, total } = await this.#page(1, 1, signal);
    if (!items.every(({ id }) => this.#events.has(id))) return; // it is ahead of what we hold
    [this.#older, this.#counted] = [Math.max(0, total - this.#events.size), passed];
  }

  async #loadOlder() {
    const events = this.#events;
    for (let page = Math.floor(events.size / this.#limit) + 1; this.#begun && this.hasOlder; page += 1) {
      const passed = this.#passed, { items, pagination } = await this.#page(page, this.#limit);
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

  // As of no earlier than what we know: another worker may be behind the one that answered last.
  async #page(page, limit, signal = undefined) {
    const parameters = [["limit", limit], ...(page > 1 ? [["page", page]] : [])];
    return (await this.#read("events", parameters, signal, { "Readside-Not-Before": this.#last.asOf })).body;
  }

  async #read(what, parameters, signal, headers = {}) {
    const url = new URL(what, this.#url);
    for (const [name, value] of [...this.#types, ...parameters]) url.searchParams.append(name, value);
    const answer = await this.#ask(url, headers, signal);
    if (what === "stream" && !answer.headers.has("Stream-Next-Offset")) throw new PollError("The answer is some proxy's perhaps.");
    const lag = answer.headers.get("Readside-Lag-Ms");
    Object.assign(this.#last, {
      asOf: answer.headers.get("Readside-As-Of"),
      lagMs: lag === null ? null : Number(lag),
      source: answer.headers.get("Readside-Source"),
    });
    return answer;
  }

  // A token that was good and is refused has ended: the question is put again with a fresh one.
  async #ask(url, headers, signal) {
    for (;;) {
      const shown = await this.#credential.current(signal);
      signal?.throwIfAborted(); // it may have taken long
      try {
        const answer = await request(url, { headers: { ...headers, ...shown }, signal, ...this.#transport });
        this.#credential.accepted();
        return answer;
      } catch (error) {
        if (error.status !== 401 || !this.#credential.renews) throw error;
        if (!this.#credential.refused(error)) throw this.#credential.later();
      }
    }
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
