// What polling is made of: requests that fail in one way, and a loop that waits, backs off, rests and stops. For poller.js.

const REQUEST_TIMEOUT_SECONDS = 30;
const LONGEST_WAIT_SECONDS = 3600;
const NO_BODY = new Set([204, 304]);
const TRY_AGAIN = new Set([408, 425, 429]);

export const systemClock = {
  now: () => Date.now(),
  setTimeout: (work, milliseconds) => setTimeout(work, milliseconds),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * Why a poll failed. `status` is HTTP's (0: no answer came), `retryAfterSeconds` what the server asked for, or null.
 * `passing`: it is worth asking again, whatever the status (a 401, where a fresh token may come). `parameter`: the one that
 * the API refuses, or null.
 */
export class PollError extends Error {
  constructor(message, { status = 0, retryAfterSeconds = null, passing = false, parameter = null } = {}) {
    super(message);
    this.name = "PollError";
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
    this.passing = passing;
    this.parameter = parameter;
  }

  /** Whether asking again changes nothing. */
  get final() {
    return !this.passing && this.status >= 400 && this.status < 500 && !TRY_AGAIN.has(this.status);
  }
}

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
 * Send a request; gives `{ status, headers, body }`, the body parsed from JSON (null for a 204 or 304). Rejects with a PollError.
 *
 * The browser's own cache is left out of it: the 304 is ours. `parse` gives the body for the answer's text.
 */
export async function request(url, {
  method = "GET", headers = {}, signal, parse = JSON.parse, fetch = globalThis.fetch, clock = systemClock,
} = {}) {
  const abort = new AbortController();
  const leave = () => abort.abort();
  signal?.addEventListener("abort", leave, { once: true });
  const timer = clock.setTimeout(leave, REQUEST_TIMEOUT_SECONDS * 1000);
  try {
    const response = await fetch.call(globalThis, url, { method, headers, cache: "no-store", signal: abort.signal });
    if (!response.ok && response.status !== 304) throw await refusal(response, clock);
    const body = NO_BODY.has(response.status) ? null : read(parse, await response.text(), response.status);
    return { status: response.status, headers: response.headers, body };
  } catch (error) {
    if (error instanceof PollError) throw error;
    throw new PollError("The API does not answer.", { status: 0 });
  } finally {
    clock.clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

// An answer that came is told apart from one that did not.
function read(parse, text, status) {
  try {
    return parse(text);
  } catch (error) {
    throw new PollError(`What the API answered cannot be read: ${error?.message ?? error}`, { status, passing: true });
  }
}

async function refusal(response, clock) {
  const told = await response.json().catch(() => null);
  return new PollError(told?.detail ?? `The API answered ${response.status}.`, {
    status: response.status,
    parameter: told?.parameter ?? null,
    retryAfterSeconds: retryAfterSeconds(response.headers.get("Retry-After"), clock.now()),
  });
}

/**
 * Runs `step(signal)` again and again. It resolves to the seconds until the next one, or rejects with a PollError.
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
      if (!(error instanceof PollError) || error.final) {
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
