// What `follow` promises, case by case, against a session in memory and a clock that is turned by hand.

import {
  BadRequest, Forbidden, OffsetLost, SessionNotFound, Unauthorized, Unavailable, claimsOf, follow, followBatches,
} from "../../../clients/js/src/index.js";
import { Clock, Page, Session, Tokens, equal, guard, once, refuse, settled, shownBy, slowly, token } from "./doubles.js";

const running = new Set();

/** Leave the loops that a case has left running: what they hold counts for the next one. */
export async function end() {
  for (const iterator of running) await iterator.return();
  running.clear();
}

// A loop over a session that takes all that comes, and what it took.
function taking(session, { clock = new Clock(), by = follow, name = "some", ...options } = {}) {
  session.clock = clock;
  const page = new Page(), got = [], batches = [], states = [], told = { error: null, done: false };
  const iterator = by(name, {
    baseUrl: "http://poller.test/under/", mostHeld: 4, clock, page, random: () => 0, fetch: session.fetch,
    onState: (state) => states.push(state), ...options,
  });
  running.add(iterator);
  told.ended = (async () => {
    for await (const one of iterator) (one.events === undefined ? got : batches).push(one);
  })().then(() => { told.done = true; }, (error) => { told.error = error; });
  return { iterator, clock, page, got, batches, states, told, ids: () => got.map(({ id }) => id) };
}

const arrived = (session) => session.arrivals.map(({ id }) => id);
const asks = (session) => session.requests.map(({ url }) => url.searchParams.toString());

async function rejected(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("It was not refused.");
}

