// A session's page: its events as they come, through the poller that other pages may use too.

import { BASE, ask, key } from "./api.js";
import { EventList, LIVE_ROWS } from "./event_list.js";
import { KNOWN_TYPES, STATIONS, kindOf } from "./kinds.js";
import { announce, byId, count, element, set, span, timeOfDay, write } from "./page.js";
import { EventPoller } from "./client/event_poller.js";
import { Timeline } from "./timeline.js";

const PAGE = 200;
const DRAW_EVERY_MS = 500;
const ANNOUNCE_EVERY_MS = 10_000;

export class SessionPage {
  #onStopped; #trouble; #poller = null; #list; #life; #id; #types = []; #offered = new Map();
  #paused = false; #held = []; #renew = false; #total = 0; #drawAt = null; #news = 0; #announceAt = null; #alive = null;

  constructor({ onStopped }) {
    this.#onStopped = onStopped;
    this.#list = new EventList(byId("events"), { onChange: () => this.#drawSoon(), onDropped: (ids) => this.#poller?.forget(ids) });
    this.#life = new Timeline(byId("life"), byId("life-text"));
    byId("pause").addEventListener("click", () => (this.#paused ? this.#goOn() : this.#pause()));
    byId("older").addEventListener("click", () => this.#older());
    byId("warm").addEventListener("click", () => this.#warm());
    byId("copy").addEventListener("click", () => this.#copy());
  }

  open({ id, types }, trouble) {
    [this.#id, this.#types, this.#trouble] = [id.toLowerCase(), types, trouble];
    [this.#paused, this.#held, this.#renew, this.#total] = [false, [], false, 0];
    this.#alive = new AbortController();
    write(byId("session-name"), this.#id);
    for (const name of ["total", "session-as-of", "session-lag", "session-source", "following"]) write(byId(name), "–");
    write(byId("done"), "");
    byId("no-events").hidden = byId("older").hidden = true;
    this.#list.clear();
    this.#life.clear();
    this.#offer([...KNOWN_TYPES, ...types]);
    this.#showPause();
    this.#poller = new EventPoller({
      sessionId: this.#id, token: key.get(), baseUrl: BASE, types, limit: PAGE, mostSeconds: 4,
      onEvents: (events, told) => this.#take(events, told),
      onState: (told) => this.#state(told),
    });
    this.#poller.start();
    this.#recall(this.#alive.signal).catch(() => {}); // the strip does without: the poller says what is wrong
  }

  close() {
    this.#alive.abort();
    const poller = this.#poller;
    this.#poller = null;
    poller.stop();
    clearTimeout(this.#drawAt);
    this.#drawAt = null;
  }

  // What the strip needs of the part of the session's life that is not loaded.
  async #recall(signal) {
    const events = `api/v2/sessions/${encodeURIComponent(this.#id)}/events`;
    const stations = new URLSearchParams([...STATIONS.map((type) => ["event_type", type]), ["limit", "500"]]);
    this.#life.mark((await ask(`${events}?${stations}`, { signal })).items);
    const { total } = await ask(`${events}?limit=1`, { signal });
    const [first] = total ? (await ask(`${events}?limit=1&page=${total}`, { signal })).items : [];
    if (first) this.#life.begin(first);
    this.#drawSoon();
  }

  #take(events, { older, restarted }) {
    this.#offer(events.map((event) => event.event_type));
    this.#life.mark(events.filter((event) => STATIONS.includes(event.event_type)));
    if (restarted) this.#held = [];
    if (restarted && this.#paused) this.#renew = true; // what is looked at stays until it goes on
    else if (restarted) this.#list.clear();
    if (this.#paused && !older) this.#hold(events);
    else this.#list.add(events, { older });
    if (!older && !restarted) this.#tell(events.length);
    this.#drawSoon();
  }

  #hold(events) {
    this.#held.unshift(...events);
    const dropped = this.#held.splice(LIVE_ROWS);
    if (dropped.length) this.#poller.forget(dropped.map((event) => event.id));
    this.#showPause();
  }

  #pause() {
    this.#paused = true;
    this.#showPause();
  }

  #goOn() {
    if (this.#renew) this.#list.clear();
    this.#list.add(this.#held);
    [this.#paused, this.#held, this.#renew] = [false, [], false];
    this.#showPause();
  }

  #showPause() {
    set(byId("pause"), "aria-pressed", String(this.#paused));
    write(byId("pause"), this.#paused ? `Go on (${count(this.#held.length)} new)` : "Pause");
  }

  #state({ state, error, total, hasOlder, asOf, lagMs, source }) {
    if (this.#poller === null) return;
    if (state === "stopped" && error) {
      this.#onStopped(error);
      return;
    }
    write(byId("following"), { running: "yes", waiting: "trying again", hidden: "resting" }[state] ?? state);
    this.#trouble(state === "waiting" ? `${error.message} Trying again.` : null);
    if (state === "waiting") for (const name of ["session-lag", "session-source"]) write(byId(name), "–"); // true of the last answer only
    if (state !== "running" || asOf === undefined) return;
    this.#total = total ?? this.#total;
    write(byId("total"), count(this.#total));
    write(byId("session-as-of"), timeOfDay(asOf));
    write(byId("session-lag"), span(lagMs));
    write(byId("session-source"), source ?? "–");
    byId("older").hidden = !hasOlder || this.#list.full;
    byId("no-events").hidden = this.#total > 0;
    this.#drawSoon();
  }

  #drawSoon() {
    this.#drawAt ??= setTimeout(() => {
      this.#drawAt = null;
      const events = this.#list.events;
      this.#life.draw(events, Math.max(this.#total, events.length));
      const shown = `${count(events.length)} of ${count(Math.max(this.#total, events.length))} shown`;
      write(byId("shown"), !events.length ? "" : this.#list.full ? `${shown}; that is as many as fit: choose a type to see others` : shown);
      byId("older").hidden = !this.#poller?.hasOlder || this.#list.full;
    }, DRAW_EVERY_MS);
  }

  async #older() {
    byId("older").disabled = true;
    try {
      const loaded = await this.#poller.loadOlder();
      announce(`${loaded} older events were loaded.`);
    } catch (error) {
      write(byId("done"), error.message);
    } finally {
      byId("older").disabled = false;
    }
  }

  async #warm() {
    write(byId("done"), "Asking …");
    try {
      const { state } = await ask(`api/v2/sessions/${encodeURIComponent(this.#id)}/warm`, { method: "POST", signal: this.#alive.signal });
      write(byId("done"), state === "hot" ? "It is hot: Redis holds it." : "It is being loaded into Redis.");
    } catch (error) {
      write(byId("done"), error.message);
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

  // New types may appear at any time: each is offered from when it is first seen.
  #offer(types) {
    for (const type of new Set(types)) {
      if (this.#offered.has(type)) continue;
      const box = element("input", { type: "checkbox", value: type });
      box.addEventListener("change", () => this.#choose());
      byId("types").append(element("label", { class: `kind-${kindOf(type).kind}` }, box, ` ${type}`));
      this.#offered.set(type, box);
    }
    for (const [type, box] of this.#offered) box.checked = this.#types.includes(type);
  }

  #choose() {
    const types = [...this.#offered].filter(([, box]) => box.checked).map(([type]) => type);
    const wanted = new URLSearchParams([["session", this.#id], ...types.map((type) => ["type", type])]);
    history.replaceState(null, "", `#${wanted}`); // the link leads to what is shown; focus stays on the box
    this.close();
    this.open({ id: this.#id, types }, this.#trouble);
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
