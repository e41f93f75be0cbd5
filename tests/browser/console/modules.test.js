// What the console's modules promise, without a browser.

import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Clock, Session } from "../../clients/js/doubles.js";
import { asked, byId, said, settled, until, visit } from "./stand_ins.js";

const CONSOLE = new URL("../../../query_api/console/", import.meta.url);
const [{ Samples }, { ChangePanel }, { Life }, { Arrivals }, { EventStore, LIVE_EVENTS }, { EventPoller }] = await Promise.all(
  ["chart", "changes", "life", "arrivals", "event_store", "client/event_poller"].map((name) => import(new URL(`${name}.js`, CONSOLE))),
);
const NOON = Date.UTC(2026, 0, 13, 12);

function event(id, type = "step_created", { at = NOON, data = {}, step = null } = {}) {
  const timestamp = new Date(at).toISOString().replace("Z", "000Z");
  return { id: `e${id}`, step_id: step, event_type: type, event_data: data, event_data_json: JSON.stringify(data), message: null, timestamp };
}

describe("the chart", () => {
  const sample = (at) => ({ at, status: "live", lagMs: 1, tripMs: 1 });

  test("samples from before the clock stepped back go", () => {
    const samples = new Samples();
    samples.add([sample(NOON - 1_000), sample(NOON)], NOON);
    samples.add([sample(NOON - 3_600_000)], NOON - 3_600_000);
    assert.deepEqual(samples.list.map(({ at }) => at), [NOON - 3_600_000]);
  });
});

describe("what happened", () => {
  const change = (seconds, kind = "error", text = "Redis is away.") => ({ at: new Date(NOON + seconds * 1_000).toISOString(), kind, text });

  test("a change is kept once, however the clocks differ", () => {
    const panel = new ChangePanel();
    for (const skewMs of [60_000, 60_037]) panel.add([change(0), change(1)], skewMs);
    assert.deepEqual(panel.list.map(({ at }) => at - NOON), [61_037, 60_037]);
  });

  test("a turn of the status is one, whichever process tells it", () => {
    const panel = new ChangePanel();
    panel.add([change(0, "status", "The view is live again."), change(1.2, "status", "The view is live again."), change(9, "status", "The view is live again.")]);
    assert.deepEqual(panel.list.map(({ at }) => at - NOON), [9_000, 0]);
  });

  test("one whose instant cannot be read is told all the same", () => {
    const panel = new ChangePanel();
    panel.add([{ ...change(0), at: "soon" }]);
    assert.equal(byId("changes").children.length, 1);
  });

  test("the newest are kept", () => {
    const panel = new ChangePanel();
    for (let seconds = 0; seconds < 1_000; seconds += 100) panel.add(Array.from({ length: 100 }, (_, n) => change(seconds + n)));
    assert.deepEqual([panel.list.length, panel.list[0].at - NOON, panel.list.at(-1).at - NOON], [200, 999_000, 800_000]);
  });
});

describe("a session's life", () => {
  test("past two thousand stations the newest tell the status", () => {
    const life = new Life();
    life.note(Array.from({ length: 2_000 }, (_, n) => event(n, "workflow_paused", { at: NOON + n })));
    life.note([event("end", "workflow_completed", { at: NOON + 5_000 })]);
    assert.deepEqual([life.status, life.stations.length, life.stations.at(-1).id], ["completed", 2_000, "e1"]);
  });

  test("past two thousand steps the one that began first goes", () => {
    const life = new Life();
    life.note(Array.from({ length: 2_001 }, (_, n) => event(n, "step_created", { at: NOON + n, step: `s${n}`, data: { name: `step ${n}` } })));
    assert.deepEqual([life.steps.length, life.stepName("s2000"), life.stepName("s0")], [2_000, "step 2000", null]);
  });
});

describe("events that wait", () => {
  // A list over a session; whoever is `away` reads further down.
  function reading(session, clock = new Clock()) {
    const reader = { away: false, store: new EventStore({ onDropped: (ids) => reader.poller.forget(ids) }) };
    const arrivals = new Arrivals({
      area: byId("events-scroller"), isAway: () => reader.away, onDropped: (ids) => reader.poller.forget(ids),
      onRelease: (events, told) => reader.store.release(events, told),
    });
    session.clock = clock;
    reader.poller = new EventPoller({
      sessionId: "some", baseUrl: "http://console.test/", limit: 500, clock, page: null, random: () => 0, fetch: session.fetch,
      onEvents(events, { older, restarted }) {
        if (older) reader.store.add(events, { older });
        else arrivals.take(events, { restarted, first: restarted && reader.store.events.length === 0 });
      },
    });
    return Object.assign(reader, { arrivals, clock });
  }

  async function loadAll({ poller }) {
    while (poller.hasOlder) await poller.loadOlder();
  }

  test("more than are held leave no hole behind them", async () => {
    const session = new Session(2_500), reader = reading(session), { arrivals, clock, poller, store } = reader;
    poller.start();
    await clock.pass(0);
    for (let pages = 0; pages < 2; pages += 1) await poller.loadOlder();
    reader.away = true;
    for (let added = 0; added < LIVE_EVENTS + 1_000; added += 500) {
      session.add(500);
      if (added === 500) session.add(30, 520); // late: their timestamps lie below what is loaded
      await clock.pass(2);
    }
    assert.deepEqual([arrivals.renews, store.events.length], [true, 1_500]);
    arrivals.release();
    assert.equal(store.events.length, LIVE_EVENTS);
    assert.equal(store.events[0].id, session.events[0].id);
    await loadAll(reader);
    poller.stop();
    assert.deepEqual(store.events.map(({ id }) => id), session.events.map(({ id }) => id));
  });
});

