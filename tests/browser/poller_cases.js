// What poller.js promises, case by case, against a session in memory and a clock that is turned by hand.

import { EventPoller, Loop, PollError, claimsOf, isToken, retryAfterSeconds, waitAfter } from "/console/poller.js";

class Clock {
  constructor(nowMs = Date.UTC(2026, 0, 13, 14, 30)) {
    [this.ms, this.timers, this.next] = [nowMs, new Map(), 1];
  }
  now() { return this.ms; }
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

// Whatever the promises that are ready lead to has happened: for some turns nothing was asked any more.
async function settled() {
  for (let turn = 0, before = asked; turn < 10; turn += 1) {
    await new Promise((done) => {
      const { port1, port2 } = new MessageChannel(); // a timer would be slowed down
      port1.onmessage = () => (port1.close(), done());
      port2.postMessage(0);
    });
    if (asked !== before) [turn, before] = [0, asked];
  }
}

class Page extends EventTarget {
  visibilityState = "visible";
  turn(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

// Answers as the API does. A read of the stream is held for `hold` seconds of the clock that `follow` gives it.
class Session {
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
    this.events.splice(at, 0, ...made.toReversed());
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

const pollers = new Set();

/** Stop what a case has left running: what it holds counts for the next one. */
export function end() {
  for (const poller of pollers) poller.stop();
  pollers.clear();
}

// A poller over a session, and everything that it said.
function follow(session, { clock = new Clock(), ...options } = {}) {
  session.clock = clock;
  const page = new Page(), got = [], states = [], restarts = [];
  const poller = new EventPoller({
    sessionId: "some", apiKey: "token" in options ? null : "secret", baseUrl: "http://poller.test/", limit: 10, clock, page, random: () => 0, fetch: session.fetch,
    onEvents: (events, told) => { got.push(...events.map((event) => event.id)); if (told.restarted) restarts.push(events.length); },
    onState: (state) => states.push(state), ...options,
  });
  pollers.add(poller);
  poller.start();
  return { poller, clock, page, got, states, restarts, last: () => states.at(-1) };
}

function equal(found, wanted, what = "") {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) throw new Error(`${what}: found ${JSON.stringify(found)}, wanted ${JSON.stringify(wanted)}`);
}
const refuse = (status, headers = {}, detail = "No.", parameter = undefined) => new Response(JSON.stringify({ detail, parameter }), { status, headers });
const base64url = (value) => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// What a function for fresh tokens gives: each lives so long, from its call on, and bears a number of its own.
class Tokens {
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
const token = (claims) => [{ alg: "HS256", typ: "JWT" }, claims].map(base64url).concat("c2lnbmF0dXJl").join(".");
const shownBy = (request) => request.headers.get("Authorization")?.replace(/^Bearer /, "") ?? null;
const ended = () => refuse(401, {}, "The token has ended.");

// A server whose clock is `clock`'s: it refuses tokens that have ended, and those of `bad`.
function guard(session, clock, bad = () => false) {
  session.refusal = (headers) => {
    const shown = headers.get("Authorization")?.replace(/^Bearer /, "") ?? "";
    return !isToken(shown) || bad(shown) || claimsOf(shown).exp * 1000 <= clock.now() ? ended() : null;
  };
}

// A poller whose tokens come from a function, over a session that looks at them.
function renewing(tokens, { bad, session = new Session(3), ...options } = {}) {
  const clock = new Clock();
  guard(session, clock, bad);
  return { session, ...follow(session, { token: tokens.at(clock), clock, ...options }), clock };
}

const once = (ids) => equal(new Set(ids).size, ids.length, "each once");

export const cases = {
  async the_first_page_comes_newest_first() {
    const session = new Session(25), { clock, got, restarts, poller } = follow(session);
    await clock.pass(0);
    equal(got, session.events.slice(0, 10).map((event) => event.id));
    equal([restarts, poller.hasOlder], [[10], true]);
    equal(session.requests.map(({ url }) => url.pathname.split("/").at(-1) + url.search),
      ["stream?offset=now", "events?limit=10", "stream?offset=a.25&live=long-poll"]);
  },
  async the_key_goes_into_a_header_only() {
    const session = new Session(1), { clock } = follow(session);
    await clock.pass(0);
    equal([session.requests[0].headers.get("X-API-Key"), session.requests[0].url.href.includes("secret")], ["secret", false]);
  },
  async a_read_without_news_is_held_and_asked_again_at_once() {
    const session = new Session(3);
    session.hold = 20;
    const { clock, got } = follow(session);
    await clock.pass(65);
    equal([session.requests.length, got.length], [2 + 4, 3]);
  },
  async answers_without_news_that_nobody_held_make_no_tight_loop() {
    const session = new Session(3);
    session.hold = 0;
    const { clock } = follow(session);
    await clock.pass(5);
    equal(session.requests.length, 2 + 6);
  },
  async an_event_is_handed_over_the_moment_it_arrives() {
    const session = new Session(3);
    session.hold = 20;
    const { clock, got } = follow(session);
    await clock.pass(7);
    const [added] = session.add(1);
    await clock.pass(0);
    equal(got.at(-1), added);
  },
  async a_burst_of_commits_is_some_answers() {
    const session = new Session(3), { clock, got } = follow(session);
    await clock.pass(0.5);
    for (let n = 0; n < 100; n += 1) {
      session.add(1);
      await clock.pass(0.01);
    }
    await clock.pass(1);
    once(got);
    equal([got.length, session.requests.length < 18], [103, true], session.requests.length);
  },
  async four_are_held_and_others_ask_each_second() {
    const session = new Session(3), clock = new Clock();
    session.hold = 20;
    const all = Array.from({ length: 6 }, () => follow(session, { clock }));
    await clock.pass(10.5);
    equal([session.mostHeld, session.requests.length], [4, 6 * 2 + 4 + 2 * 11]);
    session.add(1);
    await clock.pass(1);
    equal(all.map(({ got }) => got.length), Array(6).fill(4));
  },
  async new_events_come_once() {
    const session = new Session(3), { clock, got } = follow(session);
    await clock.pass(0);
    const added = session.add(2);
    await clock.pass(3);
    equal(got.slice(3), added);
  },
  async a_burst_longer_than_an_answer_is_read_whole() {
    const session = new Session(30), { clock, got, poller } = follow(session);
    session.most = 10;
    await clock.pass(0);
    session.add(37);
    await clock.pass(0.1);
    once(got);
    equal([got.length, poller.hasOlder], [47, true]);
  },
  async a_late_event_below_the_first_page_is_found() {
    const session = new Session(60), { clock, got, poller } = follow(session);
    await clock.pass(0);
    await poller.loadOlder();
    await poller.loadOlder();
    const late = session.add(1, 25);
    await clock.pass(1);
    once(got);
    equal([got.length, got.at(-1)], [31, late[0]]);
  },
  async a_late_event_among_the_older_ones_is_left_to_them() {
    const session = new Session(60), { clock, got, poller } = follow(session);
    await clock.pass(0);
    session.add(1, 50);
    await clock.pass(3);
    equal([got.length, poller.hasOlder], [10, true]);
    while (await poller.loadOlder());
    once(got);
    equal(got.length, 61);
  },
  async events_that_come_while_older_pages_are_read_are_not_lost() {
    const session = new Session(30), { clock, got } = follow(session);
    await clock.pass(0);
    session.add(25);
    session.after = [() => session.add(4), () => session.add(3), () => session.add(2)];
    await clock.pass(3);
    once(got);
    equal(got.length, 10 + 25 + 9);
  },
  async the_whole_history_comes_where_it_is_wanted() {
    const session = new Session(95);
    session.most = 40;
    const { clock, got, restarts, poller, last } = follow(session, { history: "all" });
    await clock.pass(0);
    session.add(33, 40);
    await clock.pass(2);
    once(got);
    equal([got.length, restarts, poller.hasOlder, last().total], [128, [40], false, 128]);
    equal(session.requests.every(({ url }) => url.pathname.endsWith("/stream")), true);
  },
  async an_answer_that_fails_midway_costs_nothing() {
    const session = new Session(5), { clock, got } = follow(session);
    session.most = 10;
    await clock.pass(0);
    session.add(35);
    session.after = [() => { session.failures = [refuse(503, { "Retry-After": "2" })]; }];
    await clock.pass(5);
    once(got);
    equal(got.length, 40);
  },
  async a_burst_past_the_bound_begins_again_with_the_newest_page() {
    const session = new Session(10), { clock, restarts, got, poller } = follow(session, { maxBurst: 30 });
    session.most = 20;
    await clock.pass(0);
    session.add(200);
    await clock.pass(1);
    equal([restarts, got.slice(-10), poller.hasOlder], [[10, 10], session.events.slice(0, 10).map((event) => event.id), true]);
    const added = session.add(1);
    await clock.pass(1);
    equal(got.at(-1), added[0]);
  },
  async what_the_stream_gives_again_is_handed_over_once() {
    const session = new Session(30), { clock, got, poller, last } = follow(session);
    await clock.pass(0);
    session.arrive(...session.events); // updated, the older ones too
    await clock.pass(2);
    equal([got.length, poller.hasOlder, last().total], [10, true, 30]);
    while (poller.hasOlder) await Promise.all([poller.loadOlder(), clock.pass(0)]);
    equal(got, session.events.map((event) => event.id));
  },
  async a_late_event_among_the_older_ones_counts() {
    const session = new Session(30), { clock, got, last } = follow(session);
    await clock.pass(0);
    session.add(2, 20);
    await clock.pass(2);
    equal([got.length, last().total], [10, 32]);
  },
  async a_stream_that_is_gone_begins_again() {
    for (const history of ["newest", "all"]) {
      const session = new Session(5), { clock, got, restarts, last } = follow(session, { history });
      await clock.pass(0);
      [session.origin] = ["b"];
      session.add(1);
      await clock.pass(3);
      equal([restarts, got.length, last().state], [[5, 6], 11, "running"], history);
    }
  },
  async a_start_that_is_gone_stops_it() {
    const session = new Session(1);
    session.failures = [refuse(410)];
    const { clock, last } = follow(session, { history: "all" });
    await clock.pass(60);
    equal([session.requests.length, last().state], [1, "stopped"]);
  },
  async pages_are_as_of_what_is_known() {
    const session = new Session(30);
    session.asOf = 7;
    const { clock, poller } = follow(session);
    await clock.pass(0);
    await poller.loadOlder();
    const pages = session.requests.filter(({ url }) => url.pathname.endsWith("/events"));
    equal(pages.map(({ headers }) => headers.get("Readside-Not-Before")), Array(2).fill("2026-01-13T14:30:07.000000Z"));
  },
  async what_is_forgotten_comes_again_when_older_ones_are_asked_for() {
    const session = new Session(40), { clock, got, poller } = follow(session);
    await clock.pass(0);
    await poller.loadOlder();
    poller.forget(got.slice(10));
    session.arrive(...session.events.slice(10)); // they are not ours now
    await clock.pass(2);
    equal(got.length, 20);
    equal([await poller.loadOlder(), got.length], [10, 30]);
  },
  async retry_after_in_seconds_is_waited_for() {
    const session = new Session(1);
    session.failures = [refuse(503, { "Retry-After": "7" })];
    const { clock, last } = follow(session);
    await clock.pass(6.9);
    equal([session.requests.length, last().state, last().retryInSeconds], [1, "waiting", 7]);
    await clock.pass(0.2);
    equal([session.requests.length, last().state], [4, "running"]);
  },
  async retry_after_as_a_date_is_waited_for() {
    const session = new Session(1);
    session.failures = [refuse(429, { "Retry-After": new Date(Date.UTC(2026, 0, 13, 14, 30, 9)).toUTCString() })];
    const { clock } = follow(session);
    await clock.pass(8.9);
    equal(session.requests.length, 1);
    await clock.pass(0.2);
    equal(session.requests.length, 4);
  },
  async without_an_answer_the_waits_grow_and_are_bounded() {
    const session = new Session(1);
    session.failures = Array(9).fill("network");
    const { clock, states } = follow(session, { mostSeconds: 8 });
    await clock.pass(60);
    const waits = states.filter((told) => told.state === "waiting").map((told) => told.retryInSeconds);
    equal(waits, [0.5, 1, 2, 4, 4, 4, 4, 4, 4]);
    equal(states.at(-1).state, "running");
  },
  async waits_are_spread_by_chance() {
    const error = new PollError("", { retryAfterSeconds: null }), asked = new PollError("", { retryAfterSeconds: 10 });
    equal([0, 1].map((chance) => waitAfter(error, 3, { random: () => chance })), [2, 4]);
    equal([0, 1].map((chance) => waitAfter(asked, 3, { random: () => chance })), [10, 12]);
  },
  async a_request_that_hangs_is_given_up() {
    const session = new Session(1);
    session.failures = ["silence"];
    const { clock, states } = follow(session);
    await clock.pass(31);
    equal([states.some((told) => told.state === "waiting"), states.at(-1).state], [true, "running"]);
  },
  async it_stops_where_asking_again_changes_nothing() {
    for (const status of [400, 401, 403, 404]) {
      const session = new Session(1);
      session.failures = [refuse(status, {}, `Because of ${status}.`)];
      const { clock, last } = follow(session);
      await clock.pass(60);
      equal([session.requests.length, last().state, last().error.status, last().error.message], [1, "stopped", status, `Because of ${status}.`]);
    }
  },
  async an_answer_that_is_not_the_apis_is_asked_for_again() {
    const session = new Session(3);
    session.failures = [new Response("[]"), null, null, new Response("[]")];
    const { clock, got, restarts, states } = follow(session);
    await clock.pass(3);
    equal([got.length, restarts, states.filter((told) => told.state === "waiting").length], [3, [3], 2]);
  },
  async what_cannot_be_read_is_told_and_asked_again() {
    const session = new Session(3);
    session.failures = [null, new Response('{"items": ["')];
    const { clock, got, states } = follow(session);
    await clock.pass(2);
    const failed = states.find((told) => told.state === "waiting");
    equal([failed.error.message.startsWith("What the API answered cannot be read: "), got.length], [true, 3]);
  },
  async the_text_of_an_events_data_is_at_hand() {
    const data = '{"n": 1.10, "z": 1.0, "big": 750727362669608961, "__proto__": {"polluted": 1}, "s": "}]\\"{"}';
    const session = new Session(1), taken = [];
    const items = (...ids) => `[{"id":"${ids[0]}","event_data":${data}},{"id":"${ids[1]}","event_data" : null}]`;
    session.failures = [null, new Response(`{"items":${items("e", "f")},"total":2,"pagination":{}}`), new Response(items("g", "h"), { headers: session.told({ "Stream-Next-Offset": "a.3" }) })];
    const { clock } = follow(session, { onEvents: (events) => taken.push(...events) });
    await clock.pass(0);
    equal(taken.map((event) => event.event_data_json).sort(), ["null", "null", data, data]);
    equal(taken.slice(0, 2).map((event) => event.event_data), [JSON.parse(data), null]);
    equal([JSON.stringify(taken[0]), taken[0].event_data === taken[0].event_data, "polluted" in {}], [`{"id":"e","event_data":${JSON.stringify(JSON.parse(data))}}`, true, false]);
    equal({ ...taken[0] }.event_data, taken[0].event_data, "a copy");
  },
  async a_page_that_is_too_long_is_asked_for_in_shorter_ones() {
    const session = new Session(25), tooLong = () => refuse(400, {}, "The answer would be longer than 32 MB: limit=3 would fit.", "limit");
    session.failures = [null, tooLong(), tooLong()];
    const { clock, got, poller } = follow(session, { limit: 12 });
    await clock.pass(0);
    equal(session.requests.map((request) => request.url.searchParams.get("limit")).slice(1, 4), ["12", "6", "3"]);
    while (poller.hasOlder) await Promise.all([poller.loadOlder(), clock.pass(0)]);
    equal(got, session.events.map((event) => event.id));
  },
  async older_pages_that_are_too_long_are_too() {
    const session = new Session(25), { clock, got, poller } = follow(session);
    await clock.pass(0);
    session.failures = [refuse(400, {}, "The answer would be longer than 32 MB: limit=7 would fit.", "limit")];
    while (poller.hasOlder) await Promise.all([poller.loadOlder(), clock.pass(0)]);
    equal(got, session.events.map((event) => event.id));
  },
  async a_limit_that_is_wrong_stops_it() {
    for (const limit of [5000, "many", 0, 1]) {
      const session = new Session(1);
      session.failures = [null, refuse(400, {}, "No such limit.", "limit")];
      const { clock, last } = follow(session, { limit });
      await clock.pass(60);
      equal([session.requests.length, last().state, last().error.parameter], [2, "stopped", "limit"], limit);
    }
  },
  async a_session_that_is_purged_stops_it() {
    const session = new Session(1), { clock, last } = follow(session);
    await clock.pass(0);
    session.failures = [refuse(404, {}, "Session not found: some")];
    await clock.pass(60);
    equal([session.requests.length, last().state, last().error.message], [4, "stopped", "Session not found: some"]);
  },
  async a_token_goes_into_the_authorization_header_only() {
    const session = new Session(1), shown = token({ sessions: ["some"] }), { clock } = follow(session, { token: shown });
    await clock.pass(0);
    const [{ headers, url }] = session.requests;
    equal([headers.get("Authorization"), headers.has("X-API-Key"), url.href.includes(shown)], [`Bearer ${shown}`, false, false]);
  },
  async what_has_not_the_form_of_a_token_is_sent_as_a_key() {
    for (const key of ["secret", "two.parts", "three.parts.here", `${base64url([1])}.e30.eA`, `${base64url({})}.e30.`, "x".repeat(9000)]) {
      const session = new Session(1), { clock } = follow(session, { token: key });
      await clock.pass(0);
      equal([session.requests[0].headers.get("X-API-Key"), session.requests[0].headers.has("Authorization")], [key, false]);
    }
  },
  async a_key_is_sent_as_a_key_whatever_its_form() {
    const session = new Session(1), shaped = token({}), { clock } = follow(session, { apiKey: shaped });
    await clock.pass(0);
    equal([session.requests[0].headers.get("X-API-Key"), session.requests[0].headers.has("Authorization")], [shaped, false]);
  },
  async a_token_and_a_key_are_not_both_taken() {
    let said = null;
    try { new EventPoller({ sessionId: "some", token: "a", apiKey: "b" }); } catch (error) { said = error.message; }
    equal(said, "Give a token or an apiKey, not both.");
  },
  async a_function_gives_the_first_token() {
    const tokens = new Tokens(), { session, clock, got } = renewing(tokens);
    await clock.pass(3);
    equal([tokens.calls, got.length, session.requests.map(shownBy)], [1, 3, Array(6).fill(tokens.given[0])]);
  },
  async a_function_may_give_it_at_once_or_give_a_key() {
    const session = new Session(2), { clock, got } = follow(session, { token: () => "a-key" });
    await clock.pass(0);
    equal([got.length, session.requests[0].headers.get("X-API-Key")], [2, "a-key"]);
  },
  async a_token_is_renewed_before_it_ends() {
    const tokens = new Tokens({ seconds: 100 }), { session, clock, states } = renewing(tokens);
    await clock.pass(79);
    equal(tokens.calls, 1);
    await clock.pass(221);
    equal([tokens.calls, states.every((told) => told.state === "running"), tokens.most], [4, true, 1]);
    equal(session.requests.length, 303);
  },
  async a_clock_that_is_wrong_here_does_no_harm() {
    for (const skewSeconds of [-3600, 3600]) {
      const session = new Session(1), clock = new Clock(), tokens = new Tokens();
      const iat = () => Math.floor(clock.now() / 1000) + skewSeconds;
      tokens.mint = () => token({ iat: iat(), exp: iat() + 100, n: tokens.calls });
      const { states } = follow(session, { clock, token: tokens.at(clock) });
      await clock.pass(300);
      equal([tokens.calls, states.every((told) => told.state === "running")], [4, true], skewSeconds);
    }
  },
  async a_clock_far_ahead_does_not_renew_at_every_poll() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens({ seconds: -500 });
    const { last } = follow(session, { clock, token: tokens.at(clock) });
    await clock.pass(60);
    equal([tokens.calls, session.requests.length, last().state], [1, 63, "running"]);
  },
  async a_token_without_an_end_is_kept() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens();
    tokens.mint = () => token({ exp: "soon" });
    session.hold = 60; // two hours are then few reads
    follow(session, { clock, token: tokens.at(clock) });
    await clock.pass(7200);
    equal(tokens.calls, 1);
  },
  async a_refusal_of_what_was_good_brings_a_fresh_token_at_once() {
    let withdrawn = null;
    const tokens = new Tokens(), { session, clock, got, states } = renewing(tokens, { bad: (shown) => shown === withdrawn });
    await clock.pass(2);
    withdrawn = tokens.given[0];
    session.add(1);
    await clock.pass(1);
    equal([tokens.calls, got.length, session.requests.length], [2, 4, 7]);
    equal(states.every((told) => told.state === "running"), true);
  },
  async a_function_that_fails_is_asked_less_and_less_while_the_old_token_serves() {
    let fails = false;
    const tokens = new Tokens({ seconds: 1000, gives: (made) => { if (fails) throw new Error("away"); return made; } });
    const { session, clock, states } = renewing(tokens);
    await clock.pass(1);
    fails = true;
    await clock.pass(979);
    equal(tokens.calls < 20, true, tokens.calls);
    equal([states.every((told) => told.state === "running"), session.requests.length], [true, 983]);
    fails = false;
    await clock.pass(60);
    equal(states.every((told) => told.state === "running"), true);
  },
  async without_a_token_it_waits_and_says_why() {
    const tokens = new Tokens({ gives: () => { throw new Error("The backend is away."); } });
    const { session, clock, states, last } = renewing(tokens);
    await clock.pass(600);
    equal([session.requests.length, last().state, last().error.message], [0, "waiting", "No fresh token could be had: The backend is away."]);
    equal([tokens.calls < 60, tokens.calls > 20, states.every((told) => told.retryInSeconds > 0)], [true, true, true]);
  },
  async a_dead_token_given_again_is_not_shown_again() {
    const tokens = new Tokens({ seconds: 10 });
    let only = null;
    tokens.gives = (made) => (only ??= made);
    const { session, clock, last } = renewing(tokens);
    await clock.pass(600);
    equal([session.requests.filter((request) => claimsOf(shownBy(request)).exp * 1000 <= Date.UTC(2026, 0, 13, 14, 30, 10)).length, last().state],
      [session.requests.length, "waiting"]);
    equal([session.requests.length, last().error.message], [13, "The same token was given again."]);
    equal(tokens.calls < 60, true, tokens.calls);
  },
  async fresh_tokens_that_are_all_refused_make_no_tight_loop() {
    let good = false;
    const tokens = new Tokens(), { session, clock, last } = renewing(tokens, { bad: () => !good });
    await clock.pass(600);
    equal([last().state, last().error.message, last().error.status], ["waiting", "The token has ended.", 401]);
    equal([session.requests.length < 60, tokens.calls === session.requests.length], [true, true], session.requests.length);
    good = true;
    await clock.pass(31);
    equal(last().state, "running");
  },
  async a_function_that_never_answers_is_given_up() {
    const signals = [], tokens = new Tokens({ gives: (_, { signal }) => (signals.push(signal), new Promise(() => {})) });
    const { clock, last } = renewing(tokens);
    await clock.pass(31);
    equal([signals[0].aborted, last().state, last().error.message], [true, "waiting", "No fresh token could be had: it was not given in time."]);
  },
  async a_token_that_is_good_waits_for_no_fresh_one() {
    const tokens = new Tokens({ gives: (made) => (tokens.calls > 1 ? new Promise(() => {}) : made) }), { session, clock, states } = renewing(tokens);
    await clock.pass(89);
    equal([session.requests.length, tokens.calls, states.every((told) => told.state === "running")], [92, 2, true]);
    await clock.pass(20);
    equal([session.requests.length, states.at(-1).state], [92, "running"]); // in its last tenth it waits, until it gives up
    await clock.pass(3);
    equal(states.at(-1).state, "waiting");
  },
  async a_poll_that_comes_after_the_end_waits_for_a_fresh_token() {
    const tokens = new Tokens({ seconds: 24 }), { session, clock, states } = renewing(tokens);
    session.hold = 25; // longer than it may be
    await clock.pass(600);
    equal([session.requests.length, tokens.calls, states.every((told) => told.state === "running")], [49, 24, true]);
    equal(session.requests.every((request) => tokens.given.includes(shownBy(request))), true);
  },
  async no_read_is_held_that_would_outlive_its_token() {
    const tokens = new Tokens({ seconds: 60 }), { session, clock, states } = renewing(tokens);
    session.hold = 20;
    await clock.pass(200);
    const left = (request) => claimsOf(shownBy(request)).exp * 1000 - request.at;
    const live = session.requests.filter(({ url }) => url.searchParams.has("live"));
    equal([live.length > 4, live.every((request) => left(request) > 20_000), states.every((told) => told.state === "running")], [true, true, true]);
  },
  async what_is_no_token_is_not_sent() {
    for (const wrong of ["", "two words", "é", "a\nb", 7, {}]) {
      const session = new Session(1), { clock, last } = follow(session, { token: () => wrong });
      await clock.pass(5);
      equal([session.requests.length, last().state, last().error.message], [0, "waiting", "What was given is no token."]);
    }
  },
  async a_function_without_more_tokens_stops_it() {
    const tokens = new Tokens({ seconds: 10, gives: (made) => (tokens.calls > 1 ? null : made) }), { session, clock, last } = renewing(tokens);
    await clock.pass(60);
    equal([session.requests.length, last().state, last().error.message, last().error.status], [11, "stopped", "There are no more tokens.", 401]);
  },
  async a_session_that_the_token_does_not_name_stops_it() {
    const session = new Session(1), tokens = new Tokens(), clock = new Clock();
    session.failures = [refuse(403, {}, "The token does not name this session.")];
    const { last } = follow(session, { clock, token: tokens.at(clock) });
    await clock.pass(60);
    equal([tokens.calls, session.requests.length, last().state, last().error.status], [1, 1, "stopped", 403]);
  },
  async stopped_while_a_token_is_on_its_way_it_asks_nothing() {
    let give;
    const tokens = new Tokens({ gives: () => new Promise((done) => { give = done; }) }), { session, clock, poller, states } = renewing(tokens);
    await clock.pass(1);
    poller.stop();
    give(token({}));
    await clock.pass(60);
    equal([session.requests.length, states.map((told) => told.state), clock.timers.size], [0, ["stopped"], 0]);
  },
  async older_pages_and_rounds_share_one_token() {
    const tokens = new Tokens({ seconds: 10 }), { clock, poller, got } = renewing(tokens, { session: new Session(30) });
    await clock.pass(7.5);
    await clock.pass(0.5);
    const both = [poller.loadOlder(), poller.loadOlder()];
    await clock.pass(1);
    await Promise.all(both);
    equal([got.length, tokens.calls, tokens.most], [30, 2, 1]);
  },
  async the_form_of_a_token_is_three_parts_whose_first_is_an_object() {
    const head = base64url({ alg: "HS256" });
    equal([`${head}.e30.eA`, `${head}.e30`, `${head}.e30.eA.eA`, `${head}.e30.e=`, ".e30.eA", "bnVsbA.e30.eA", `${head}. .x`, `${head}.e30.${"x".repeat(8_000)}`].map(isToken),
      [true, false, false, false, false, false, false, false]);
    equal([claimsOf(`${head}.e30.eA`), claimsOf(`${head}.bnVsbA.eA`), claimsOf(`${head}.____.eA`), claimsOf("key")], [{}, null, null, null]);
  },
  async a_hidden_page_rests_once_what_is_held_has_come_and_asks_at_once_when_shown() {
    const session = new Session(1), { clock, page, last } = follow(session);
    await clock.pass(2.5);
    page.turn("hidden");
    await clock.pass(600);
    equal([session.requests.length, last().state], [5, "hidden"]);
    session.add(4);
    page.turn("visible");
    await clock.pass(0);
    equal([session.requests.length, last().state], [6, "running"]);
  },
  async showing_a_page_does_not_cut_a_wait_short() {
    const session = new Session(1);
    session.failures = [refuse(503, { "Retry-After": "20" })];
    const { clock, page } = follow(session);
    await clock.pass(1);
    page.turn("hidden");
    page.turn("visible");
    await clock.pass(18);
    equal(session.requests.length, 1);
    await clock.pass(1.5);
    equal(session.requests.length, 4);
  },
  async paused_it_asks_nothing_and_then_catches_up() {
    const session = new Session(1), { clock, poller, got } = follow(session);
    await clock.pass(0.5);
    poller.pause();
    await clock.pass(1);
    session.add(25);
    await clock.pass(60);
    equal(session.requests.length, 3);
    poller.resume();
    await clock.pass(0);
    once(got);
    equal(got.length, 26);
  },
  async stopped_it_lets_go_of_everything() {
    const session = new Session(1), { clock, poller, last } = follow(session);
    await clock.pass(1.5);
    poller.stop();
    await clock.pass(60);
    equal([session.requests.length, clock.timers.size, last().state, last().error], [4, 0, "stopped", null]);
  },
  async stopped_while_it_asks_it_says_no_more() {
    const session = new Session(1);
    session.failures = ["silence"];
    const { clock, poller, states } = follow(session);
    await clock.pass(1);
    poller.stop();
    await clock.pass(60);
    equal([session.requests.length, states.map((told) => told.state)], [1, ["stopped"]]);
  },
  async filters_are_sent() {
    const session = new Session(1), { clock } = follow(session, { types: ["a", "b"] });
    await clock.pass(0);
    equal(session.requests.map(({ url }) => url.search),
      ["offset=now", "limit=10", "offset=a.1&live=long-poll"].map((rest) => `?event_type=a&event_type=b&${rest}`));
  },
  async freshness_is_told() {
    const { clock, last } = follow(new Session(4));
    await clock.pass(0);
    const { asOf, lagMs, source, total, hasOlder } = last();
    equal([asOf, lagMs, source, total, hasOlder], ["2026-01-13T14:30:00.000000Z", 120, "memory", 4, false]);
  },
  async a_fault_of_the_consumer_stops_the_loop_and_is_told() {
    const told = [], clock = new Clock();
    new Loop(async () => { throw new RangeError("mine"); }, { clock, page: new Page(), onState: (state) => told.push(state) }).start();
    await clock.pass(60);
    equal([told.length, told[0].state, told[0].error.message], [1, "stopped", "mine"]);
  },
  async retry_after_is_read_as_rfc_9110_says() {
    const now = Date.UTC(2026, 0, 13, 14, 30);
    const read = (value) => retryAfterSeconds(value, now);
    equal([read("120"), read(" 0 "), read("Tue, 13 Jan 2026 14:30:05 GMT"), read("Tue, 13 Jan 2026 14:00:00 GMT"), read("soon"), read(null), read("")],
      [120, 0, 5, 0, null, null, null]);
  },
  async whatever_happens_the_newest_events_are_held_without_a_gap() {
    for (let seed = 1; seed <= 60; seed += 1) await anything(seed);
  },
};

// Bursts, late events, failures, older pages, rows let go, all by chance and in between the pages of a round: at
// the end a consumer holds the newest events of the session, each once, and knows whether there are older ones.
async function anything(seed) {
  const chance = random(seed), upTo = (most) => Math.floor(chance() * (most + 1)), session = new Session(upTo(60));
  let held = new Set();
  const options = { mostSeconds: 2, maxBurst: chance() < 0.3 ? 40 : 2000, history: chance() < 0.2 ? "all" : "newest" };
  session.most = 1 + upTo(60);
  const { clock, poller } = follow(session, {
    ...options,
    onEvents: (events, { restarted }) => {
      if (restarted) held = new Set();
      for (const { id } of events) {
        if (held.has(id)) throw new Error(`seed ${seed}: ${id} came twice`);
        held.add(id);
      }
    },
  });
  const write = () => session.add(upTo(chance() < 0.3 ? 35 : 4), chance() < 0.3 ? upTo(session.events.length) : 0);
  for (let step = 0; step < 12; step += 1) {
    if (chance() < 0.7) write();
    if (chance() < 0.5) session.after = Array.from({ length: upTo(4) }, () => () => chance() < 0.7 && write());
    if (chance() < 0.05) session.origin = "b";
    if (chance() < 0.1) session.arrive(...session.events.filter(() => chance() < 0.1));
    if (chance() < 0.2) session.failures = ["network", refuse(503, { "Retry-After": "1" })].slice(upTo(1));
    if (chance() < 0.2) poller.loadOlder().catch(() => {});
    if (chance() < 0.2 && options.history === "newest") {
      const kept = session.events.filter((event) => held.has(event.id)).map((event) => event.id);
      const letGo = kept.slice(kept.length - upTo(Math.min(8, kept.length)));
      letGo.forEach((id) => held.delete(id));
      poller.forget(letGo);
    }
    await clock.pass(1);
  }
  await clock.pass(20);
  const newest = session.events.slice(0, held.size).map((event) => event.id);
  equal(newest.filter((id) => !held.has(id)), [], `seed ${seed}: missing of ${session.events.length}`);
  equal(poller.hasOlder, held.size < session.events.length, `seed ${seed}: hasOlder`);
  if (options.history === "all") equal(held.size, session.events.length, `seed ${seed}: all`);
  poller.stop();
}

function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
