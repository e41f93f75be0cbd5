// A loop that waits, backs off, rests while its tab is hidden, and stops.

import { ReadsideError } from "./errors.js";

const LONGEST_WAIT_SECONDS = 3600; // whoever asks for more has a wrong clock
const HTTP_DATE = /^[A-Z][a-z]{2}, /; // Date.parse takes nearly anything: "1.5" is a day in 2001

// `now` is the wall clock, which somebody may set back: for dates only. Waits are measured by `ticks`. Both in milliseconds.
export const systemClock = {
  now: () => Date.now(),
  ticks: () => performance.now(),
  setTimeout: (work, milliseconds) => setTimeout(work, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** An HTTP date in milliseconds since 1970; null for anything else. */
export function httpDate(value) {
  const text = (value ?? "").trim(), instant = HTTP_DATE.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(instant) ? null : instant;
}

/** Seconds that a Retry-After header asks for, be it a number or an HTTP date; null where it says nothing. */
export function retryAfterSeconds(value, nowMs) {
  const text = (value ?? "").trim();
  if (/^\d+$/.test(text)) return Math.min(Number(text), LONGEST_WAIT_SECONDS);
  const instant = httpDate(text);
  if (instant === null) return null;
  return Math.min(Math.max(0, (instant - nowMs) / 1000), LONGEST_WAIT_SECONDS);
}

/**
 * Seconds to wait after the n-th failure in a row: what is asked for, with jitter on top. Less than `base` counts as nothing
 * asked: then they are exponential up to `most`, with jitter, so that no loop runs without a rest.
 */
export function waitAfter(error, failures, { random = Math.random, base = 1, most = 30 } = {}) {
  const asked = (error.retryAfterSeconds ?? 0) * (1 + 0.2 * random());
  if (asked >= base) return asked;
  return Math.max(asked, Math.min(most, base * 2 ** (failures - 1)) * (0.5 + 0.5 * random()));
}

/**
 * Runs `step(signal)` again and again. It resolves to the seconds until the next one, or rejects with a ReadsideError.
 *
 * `onState({ state, error, retryInSeconds })`: `running`, `waiting` (the last step failed; it goes on by itself),
 * `hidden`, `paused`, or `stopped` for good (with the error, where one is the reason). What it throws stops the loop.
 */
export class Loop {
  #step; #onState; #clock; #random; #page; #most;
  #abort = null; #timer = null; #busy = null; #paused = false; #failures = 0; #due = 0;

  constructor(step, {
    onState = () => {}, clock = systemClock, random = Math.random, page = globalThis.document, mostSeconds = 30,
  } = {}) {
    [this.#step, this.#onState, this.#clock, this.#random, this.#page] = [step, onState, clock, random, page];
    this.#most = mostSeconds;
  }

  get running() {
    return this.#abort !== null;
  }

  /** What is aborted when this run stops; null while none is on. */
  get signal() {
    return this.#abort?.signal ?? null;
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
    this.#tell({ state: "stopped", error, retryInSeconds: null });
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
    if (this.running && this.#busy !== this.#abort) this.#schedule();
  };

  #schedule() {
    this.#cancel(); // `onState` may have hurried it
    const hidden = this.#page?.visibilityState === "hidden";
    if (this.#paused || hidden) {
      this.#tell({ state: this.#paused ? "paused" : "hidden", error: null, retryInSeconds: null });
      return;
    }
    this.#timer = this.#clock.setTimeout(() => this.#go(this.#abort), Math.max(0, this.#due - this.#clock.ticks()));
  }

  #cancel() {
    if (this.#timer !== null) this.#clock.clearTimeout(this.#timer);
    this.#timer = null;
  }

  // A fault of the consumer ends the run that it was told of. Once that is over nobody is left to be told, so the fault is
  // reported as a listener's is.
  #tell(told) {
    const run = this.#abort;
    try {
      this.#onState(told);
    } catch (error) {
      if (run === null || this.#abort !== run) report(error);
      else this.stop(error);
    }
  }

  // `#busy` is the run whose step is on its way: one that was stopped meanwhile holds up no other.
  async #go(abort) {
    [this.#timer, this.#busy] = [null, abort];
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
      if (this.#busy === abort) this.#busy = null;
    }
    if (abort.signal.aborted) return;
    this.#due = this.#clock.ticks() + seconds * 1000;
    this.#tell(told);
    if (this.#abort === abort) this.#schedule();
  }
}

// Node has no reportError.
function report(error) {
  if (globalThis.reportError) globalThis.reportError(error);
  else queueMicrotask(() => { throw error; });
}
