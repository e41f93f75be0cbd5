// A session's page: what became of it, and its events as they come, through the poller that other pages may use too.

import { BASE, answer, ask, key } from "./api.js";
import { Arrivals } from "./arrivals.js";
import { hideBanner, showBanner } from "./banner.js";
import { EventDetail } from "./event_detail.js";
import { EventList } from "./event_list.js";
import { EventStore, Filter } from "./event_store.js";
import { drawnAt } from "./client/instants.js";
import { KNOWN_TYPES, STATIONS, STEP_TYPES, kindOf } from "./kinds.js";
import { Life } from "./life.js";
import { ago, announce, byId, clockTime, count, dayAndTime, element, set, showStatus, span, timeOfDay, write } from "./page.js";
import { EventPoller } from "./client/event_poller.js";
import { Loop } from "./client/loop.js";
import { cut } from "./preview.js";
import { useShortcuts } from "./shortcuts.js";
import { Timeline } from "./timeline.js";

const PAGE = 500;
const DRAW_EVERY_MS = 400;
const SEARCH_AFTER_MS = 150;
const ANNOUNCE_EVERY_MS = 10_000;
const LOOK_SECONDS = 5; // how fresh the view is, and what became of the session, is asked so often while nothing comes
const LOOKED_AT = 20; // the newest events about the session and its steps
const STALE_MS = 5_000;
const FROM_POSTGRES = 3; // so many looks in a row: it is not that the session was just being loaded
const STEPS_LISTED = 200;
const SEARCH_PAGES = 10;
const COMPACT = "readside.compact";

export class SessionPage {
  #onStopped; #poller = null; #looking = null; #begun = false; #store; #list; #detail; #arrivals; #life = new Life(); #timeline; #id; #types = []; #offered = new Map();
  #total = 0; #first = null; #drawAt = null; #searchAt = null; #news = 0; #announceAt = null; #alive = null; #step = null; #range = null; #tag = null;
  #fresh = null; #fromPostgres = 0; #away = null; #loading = false; #stepsShown = null; #lookedAt = LOOKED_AT;