export const cases = {
  async what_is_there_comes_first_then_each_as_it_arrives() {
    const session = new Session(25), { clock, ids } = taking(session);
    session.most = 10;
    await clock.pass(1);
    session.add(3, 4);
    await clock.pass(0.2);
    equal(ids(), arrived(session));
    once(ids());
    equal(session.requests[0].url.pathname, "/under/api/v2/sessions/some/stream");
  },
  async each_event_bears_where_to_go_on() {
    const session = new Session(5), { clock, got } = taking(session);
    session.most = 3;
    await clock.pass(0);
    equal(got.map(({ offset }) => offset), ["-1", "-1", "a.3", "a.3", "a.5"]);
    equal(Object.keys(got[0]).includes("offset"), false);
    const again = taking(session, { offset: got[2].offset, clock });
    await clock.pass(0);
    equal(again.ids(), arrived(session).slice(3));
  },
  async from_now_on_only_what_comes_next() {
    const session = new Session(5), { clock, ids } = taking(session, { offset: "now" });
    await clock.pass(0);
    const fresh = session.add(2);
    await clock.pass(0.2);
    equal([[...ids()].sort(), asks(session).slice(0, 2)], [[...fresh].sort(), ["offset=now", "offset=a.5&live=long-poll"]]);
  },
  async types_are_asked_for() {
    const session = new Session(1), { clock } = taking(session, { types: ["workflow_failed", "workflow_error"] });
    await clock.pass(0);
    equal(asks(session)[0], "event_type=workflow_failed&event_type=workflow_error&offset=-1&live=long-poll");
  },
  async batches_come_whole_with_how_fresh_they_are() {
    const session = new Session(5), { clock, batches } = taking(session, { by: followBatches });
    session.most = 3;
    await clock.pass(1.5);
    const freshness = { asOf: "2026-01-13T14:30:00.000000Z", lagMs: 120, source: "memory" };
    equal(batches.slice(0, 3).map(({ events, ...told }) => [events.length, told]), [
      [3, { offset: "a.3", upToDate: false, freshness }],
      [2, { offset: "a.5", upToDate: true, freshness }],
      [0, { offset: "a.5", upToDate: true, freshness }],
    ]);
  },
  async nothing_is_read_until_it_is_asked_for() {
    const session = new Session(5), clock = new Clock();
    [session.clock, session.most] = [clock, 2];
    const batches = followBatches("some", { baseUrl: "http://poller.test/", fetch: session.fetch, clock, page: null });
    running.add(batches);
    await clock.pass(60);
    equal(session.requests.length, 0);
    const first = batches.next();
    await clock.pass(60);
    equal([(await first).value.events.length, session.requests.length], [2, 1]);
  },
  async what_comes_again_is_not_given_again_but_an_update_is() {
    const session = new Session(2), { clock, got } = taking(session);
    await clock.pass(0);
    session.arrive(session.arrivals[0]);
    session.arrive({ ...session.arrivals[1], message: "changed" });
    await clock.pass(0.2);
    equal(got.map(({ id, message = null }) => [id, message]), [["e1", null], ["e2", null], ["e2", "changed"]]);
  },
  async leaving_the_loop_ends_the_request() {
    const session = new Session(1), { clock, iterator, told } = taking(session);
    await clock.pass(0.2);
    equal([session.waiting.size, told.done], [1, false]);
    equal(await iterator.return("it"), { value: "it", done: true });
    await told.ended;
    await settled();
    equal([session.waiting.size, clock.timers.size, told.done], [0, 0, true]);
    equal(await iterator.next(), { value: undefined, done: true });
  },
  async a_signal_ends_it_without_an_error_and_nothing_stays() {
    const abort = new AbortController(), session = new Session(1), { clock, told, states, page } = taking(session, { signal: abort.signal });
    await clock.pass(0.2);
    const before = session.requests.length;
    abort.abort();
    await told.ended;
    await clock.pass(60);
    page.turn("visible");
    await clock.pass(60);
    equal([told.error, told.done, session.waiting.size, clock.timers.size, session.requests.length - before], [null, true, 0, 0, 0]);
    equal(states.at(-1), { state: "stopped", error: null, retryInSeconds: null });
  },
  async a_signal_ends_it_in_the_middle_of_an_answer() {
    const abort = new AbortController(), session = new Session(5), clock = session.clock = new Clock(), got = [];
    const events = follow("some", { baseUrl: "http://poller.test/", fetch: session.fetch, clock, page: null, signal: abort.signal });
    const ended = (async () => {
      for await (const { id } of events) if (got.push(id) === 2) abort.abort();
    })();
    await clock.pass(0);
    await ended;
    equal([got, await events.next(), clock.timers.size], [["e1", "e2"], { value: undefined, done: true }, 0]);
  },
  async a_signal_that_was_given_already_asks_nothing() {
    const session = new Session(1), { clock, told } = taking(session, { signal: AbortSignal.abort() });
    await clock.pass(1);
    equal([told.done, session.requests.length, clock.timers.size], [true, 0, 0]);
  },
  async a_signal_ends_the_wait_for_a_token() {
    let asked = null;
    const abort = new AbortController(), session = new Session(1);
    const { clock, told } = taking(session, { signal: abort.signal, getToken: ({ signal }) => new Promise(() => { asked = signal; }) });
    await clock.pass(0);
    abort.abort();
    await told.ended;
    await settled();
    equal([asked.aborted, told.done, clock.timers.size, session.requests.length], [true, true, 0, 0]);
  },
  async what_changes_nothing_is_thrown_by_its_kind() {
    for (const [status, kind] of [[400, BadRequest], [401, Unauthorized], [403, Forbidden], [404, SessionNotFound]]) {
      const session = new Session(1), { clock, told, iterator } = taking(session, { apiKey: "wrong" });
      session.failures = [refuse(status, {}, "Not so.", "offset")];
      await clock.pass(60);
      equal([told.error?.constructor === kind, told.error?.status, told.error?.message, told.error?.final], [true, status, "Not so.", true]);
      equal([told.error.parameter, told.error.name, session.requests.length, clock.timers.size], ["offset", kind.name, 1, 0]);
      equal(await iterator.next(), { value: undefined, done: true }, "it is thrown once");
    }
  },
  async a_session_that_is_deleted_is_not_found_any_more() {
    const session = new Session(3), { clock, ids, told } = taking(session);
    await clock.pass(0.2);
    session.refusal = () => refuse(404, {}, "Session not found: some");
    await clock.pass(5);
    equal([ids().length, told.error instanceof SessionNotFound, told.error.message], [3, true, "Session not found: some"]);
  },
  async failures_are_waited_out_longer_and_longer() {
    const session = new Session(1), { clock, states, ids } = taking(session);
    session.failures = ["network", refuse(500), new Response("<html>", { status: 200 }), new Response("[]")];
    await clock.pass(60);
    equal(ids(), ["e1"]);
    const at = session.requests.map((request) => request.at);
    equal([1, 2, 3, 4].map((n) => (at[n] - at[n - 1]) / 1000), [0.5, 1, 2, 4]);
    equal(states.slice(0, 4).map(({ state, error }) => [state, error instanceof Unavailable]), Array(4).fill(["waiting", true]));
  },
  async it_waits_as_long_as_it_is_told() {
    const session = new Session(1), { clock, states } = taking(session);
    session.failures = [refuse(429, { "Retry-After": "7" }), refuse(503, { "Retry-After": "Tue, 13 Jan 2026 14:30:20 GMT" })];
    await clock.pass(60);
    equal(session.requests.slice(0, 3).map(({ at }) => (at - Date.UTC(2026, 0, 13, 14, 30)) / 1000), [0, 7, 20]);
    equal(states[0].retryInSeconds, 7);
  },
  async a_lost_offset_begins_again_where_nothing_comes_twice() {
    const session = new Session(3), { clock, ids, told } = taking(session);
    await clock.pass(0.2);
    session.origin = "b";
    session.add(2);
    await clock.pass(10);
    equal([ids(), told.error], [arrived(session), null]);
  },
  async losses_that_are_far_apart_are_not_waited_out_longer() {
    const session = new Session(1), { clock, ids } = taking(session);
    session.hold = 20;
    await clock.pass(1);
    for (const origin of ["b", "c", "d", "e"]) {
      session.origin = origin;
      session.add(1);
      await clock.pass(1);
      equal(ids(), arrived(session), origin);
      await clock.pass(30);
    }
  },
  async a_lost_offset_is_thrown_to_who_resumed() {
    const session = new Session(3), { clock, told, ids } = taking(session, { offset: "older.1" });
    await clock.pass(10);
    equal([told.error instanceof OffsetLost, told.error.status, ids()], [true, 410, []]);
  },
  async a_lost_offset_is_thrown_to_who_forgot() {
    const session = new Session(3), { clock, told } = taking(session, { remember: 2 });
    await clock.pass(0.2);
    session.origin = "b";
    await clock.pass(10);
    equal(told.error instanceof OffsetLost, true);
  },
  async or_all_comes_again_where_that_is_wished() {
    const session = new Session(3), { clock, told, ids } = taking(session, { offset: "older.1", restart: true });
    await clock.pass(10);
    equal([told.error, ids()], [null, arrived(session)]);
  },
  async a_stream_that_is_always_lost_is_asked_less_and_less_often() {
    const session = new Session(1), { clock } = taking(session, { restart: true });
    const fetch = session.fetch;
    session.refusal = () => (session.requests.at(-1).url.searchParams.get("offset") === "-1" ? null : refuse(410));
    await clock.pass(60);
    equal([session.fetch === fetch, session.requests.length < 20], [true, true]);
  },
  async it_rests_while_its_tab_is_hidden() {
    const session = new Session(1), { clock, page, ids, states } = taking(session);
    await clock.pass(0.2);
    page.turn("hidden");
    await clock.pass(2);
    const before = session.requests.length;
    session.add(2);
    await clock.pass(600);
    equal([session.requests.length, states.at(-1).state], [before, "hidden"]);
    page.turn("visible");
    await clock.pass(0.2);
    equal(ids(), arrived(session));
  },
  async four_are_held_and_others_ask_each_second() {
    const session = new Session(1), clock = new Clock();
    session.hold = 20;
    const all = Array.from({ length: 6 }, () => taking(session, { clock }));
    await clock.pass(5);
    equal([session.mostHeld, all.every(({ got }) => got.length === 1)], [4, true]);
  },
  async answers_that_lost_a_header_on_the_way_make_no_tight_loop() {
    for (const mostHeld of [0, 4]) {
      const session = new Session(3), { clock, got } = taking(session, { mostHeld, fetch: async (...given) => {
        const answer = await session.fetch(...given);
        answer.headers.delete("Stream-Up-To-Date");
        return answer;
      } });
      session.hold = 0.1;
      session.most = 1;
      await clock.pass(0);
      equal(got.length, 3);
      await clock.pass(5);
      equal(session.requests.length < 11, true, session.requests.length);
    }
  },
  async who_share_a_function_share_its_tokens() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens(), getToken = tokens.at(clock);
    guard(session, clock);
    const all = Array.from({ length: 3 }, () => taking(session, { clock, getToken }));
    await clock.pass(70);
    equal([tokens.calls, all.every(({ got }) => got.length === 1)], [1, true]);
    await clock.pass(20); // four fifths of its life are over
    equal([tokens.calls, tokens.most], [2, 1]);
  },
  async one_that_leaves_takes_no_token_from_the_others() {
    const session = new Session(1), clock = new Clock();
    let give, asked, calls = 0;
    const getToken = ({ signal }) => new Promise((done) => { [give, asked, calls] = [done, signal, calls + 1]; });
    guard(session, clock);
    const [one, other] = [taking(session, { clock, getToken }), taking(session, { clock, getToken })];
    await clock.pass(0);
    await one.iterator.return();
    give(token({ exp: clock.now() / 1000 + 100 }));
    await clock.pass(0);
    equal([asked.aborted, calls, other.ids(), one.ids()], [false, 1, ["e1"], []]);
  },
  async many_refusals_of_one_token_bring_one_fresh_one() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens(), getToken = tokens.at(clock);
    const bad = new Set();
    guard(session, clock, (shown) => bad.has(shown));
    session.hold = 1;
    const all = Array.from({ length: 4 }, () => taking(session, { clock, getToken }));
    await clock.pass(2);
    bad.add(tokens.given[0]);
    await clock.pass(5);
    equal([tokens.calls, all.map(({ told }) => told.error)], [2, [null, null, null, null]]);
    equal(all.some(({ states }) => states.some(({ state }) => state === "waiting")), false);
    equal(claimsOf(shownBy(session.requests.at(-1))).n, 2);
  },
  async who_signs_in_again_may_follow_by_the_same_function() {
    const session = new Session(1), clock = new Clock();
    let signedIn = false;
    const getToken = () => (signedIn ? token({ exp: clock.now() / 1000 + 100 }) : null);
    guard(session, clock);
    const out = taking(session, { clock, getToken });
    await clock.pass(10);
    equal([out.told.error instanceof Unauthorized, out.told.error.message], [true, "There are no more tokens."]);
    signedIn = true;
    const back = taking(session, { clock, getToken });
    await clock.pass(0);
    equal(back.ids(), ["e1"]);
  },
  async options_that_are_none_are_told_at_once() {
    const said = (session, options) => {
      try {
        follow(session, options);
      } catch (error) {
        return `${error.name}: ${error.message}`;
      }
      return "nothing";
    };
    equal([said("some", {}), said("..", { baseUrl: "http://a" }), said("some", { baseUrl: "http://a", token: "t", apiKey: "k" }), said("some", { baseUrl: "http://a", getToken: "t" })], [
      "TypeError: The option baseUrl says where the API is.",
      "TypeError: A session is named by its id.",
      "TypeError: Give one of getToken, token and apiKey.",
      "TypeError: getToken is a function that gives a token.",
    ]);
    equal(["kéy", "two words", "a\nb", "", 7].map((apiKey) => said("some", { baseUrl: "http://a", apiKey })), Array(5).fill("TypeError: The key or token holds what no header can, or nothing."));
    equal([said("some", { baseUrl: "http://a", token: "kéy" }), said("some", { baseUrl: "http://a", token: null, apiKey: null })], ["TypeError: The key or token holds what no header can, or nothing.", "nothing"]);
    equal(["http://user@a", "http://:pass@a"].map((baseUrl) => said("some", { baseUrl })), Array(2).fill("TypeError: The option baseUrl names no user and no password: fetch sends none."));
  },
  async the_ids_of_sessions_are_escaped() {
    const session = new Session(1), { clock } = taking(session, { name: "../a?b#c" });
    await clock.pass(0);
    equal(session.requests[0].url.pathname, "/under/api/v2/sessions/..%2Fa%3Fb%23c/stream");
  },
  async a_refusal_that_comes_late_costs_no_fresh_token() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens(), getToken = tokens.at(clock), late = [];
    guard(session, clock);
    const all = Array.from({ length: 2 }, () => taking(session, { clock, getToken }));
    await clock.pass(0.5);
    const looks = session.refusal, [old] = tokens.given;
    session.refusal = (headers) => {
      if (!headers.get("Authorization").endsWith(old)) return looks(headers);
      return late.length === 0 ? new Promise((done) => late.push(() => done(refuse(401)))) : refuse(401);
    };
    await clock.pass(2);
    equal([tokens.calls, late.length], [2, 1]);
    late[0]();
    await clock.pass(2);
    equal([tokens.calls, all.map(({ told }) => told.error), all[0].states.some(({ state }) => state === "waiting")], [2, [null, null], false]);
  },
  async an_answer_that_comes_late_proves_nothing_of_a_fresh_token() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens(), getToken = tokens.at(clock);
    guard(session, clock, (shown) => claimsOf(shown).n > 1);
    const [{ states }] = Array.from({ length: 2 }, () => taking(session, { clock, getToken }));
    await clock.pass(79);
    await clock.pass(30); // a fresh one has come, and is refused
    equal([states.at(-1).state, tokens.calls < 8], ["waiting", true]);
  },
  async no_listener_stays_on_a_signal() {
    const abort = new AbortController(), { signal } = abort, session = new Session(1), counts = [];
    let listening = 0;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...given) => { listening += 1; add(...given); };
    signal.removeEventListener = (...given) => { listening -= 1; remove(...given); };
    const { clock, iterator } = taking(session, { signal, getToken: () => "a-key" });
    for (let n = 0; n < 3; n += 1) {
      await clock.pass(3);
      counts.push(listening);
    }
    await iterator.return();
    equal([counts, listening], [[1, 1, 1], 0]);
  },
  async a_start_that_is_refused_is_thrown() {
    const session = new Session(1), { clock, told } = taking(session, { restart: true });
    session.refusal = () => refuse(410);
    await clock.pass(10);
    equal([told.error instanceof OffsetLost, session.requests.length], [true, 1]);
  },
  async a_long_answer_may_take_as_long_as_it_comes() {
    const session = new Session(0), clock = new Clock(), headers = session.told({ "Stream-Next-Offset": "a.1", "Stream-Up-To-Date": "true" });
    const parts = ['\ufeff[{"id": "e1", "message"', ': "', "é", '", "timestamp": "2026-01-13T14:30:00Z"}]'];
    const fetch = async (_, { signal }) => slowly(got.length ? [] : parts, { clock, seconds: 25, signal, ends: got.length === 0, headers });
    const { got, states } = taking(session, { clock, fetch });
    await clock.pass(110);
    equal([got.map(({ id, message }) => [id, message]), states.every(({ state }) => state === "running")], [[["e1", "é"]], true]);
  },
  async an_answer_that_comes_to_a_halt_is_given_up() {
    for (const status of [200, 503]) {
      const session = new Session(1), clock = new Clock(), { fetch } = session;
      let first = true;
      const slow = (signal) => slowly(['{"detail": "La'], { clock, seconds: 20, signal, ends: false, status });
      const { ids, states } = taking(session, { clock, fetch: (url, options) => (first ? slow(options.signal, first = false) : fetch(url, options)) });
      await clock.pass(49);
      equal([ids(), states.length], [[], 0], status);
      await clock.pass(2);
      equal([ids(), states[0].state, states[0].error.status], [["e1"], "waiting", status === 200 ? 0 : status], status);
    }
  },
  async a_fetch_without_streams_will_do() {
    const session = new Session(2), fetch = async (...given) => {
      const { ok, status, headers, ...answer } = await session.fetch(...given).then(async (made) => ({ ok: made.ok, status: made.status, headers: made.headers, body: await made.text() }));
      return { ok, status, headers, text: async () => answer.body, json: async () => JSON.parse(answer.body) };
    };
    const { clock, ids } = taking(session, { fetch });
    await clock.pass(0);
    equal(ids(), ["e1", "e2"]);
  },
  async what_on_state_throws_is_thrown_to_the_loop() {
    const session = new Session(1), onState = ({ state }) => { if (state !== "stopped") throw new RangeError("mine"); };
    const { clock, told, ids } = taking(session, { onState });
    await clock.pass(60);
    equal([ids(), told.error?.message, clock.timers.size], [["e1"], "mine", 0]);
    const hidden = taking(session, { clock, onState, page: Object.assign(new Page(), { visibilityState: "hidden" }) });
    await clock.pass(60);
    equal([hidden.told.error?.message, clock.timers.size], ["mine", 0]);
  },
  async an_error_can_be_thrown_in() {
    const session = new Session(1), { clock, iterator, told } = taking(session);
    await clock.pass(0.2);
    const error = await rejected(iterator.throw(new Error("mine")));
    await told.ended;
    equal([error.message, clock.timers.size, session.waiting.size], ["mine", 0, 0]);
  },
};
