// What happened to the projection: turns of its status, errors, new terms and starts of processes, newest first; errors can be looked at alone.

import { signOf } from "./chart.js";
import { ago, byId, dayAndTime, element, set, write } from "./page.js";

const MOST = 60;
const WORDS = { status: "status", term: "new term", started: "start", error: "error" };

export class ChangePanel {
  #known = new Map(); #shown = null;

  constructor() {
    byId("errors-only").addEventListener("change", () => this.#draw(true));
  }

  clear() {
    this.#known.clear();
    this.#shown = null;
  }

  /** Take note of changes as the API tells them: `{ at, kind, text }`; each is kept once, whoever told it. */
  add(changes) {
    for (const change of changes) this.#known.set(`${change.kind === "term" ? "" : change.at} ${change.text}`, change);
    this.#draw();
  }

  /** All that is known, with `at` in ms. */
  get list() {
    return [...this.#known.values()].map((change) => ({ ...change, at: Date.parse(change.at) }));
  }

  #draw(anew = false) {
    const all = [...this.#known.values()].sort((a, b) => (a.at < b.at ? 1 : -1));
    const errors = all.filter(({ kind }) => kind === "error"), shown = (byId("errors-only").checked ? errors : all).slice(0, MOST);
    write(byId("errors-count"), errors.length ? `${errors.length} ${errors.length === 1 ? "error" : "errors"}` : "no errors");
    set(byId("errors-count"), "class", errors.length ? "bad-news" : "dim");
    const key = shown.map(({ at, text }) => `${at} ${text}`).join("\n");
    if (anew || key !== this.#shown) byId("changes").replaceChildren(...shown.map(line));
    this.#shown = key;
    byId("no-changes").hidden = shown.length > 0;
    for (const time of byId("changes").querySelectorAll("time")) write(time, ago(time.dateTime));
  }
}

function line({ at, kind, text }) {
  return element("li", { class: `change ${kind}` },
    element("span", { class: "sign", "aria-hidden": "true" }, signOf(kind)),
    element("span", { class: "unseen" }, `${WORDS[kind] ?? kind}: `),
    element("span", { class: "text" }, text),
    element("time", { datetime: at, title: dayAndTime(at) }, ago(at)));
}
