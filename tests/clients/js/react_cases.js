// What useSessionEvents promises, by a real React, against a session in memory and a clock that is turned by hand.

import { StrictMode, act, createElement } from "react";
import { createRoot } from "react-dom/client";
import { useSessionEvents } from "../../../clients/js/react/index.js";
import { SessionNotFound } from "../../../clients/js/src/index.js";
import { Clock, Page, Session, Tokens, equal, guard, once, refuse, token } from "./doubles.js";

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const mounted = new Set();

/** Take off the page what a case has left there. */
export async function end() {
  for (const root of mounted) await act(async () => root.unmount());
  mounted.clear();
}

// A component over the hook, in StrictMode, and everything that it was rendered with.
async function shown(session, { clock = new Clock(), strict = true, ...given } = {}) {
  session.clock = clock;
  const page = new Page(), renders = [];
  let options = { baseUrl: "http://poller.test/", limit: 10, clock, page, random: () => 0, fetch: session.fetch, ...given };
  function Events({ id }) {
    const now = useSessionEvents(id, { ...options, types: [...(options.types ?? [])] });
    renders.push({ id, ...now });
    return createElement("ol", null, now.events.map((event) => createElement("li", { key: event.id }, event.event_type)));
  }
  const root = createRoot(document.createElement("div"));
  mounted.add(root);
  const render = (id, more = {}) => act(async () => {
    options = { ...options, ...more };
    const element = createElement(Events, { id });
    root.render(strict ? createElement(StrictMode, null, element) : element);
  });
  await render("some");
  const pass = (seconds) => act(async () => clock.pass(seconds));
  return { clock, page, renders, render, pass, root, last: () => renders.at(-1), ids: () => renders.at(-1).events.map(({ id }) => id) };
}

const idsOf = (session, size) => session.events.slice(0, size).map(({ id }) => id);
const reads = (session, what) => session.requests.filter(({ url }) => url.pathname.endsWith(what));

