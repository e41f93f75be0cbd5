// What happened to the projection: turns of its status, errors, new terms and starts of processes, newest first; errors can be looked at alone.

import { signOf } from "./chart.js";
import { asDate } from "./client/instants.js";
import { ago, byId, dayAndTime, element, set, write } from "./page.js";

const MOST_SHOWN = 60;
const MOST_KNOWN = 200;
const TURN_MS = 2_000; // each API process stamps a turn of the status when it looks, which is once a second
const WORDS = { status: "status", term: "new term", started: "start", error: "error" };

export class ChangePanel {
  #known = new Map(); #shown = null; #skewMs = 0;

  constructor() {
    byId("errors-only").addEventListener("change", () => this.#draw(true));
  }

  clear() {
    this.#known.clear();
    this.#shown = null;
  }

  /**
   * Take note of changes as the API tells them: `{ at, kind, text }`; each is kept once, whoever told it. `skewMs` brings
   * their instants, which are of the API's clock, to the one here.
   */
  add(changes, skewMs = 0) {
    this.#skewMs = skewMs;
    for (const change of changes) if (!this.#isKnownTurn(change)) this.#known.set(`${change.kind === "term" ? "" : change.at} ${change.text}`, change);
    if (this.#known.size > MOST_KNOWN) this.#known = new Map([...this.#known].sort(([, a], [, b]) => newestFirst(a, b)).slice(0, MOST_KNOWN));
    this.#draw();
  }

  /** All that is known, newest first, with `at` in ms of the clock here, and that as an `instant`. */
  get list() {
    return [...this.#known.values()].sort(newestFirst).map((change) => {
      const at = Date.parse(change.at) + this.#skewMs;
      return { ...change, at, instant: (this.#skewMs ? asDate(at)?.toISOString() : null) ?? change.at };
    });
  }

  #isKnownTurn({ at, kind, text }) {
    return kind === "status" && [...this.#known.values()].some((one) =>
      one.kind === kind && one.text === text && Math.abs(Date.parse(one.at) - Date.parse(at)) < TURN_MS);
  }

  #draw(anew = false) {
    const all = this.list, errors = all.filter(({ kind }) => kind === "error"), shown = (byId("errors-only").checked ? errors : all).slice(0, MOST_SHOWN);
    write(byId("errors-count"), errors.length ? `${errors.length} ${errors.length === 1 ? "error" : "errors"}` : "no errors");
    set(byId("errors-count"), "class", errors.length ? "bad-news" : "dim");
    const key = shown.map(({ at, text }) => `${at} ${text}`).join("\n");
    if (anew || key !== this.#shown) byId("changes").replaceChildren(...shown.map(line));
    this.#shown = key;
    byId("no-changes").hidden = shown.length > 0;
    for (const time of byId("changes").querySelectorAll("time")) write(time, ago(time.dateTime));
  }
}

const newestFirst = (a, b) => (a.at < b.at ? 1 : -1);

function line({ instant, kind, text }) {
  return element("li", { class: `change ${kind}` },
    element("span", { class: "sign", "aria-hidden": "true" }, signOf(kind)),
    element("span", { class: "unseen" }, `${WORDS[kind] ?? kind}: `),
    element("span", { class: "text" }, text),
    element("time", { datetime: instant, title: dayAndTime(instant) }, ago(instant)));
}
