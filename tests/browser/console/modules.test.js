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
      onRelease(events, { renew, past }) {
        if (renew) reader.store.clear();
        if (past) reader.store.cut(past);
        reader.store.add(events);
      },
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