export const cases = {
  async the_newest_events_are_shown_and_each_as_it_comes() {
    const session = new Session(25), { renders, pass, last, ids } = await shown(session);
    equal([renders[0].status, renders[0].events, renders[0].freshness], ["connecting", [], null]);
    await pass(0.2);
    equal([ids(), last().status, last().total, last().hasOlder, last().error], [idsOf(session, 10), "live", 25, true, null]);
    equal(last().freshness, { asOf: "2026-01-13T14:30:00.000000Z", lagMs: 120, source: "memory" });
    session.add(2);
    session.add(1, 5);
    await pass(0.3);
    equal([ids(), last().total], [idsOf(session, 13), 28]);
    once(ids());
  },
  async strict_mode_leaves_one_follower() {
    const session = new Session(3), { pass } = await shown(session);
    await pass(0.2);
    equal([session.waiting.size, reads(session, "/events").length], [1, 1]);
  },
  async nothing_goes_on_once_it_is_taken_off_the_page() {
    const session = new Session(3), { pass, root, clock, renders } = await shown(session);
    await pass(0.2);
    await act(async () => root.unmount());
    await pass(0);
    const before = [session.requests.length, renders.length];
    session.add(1);
    await pass(600);
    equal([session.waiting.size, clock.timers.size, session.requests.length, renders.length], [0, 0, ...before]);
  },
  async no_more_than_so_many_are_held() {
    const session = new Session(30), { pass, ids, last } = await shown(session, { keep: 12 });
    await pass(0.2);
    session.add(5);
    await pass(0.3);
    equal([ids(), last().hasOlder, last().total], [idsOf(session, 12), false, 35]);
    session.add(30);
    await pass(0.3);
    equal([ids(), await last().loadOlder()], [idsOf(session, 12), 0]);
  },
  async older_ones_come_when_they_are_asked_for() {
    const session = new Session(25), { pass, ids, last, clock } = await shown(session);
    await pass(0.2);
    const loads = [last().loadOlder, last().loadOlder];
    equal(loads[0] === loads[1], true);
    let count;
    await act(async () => { [count] = await Promise.all([loads[0](), clock.pass(0)]); });
    equal([count, ids()], [10, idsOf(session, 20)]);
    await act(async () => { [count] = await Promise.all([loads[0](), clock.pass(0)]); });
    equal([count, ids(), last().hasOlder], [5, idsOf(session, 25), false]);
  },
  async a_failure_is_told_and_waited_out() {
    const session = new Session(3);
    session.failures = [refuse(503, { "Retry-After": "5" }, "Later.")];
    const { pass, last, ids } = await shown(session, { strict: false });
    await pass(1);
    equal([last().status, last().error.message, last().error.retryAfterSeconds], ["retrying", "Later.", 5]);
    await pass(10);
    equal([last().status, last().error, ids().length], ["live", null, 3]);
  },
  async what_cannot_be_mended_stops_it() {
    const session = new Session(3);
    session.refusal = () => refuse(404, {}, "Session not found: some");
    const { pass, last, clock } = await shown(session);
    await pass(60);
    equal([last().status, last().error instanceof SessionNotFound, last().error.message, clock.timers.size], ["stopped", true, "Session not found: some", 0]);
  },
  async another_session_begins_with_an_empty_list() {
    const session = new Session(3), { pass, last, render, renders, ids } = await shown(session);
    await pass(0.2);
    const before = renders.length;
    await render("other");
    equal(renders.slice(before).filter(({ id }) => id === "other").map(({ events, status }) => [events.length, status])[0], [0, "connecting"]);
    await pass(0.2);
    equal([ids().length, session.requests.at(-1).url.pathname, session.waiting.size], [3, "/api/v2/sessions/other/stream", 1]);
    await render(null);
    await pass(0.2);
    equal([last().status, ids(), session.waiting.size], ["idle", [], 0]);
  },
  async functions_and_lists_of_a_render_begin_nothing_anew() {
    const session = new Session(3), clock = new Clock(), calls = [];
    const mint = (name) => () => (calls.push(name), token({ exp: clock.now() / 1000 + 100, name }));
    const { pass, render, last } = await shown(session, { clock, getToken: mint("first"), types: ["step_created"] });
    await pass(0.2);
    const before = reads(session, "/events").length;
    for (let n = 0; n < 5; n += 1) await render("some", { getToken: mint(`later-${n}`) });
    await pass(81);
    equal([reads(session, "/events").length, last().events.length], [before, 3]);
    equal([calls.includes("first"), calls.at(-1)], [true, "later-4"]);
  },
  async components_that_share_a_function_share_its_tokens() {
    const session = new Session(3), clock = new Clock(), tokens = new Tokens(), getToken = tokens.at(clock);
    guard(session, clock);
    const one = await shown(session, { clock, getToken }), other = await shown(session, { clock, getToken });
    await one.pass(0.2);
    await one.render("another");
    await other.render("some", { types: ["step_created"] });
    await one.pass(0.2);
    equal([one.ids().length, other.ids().length, tokens.calls], [3, 3, 1]);
    await act(async () => one.root.unmount());
    await other.pass(80);
    equal([other.last().status, tokens.calls, tokens.most], ["live", 2, 1]);
  },
  async who_takes_another_function_takes_it_from_no_other_component() {
    const session = new Session(3), clock = new Clock(), calls = [];
    const mint = (name) => () => (calls.push(name), token({ exp: clock.now() / 1000 + 100, name }));
    const getToken = mint("shared"), one = await shown(session, { clock, getToken }), other = await shown(session, { clock, getToken });
    await one.pass(0.2);
    await one.render("some", { getToken: mint("own") });
    await one.pass(81);
    equal(calls, ["shared", "shared"]);
    await act(async () => other.root.unmount());
    await one.pass(81);
    equal(calls, ["shared", "shared", "own"]);
  },
  async it_rests_while_it_is_told_to() {
    const session = new Session(3), { pass, render, last, ids } = await shown(session, { paused: true });
    await pass(60);
    equal([last().status, session.requests.length], ["paused", 0]);
    await render("some", { paused: false });
    await pass(0.2);
    equal(ids().length, 3);
    await render("some", { paused: true });
    await pass(5);
    session.add(1);
    await pass(60);
    equal([last().status, ids().length], ["paused", 3]);
  },
  async a_lost_stream_begins_again() {
    const session = new Session(3), { pass, ids } = await shown(session);
    await pass(0.2);
    session.origin = "b";
    session.add(1);
    await pass(5);
    equal(ids(), idsOf(session, 4));
  },
};
