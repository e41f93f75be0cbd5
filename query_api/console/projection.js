// The projection's page: whether the view can be trusted, why, what to do, and the figures behind it. It asks each second.

import { ask } from "./api.js";
import { hideBanner, showBanner } from "./banner.js";
import { ChangePanel } from "./changes.js";
import { LagChart, Samples } from "./chart.js";
import { HotSessions } from "./hot_sessions.js";
import { ago, announce, byId, clockTime, count, dayAndTime, element, rate, set, span, STATES, write } from "./page.js";
import { Loop } from "./client/loop.js";
import { useShortcuts } from "./shortcuts.js";
import { SlicePanel } from "./slices.js";

const EVERY_SECONDS = 1;
const RECALL_SECONDS = 30; // changes are asked for again when something seems to have changed, and so often at least
const REPORTS = 6; // the rate is over so many reports, a second apart
const SILENT_MS = 2_500; // projectors report each second, and this page asks each second
const SKEW_MS = 3_000; // clocks that differ more than this are brought together
const ANSWERS = { live: "Yes", catching_up: "Not yet", stale: "No", down: "No", unknown: "Not known" };

/** Events a second between two reports of one leader; null where they tell none. */
export function eventRate(before, after) {
  if (!before || !after || before.id !== after.id) return null;
  const passedUs = after.reported_at_us - before.reported_at_us;
  return passedUs > 0 ? Math.max(0, (after.events_applied - before.events_applied) / passedUs) * 1e6 : null;
}

/** What is known while the view counts as live: how old its last heartbeat is, and whatever its leader has not done. */
export function liveInWords(lagMs, leader, silentMs) {
  const told = [`The view's last heartbeat is ${span(lagMs)} old.`];
  if (leader && leader.state !== "live") told.push(`The leading projector is ${spaced(leader.state)}.`);
  if (silentMs > SILENT_MS) told.push(`The leading projector has not reported for ${span(silentMs)}.`);
  return told.join(" ");
}

const spaced = (text) => String(text).replaceAll("_", " ");

function lettersInWords(leader) {
  if (leader.letters_disk_full) return leader.letters_disk_full;
  return leader.letters_open === false ? "not written: the view is compared instead" : "written";
}

export class ProjectionPage {
  #onStopped; #loop; #listing; #chart; #samples; #limitMs = null; #history = false; #reports = []; #rate = null;
  #hot = new HotSessions({ onMore: () => this.#listing?.hurry() }); #slices = new SlicePanel(); #changes = new ChangePanel();
  #answeredAt = null; #said = null; #heard = { report: null, at: 0 }; #seen = null; #recalledAt = 0; #skewMs = 0;

