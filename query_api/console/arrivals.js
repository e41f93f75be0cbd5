// New events never move what somebody looks at: while somebody does, they wait, and a button says how many there are.

import { LIVE_EVENTS } from "./event_store.js";
import { byId, count, set, write } from "./page.js";

const TOUCHED_MS = 4_000; // a finger has no place between two touches

export class Arrivals {
  #held = []; #renew = false; #paused = false; #pointed = false; #touchedAt = -Infinity; #isAway; #onRelease; #onDropped; #timer = null;

  /**
   * `area`: where a pointer holds them. `isAway()`: whether somebody reads further down, or by keys.
   * `onRelease(events, { renew })`: show these, and nothing but them where `renew`. `onDropped(ids)`: too many waited.
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
    [this.#held, this.#renew, this.#paused] = [[], false, false];
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

  /** Whether the next release begins with an empty list. */
  get renews() {
    return this.#renew;
  }

  get #holds() {
    return this.#paused || this.#pointed || performance.now() - this.#touchedAt < TOUCHED_MS || this.#isAway();
  }

  /** Take new events in; where nobody looks they are shown at once. `restarted`: they take the place of all before. */
  take(events, { restarted = false, first = false } = {}) {
    if (restarted) [this.#held, this.#renew] = [[], !first];
    for (const event of events) this.#held.push(event);
    if (this.#held.length > LIVE_EVENTS) {
      const dropped = this.#held.splice(0, this.#held.length - LIVE_EVENTS);
      this.#onDropped(dropped.map((event) => event.id));
    }
    if (first || !this.#holds) this.release({ quiet: true });
    else this.#show();
  }

  /** Show what waits, if nobody looks any more. */
  look() {
    if (this.#held.length && !this.#holds) this.release({ quiet: true });
  }

  /** Show what waits now. */
  release({ quiet = false } = {}) {
    const [events, renew] = [this.#held, this.#renew];
    [this.#held, this.#renew] = [[], false];
    if (events.length || renew) this.#onRelease(events, { renew, asked: !quiet });
    this.#show();
  }

  togglePause() {
    this.#paused = !this.#paused;
    if (!this.#paused) this.release({ quiet: true });
    this.#show();
  }

  #show() {
    set(byId("pause"), "aria-pressed", String(this.#paused));
    write(byId("pause-word"), this.#paused ? "Resume" : "Pause");
    byId("news").hidden = this.#held.length === 0;
    write(byId("news"), `${count(this.#held.length)} new ${this.#held.length === 1 ? "event" : "events"}`);
  }
}
