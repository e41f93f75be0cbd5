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
// - It asks with If-None-Match: a poll that finds nothing new is a 304 without a body.
// - It waits X-Poll-Interval seconds between polls, Retry-After (seconds or a date) after a 429 or 503, and
//   exponentially longer, with jitter, while nothing answers.
// - It never asks for "later than the newest that I have": timestamps are set before the commit, so such polls miss
//   events on any server. It polls the newest page and compares the exact `total` with what it holds; a burst larger
//   than a page, or an event that was committed late, makes it read on until the two agree.
// - Each event is handed over once, by its id.
// - It rests while its tab is hidden, and asks at once when it is shown again.
// - Where `token` is a function, it is asked for the first token, and for the next before that has ended. It is asked
//   again when the API refuses the token (401), and less and less often while it fails or gives the same one.
// - It stops, with a sentence that says why, where asking again changes nothing: 400, 403, 404, and a 401 where no
//   function can give a fresh token, or where it gives null.
//
// - An event's `event_data` is what JSON.parse gives, which rounds numbers past 2^53 and makes 1 of 1.0. The text as Postgres
//   holds it, digit for digit, is in `event.event_data_json`, for a parser of your choice.
// - `isNewer(a, b)` compares two events as Postgres orders them. Strings do not: `infinity`, years past 9999 and before 1 are
//   printed as Postgres prints them.
// - Where events are so large that a page of them is longer than the API sends, it asks for shorter pages.
//
// What it does not promise: events are only ever added to a session, and are purged with it. Where single events are
// deleted while others are added, `total` may stay as it was, and an event may be passed over.

import { Credential, headersFor, keyHeaders } from "./credential.js";
import { parseAnswer } from "./exact.js";
import { Loop, request, systemClock } from "./loop.js";

export { claimsOf, isToken } from "./credential.js";
export { isNewer } from "./instants.js";
export { Loop, PollError, request, retryAfterSeconds, systemClock, waitAfter } from "./loop.js";

const DEFAULT_INTERVAL_SECONDS = 1;
const BEHIND_SECONDS = 30;
const MOST_A_PAGE = 1000;

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
 * | `since` | only events with a later timestamp: a fixed bound, ISO 8601 with an offset |
 * | `limit` | events on a page, 1–1000; 200 |
 * | `history` | `"newest"`: begin with one page, older ones by `loadOlder()`; `"all"`: begin with every event |
 * | `maxBurst` | in `newest`: past so many new events begin again with the newest page (`restarted`); 2000 |
 * | `onEvents(events, { older, restarted })` | new events, newest first; `restarted`: forget what you hold |
 * | `onRemoved(ids)` | events that are gone from the session |
 * | `onState(state)` | what `Loop` tells, and `total`, `hasOlder`, `asOf`, `lagMs`, `source` of the last answer |
 * | `parse(text)` | parses an answer, in the place of what gives each event its `event_data_json` too |
 * | `fetch`, `clock`, `random`, `page` | stand-ins, for tests |
 */
export class EventPoller {
  #url; #credential; #limit; #all; #maxBurst; #query; #random; #transport;
  #onEvents; #onRemoved; #onState;
  #loop; #turn = Promise.resolve();
  #etag = ""; #seen = new Set(); #older = 0; #begun = false; #last = {};
  #clock; #asOf = ""; #asOfAt = 0; #doubted = false;

