// The projection's page: how far behind the view is, and why. It asks each second.

import { ask } from "./api.js";
import { LagChart, Samples } from "./chart.js";
import { HotSessions } from "./hot_sessions.js";
import { ago, announce, byId, count, dayAndTime, element, rate, set, span, STATES, write } from "./page.js";
import { Loop } from "./client/loop.js";
import { SlicePanel } from "./slices.js";

const EVERY_SECONDS = 1;
const SESSIONS_EVERY_SECONDS = 4;
const SESSIONS = 500; // each costs the API some reads of Redis
const REPORTS = 6; // the rate is over so many reports, a second apart
const ERRORS = 5;
const SILENT_MS = 2_500; // projectors report each second, and this page asks each second
const SKEW_MS = 3_000; // clocks that differ more than this are brought together

/** Events a second between two reports of one leader; null where they tell none. */
export function eventRate(before, after) {
  if (!before || !after || before.id !== after.id) return null;
  const passedUs = after.reported_at_us - before.reported_at_us;
  return passedUs > 0 ? Math.max(0, (after.events_applied - before.events_applied) / passedUs) * 1e6 : null;
}

/** What is known while the view counts as live: how old its last beat is, and whatever its leader has not done. */
export function liveInWords(lagMs, leader, silentMs) {
  const told = [`The last beat that came through the whole pipe is ${span(lagMs)} old.`];
  if (leader && leader.state !== "live") told.push(`The leading projector is ${String(leader.state).replace("_", " ")}.`);
  if (silentMs > SILENT_MS) told.push(`The leading projector has not reported for ${span(silentMs)}.`);
  return told.join(" ");
}

function lettersInWords(leader) {
  if (leader.letters_disk_full) return leader.letters_disk_full;
  return leader.letters_open === false ? "none is written: the view is compared instead" : "written";
}

export class ProjectionPage {
  #onStopped; #trouble; #loop; #listing; #chart; #samples; #limitMs = null; #history = false; #reports = []; #rate = null;
  #hot = new HotSessions(); #slices = new SlicePanel(); #answeredAt = null; #said = null; #heard = { report: null, at: 0 };

  constructor({ onStopped }) {
    this.#onStopped = onStopped;
  }

  open(_, trouble) {
    [this.#trouble, this.#samples, this.#history, this.#answeredAt] = [trouble, new Samples(), false, null];
    this.#reports = [];
    this.#chart ??= new LagChart(byId("chart"));
    this.#loop = new Loop((signal) => this.#look(signal), { mostSeconds: 4, onState: (told) => this.#state(told) });
    this.#listing = new Loop((signal) => this.#list(signal), { mostSeconds: 10, onState: ({ error }) => this.#hot.tell(error) });
    this.#loop.start();
    this.#listing.start();
  }

  close() {
    this.#listing.stop();
    this.#loop.stop();
  }

  async #look(signal) {
    if (!this.#history) await this.#recall(signal);
    const projection = await ask("api/v2/projection", { signal });
    this.#answeredAt = Date.now();
    this.#show(projection);
    return EVERY_SECONDS;
  }

  // What the API remembers: so the chart is full at once, and again after it, or this page, was away.
  async #recall(signal) {
    const { samples, max_staleness_ms: limit } = await ask("api/v2/projection/history", { signal });
    this.#limitMs = limit;
    const apart = Date.now() - Date.parse(samples.at(-1)?.at ?? Date.now());
    const skew = Math.abs(apart) > SKEW_MS ? apart : 0; // the API's clock is not this machine's
    this.#samples.add(samples.map(({ at, status, lag_ms: lagMs }) => ({ at: Date.parse(at) + skew, status, lagMs })));
    this.#rate = samples.at(-1)?.events_per_second ?? null;
    this.#history = true;
  }