  constructor({ onStopped }) {
    this.#onStopped = onStopped;
    byId("chart-span").addEventListener("change", () => this.#draw());
  }

  open() {
    this.#skewMs = 0;
    [this.#samples, this.#history, this.#answeredAt, this.#said, this.#seen, this.#reports] = [new Samples(), false, null, null, null, []];
    this.#changes.clear();
    this.#chart ??= new LagChart(byId("chart"), byId("chart-board"));
    this.#loop = new Loop((signal) => this.#look(signal), { mostSeconds: 4, onState: (told) => this.#state(told) });
    this.#listing = new Loop((signal) => this.#hot.renew(signal), { mostSeconds: 10, onState: ({ error }) => this.#hot.tell(error) });
    this.#loop.start();
    this.#listing.start();
    useShortcuts({
      "/": () => byId("hot-filter").focus(), j: () => this.#hot.move(1), k: () => this.#hot.move(-1), p: () => this.#hot.togglePause(),
    });
  }

  close() {
    this.#listing.stop();
    this.#loop.stop();
    useShortcuts({});
  }

  async #look(signal) {
    if (!this.#history) await this.#recall(signal);
    const projection = await ask("api/v2/projection", { signal });
    this.#answeredAt = Date.now();
    this.#show(projection);
    if (this.#isNews(projection)) this.#history = false; // the API notices the same within a second or so
    return EVERY_SECONDS;
  }

  // Whether something changed that belongs on the chart, or the last look at what changed is old.
  #isNews({ status, term, leader, standbys, apis = [], slices = [] }) {
    const reports = [leader, ...standbys, ...apis].filter(Boolean);
    const key = JSON.stringify([status, term, reports.map(({ id, errors }) => [id, errors?.[0]?.at]), slices.map((one) => one.term)]);
    const changed = this.#seen !== null && this.#seen !== key;
    this.#seen = key;
    return changed || performance.now() - this.#recalledAt > RECALL_SECONDS * 1000;
  }

  // What the API remembers: so the chart is full at once, and again after it, or this page, was away.
  async #recall(signal) {
    const { samples, changes = [], max_staleness_ms: limit } = await ask("api/v2/projection/history", { signal });
    this.#limitMs = limit;
    const apart = Date.now() - Date.parse(samples.at(-1)?.at ?? Date.now());
    if (Math.abs(apart - this.#skewMs) > SKEW_MS) this.#skewMs = apart; // the API's clock is not this machine's
    const first = this.#samples.list[0]?.at ?? Infinity, last = this.#samples.list.at(-1)?.at ?? -Infinity;
    this.#samples.add(samples.map((one) => ({ at: Date.parse(one.at) + this.#skewMs, status: one.status, lagMs: one.lag_ms, tripMs: one.round_trip_ms ?? null }))
      .filter(({ at }) => at < first || at > last)); // those between are here already, as this page saw them
    this.#changes.add(changes, this.#skewMs);
    this.#rate = samples.at(-1)?.events_per_second ?? null;
    [this.#history, this.#recalledAt] = [true, performance.now()];
  }

  #state({ state, error, retryInSeconds }) {
    if (state === "stopped" && error) this.#onStopped(error);
    if (state === "hidden") this.#history = false;
    if (state === "running") hideBanner();
    if (state !== "waiting") return;
    this.#history = false;
    const retryAt = Date.now() + (retryInSeconds ?? 0) * 1000, answered = this.#answeredAt;
    showBanner(error.message, () => [
      answered === null ? "" : `The figures below are from ${dayAndTime(answered)}, ${ago(answered)}.`,
      retryAt > Date.now() + 1000 ? `Trying again in ${span(retryAt - Date.now())}.` : "Trying again.",
    ].join(" ").trim());
    this.#verdict("unknown", { reason: `The API ${error.status ? "refused this request" : "does not answer"}, so the state of the projection is not known.` });
  }

  #show(projection) {
    const { status, lag_ms: lagMs, leader } = projection;
    this.#reports = leader ? [...this.#reports.filter((one) => one.id === leader.id), leader].slice(-REPORTS) : [];
    this.#rate = eventRate(this.#reports[0], leader) ?? (leader ? this.#rate : null);
    this.#verdict(status, {
      reason: projection.reason ?? liveInWords(lagMs, leader, this.#silence(leader)), usersSee: projection.users_see, toDo: projection.what_to_do,
    });
    write(byId("lag"), span(lagMs));
    write(byId("as-of"), projection.as_of ? clockTime(projection.as_of) : "–");
    write(byId("as-of-day"), projection.as_of ? `${dayAndTime(projection.as_of).split(",")[0]}: everything committed before this is in the view` : "");
    write(byId("event-rate"), rate(status === "live" ? this.#rate : null));
    write(byId("hot-count"), count(projection.hot_sessions));
    this.#samples.add([{ at: Date.now(), status, lagMs, tripMs: leader?.round_trip_ms ?? null }]);
    this.#draw();
    this.#slices.show(projection.slices);
    this.#processes(projection);
    this.#replicas(projection.apis ?? []);
    this.#inside(projection, leader);
    this.#changes.add([leader, ...projection.standbys].filter(Boolean).flatMap((report) => report.errors ?? []).map(({ at, text }) => ({ at, kind: "error", text })), this.#skewMs);
  }

  // How long this page has seen nothing new of the leader, ms: by this machine's clock alone.
  #silence(leader) {
    const report = leader ? `${leader.id} ${leader.reported_at_us}` : null, now = performance.now();
    if (report !== this.#heard.report) this.#heard = { report, at: now };
    return now - this.#heard.at;
  }

  #verdict(status, { reason, usersSee = null, toDo = null }) {
    const [sign, word] = STATES[status] ?? STATES.unknown, look = status === "live" && toDo !== null && toDo !== "Nothing.";
    set(byId("state"), "data-status", status);
    write(byId("status-sign"), sign);
    write(byId("answer"), look ? "Yes, but see below" : (ANSWERS[status] ?? ANSWERS.unknown));
    write(byId("status"), word);
    write(byId("reason"), reason);
    for (const [id, text] of [["users-see", usersSee], ["to-do", toDo]]) {
      byId(id).parentElement.hidden = text === null;
      write(byId(id), text ?? "");
    }
    if (this.#said !== null && this.#said !== status) announce(`The projection is ${word}. ${reason}`);
    this.#said = status;
  }

  #draw() {
    const wanted = Number(byId("chart-span").value) * 60_000 || null;
    this.#chart.draw({ samples: this.#samples.list, changes: this.#changes.list, now: Date.now(), limitMs: this.#limitMs, spanMs: wanted });
    const trips = this.#samples.summary("tripMs"), lags = this.#samples.summary("lagMs");
    write(byId("trip-p50"), span(trips?.p50));
    write(byId("trip-p99"), span(trips?.p99));
    write(byId("chart-summary"), lags ? `Lag: median ${span(lags.p50)}, highest ${span(lags.highest)}. Commit to visible: ${
      trips ? `median ${span(trips.p50)}, highest ${span(trips.highest)}` : "not known"}.` : "Nothing is known yet.");
    write(byId("limit-note"), this.#limitMs === null ? "" : `past ${span(this.#limitMs)} the API asks Postgres`);
  }

  #processes({ leader, standbys, apis = [] }) {
    const reports = [...(leader ? [leader] : []), ...standbys];
    rows("processes", [
      ...reports.map((report) => ["projector", report, report.role, [spaced(report.state), report.reason].filter(Boolean).join(": ")]),
      ...apis.map((report) => ["API", report, "answers polls", `${count(report.connections)} of ${count(report.connections_bound)} connections${report.near_bound ? ", near the bound" : ""}`]),
    ].map(([what, report, role, state]) => element("tr", {},
      element("td", {}, what), element("td", {}, role), element("td", { title: report.id ?? null }, `${report.host}, process ${report.pid}`),
      element("td", {}, state), element("td", { title: dayAndTime(report.started_at) }, ago(report.started_at)))), 5, "No process reports.");
  }

  #replicas(apis) {
    const found = apis.flatMap((report) => (report.replicas ?? []).map((one) => [report, one]));
    byId("replicas-panel").hidden = !found.length;
    rows("replicas", found.map(([report, one]) => element("tr", {},
      element("td", {}, one.name), element("td", {}, `${spaced(one.state)}${one.reason ? `: ${one.reason}` : ""}`),
      element("td", { class: "number" }, span(one.lag_ms)), element("td", {}, `${report.host}, process ${report.pid}`))), 4, "");
  }