  constructor({
    sessionId, token = null, apiKey = null, baseUrl = new URL("..", import.meta.url), types = [], since = null, limit = 200,
    history = "newest", maxBurst = 2000, mostSeconds = 30, onEvents = () => {}, onRemoved = () => {}, onState = () => {},
    parse = parseAnswer, fetch = (...given) => globalThis.fetch(...given), clock = systemClock, random = Math.random, page = globalThis.document,
  }) {
    const base = String(baseUrl).replace(/\/*$/, "/");
    this.#url = new URL(`api/v2/sessions/${encodeURIComponent(sessionId)}/events`, base);
    if (token !== null && apiKey !== null) throw new TypeError("Give a token or an apiKey, not both.");
    this.#credential = new Credential(token ?? apiKey, { headers: apiKey === null ? headersFor : keyHeaders, clock, random });
    this.#query = [...types.map((type) => ["event_type", type]), ...(since === null ? [] : [["since", since]])];
    [this.#limit, this.#all, this.#maxBurst] = [limit, history === "all", history === "all" ? Infinity : maxBurst];
    [this.#onEvents, this.#onRemoved, this.#onState] = [onEvents, onRemoved, onState];
    [this.#random, this.#clock, this.#transport] = [random, clock, { fetch, clock, parse }];
    this.#loop = new Loop((signal) => this.#exclusive(() => this.#fitting(() => this.#round(signal))), {
      clock, random, page, mostSeconds, onState: (told) => this.#onState({ ...this.#last, ...told }),
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
    return this.#exclusive(() => this.#fitting(async () => {
      for (let page = Math.floor(this.#seen.size / this.#limit) + 1; this.#begun && this.hasOlder; page += 1) {
        const { body } = await this.#read(page);
        const fresh = this.#news(body.items);
        // Too small a number makes the next round read on; too large a one would hide an event.
        this.#older = body.pagination.has_next ? Math.max(0, this.#older - fresh.length) : 0;
        if (fresh.length) this.#hand(fresh, { older: true, restarted: false });
        if (fresh.length) return fresh.length;
      }
      return 0;
    }));
  }

  /** Take note that the consumer no longer holds these events, its oldest: `loadOlder()` brings them again. */
  forget(ids) {
    for (const id of ids) if (this.#seen.delete(id)) this.#older += 1;
  }

  // One round: the newest page, and then on until we hold all that it says there is. It gives the seconds to wait.
  async #round(signal) {
    let first = null, last = null, shrunk = false, news = 0;
    const met = new Set(), beginning = !this.#begun;
    for (let page = 1; ; page += 1) {
      const { status, headers, body } = await this.#read(page, page === 1 ? this.#etag : "", signal);
      if (status === 304) return this.#interval(headers);
      if (page === 1 && this.#isBehind(headers)) return this.#interval(headers);
      first ??= { total: body.total, etag: headers.get("ETag") ?? "", items: body.items, headers };
      shrunk ||= last !== null && body.total < last;
      last = body.total;
      for (const event of body.items) met.add(event.id);
      const fresh = this.#news(body.items);
      if (beginning && !this.#all) this.#older = Math.max(0, first.total - this.#seen.size);
      // Page by page: should a later one fail, what was counted as seen has been handed over.
      if (fresh.length || !this.#begun) this.#hand(fresh, { older: false, restarted: !this.#begun });
      this.#begun = true;
      if (first.total - this.#seen.size === this.#older && !shrunk) {
        this.#doubted = false;
        break;
      }
      // What was added meanwhile pushes what we hold down: read so much further.
      const held = this.#all ? Infinity : this.#seen.size + Math.max(0, last - first.total);
      if (!body.pagination.has_next || page * this.#limit >= held) {
        shrunk ||= !this.#settle(met, first.total);
        break;
      }
      news += fresh.length;
      if (!beginning && news >= this.#maxBurst) {
        this.#restart(first);
        break;
      }
    }
    this.#etag = shrunk ? "" : first.etag; // what we hold is in doubt: look at every page again
    return this.#interval(first.headers);
  }

  // Another worker may be behind the one that answered last: what it does not have yet is not gone.
  #isBehind(headers) {
    const asOf = headers.get("Readside-As-Of") ?? "", now = this.#clock.now();
    if (asOf < this.#asOf && now - this.#asOfAt < BEHIND_SECONDS * 1000) return true;
    [this.#asOf, this.#asOfAt] = [asOf, now];
    return false;
  }

  // The pages read hold all that we held. What was not among them, twice, is gone; the rest of the total is older.
  #settle(met, total) {
    const gone = [...this.#seen].filter((id) => !met.has(id));
    this.#doubted = gone.length > 0 && !this.#doubted;
    if (this.#doubted) return false;
    for (const id of gone) this.#seen.delete(id);
    this.#older = this.#all ? 0 : Math.max(0, total - this.#seen.size);
    if (gone.length) this.#onRemoved(gone);
    return true;
  }

  #restart(first) {
    this.#seen = new Set(first.items.map((event) => event.id));
    this.#older = Math.max(0, first.total - this.#seen.size);
    this.#hand(first.items, { older: false, restarted: true });
  }

  #news(items) {
    const fresh = items.filter((event) => !this.#seen.has(event.id));
    for (const event of fresh) this.#seen.add(event.id);
    return fresh;
  }

  #hand(events, told) {
    this.#last.hasOlder = this.hasOlder;
    this.#onEvents(events, told);
  }

  async #read(page, etag = "", signal = undefined) {
    const url = new URL(this.#url);
    for (const [name, value] of this.#query) url.searchParams.append(name, value);
    url.searchParams.append("limit", this.#limit);
    if (page > 1) url.searchParams.append("page", page);
    const answer = await this.#ask(url, etag ? { "If-None-Match": etag } : {}, signal);
    const lag = answer.headers.get("Readside-Lag-Ms");
    Object.assign(this.#last, {
      asOf: answer.headers.get("Readside-As-Of"),
      lagMs: lag === null ? null : Number(lag),
      source: answer.headers.get("Readside-Source"),
      ...(answer.body ? { total: answer.body.total } : {}),
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

  // Never sooner than the server likes; a little later, each by its own chance, so that many pages do not ask at once.
  #interval(headers) {
    this.#last.hasOlder = this.hasOlder;
    const seconds = Number(headers.get("X-Poll-Interval") ?? DEFAULT_INTERVAL_SECONDS) || DEFAULT_INTERVAL_SECONDS;
    return seconds * (1 + 0.1 * this.#random());
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

  // Rounds and older pages take turns: both count what is held.
  #exclusive(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}