  async #list(signal) {
    this.#hot.show(await ask(`api/v2/projection/sessions?limit=${SESSIONS}`, { signal }));
    return SESSIONS_EVERY_SECONDS;
  }

  #state({ state, error }) {
    if (state === "stopped" && error) this.#onStopped(error);
    if (state === "hidden") this.#history = false;
    if (state === "running") this.#trouble(null);
    if (state !== "waiting") return;
    this.#history = false;
    const old = this.#answeredAt === null ? "" : ` The figures below are from ${dayAndTime(this.#answeredAt)}.`;
    this.#trouble(`${error.message}${old} Trying again.`);
    this.#word("unknown", `The API ${error.status ? "answers, but not this" : "does not answer"}, so nothing is known of the projection.`);
  }

  #show(projection) {
    const { status, lag_ms: lagMs, leader } = projection;
    this.#reports = leader ? [...this.#reports.filter((one) => one.id === leader.id), leader].slice(-REPORTS) : [];
    this.#rate = eventRate(this.#reports[0], leader) ?? (leader ? this.#rate : null);
    this.#word(status, projection.reason ?? liveInWords(lagMs, leader, this.#silence(leader)));
    write(byId("lag"), span(lagMs));
    write(byId("as-of"), projection.as_of ? dayAndTime(projection.as_of) : "–");
    write(byId("event-rate"), rate(status === "live" ? this.#rate : null));
    write(byId("hot-count"), count(projection.hot_sessions));
    this.#samples.add([{ at: Date.now(), status, lagMs }]);
    this.#draw();
    this.#slices.show(projection.slices);
    this.#projectors(leader ? [leader, ...projection.standbys] : projection.standbys);
    this.#tail(projection, leader);
    this.#drift(leader);
    this.#errors([leader, ...projection.standbys].filter(Boolean), leader);
  }

  // How long this page has seen nothing new of the leader, ms: by this machine's clock alone.
  #silence(leader) {
    const report = leader ? `${leader.id} ${leader.reported_at_us}` : null, now = performance.now();
    if (report !== this.#heard.report) this.#heard = { report, at: now };
    return now - this.#heard.at;
  }

  #word(status, reason) {
    const [sign, word] = STATES[status] ?? STATES.unknown;
    set(byId("state"), "data-status", status);
    write(byId("status-sign"), sign);
    write(byId("status"), word);
    write(byId("reason"), reason);
    if (this.#said !== null && this.#said !== status) announce(`The projection is ${word}. ${reason}`);
    this.#said = status;
  }

  #draw() {
    this.#chart.draw(this.#samples.list, Date.now(), this.#limitMs);
    const known = this.#samples.summary;
    write(byId("chart-summary"), known ? `Median ${span(known.median)}, highest ${span(known.highest)}.` : "Nothing is known yet.");
  }

  #projectors(reports) {
    byId("projectors").tBodies[0].replaceChildren(...reports.map((report) => element("tr", {},
      element("td", {}, report.role),
      element("td", { title: report.id }, `${report.host}, process ${report.pid}`),
      element("td", {}, String(report.state).replace("_", " ")),
      element("td", {}, ago(report.started_at)),
    )));
    if (!reports.length) byId("projectors").tBodies[0].append(element("tr", {}, element("td", { colspan: "4" }, "None reports.")));
  }

  #tail(projection, leader) {
    pairs(byId("tail"), leader ? [
      ["state", String(leader.state).replace("_", " ")],
      ["a beat's way", span(leader.round_trip_ms)],
      ["sessions on their way in", count(leader.loading)],
      ["times connected, terms", `${count(leader.connections)}, ${count(leader.terms)}`],
      ["events applied", count(leader.events_applied)],
      ["letters", lettersInWords(leader)],
      ...(projection.slices?.length ? [] : [["term, batch", `${(projection.term ?? "–").slice(0, 8)}, ${count(projection.batch)}`]]),
    ] : [["state", "no projector leads"]]);
    const usage = leader?.notification_queue_usage ?? 0;
    byId("queue").value = usage;
    write(byId("queue-text"), leader ? `${rate(usage * 100)} % full` : "not known");
  }

  #drift(leader) {
    const found = leader?.drift ?? 0;
    set(byId("drift"), "class", found ? "bad-news" : null);
    write(byId("drift"), !leader ? "Nobody compares." : found
      ? `${count(found)} hot sessions differed from Postgres and were loaded anew.` : "None found since this projector began.");
    pairs(byId("checks"), leader ? [
      ["sessions compared", count(leader.compared)], ["set aside", count(leader.set_aside)],
      ["looked at again", count(leader.looks)], ["loaded", count(leader.loads)],
    ] : []);
  }

  // A leader tells those of the leaders before it too; one of them may be back.
  #errors(reports, leader) {
    const told = new Map(reports.flatMap((report) => report.errors ?? []).map((error) => [`${error.at} ${error.text}`, error]));
    const errors = [...told.values()].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, ERRORS);
    byId("errors").replaceChildren(...errors.map(({ at, text }) =>
      element("li", {}, element("time", { datetime: at, title: at }, ago(at)), ` ${text}`)));
    if (!errors.length) byId("errors").append(element("li", {}, leader ? "None of this leader, nor of one before it." : "Not known: no projector leads."));
  }
}

function pairs(list, entries) {
  list.replaceChildren(...entries.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}