describe("the pages", () => {
  const [FIRST, SECOND] = ["7d444840-9dc0-41d1-b245-5ffdce74fad2", "7d444840-9dc0-41d1-b245-5ffdce74fad3"];
  const FRESH = { "Readside-As-Of": "2026-01-13T12:00:00.000000Z", "Readside-Lag-Ms": "1", "Readside-Source": "redis", "Stream-Next-Offset": "1", "Stream-Up-To-Date": "true" };
  const answer = (body) => new Response(JSON.stringify(body), { headers: FRESH });

  // The request of this kind that was made first; the next one is another.
  async function request(kind) {
    const found = await until(() => asked.find(({ url }) => kind.test(url.pathname + url.search)));
    asked.splice(asked.indexOf(found), 1);
    return found;
  }

  // Open a session whose newest page holds so many events, of so many.
  async function open(id, size, total) {
    visit(`#session=${id}`);
    (await request(new RegExp(`${id}/stream.offset=now`))).give(answer([]));
    const items = Array.from({ length: size }, (_, n) => event(`${id}-${n}`, "step_created", { at: NOON - n }));
    (await request(new RegExp(`${id}/events.limit=500`))).give(answer({ items, total, pagination: { has_next: total > size } }));
    await until(() => said("total")[0] === String(total));
  }

  // How many events are held, as the page says it.
  async function shown() {
    byId("no-filter").happens("click");
    await settled();
    return said("shown")[0];
  }

  test("open", async () => {
    await import(new URL("main.js", CONSOLE));
    assert.ok(await request(/projection.history$/));
  });

  test("an address that names no session is refused, and left like any other", async () => {
    for (const id of ["", ".", "..", "no-uuid", `x${FIRST}`]) {
      visit(`#session=${id}`);
      assert.deepEqual(said("refused-title"), ["No such session"]);
      asked.length = 0;
      visit("#projection");
      assert.ok(await request(/projection.history$/));
    }
  });

  test("a key that is pasted where sessions are opened goes nowhere", async () => {
    visit("#projection");
    asked.length = 0;
    byId("session-id").value = "a-key-of-twenty-four-let";
    byId("find").happens("submit");
    await settled();
    assert.deepEqual([said("refused-title"), location.hash, byId("session-id").value], [["No such session"], "#projection", ""]);
    assert.deepEqual(asked.filter(({ url }) => url.href.includes("a-key")), []);
    byId("to-projection").setAttribute("href", "#projection");
    byId("to-projection").happens("click"); // no hash changes
    assert.ok(await request(/projection.history$/));
  });

  test("what a session that was left still answers is not shown in the next", async () => {
    await open(FIRST, 500, 700);
    byId("older").happens("click");
    const older = await request(new RegExp(`${FIRST}/events.*page=2`));
    await open(SECOND, 2, 2);
    assert.equal(byId("older").disabled, false);
    older.give(answer({ items: Array.from({ length: 200 }, (_, n) => event(`late-${n}`)), total: 700, pagination: { has_next: false } }));
    await settled();
    assert.equal(await shown(), "2 events");
  });

  test("a session that is left while it is warmed says nothing in the next", async () => {
    await open(FIRST, 1, 1);
    byId("warm").happens("click");
    await request(new RegExp(`${FIRST}/warm`));
    visit(`#session=${SECOND}`);
    await settled();
    assert.deepEqual(said("done"), [""]);
  });

  test("clocks that differ double nothing of what happened", async () => {
    asked.length = 0;
    visit("#projection");
    for (const term of ["a", "b"]) {
      const newest = new Date(Date.now() - 60_000 - (term === "a" ? 0 : 37)).toISOString();
      const changes = [{ at: new Date(NOON).toISOString(), kind: "error", text: "Redis is away." }, { at: new Date(NOON + 1_000).toISOString(), kind: "started", text: "One started." }];
      (await request(/projection.history$/)).give(answer({ samples: [{ at: newest, status: "live", lag_ms: 1 }], changes, max_staleness_ms: 5_000 }));
      const leader = { id: "x", state: "live", reported_at_us: 1, errors: [{ at: changes[0].at, text: changes[0].text }] };
      (await request(/projection$/)).give(answer({ status: "live", term, lag_ms: 1, leader, standbys: [] }));
      if (term === "a") (await request(/projection$/)).give(answer({ status: "live", term: "b", lag_ms: 1, leader, standbys: [] }));
    }
    await settled();
    assert.deepEqual([byId("changes").children.length, said("errors-count")[0]], [2, "1 error"]);
  });

  after(() => byId("change-key").happens("click"));

  test("the key can be forgotten", () => {
    visit("#session=.");
    byId("change-key").happens("click");
    assert.equal(sessionStorage.getItem("readside.key"), null);
  });
});