  constructor({ onStopped }) {
    this.#onStopped = onStopped;
    const forget = (ids) => this.#poller?.forget(ids);
    this.#store = new EventStore({ onDropped: forget });
    this.#list = new EventList({
      list: byId("events"), scroller: byId("events-scroller"), stepName: (id) => this.#life.stepName(id),
      onChoose: (event) => { if (event !== null && this.#detail.isOpen) this.#open(event); }, onOpen: (event) => this.#open(event, true),
      onEnd: () => { if (this.#store.filter.empty) this.#older(1); },
    });
    this.#detail = new EventDetail({ onClose: () => byId("events").focus(), onMove: (by) => this.#list.move(by) });
    this.#timeline = new Timeline({
      svg: byId("life"), board: byId("life-board"), about: byId("life-text"), onRange: (range) => this.#filter({ range }),
    });
    this.#arrivals = new Arrivals({
      area: byId("events-scroller"), onDropped: forget, onRelease: (events, told) => this.#release(events, told),
      isAway: () => !this.#list.atTop || (document.activeElement === byId("events") && this.#list.chosen !== null) || this.#detail.covers,
    });
    this.#listen();
  }

  #listen() {
    byId("older").addEventListener("click", () => this.#older(this.#store.filter.empty ? 1 : SEARCH_PAGES));
    byId("warm").addEventListener("click", () => this.#warm());
    byId("copy").addEventListener("click", () => this.#copy());
    byId("find-text").addEventListener("input", () => {
      clearTimeout(this.#searchAt);
      this.#searchAt = setTimeout(() => this.#filter(), SEARCH_AFTER_MS);
    });
    byId("find-text").addEventListener("keydown", (pressed) => {
      if (pressed.key === "Enter" || pressed.key === "ArrowDown") this.#intoList(pressed);
    });
    byId("no-range").addEventListener("click", () => {
      this.#timeline.forgetRange();
      this.#filter({ range: null });
    });
    byId("no-step").addEventListener("click", () => this.#chooseStep(null));
    byId("no-filter").addEventListener("click", () => this.#clearFilter());
    byId("density").addEventListener("click", () => this.#setDensity(!document.body.classList.contains("compact"), true));
    byId("steps-menu").addEventListener("toggle", () => this.#showSteps());
    this.#setDensity(localStorage.getItem(COMPACT) === "yes");
  }

  open({ id, types }) {
    [this.#id, this.#types, this.#total, this.#first, this.#step, this.#range, this.#tag] = [id.toLowerCase(), types, 0, null, null, null, null];
    [this.#fresh, this.#fromPostgres, this.#away, this.#stepsShown, this.#lookedAt] = [null, 0, null, null, LOOKED_AT];
    this.#alive = new AbortController();
    this.#loading = byId("older").disabled = false;
    this.#empty();
    this.#offer([...KNOWN_TYPES, ...types]);
    this.#arrivals.start();
    const poller = this.#poller = new EventPoller({
      sessionId: this.#id, token: key.get(), baseUrl: BASE, types, limit: PAGE, mostSeconds: 4,
      onEvents: (events, told) => { if (this.#poller === poller) this.#take(events, told); },
      onState: (told) => this.#state(told),
    });
    this.#poller.start();
    this.#looking = new Loop((signal) => this.#look(signal), { mostSeconds: 10 });
    this.#begun = false;
    useShortcuts({
      "/": () => byId("find-text").focus(), j: () => this.#list.move(1), k: () => this.#list.move(-1), p: () => this.#arrivals.togglePause(),
      Enter: ({ target }) => (target === document.body && this.#list.chosen !== null ? this.#list.open() : false), ".": () => this.#arrivals.release(),
      d: () => byId("density").click(), Escape: ({ target }) => this.#escape(target),
    });
  }

  close() {
    this.#alive?.abort();
    this.#looking?.stop();
    this.#arrivals.stop();
    const poller = this.#poller;
    this.#poller = null;
    poller?.stop();
    clearTimeout(this.#drawAt);
    clearTimeout(this.#searchAt);
    this.#drawAt = null;
    this.#detail.close({ quiet: true });
    useShortcuts({});
  }

  #empty() {
    write(byId("session-name"), this.#id);
    for (const name of ["total", "session-as-of", "session-lag", "session-source", "following", "steps-count", "session-age"]) write(byId(name), "–");
    for (const name of ["done", "shown", "types-count"]) write(byId(name), "");
    for (const name of ["no-events", "older", "range-chip", "step-chip"]) byId(name).hidden = true;
    byId("find-text").value = "";
    showStatus(byId("session-status"), "…");
    this.#store.clear();
    this.#store.setFilter(new Filter());
    this.#life.clear();
    this.#list.clear();
    this.#timeline.clear();
    this.#detail.close({ quiet: true });
  }

  // Once the first events are here: a session that was cold is hot by then, and nothing is asked of Postgres twice.
  async #begin() {
    const { signal } = this.#alive, looking = this.#looking;
    this.#begun = true;
    await this.#recall(signal).catch(() => {}); // the poller says what is wrong
    if (!signal.aborted) looking.start();
  }

  // What the page needs of the part of the session's life that is not loaded.
  async #recall(signal) {
    const first = await ask(`${this.#events}?limit=1&order=asc`, { signal });
    const stations = await this.#newest(STATIONS, 500, signal), steps = await this.#newest(STEP_TYPES, 1000, signal);
    this.#first = first.items[0] ?? null;
    if (this.#first) this.#timeline.begin(this.#first);
    if (this.#life.note([...stations, ...steps])) this.#list.renew(); // names of steps came
    this.#drawSoon();
  }

  // The newest events of these types; none where they are too long for one answer: then what is loaded must do.
  async #newest(types, limit, signal) {
    const asked = new URLSearchParams([...types.map((type) => ["event_type", type]), ["limit", limit]]);
    try {
      return (await ask(`${this.#events}?${asked}`, { signal })).items;
    } catch (error) {
      if (error.parameter !== "limit") throw error;
      return [];
    }
  }

  get #events() {
    return `api/v2/sessions/${encodeURIComponent(this.#id)}/events`;
  }

  // While nothing comes, and while a filter of types lets nothing through, this tells what the poller does not.
  async #look(signal) {
    if (this.#fresh !== null && performance.now() - this.#fresh.at < LOOK_SECONDS * 900 && !this.#types.length) return LOOK_SECONDS;
    const asked = new URLSearchParams([...[...STATIONS, ...STEP_TYPES].map((type) => ["event_type", type]), ["limit", this.#lookedAt]]);
    const { status, headers, body } = await this.#lookAt(asked, signal);
    if (status !== 304) this.#tag = headers.get("ETag");
    this.#note({ asOf: headers.get("Readside-As-Of"), lagMs: Number(headers.get("Readside-Lag-Ms")), source: headers.get("Readside-Source") });
    if (body && this.#life.note(body.items)) this.#drawSoon();
    return LOOK_SECONDS;
  }

  async #lookAt(asked, signal) {
    try {
      return await answer(`${this.#events}?${asked}`, { signal, headers: this.#tag ? { "If-None-Match": this.#tag } : {} });
    } catch (error) {
      if (error.parameter !== "limit" || this.#lookedAt === 1) throw error;
      this.#lookedAt = 1; // they are very long
      asked.set("limit", "1");
      return answer(`${this.#events}?${asked}`, { signal });
    }
  }

  #take(events, { older, restarted }) {
    if (!this.#begun) this.#begin();
    this.#offer(events.map((event) => event.event_type));
    if (this.#life.note(events) && !restarted) this.#stepsShown = null;
    const first = restarted && this.#store.events.length === 0;
    if (older) this.#store.add(events, { older });
    else this.#arrivals.take(events, { restarted, first });
    if (!older && !restarted) this.#tell(events.length);
    this.#list.show(this.#store.shown);
    this.#drawSoon();
  }

  #release(events, { renew, past, asked }) {
    if (renew) this.#list.clear();
    this.#store.release(events, { renew, past });
    this.#list.show(this.#store.shown);
    if (asked) this.#list.scrollToTop();
    this.#drawSoon();
  }

  #state({ state, error, total, hasOlder, asOf, lagMs, source, retryInSeconds }) {
    if (this.#poller === null) return;
    if (state === "stopped" && error) {
      this.#onStopped(error);
      return;
    }
    write(byId("following"), { running: "live", waiting: "trying again", hidden: "paused while this tab is hidden" }[state] ?? state);
    if (state === "waiting") this.#tellAway(error, retryInSeconds);
    if (state !== "running" || asOf === undefined) return;
    this.#away = null;
    this.#note({ asOf, lagMs, source });
    this.#total = total ?? this.#total;
    write(byId("total"), count(this.#total));
    byId("older").hidden = !hasOlder || this.#store.full;
    this.#drawSoon();
  }

  // Take note of how fresh an answer was, and say so where it was not.
  #note({ asOf, lagMs, source }) {
    this.#fresh = { asOf, lagMs, source, at: performance.now() };
    write(byId("session-as-of"), asOf ? timeOfDay(asOf) : "–");
    write(byId("session-lag"), span(lagMs));
    write(byId("session-source"), source ?? "–");
    this.#fromPostgres = source === "postgres" ? this.#fromPostgres + 1 : 0;
    if (this.#away !== null) return;
    if (lagMs > STALE_MS) showBanner("The view is behind: newer events may be missing here.", () => this.#asOfInWords());
    else if (this.#fromPostgres >= FROM_POSTGRES) showBanner("Postgres answers in place of the view: the answers are right, and slower.", () => this.#asOfInWords());
    else hideBanner();
  }

  #asOfInWords() {
    const fresh = this.#fresh;
    if (fresh === null) return "Nothing was answered yet.";
    return `What you see is as of ${dayAndTime(fresh.asOf)}, ${span(fresh.lagMs + performance.now() - fresh.at)} ago.`;
  }

  #tellAway(error, retryInSeconds) {
    const retryAt = Date.now() + (retryInSeconds ?? 0) * 1000;
    this.#away ??= Date.now();
    for (const name of ["session-lag", "session-source"]) write(byId(name), "–"); // true of the last answer only
    showBanner(error.message, () => [
      `No answer since ${clockTime(this.#away)}.`, this.#asOfInWords(), retryAt > Date.now() + 1000 ? `Trying again in ${span(retryAt - Date.now())}.` : "Trying again.",
    ].join(" "));
  }

  #drawSoon() {
    this.#drawAt ??= setTimeout(() => {
      this.#drawAt = null;
      this.#draw();
    }, DRAW_EVERY_MS);
  }

  #draw() {
    const events = this.#store.events, total = Math.max(this.#total, events.length);
    this.#timeline.draw({ events, total, stations: this.#life.stations });
    const status = this.#life.status, newest = [this.#life.stations[0], events[0]].filter(Boolean).sort((a, b) => drawnAt(b) - drawnAt(a))[0];
    showStatus(byId("session-status"), status ?? "status not known");
    write(byId("session-age"), this.#ageInWords(status, newest));
    this.#showStepsCount();
    this.#countTypes(events);
    this.#showNumbers(total);
    byId("older").hidden = !this.#poller?.hasOlder || this.#store.full || this.#arrivals.renews;
  }

  #ageInWords(status, newest) {
    const first = this.#first ?? (this.#poller?.hasOlder ? null : this.#store.events.at(-1)), ended = ["completed", "failed", "cancelled"].includes(status);
    const begun = first ? drawnAt(first) : -Infinity, last = newest ? drawnAt(newest) : -Infinity;
    return [
      Number.isFinite(begun) ? `Started ${dayAndTime(begun)}` : "",
      Number.isFinite(begun) && Number.isFinite(last) ? (ended ? `took ${span(last - begun)}` : `running for ${span(Math.max(0, Date.now() - begun))}`) : "",
      Number.isFinite(last) ? `last event ${ago(last)}` : "",
    ].filter(Boolean).join(" · ") || "–";
  }

  #showNumbers(total) {
    const held = this.#store.events.length, shown = this.#store.shown.length, filtered = !this.#store.filter.empty;
    byId("no-events").hidden = shown > 0 || (!filtered && total > 0);
    write(byId("no-events-text"), filtered ? "No loaded event matches." : "No events yet.");
    byId("no-filter").hidden = !filtered;
    const loaded = held < total ? `${count(held)} of ${count(total)} loaded` : `${count(total)} ${total === 1 ? "event" : "events"}`;
    const fits = this.#store.full ? "; that is as many as this page holds: choose a type to see others" : "";
    write(byId("shown"), !held ? "" : filtered ? `${count(shown)} match · ${loaded}${fits}` : `${loaded}${fits}`);
    write(byId("older"), filtered ? "Search older events" : "Load older");
  }

  // Filters of what is loaded; those that are not named stay as they are.
  async #filter({ step = this.#step, range = this.#range } = {}) {
    [this.#step, this.#range] = [step, range];
    byId("range-chip").hidden = range === null;
    if (range !== null) write(byId("range-text"), range.map((at) => timeOfDay(at)).join(" – "));
    byId("step-chip").hidden = step === null;
    if (step !== null) write(byId("step-text"), this.#life.stepName(step) ?? step);
    if (!(await this.#store.setFilter(new Filter({ text: byId("find-text").value, step, range })))) return;
    this.#list.choose(null);
    this.#list.show(this.#store.shown);
    this.#showNumbers(Math.max(this.#total, this.#store.events.length));
    announce(byId("shown").textContent);
  }

  #clearFilter() {
    byId("find-text").value = "";
    this.#timeline.forgetRange();
    this.#filter({ step: null, range: null });
  }

  #chooseStep(step) {
    byId("steps-menu").open = false;
    this.#filter({ step });
  }

  #intoList(pressed) {
    pressed.preventDefault();
    byId("events").focus();
    if (this.#list.chosen === null) this.#list.move(1);
  }

  #open(event, asked = false) {
    this.#detail.show(event, this.#life.stepName(event.step_id));
    if (asked && this.#detail.covers) this.#detail.focus();
  }

  #escape(target) {
    if (this.#detail.isOpen) this.#detail.close();
    else if (target === byId("events")) this.#list.choose(null);
    else return false;
    return true;
  }

  // Older events by the page, until there are none, or until one is found that the filter lets through.
  async #older(pages) {
    const poller = this.#poller;
    if (this.#loading || !poller?.hasOlder || this.#store.full) return;
    if (this.#arrivals.renews) {
      write(byId("done"), "Show the new events first.");
      return;
    }
    this.#loading = byId("older").disabled = true;
    const before = this.#store.shown.length;
    let loaded = 0;
    try {
      for (let page = 0; page < pages && poller.hasOlder && !this.#store.full && !this.#arrivals.renews; page += 1) {
        loaded += await poller.loadOlder();
        if (this.#poller !== poller) return;
        if (!this.#store.filter.empty && this.#store.shown.length > before) break;
      }
      announce(`${count(loaded)} older events were loaded.`);
    } catch (error) {
      if (this.#poller === poller) write(byId("done"), error.message);
    } finally {
      if (this.#poller === poller) {
        this.#loading = byId("older").disabled = false;
        this.#drawSoon();
      }
    }
  }

  async #warm() {
    const { signal } = this.#alive;
    write(byId("done"), "Asking …");
    try {
      const { state } = await ask(`api/v2/sessions/${encodeURIComponent(this.#id)}/warm`, { method: "POST", signal });
      write(byId("done"), state === "hot" ? "It is hot: Redis holds it." : "It is being loaded into Redis.");
    } catch (error) {
      if (!signal.aborted) write(byId("done"), error.message);
    }
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(location.href);
      write(byId("done"), "The link is copied; no key or token is in it.");
    } catch {
      write(byId("done"), "The link is this page's address; no key or token is in it.");
    }
  }

  #setDensity(compact, keep = false) {
    document.body.classList.toggle("compact", compact);
    set(byId("density"), "aria-pressed", String(compact));
    if (!keep) return;
    if (compact) localStorage.setItem(COMPACT, "yes");
    else localStorage.removeItem(COMPACT);
    this.#list.measure();
  }

  #showStepsCount() {
    const steps = this.#life.steps, done = steps.filter(({ status }) => ["done", "completed"].includes(status)).length;
    const failed = steps.filter(({ status }) => status === "failed").length;
    write(byId("steps-count"), steps.length ? `${count(steps.length)}, ${count(done)} done${failed ? `, ${count(failed)} failed` : ""}` : "none");
    byId("steps-menu").hidden = steps.length === 0;
    if (byId("steps-menu").open) this.#showSteps();
  }

  // The menu of steps, made when it is looked at.
  #showSteps() {
    if (!byId("steps-menu").open) return;
    const steps = this.#life.steps.slice(0, STEPS_LISTED), key = JSON.stringify([this.#step, steps.map(({ id, name, status }) => [id, name, status])]);
    if (key === this.#stepsShown) return;
    this.#stepsShown = key;
    byId("steps").replaceChildren(...steps.map((step) => {
      const button = element("button", { type: "button", "aria-pressed": String(step.id === this.#step) },
        element("span", { class: "name" }, `${step.number === null ? "" : `${step.number}. `}${step.name ?? step.id}`),
        element("span", { class: "dim" }, cut(step.status ?? "", 40)));
      button.addEventListener("click", () => this.#chooseStep(step.id === this.#step ? null : step.id));
      return element("li", {}, button);
    }));
  }

  // New types may appear at any time: each is offered from when it is first seen.
  #offer(types) {
    for (const type of new Set(types)) {
      if (this.#offered.has(type) || this.#offered.size >= 200) continue;
      const box = element("input", { type: "checkbox", value: type }), number = element("span", { class: "dim", "aria-hidden": "true" });
      box.addEventListener("change", () => this.#choose());
      const { kind, sign } = kindOf(type);
      byId("types").append(element("label", { class: `kind-${kind}` }, box, element("span", { class: "sign", "aria-hidden": "true" }, sign), element("span", { class: "name" }, cut(type, 100)), number));
      this.#offered.set(type, { box, number });
    }
    for (const [type, { box }] of this.#offered) box.checked = this.#types.includes(type);
    write(byId("types-count"), this.#types.length ? ` (${this.#types.length})` : "");
  }

  #countTypes(events) {
    if (!byId("types-menu").open) return;
    const numbers = new Map();
    for (const { event_type: type } of events) numbers.set(type, (numbers.get(type) ?? 0) + 1);
    for (const [type, { number }] of this.#offered) write(number, numbers.has(type) ? count(numbers.get(type)) : "");
  }

  #choose() {
    const types = [...this.#offered].filter(([, { box }]) => box.checked).map(([type]) => type);
    const wanted = new URLSearchParams([["session", this.#id], ...types.map((type) => ["type", type])]);
    history.replaceState(null, "", `#${wanted}`); // the link leads to what is shown; focus stays on the box
    this.close();
    this.open({ id: this.#id, types });
  }

  // Who listens hears of news now and then, not of each event.
  #tell(number) {
    this.#news += number;
    this.#announceAt ??= setTimeout(() => {
      if (this.#poller !== null) announce(`${count(this.#news)} new events.`);
      [this.#announceAt, this.#news] = [null, 0];
    }, ANNOUNCE_EVERY_MS);
  }
}
