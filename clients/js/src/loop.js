// A loop that waits, backs off, rests while its tab is hidden, and stops.

import { ReadsideError } from "./errors.js";

const LONGEST_WAIT_SECONDS = 3600; // whoever asks for more has a wrong clock

export const systemClock = {
  now: () => Date.now(),
  setTimeout: (work, milliseconds) => setTimeout(work, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** Seconds that a Retry-After header asks for, be it a number or an HTTP date; null where it says nothing. */
export function retryAfterSeconds(value, nowMs) {
  const text = (value ?? "").trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text), LONGEST_WAIT_SECONDS);
  const instant = Date.parse(text);
  if (Number.isNaN(instant)) return null;
  return Math.min(Math.max(0, (instant - nowMs) / 1000), LONGEST_WAIT_SECONDS);
}

/** Seconds to wait after the n-th failure in a row: exponential up to `most`, with jitter; never less than asked for. */
export function waitAfter(error, failures, { random = Math.random, base = 1, most = 30 } = {}) {
  if (error.retryAfterSeconds !== null) return error.retryAfterSeconds * (1 + 0.2 * random());
  return Math.min(most, base * 2 ** (failures - 1)) * (0.5 + 0.5 * random());
}

/**
 * Runs `step(signal)` again and again. It resolves to the seconds until the next one, or rejects with a ReadsideError.
 *
 * `onState({ state, error, retryInSeconds })`: `running`, `waiting` (the last step failed; it goes on by itself),
 * `hidden`, `paused`, or `stopped` for good (with the error, where one is the reason).
 */
export class Loop {
  #step; #onState; #clock; #random; #page; #most;
  #abort = null; #timer = null; #busy = false; #paused = false; #failures = 0; #due = 0;

  constructor(step, {
    onState = () => {}, clock = systemClock, random = Math.random, page = globalThis.document, mostSeconds = 30,
  } = {}) {
    [this.#step, this.#onState, this.#clock, this.#random, this.#page] = [step, onState, clock, random, page];
    this.#most = mostSeconds;
  }

  get running() {
    return this.#abort !== null;
  }

  start() {
    if (this.running) return;
    this.#abort = new AbortController();
    [this.#failures, this.#due, this.#paused] = [0, 0, false];
    this.#page?.addEventListener("visibilitychange", this.#look);
    this.#schedule();
  }

  stop(error = null) {
    if (!this.running) return;
    this.#abort.abort();
    this.#abort = null;
    this.#page?.removeEventListener("visibilitychange", this.#look);
    this.#cancel();
    this.#onState({ state: "stopped", error, retryInSeconds: null });
  }

  pause() {
    this.#paused = true;
    this.#look();
  }

  resume() {
    this.#paused = false;
    this.#look();
  }

  /** Take the next step now instead of when it is due. */
  hurry() {
    this.#due = 0;
    this.#look();
  }

  #look = () => {
    if (!this.running || this.#busy) return;
    this.#cancel();
    this.#schedule();
  };

  #schedule() {
    const hidden = this.#page?.visibilityState === "hidden";
    if (this.#paused || hidden) {
      this.#onState({ state: this.#paused ? "paused" : "hidden", error: null, retryInSeconds: null });
      return;
    }
    this.#timer = this.#clock.setTimeout(() => this.#go(this.#abort), Math.max(0, this.#due - this.#clock.now()));
  }

  #cancel() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #go(abort) {
    [this.#timer, this.#busy] = [null, true];
    let seconds, told;
    try {
      seconds = await this.#step(abort.signal);
      this.#failures = 0;
      told = { state: "running", error: null, retryInSeconds: null };
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof ReadsideError) || error.final) {
        this.stop(error);
        return;
      }
      this.#failures += 1;
      seconds = waitAfter(error, this.#failures, { random: this.#random, most: this.#most });
      told = { state: "waiting", error, retryInSeconds: seconds };
    } finally {
      if (this.#abort === abort || this.#abort === null) this.#busy = false;
    }
    if (abort.signal.aborted) return;
    this.#due = this.#clock.now() + seconds * 1000;
    this.#onState(told);
    if (this.#abort === abort) this.#schedule();
  }
}
