// The events of a session that this page holds: newest first, bounded, and those among them that a filter lets through.

import { drawnAt, isNewer } from "./client/instants.js";

export const LIVE_EVENTS = 5_000; // kept of what comes by itself; the older ones can be asked for again
export const MOST_EVENTS = 50_000;
const MOST_CHARACTERS = 64_000_000; // of messages and payloads: few events may be very long
const AT_ONCE = 4_000_000; // characters that are searched before the page is drawn again

const sizeOf = (event) => (event.message ?? "").length + (event.event_data_json ?? "").length + 200;
const newestFirst = (a, b) => (isNewer(a, b) ? -1 : 1);

/** What lets events through: `text` anywhere in them, one `step`, a `range` of instants (ms); each may be null. */
export class Filter {
  #pattern;

  constructor({ text = "", step = null, range = null } = {}) {
    [this.text, this.step, this.range] = [text.trim(), step, range];
    this.#pattern = this.text ? new RegExp(this.text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"), "iu") : null;
  }

  get empty() {
    return this.#pattern === null && this.step === null && this.range === null;
  }

  lets(event) {
    if (this.step !== null && event.step_id !== this.step) return false;
    if (this.range !== null && !(drawnAt(event) >= this.range[0] && drawnAt(event) <= this.range[1])) return false;
    const pattern = this.#pattern;
    return pattern === null || [event.message, event.event_type, event.event_data_json, event.id, event.step_id].some((text) => text && pattern.test(text));
  }
}

export class EventStore {
  #events = []; #shown = this.#events; #filter = new Filter(); #bound = LIVE_EVENTS; #characters = 0; #run = 0; #late = null; #next = null; #onDropped;

  /** `onDropped(ids)`: events that were let go because there were too many, the oldest. */
  constructor({ onDropped = () => {} } = {}) {
    this.#onDropped = onDropped;
  }

  /** All events that are held, newest first. */
  get events() {
    return this.#events;
  }

  /** Those that the filter lets through, newest first. */
  get shown() {
    return this.#shown;
  }

  get filter() {
    return this.#filter;
  }

  /** Whether a filter is still being applied: then `shown` is of the filter before. */
  get searching() {
    return this.#late !== null;
  }

  /** Whether it holds as much as it may, however much is asked for. */
  get full() {
    return this.#events.length >= MOST_EVENTS || this.#characters >= MOST_CHARACTERS;
  }

  clear() {
    this.#run += 1;
    if (this.#late !== null) this.#filter = this.#next; // there is nothing left to search
    [this.#events, this.#bound, this.#characters, this.#late] = [[], LIVE_EVENTS, 0, null];
    this.#shown = this.#filter.empty ? this.#events : [];
  }

  /** Take events in; those asked for (`older`) widen the bound. */
  add(events, { older = false } = {}) {
    if (!events.length) return;
    const sorted = [...events].sort(newestFirst);
    if (older) this.#bound = Math.min(MOST_EVENTS, Math.max(this.#bound, this.#events.length + events.length));
    this.#characters += sorted.reduce((sum, event) => sum + sizeOf(event), 0);
    this.#events = merged(this.#events, sorted);
    if (this.#late !== null) this.#late.push(...sorted);
    this.#shown = this.#filter.empty ? this.#events : merged(this.#shown, sorted.filter((event) => this.#filter.lets(event)));
    this.#trim();
  }

  /** Take events that waited: in the place of all (`renew`), or in that of the event `past` and all that are older. */
  release(events, { renew = false, past = null }) {
    if (renew) this.clear();
    if (past !== null) this.#cut(past);
    this.add(events);
  }

  /** Let others through; resolves to whether this filter is the one in force by then. Long texts are searched by and by. */
  async setFilter(filter) {
    const run = (this.#run += 1), events = this.#events, found = [];
    [this.#late, this.#next] = [[], filter];
    for (let at = 0; at < events.length && !filter.empty; ) {
      for (let size = 0; at < events.length && size < AT_ONCE; at += 1) {
        size += sizeOf(events[at]);
        if (filter.lets(events[at])) found.push(events[at]);
      }
      if (at < events.length) await new Promise(requestAnimationFrame);
      if (run !== this.#run) return false;
    }
    const late = this.#late.filter((event) => filter.lets(event)).sort(newestFirst);
    [this.#filter, this.#late] = [filter, null];
    this.#shown = filter.empty ? this.#events : merged(found, late);
    this.#cutShown();
    return true;
  }

  // Lets go of this event, and of all that are older.
  #cut(event) {
    const keep = this.#events.findIndex((one) => !isNewer(one, event));
    if (keep < 0) return;
    this.#characters -= this.#events.slice(keep).reduce((sum, one) => sum + sizeOf(one), 0);
    this.#keep(keep);
  }

  #trim() {
    let keep = this.#events.length;
    while (keep > 1 && (keep > this.#bound || this.#characters > MOST_CHARACTERS * 1.5)) this.#characters -= sizeOf(this.#events[--keep]);
    if (keep < this.#events.length) this.#keep(keep);
  }

  #keep(keep) {
    const dropped = this.#events.slice(keep);
    this.#events = this.#events.slice(0, keep);
    if (this.#filter.empty) this.#shown = this.#events;
    this.#cutShown();
    this.#onDropped(dropped.map((event) => event.id));
  }

  #cutShown() {
    const oldest = this.#events.at(-1);
    if (this.#filter.empty) return;
    let keep = oldest === undefined ? 0 : this.#shown.length;
    while (keep && isNewer(oldest, this.#shown[keep - 1])) keep -= 1;
    if (keep < this.#shown.length) this.#shown = this.#shown.slice(0, keep);
  }
}

/** Two lists in order made one; the usual cases, all newer and all older, cost no comparison of each. */
export function merged(held, added) {
  if (!added.length) return held;
  if (!held.length) return added;
  if (isNewer(added.at(-1), held[0])) return added.concat(held);
  if (isNewer(held.at(-1), added[0])) return held.concat(added);
  const all = [];
  let [here, there] = [0, 0];
  while (here < held.length && there < added.length) all.push(isNewer(added[there], held[here]) ? added[there++] : held[here++]);
  return all.concat(held.slice(here), added.slice(there));
}
