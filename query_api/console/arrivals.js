// New events never move what somebody looks at: while somebody does, they wait, and a button says how many there are.

import { isNewer } from "./client/instants.js";
import { LIVE_EVENTS } from "./event_store.js";
import { byId, count, set, write } from "./page.js";

const TOUCHED_MS = 4_000; // a finger has no place between two touches

export class Arrivals {
  #held = []; #renew = false; #past = null; #paused = false; #pointed = false; #touchedAt = -Infinity; #isAway; #onRelease; #onDropped; #timer = null;

  /**
   * `area`: where a pointer holds them. `isAway()`: whether somebody reads further down, or by keys.
   * `onRelease(events, { renew, past })`: show these, and nothing but them where `renew`; nothing any more that is no
   * newer than the event `past`, if there is one. `onDropped(ids)`: too many waited.
   */
  constructor({ area, isAway, onRelease, onDropped }) {
    [this.#isAway, this.#onRelease, this.#onDropped] = [isAway, onRelease, onDropped];
    area.addEventListener("pointermove", ({ pointerType }) => { this.#pointed = pointerType === "mouse"; });
    area.addEventListener("pointerleave", () => {
      this.#pointed = false;
      this.look();
    });
    area.addEventListener("pointerdown", ({ pointerType }) => { if (pointerType !== "mouse") this.#touchedAt = performance.now(); });
    byId("pause").addEventListener("click", () => this.togglePause());
    byId("news").addEventListener("click", () => this.release());
  }

  start() {
    [this.#held, this.#renew, this.#past, this.#paused] = [[], false, null, false];
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.look(), 1_000);
    this.#show();
  }

  stop() {
    clearInterval(this.#timer);
  }

  get paused() {
    return this.#paused;
  }

  /** Whether the next release takes away what is shown. */
  get renews() {
    return this.#renew || this.#past !== null;
  }

  get #holds() {
    return this.#paused || this.#pointed || performance.now() - this.#touchedAt < TOUCHED_MS || this.#isAway();
  }

  /** Take new events in; where nobody looks they are shown at once. `restarted`: they take the place of all before. */
  take(events, { restarted = false, first = false } = {}) {
    if (restarted) [this.#held, this.#renew, this.#past] = [[], !first, null];
    for (const event of events) this.#held.push(event);
    if (this.#held.length > LIVE_EVENTS) this.#drop();
    if (first || !this.#holds) this.release({ quiet: true });
    else this.#show();
  }

  /** Show what waits, if nobody looks any more. */
  look() {
    if (this.#held.length && !this.#holds) this.release({ quiet: true });
  }

  /** Show what waits now. */
  release({ quiet = false } = {}) {
    const [events, renew, past] = [this.#held, this.#renew, this.#past];
    [this.#held, this.#renew, this.#past] = [[], false, null];
    if (events.length || renew) this.#onRelease(events, { renew, past, asked: !quiet });
    this.#show();
  }

  togglePause() {
    this.#paused = !this.#paused;
    if (!this.#paused) this.release({ quiet: true });
    this.#show();
  }

  // The oldest go; what is shown below them goes with the release, so that nothing in between is missing then.
  #drop() {
    this.#held.sort((a, b) => (isNewer(a, b) ? -1 : 1));
    const dropped = this.#held.splice(LIVE_EVENTS);
    if (this.#past === null || isNewer(dropped[0], this.#past)) this.#past = dropped[0];
    this.#onDropped(dropped.map((event) => event.id));
  }

  #show() {
    set(byId("pause"), "aria-pressed", String(this.#paused));
    write(byId("pause-word"), this.#paused ? "Resume" : "Pause");
    byId("news").hidden = this.#held.length === 0;
    write(byId("news"), `${count(this.#held.length)} new ${this.#held.length === 1 ? "event" : "events"}`);
  }
}
