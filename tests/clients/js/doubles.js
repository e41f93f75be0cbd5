// An API in memory, a clock that is turned by hand, and a page whose tab is shown or hidden: what the cases are put against.

import { claimsOf, isToken } from "../../../clients/js/src/index.js";

export class Clock {
  constructor(nowMs = Date.UTC(2026, 0, 13, 14, 30)) {
    [this.ms, this.aheadMs, this.timers, this.next] = [nowMs, 0, new Map(), 1];
  }
  now() { return this.ms + this.aheadMs; }
  ticks() { return this.ms; }

  // Set the wall clock, as somebody does who finds it wrong; no time passes.
  set(seconds) { this.aheadMs += seconds * 1000; }

  setTimeout(work, milliseconds) {
    this.timers.set(this.next, { at: this.ms + milliseconds, work });
    return this.next++;
  }
  clearTimeout(timer) { this.timers.delete(timer); }

  // Let time pass, and everything happen that is due.
  async pass(seconds) {
    const end = this.ms + seconds * 1000;
    await settled();
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.ms = Math.max(this.ms, due[1].at);
      due[1].work();
      await settled();
    }
    this.ms = end;
  }
}

let asked = 0;
const TURNS = globalThis.setImmediate ? 4 : 10;

// Whatever the promises that are ready lead to has happened: for some turns nothing was asked any more.
export async function settled() {
  for (let turn = 0, before = asked; turn < TURNS; turn += 1) {
    await new Promise((done) => {
      if (globalThis.setImmediate) return setImmediate(done);
      const { port1, port2 } = new MessageChannel(); // a timer would be slowed down
      port1.onmessage = () => (port1.close(), done());
      port2.postMessage(0);
    });
    if (asked !== before) [turn, before] = [0, asked];
  }
}

