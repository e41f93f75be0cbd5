// Who asks: a key, a token, or a function that gives a fresh one before the last has ended.

import { Unauthorized, Unavailable } from "./errors.js";
import { systemClock, waitAfter } from "./loop.js";

const LONGEST = 8_000; // the API reads no longer one
const HEADER_TEXT = /^[\x21-\x7e]+$/;
const THREE_PARTS = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/;
const RENEWED_AFTER = 0.8; // of what is left of a token's life when it comes
const AWAITED_AFTER = 0.9;
const PATIENCE_SECONDS = 30;
const GIVEN_UP = Symbol("given up");

/** Whether a text has the form of a token: three base64url parts, whose first is a JSON object. All else is a key. */
export function isToken(text) {
  const parts = text.length <= LONGEST ? THREE_PARTS.exec(text) : null;
  return parts !== null && objectIn(parts[1]) !== null;
}

/** What a token says, for display and for the time of its end; null where it says nothing. Only the server checks it. */
export function claimsOf(text) {
  return isToken(text) ? objectIn(THREE_PARTS.exec(text)[2]) : null;
}

/** Whether a header can hold what is given, as a key or a token. */
export function isHeaderText(given) {
  return typeof given === "string" && HEADER_TEXT.test(given);
}

/** The header for a key or a token; none for null. */
export function headersFor(text) {
  return text !== null && isToken(text) ? { Authorization: `Bearer ${text}` } : keyHeaders(text);
}

/** The header for a key, whatever its form. */
export function keyHeaders(key) {
  return key === null ? {} : { "X-API-Key": key };
}

function objectIn(part) {
  try {
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    const read = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof read === "object" && !Array.isArray(read) ? read : null;
  } catch {
    return null;
  }
}

/**
 * Holds what is shown to the API: a text, null, or what a function gives. Whoever asks by the same function may share it.
 *
 * The function is called when there is nothing yet, when four fifths of the token's life are over, and when the API
 * refuses what was good before. It is not called again at once when it fails, gives the same again, or gives what the
 * API refuses: then the calls wait longer and longer, up to half a minute. Null from it means that there are no more.
 */
export class Credential {
  #give; #headers; #clock; #random;
  #held = null; #shown = {}; #over = true; #proven = false; #renewAt = Infinity; #awaitAt = Infinity; #endsAt = Infinity;
  #retryAt = 0; #failures = 0; #reason = "There is no token yet."; #call = null;

