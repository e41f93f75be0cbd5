// A session's events as an async iterator: each once, in the order in which they arrive.

import { Connection, freshnessOf } from "./connection.js";
import { Loop, systemClock, waitAfter } from "./loop.js";
import { START, StreamReader } from "./stream_reader.js";

const REMEMBERED = 100_000;

/**
 * Follow a session's events: those that are there, then each the moment it is committed. It goes on until `signal` is
 * aborted or the loop is left, and throws a ReadsideError where asking again changes nothing.
 *
 * Each event has, not enumerable, `event_data_json` and `offset`: behind which to go on once it has been handled.
 */
export function follow(session, options) {
  const batches = followBatches(session, options);
  let waiting = [];
  const next = async () => {
    while (waiting.length === 0 || options.signal?.aborted) {
      const { value, done } = await batches.next();
      if (done) return { value: undefined, done };
      waiting = [...value.events].reverse();
    }
    return { value: waiting.pop(), done: false };
  };
  let turn = Promise.resolve();
  return iterator({
    next: () => (turn = turn.then(next, next)),
    leave: () => ((waiting = []), batches.return()),
  });
}

/**
 * Follow a session by whole answers: `{ events, offset, upToDate, freshness }`, those without events too, so that a page can
 * say how fresh it is. `offset` is where to go on once all of them have been handled.
 */
export function followBatches(session, options) {
  const following = new Following(session, options);
  return iterator({ next: () => following.next(), leave: () => following.end() });
}

const iterator = ({ next, leave }) => ({
  next,
  async return(value) {
    await leave();
    return { value, done: true };
  },
  async throw(error) {
    await leave();
    throw error;
  },
  [Symbol.asyncIterator]() {
    return this;
  },
});

// The loop reads, and rests until what it has read is asked for: nothing piles up behind a slow reader.
class Following {
  #reader; #loop; #signal; #random; #restart; #versions; #offset; #knowsAll;
  #asked = []; #wake = null; #over = false; #error = null; #restarts = 0;

  constructor(session, {
    types = [], offset = START, restart = false, remember = REMEMBERED, signal = null, onState = () => {}, mostSeconds, mostHeld,
    clock = systemClock, random = Math.random, page = globalThis.document, ...access
  } = {}) {
    this.#reader = new StreamReader(new Connection(session, { ...access, clock, random }), { types, clock, random, mostHeld });
    [this.#signal, this.#random, this.#restart] = [signal, random, restart];
    [this.#versions, this.#offset, this.#knowsAll] = [new Versions(remember), offset, offset === START];
    this.#loop = new Loop((stop) => this.#read(stop), {
      clock, random, page, mostSeconds, onState: (told) => (told.state === "stopped" && this.#end(told.error), onState(told)),
    });
  }

  next() {
    if (this.#signal?.aborted) this.end();
    if (this.#over) return this.#answer();
    return new Promise((...ways) => {
      this.#asked.push(ways);
      if (!this.#loop.running) this.#begin();
      this.#wake?.();
    });
  }

  end = () => {
    if (this.#loop.running) this.#loop.stop();
    else this.#end(null);
  };

  #begin() {
    this.#signal?.addEventListener("abort", this.end, { once: true });
    this.#loop.start();
  }

  #end(error) {
    [this.#over, this.#error] = [true, error];
    this.#signal?.removeEventListener("abort", this.end);
    for (const [give, fail] of this.#asked.splice(0)) this.#answer().then(give, fail);
    this.#wake?.();
  }

  // An error is thrown once; then it is the end, as it is of a generator.
  async #answer() {
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw error;
    return { value: undefined, done: true };
  }

  // One read. It gives the seconds to rest before the next.
  async #read(stop) {
    await this.#wanted();
    if (stop.aborted) return 0;
    try {
      const { events, offset, upToDate, restSeconds, headers } = await this.#reader.read(this.#offset, stop);
      stop.throwIfAborted();
      const fresh = events.filter((event) => this.#isNew(event));
      this.#mark(fresh, offset);
      if (this.#offset !== START) this.#restarts = 0;
      this.#offset = offset;
      const [give] = this.#asked.shift();
      give({ value: { events: fresh, offset, upToDate, freshness: freshnessOf(headers) }, done: false });
      return restSeconds;
    } catch (error) {
      if (!(error.status === 410 && this.#offset !== START && (this.#knowsAll || this.#restart))) throw error;
      [this.#offset, this.#restarts] = [START, this.#restarts + 1];
      return waitAfter(error, this.#restarts, { random: this.#random });
    }
  }

  // To resume behind the others, which bear the offset that was asked, repeats some and misses none.
  #mark(events, offset) {
    for (const event of events) {
      const value = event === events.at(-1) ? offset : this.#offset;
      Object.defineProperty(event, "offset", { value, configurable: true, writable: true });
    }
  }

  async #wanted() {
    while (this.#asked.length === 0 && !this.#over) {
      await new Promise((done) => { this.#wake = done; });
      this.#wake = null;
    }
  }

  #isNew(event) {
    const isNew = this.#versions.take(event);
    if (this.#versions.forgot) this.#knowsAll = false;
    return isNew;
  }
}

/** Which version of which event was given, for the newest so many. */
class Versions {
  #most; #known = new Map();
  forgot = false;

  constructor(most) {
    this.#most = most;
  }

  /** Whether this version of an event was not given yet; it is remembered. */
  take(event) {
    const version = hashOf(JSON.stringify([event.step_id, event.event_type, event.message, event.timestamp, event.event_data_json]));
    const isNew = this.#known.get(event.id) !== version;
    this.#known.delete(event.id);
    this.#known.set(event.id, version);
    if (this.#known.size > this.#most) {
      this.#known.delete(this.#known.keys().next().value);
      this.forgot = true;
    }
    return isNew;
  }
}

// 53 bits of a text, by two multiplications of 32 (cyrb53): texts of the same event that are not the same differ in it.
function hashOf(text) {
  let [high, low] = [0xdeadbeef, 0x41c6ce57];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    [high, low] = [Math.imul(high ^ code, 2654435761), Math.imul(low ^ code, 1597334677)];
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return 4294967296 * (2097151 & low) + (high >>> 0);
}