  #inside(projection, leader) {
    const found = leader?.drift ?? 0, usage = leader?.notification_queue_usage ?? 0;
    set(byId("drift"), "class", found ? "bad-news" : null);
    write(byId("drift"), !leader ? "No projector leads, so nobody compares the view with Postgres." : found
      ? `${count(found)} hot sessions differed from Postgres and were loaded anew.` : "No hot session differed from Postgres since this projector started.");
    pairs(byId("inside"), leader ? [
      ["state", spaced(leader.state)],
      ["last heartbeat took", span(leader.round_trip_ms)],
      ["sessions being loaded", count(leader.loading)],
      ["sessions loaded so far", count(leader.loads)],
      ["events applied", count(leader.events_applied)],
      ["connections to Postgres made", count(leader.connections)],
      ["terms begun", count(leader.terms)],
      ...(projection.slices?.length ? [] : [["term, batch", `${(projection.term ?? "–").slice(0, 8)}, ${count(projection.batch)}`]]),
      ["letters", lettersInWords(leader)],
      ["notification queue", `${rate(usage * 100)} % full`],
      ["sessions compared", count(leader.compared)],
      ["sessions set aside", count(leader.set_aside)],
    ] : [["state", "no projector leads"]]);
  }
}

function rows(id, made, columns, none) {
  byId(id).tBodies[0].replaceChildren(...(made.length ? made : [element("tr", {}, element("td", { colspan: String(columns) }, none))]));
}

function pairs(list, entries) {
  list.replaceChildren(...entries.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}