  constructor(given, { headers = headersFor, clock = systemClock, random = Math.random } = {}) {
    [this.#give, this.#headers] = [typeof given === "function" ? given : null, headers];
    [this.#clock, this.#random] = [clock, random];
    if (this.#give === null) [this.#shown, this.#over] = [headers(given), false];
  }

  /** Whether there may be a fresh one after this. */
  get renews() {
    return this.#give !== null;
  }

  /**
   * The headers to send now. Rejects with Unauthorized where there are no more tokens, with Unavailable while there is
   * nothing good, and with the signal's reason. A token that is good waits for no fresh one, but in the last tenth of
   * its life, lest it end on the way.
   */
  async current(signal) {
    const now = this.#clock.now(), isDue = this.#call === null && this.#clock.ticks() >= this.#retryAt && (this.#over || now >= this.#renewAt);
    if (this.renews && isDue) this.#call = this.#begin();
    if (this.#call !== null && (this.#over || now >= this.#awaitAt)) {
      if (await join(this.#call, signal)) throw new Unauthorized("There are no more tokens.", { status: 401 });
    } else if (this.renews && isDue) {
      join(this.#call, signal).catch(() => {}); // it has come by the next time
    }
    if (this.#over) throw this.later();
    return this.#shown;
  }

  /** Whether what is shown next will be good for so long. */
  lasts(seconds) {
    return this.#clock.now() + seconds * 1000 < this.#endsAt;
  }

  /** Note that the API took what was shown. */
  accepted(shown) {
    if (shown !== this.#shown) return;
    if (!this.#proven) this.#failures = 0;
    this.#proven = true;
  }

  /** Note that the API refused what was shown; true where a fresh one is worth trying at once. */
  refused(error, shown) {
    if (shown !== this.#shown || this.#over) return true; // a fresh one has come meanwhile, or is on its way
    const wasGood = this.#proven;
    [this.#over, this.#proven] = [true, false];
    if (!wasGood) this.#failed(error.message);
    return wasGood;
  }

  /** Why there is nothing to show, and when it is worth trying again. */
  later() {
    const seconds = Math.max(0, this.#retryAt - this.#clock.ticks()) / 1000;
    return new Unavailable(this.#reason, { status: 401, retryAfterSeconds: seconds });
  }

  // One call of the function. Those who want it are counted: when the last one has left, it is given up.
  #begin() {
    const abort = new AbortController(), call = { wanted: 0, settled: false };
    const over = () => {
      call.settled = true;
      if (this.#call === call) this.#call = null;
    };
    call.leave = () => (over(), abort.abort());
    call.done = this.#renew(abort).finally(over);
    return call;
  }

  // Whether the function says that there are no more.
  async #renew(abort) {
    let given;
    try {
      given = await this.#given(abort);
    } catch (error) {
      this.#failed(`No fresh token could be had: ${error?.message ?? error}`);
      return false;
    }
    if (given === GIVEN_UP) return false;
    this.#look(given ?? null);
    return (given ?? null) === null;
  }

  #look(given) {
    if (given === null) [this.#held, this.#shown, this.#over] = [null, {}, true];
    else if (!isHeaderText(given)) this.#failed("What was given is no token.");
    else if (given === this.#held) this.#failed("The same token was given again.");
    else this.#take(given);
  }

  #take(given) {
    const now = this.#clock.now(), leftMs = secondsLeft(given, now / 1000) * 1000;
    [this.#held, this.#shown, this.#over, this.#proven, this.#retryAt] = [given, this.#headers(given), false, false, 0];
    [this.#renewAt, this.#awaitAt, this.#endsAt] = [now + leftMs * RENEWED_AFTER, now + leftMs * AWAITED_AFTER, now + leftMs];
  }

  #failed(reason) {
    this.#failures += 1;
    const seconds = waitAfter({ retryAfterSeconds: null }, this.#failures, { random: this.#random });
    [this.#reason, this.#retryAt] = [reason, this.#clock.ticks() + seconds * 1000];
  }

  // A function that never answers is given up; it may listen to the signal.
  async #given(abort) {
    let timer;
    const left = new Promise((done) => abort.signal.addEventListener("abort", () => done(GIVEN_UP), { once: true }));
    const late = new Promise((_, fail) => {
      timer = this.#clock.setTimeout(() => fail(new Error("it was not given in time.")), PATIENCE_SECONDS * 1000);
    });
    try {
      return await Promise.race([left, late, (async () => this.#give({ signal: abort.signal }))()]);
    } catch (error) {
      abort.abort();
      throw error;
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }
}

async function join(call, signal) {
  call.wanted += 1;
  try {
    return await unlessAborted(call.done, signal);
  } finally {
    call.wanted -= 1;
    if (call.wanted === 0 && !call.settled) call.leave();
  }
}

// What a promise gives; it rejects with the signal's reason as soon as that is aborted.
async function unlessAborted(promise, signal) {
  signal?.throwIfAborted();
  let leave;
  const left = new Promise((_, fail) => {
    leave = () => fail(signal.reason);
    signal?.addEventListener("abort", leave, { once: true });
  });
  try {
    return await Promise.race([promise, left]);
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}

// How long a token that has just come is good for. A clock that is wrong here is noticed by `iat`, where there is one.
function secondsLeft(token, now) {
  const { exp, iat } = claimsOf(token) ?? {};
  if (!Number.isFinite(exp)) return Infinity;
  const left = exp - now, life = Number.isFinite(iat) && iat < exp ? exp - iat : Infinity;
  return left > 0 && left <= life ? left : life;
}
