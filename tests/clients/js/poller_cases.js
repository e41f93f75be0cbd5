// What EventPoller promises, case by case, against a session in memory and a clock that is turned by hand.

import { EventPoller, ReadsideError, claimsOf, isToken } from "../../../clients/js/src/index.js";
import { Loop, retryAfterSeconds, waitAfter } from "../../../clients/js/src/loop.js";
import { Clock, Page, Session, Tokens, base64url, ended, equal, guard, once, refuse, shownBy, token } from "./doubles.js";

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
    sessionId: "some", apiKey: "token" in options || "getToken" in options ? null : "secret", mostHeld: 4, baseUrl: "http://poller.test/", limit: 10, clock, page, random: () => 0, fetch: session.fetch,
    onEvents: (events, told) => { got.push(...events.map((event) => event.id)); if (told.restarted) restarts.push(events.length); },
    onState: (state) => states.push(state), ...options,
  });
  pollers.add(poller);
  poller.start();
  return { poller, clock, page, got, states, restarts, last: () => states.at(-1) };
}

// A poller whose tokens come from a function, over a session that looks at them.
function renewing(tokens, { bad, session = new Session(3), ...options } = {}) {
  const clock = new Clock();
  guard(session, clock, bad);
  return { session, ...follow(session, { getToken: tokens.at(clock), clock, ...options }), clock };
}


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
  async a_wait_of_nothing_is_as_if_none_were_asked_for() {
    for (const asked of ["0", "1.5", "-1", "Tue, 13 Jan 2026 14:00:00 GMT"]) {
      const session = new Session(1), { clock, states } = follow(session);
      session.failures = Array.from({ length: 4 }, () => refuse(503, { "Retry-After": asked }));
      await clock.pass(60);
      equal(states.slice(0, 4).map(({ retryInSeconds }) => retryInSeconds), [0.5, 1, 2, 4], asked);
    }
    equal(waitAfter(new ReadsideError("", { retryAfterSeconds: 0.7 }), 1, { random: () => 0 }), 0.7);
  },
  async a_date_to_wait_for_counts_from_the_answers_own() {
    const session = new Session(1), { clock, last } = follow(session);
    clock.set(3600);
    session.failures = [refuse(503, { "Retry-After": "Tue, 13 Jan 2026 14:30:20 GMT", Date: "Tue, 13 Jan 2026 14:30:08 GMT" })];
    await clock.pass(1);
    equal(last().retryInSeconds, 12);
  },
  async waits_are_spread_by_chance() {
    const error = new ReadsideError(""), asked = new ReadsideError("", { retryAfterSeconds: 10 });
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
    try { new EventPoller({ sessionId: "some", baseUrl: "http://poller.test/", token: "a", apiKey: "b" }); } catch (error) { said = error.message; }
    equal(said, "Give one of getToken, token and apiKey.");
  },
  async a_function_gives_the_first_token() {
    const tokens = new Tokens(), { session, clock, got } = renewing(tokens);
    await clock.pass(3);
    equal([tokens.calls, got.length, session.requests.map(shownBy)], [1, 3, Array(6).fill(tokens.given[0])]);
  },
  async a_function_may_give_it_at_once_or_give_a_key() {
    const session = new Session(2), { clock, got } = follow(session, { getToken: () => "a-key" });
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
      const { states } = follow(session, { clock, getToken: tokens.at(clock) });
      await clock.pass(300);
      equal([tokens.calls, states.every((told) => told.state === "running")], [4, true], skewSeconds);
    }
  },
  async a_clock_far_ahead_does_not_renew_at_every_poll() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens({ seconds: -500 });
    const { last } = follow(session, { clock, getToken: tokens.at(clock) });
    await clock.pass(60);
    equal([tokens.calls, session.requests.length, last().state], [1, 63, "running"]);
  },
  async a_token_without_an_end_is_kept() {
    const session = new Session(1), clock = new Clock(), tokens = new Tokens();
    tokens.mint = () => token({ exp: "soon" });
    session.hold = 60; // two hours are then few reads
    follow(session, { clock, getToken: tokens.at(clock) });
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
      const session = new Session(1), { clock, last } = follow(session, { getToken: () => wrong });
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
    const { last } = follow(session, { clock, getToken: tokens.at(clock) });
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
  async started_again_while_it_asks_behind_a_hidden_tab_it_goes_on_once_shown() {
    const session = new Session(1), { clock, page, poller, got } = follow(session);
    session.failures = ["silence"];
    await clock.pass(1);
    page.turn("hidden");
    poller.stop();
    poller.start();
    await clock.pass(1);
    page.turn("visible");
    await clock.pass(1);
    equal(got, ["e1"]);
  },
  async started_again_by_who_hears_that_it_stopped_it_goes_on() {
    const session = new Session(1), clock = new Clock(), page = new Page(), states = [];
    const { poller, got } = follow(session, { clock, page, onState: ({ state }) => states.push(state) && state === "stopped" && page.visibilityState === "hidden" && poller.start() });
    session.failures = [refuse(404)];
    page.visibilityState = "hidden";
    await clock.pass(1);
    page.turn("visible");
    await clock.pass(1);
    equal([states.slice(0, 2), got], [["stopped", "hidden"], ["e1"]]);
  },
  async a_clock_that_is_set_back_makes_no_wait_longer() {
    const session = new Session(1), { clock, page, got } = follow(session);
    await clock.pass(1.5);
    page.turn("hidden");
    await clock.pass(2);
    clock.set(-7200);
    session.add(1);
    page.turn("visible");
    await clock.pass(1.5);
    equal(got.length, 2);
  },
  async nor_the_wait_for_a_token() {
    const clock = new Clock(), session = new Session(1);
    let calls = 0;
    const getToken = () => {
      if ((calls += 1) === 1) throw new Error("away");
      return "a-key";
    };
    const { got } = follow(session, { clock, getToken });
    await clock.pass(0);
    clock.set(-3600);
    await clock.pass(2);
    equal([calls, got.length], [2, 1]);
  },
  async stopped_while_an_older_page_is_on_its_way_it_hands_over_nothing() {
    const session = new Session(40), { clock, poller, got } = follow(session);
    await clock.pass(0);
    session.failures = ["silence"];
    const loads = [poller.loadOlder(), poller.loadOlder()];
    await clock.pass(0.1);
    const before = session.requests.length;
    poller.stop();
    equal([await Promise.all(loads), await poller.loadOlder(), poller.hasOlder], [[0, 0], 0, false]);
    poller.start();
    await clock.pass(1);
    equal([got.length, session.requests.slice(before).every(({ url }) => url.pathname.endsWith("/stream"))], [10, true]);
    equal([await poller.loadOlder(), got.length], [10, 20]);
  },
  async an_answer_that_comes_after_the_stop_is_not_handed_over() {
    for (const part of ["/stream", "/events"]) {
      const session = new Session(40), answers = [], states = [];
      const fetch = async (url, options) => {
        const answer = await session.fetch(url, options);
        if (got.length > 0 && new URL(url).pathname.endsWith(part)) await new Promise((done) => answers.push(done));
        return answer;
      };
      const { clock, poller, got } = follow(session, { fetch, onState: ({ state }) => states.push(state) });
      await clock.pass(0);
      session.add(1);
      await clock.pass(1);
      const load = part === "/events" ? poller.loadOlder() : 0, before = got.length;
      await clock.pass(0);
      poller.stop();
      answers.forEach((done) => done());
      await clock.pass(0);
      equal([got.length, answers.length, states.at(-1), await load], [before, 1, "stopped", 0], part);
    }
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
  async what_the_consumers_on_state_throws_stops_it_and_is_told() {
    const session = new Session(3), clock = new Clock(), states = [];
    const { poller } = follow(session, { clock, onState: (told) => {
      states.push(told);
      if (told.state === "running") throw new RangeError("mine");
    } });
    await clock.pass(60);
    equal([states.map(({ state }) => state), states[1].error.message, clock.timers.size], [["running", "stopped"], "mine", 0]);
    poller.start();
    await clock.pass(60);
    equal(states.length, 4);
  },
  async what_it_throws_after_it_stopped_the_loop_is_reported() {
    const session = new Session(3), clock = new Clock(), { reportError } = globalThis, reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    try {
      const { poller } = follow(session, { clock, onState: ({ state }) => {
        if (state !== "running") return;
        poller.stop();
        throw new RangeError("mine");
      } });
      await clock.pass(60);
      equal([reported, clock.timers.size], [["mine"], 0]);
    } finally {
      globalThis.reportError = reportError;
    }
  },
  async who_is_hurried_by_on_state_stays_one_loop() {
    const clock = new Clock();
    let steps = 0, loop = null;
    loop = new Loop(async () => { steps += 1; return 1; }, { clock, page: new Page(), onState: () => { if (steps === 1) loop.hurry(); } });
    loop.start();
    await clock.pass(60);
    equal([steps, clock.timers.size], [62, 1]);
    loop.stop();
    equal(clock.timers.size, 0);
  },
  async what_it_throws_once_it_is_stopped_is_reported() {
    const session = new Session(3), clock = new Clock(), { reportError } = globalThis, reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    try {
      const { poller } = follow(session, { clock, onState: ({ state }) => { throw new RangeError(state); } });
      await clock.pass(60);
      equal([reported, clock.timers.size, session.requests.length], [["stopped"], 0, 2]);
      poller.stop();
      equal(reported.length, 1);
    } finally {
      globalThis.reportError = reportError;
    }
  },
  async retry_after_is_read_as_rfc_9110_says() {
    const now = Date.UTC(2026, 0, 13, 14, 30);
    const read = (value) => retryAfterSeconds(value, now);
    equal([read("120"), read(" 0 "), read("Tue, 13 Jan 2026 14:30:05 GMT"), read("Tue, 13 Jan 2026 14:00:00 GMT"), read("soon"), read(null), read("")],
      [120, 0, 5, 0, null, null, null]);
    equal(["1.5", "-1", "1/2/2026"].map(read), [null, null, null]);
  },
  async whatever_happens_the_newest_events_are_held_without_a_gap() {
    for (let seed = 1; seed <= 30; seed += 1) await anything(seed);
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