export class Page extends EventTarget {
  visibilityState = "visible";
  turn(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

// Answers as the API does. A read of the stream is held for `hold` seconds of the clock that `follow` gives it.
export class Session {
  constructor(size) {
    [this.events, this.arrivals, this.waiting] = [[], [], new Set()];
    [this.requests, this.failures, this.after, this.asOf, this.hold, this.origin] = [[], [], [], 0, 1, "a"];
    [this.most, this.mostHeld, this.clock] = [1000, 0, null];
    this.add(size);
  }
  refusal = () => null; // by what the request shows

  // Commit events whose timestamps lie between those of two that are there, or above all; gives their ids.
  add(size, at = 0) {
    const lower = this.events[at]?.place ?? 0, upper = at ? this.events[at - 1].place : lower + (size + 1) * 2 ** 36;
    const made = Array.from({ length: size }, (_, n) => {
      const place = Math.floor(lower + ((upper - lower) / (size + 1)) * (n + 1));
      const timestamp = `${new Date(Math.floor(place / 1000)).toISOString().slice(0, -1)}${String(place % 1000).padStart(3, "0")}Z`;
      const event = { id: `e${this.made = (this.made ?? 0) + 1}`, event_type: "step_created", timestamp };
      return Object.defineProperty(event, "place", { value: place });
    });
    this.events.splice(at, 0, ...[...made].reverse());
    this.arrive(...made);
    return made.map((event) => event.id).reverse();
  }
  arrive(...events) {
    this.arrivals.push(...events);
    for (const wake of [...this.waiting]) wake();
  }

  fetch = async (url, { headers, signal }) => {
    asked += 1;
    const address = new URL(url);
    this.requests.push({ url: address, headers: new Headers(headers), at: this.clock.now() });
    const failure = this.failures.shift() ?? this.refusal(this.requests.at(-1).headers);
    if (failure === "network") throw new TypeError("Failed to fetch");
    if (failure === "silence") return new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
    if (failure) return failure;
    const streamed = address.pathname.endsWith("/stream");
    const answer = streamed ? await this.stream(address.searchParams, signal) : this.page(address.searchParams);
    if (!streamed || answer.status !== 204) this.after.shift()?.();
    return answer;
  };
  told(more) {
    const asOf = `2026-01-13T14:30:${String(this.asOf).padStart(2, "0")}.000000Z`;
    return { "Readside-As-Of": asOf, "Readside-Lag-Ms": "120", "Readside-Source": "memory", ...more };
  }
  page(asks) {
    const page = Number(asks.get("page") ?? 1), limit = Number(asks.get("limit"));
    const total = this.events.length, items = this.events.slice((page - 1) * limit, page * limit);
    return new Response(JSON.stringify({ items, total, pagination: { has_next: page * limit < total } }), { headers: this.told() });
  }
  async stream(asks, signal) {
    const offset = asks.get("offset"), [origin, given] = offset === "-1" ? [this.origin, 0] : offset.split(".");
    if (offset === "now") return this.given(this.arrivals.length, this.arrivals.length);
    if (asks.has("live") && Number(given) === this.arrivals.length) await this.held(signal);
    if (origin !== this.origin) return refuse(410, {}, "The stream can't be continued; read again from -1.");
    return this.given(Number(given), Math.min(this.arrivals.length, Number(given) + this.most), asks.has("live"));
  }
  given(from, to, live = false) {
    const headers = this.told({ "Stream-Next-Offset": `${this.origin}.${to}`, ...(to === this.arrivals.length ? { "Stream-Up-To-Date": "true" } : {}) });
    if (live && from === to) return new Response(null, { status: 204, headers });
    return new Response(JSON.stringify(this.arrivals.slice(from, to)), { headers });
  }
  held(signal) {
    return new Promise((done, fail) => {
      const wake = () => (this.clock.clearTimeout(timer), this.waiting.delete(wake), done());
      const timer = this.clock.setTimeout(wake, this.hold * 1000);
      this.waiting.add(wake);
      this.mostHeld = Math.max(this.mostHeld, this.waiting.size);
      signal.addEventListener("abort", () => (this.clock.clearTimeout(timer), this.waiting.delete(wake), fail(signal.reason)));
    });
  }
}

// An answer whose body comes in parts, so many seconds apart; it comes to no end where `ends` is false.
export function slowly(parts, { clock, seconds, signal, ends = true, ...told }) {
  const left = parts.map((part) => new TextEncoder().encode(part));
  let timer;
  const body = new ReadableStream({
    start: (control) => signal.addEventListener("abort", () => (clock.clearTimeout(timer), control.error(signal.reason))),
    pull: (control) => new Promise((done) => {
      if (left.length > 0) timer = clock.setTimeout(() => (control.enqueue(left.shift()), done()), seconds * 1000);
      else if (ends) done(control.close());
    }),
  }, { highWaterMark: 0 });
  return new Response(body, told);
}

export function equal(found, wanted, what = "") {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
}
export const refuse = (status, headers = {}, detail = "No.", parameter = undefined) => new Response(JSON.stringify({ detail, parameter }), { status, headers });
export const base64url = (value) => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// What a function for fresh tokens gives: each lives so long, from its call on, and bears a number of its own.
export class Tokens {
  constructor({ seconds = 100, gives = (token) => token, skewSeconds = 0 } = {}) {
    [this.calls, this.given, this.open, this.most] = [0, [], 0, 0];
    this.mint = (clock) => token({ exp: Math.floor(clock.now() / 1000) + seconds + skewSeconds, n: this.calls });
    this.gives = gives;
  }
  at = (clock) => async (told) => {
    [this.calls, this.open, asked] = [this.calls + 1, this.open + 1, asked + 1];
    this.most = Math.max(this.most, this.open);
    try {
      this.given.push(await this.gives(this.mint(clock), told));
    } finally {
      this.open -= 1;
    }
    return this.given.at(-1);
  };
}
export const token = (claims) => [{ alg: "HS256", typ: "JWT" }, claims].map(base64url).concat("c2lnbmF0dXJl").join(".");
export const shownBy = (request) => request.headers.get("Authorization")?.replace(/^Bearer /, "") ?? null;
export const ended = () => refuse(401, {}, "The token has ended.");

// A server whose clock is `clock`'s: it refuses tokens that have ended, and those of `bad`.
export function guard(session, clock, bad = () => false) {
  session.refusal = (headers) => {
    const shown = headers.get("Authorization")?.replace(/^Bearer /, "") ?? "";
    return !isToken(shown) || bad(shown) || claimsOf(shown).exp * 1000 <= clock.now() ? ended() : null;
  };
}

export const once = (ids) => equal(new Set(ids).size, ids.length, "each once");
