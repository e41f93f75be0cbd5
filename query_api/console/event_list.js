// The list of events: of however many there are, the rows that can be seen. Each is one line, all are of one height.

import { asDate } from "./client/instants.js";
import { kindOfEvent } from "./kinds.js";
import { cut, messageLine, payloadLine } from "./preview.js";
import { element, set, shortDate } from "./page.js";

const AROUND = 12; // rows beyond what can be seen, so that scrolling finds them there
const TYPE = 100;

export class EventList {
  #list; #scroller; #onChoose; #onOpen; #onEnd; #stepName; #rows = new Map(); #events = []; #height = 0; #frame = null; #chosen = null;

  /**
   * `list`, the element of the rows, lies in `scroller`, which may scroll itself or leave that to the page.
   * `onChoose(event)`: the row under the keys changed; `onOpen(event)`: somebody wants to see all of it; `onEnd()`: the
   * last row can be seen; `stepName(id)`: the name of a step, or null.
   */
  constructor({ list, scroller, onChoose, onOpen, onEnd, stepName }) {
    [this.#list, this.#scroller, this.#onChoose, this.#onOpen, this.#onEnd, this.#stepName] = [list, scroller, onChoose, onOpen, onEnd, stepName];
    list.addEventListener("click", ({ target }) => this.#click(target.closest("li")));
    list.addEventListener("keydown", (pressed) => this.#press(pressed));
    const look = ({ type }) => this.#soon(type === "scroll");
    scroller.addEventListener("scroll", look, { passive: true });
    addEventListener("scroll", look, { passive: true });
    new ResizeObserver(() => this.measure()).observe(scroller);
    list.addEventListener("focus", () => this.#mark());
  }

  /** The event under the keys, or null. */
  get chosen() {
    return this.#chosen;
  }

  /** Whether the first row is where it was at the beginning: nothing above it is scrolled away. */
  get atTop() {
    return this.#list.getBoundingClientRect().top >= this.#clip().top - 2;
  }

  show(events) {
    this.#events = events;
    this.#soon();
  }

  clear() {
    [this.#events, this.#chosen] = [[], null];
    this.#rows.clear();
    this.#list.replaceChildren();
    set(this.#list, "aria-activedescendant", null);
    this.#draw();
  }

  /** Build every row anew: names of steps came, or the density is another. */
  renew() {
    this.#rows.clear();
    this.#list.replaceChildren();
    this.measure();
  }

  measure() {
    const probe = element("li", { class: "event", "aria-hidden": "true", role: "presentation" });
    this.#list.append(probe);
    this.#height = probe.offsetHeight;
    probe.remove();
    this.#draw();
  }

  scrollToTop() {
    this.#scroller.scrollTo({ top: 0 });
    const above = this.#list.getBoundingClientRect().top - this.#clip().top;
    if (above < 0) scrollBy({ top: above - 8 });
    this.#draw();
  }

  /** Choose the next row, or the one before, and bring it into sight. */
  move(by) {
    if (!this.#events.length) return;
    const at = this.#chosen === null ? -1 : this.#events.indexOf(this.#chosen);
    const first = Math.max(0, Math.floor((this.#clip().top - this.#list.getBoundingClientRect().top) / this.#height));
    this.choose(this.#events[at < 0 ? Math.min(first, this.#events.length - 1) : Math.min(this.#events.length - 1, Math.max(0, at + by))]);
    if (at + by >= this.#events.length - 1) this.#onEnd();
  }

  choose(event) {
    this.#chosen = event;
    if (event !== null) this.#bring(this.#events.indexOf(event));
    this.#draw();
    this.#onChoose(event);
  }

  open() {
    if (this.#chosen !== null) this.#onOpen(this.#chosen);
  }

  #click(clicked) {
    const event = this.#events.find((one) => clicked !== null && this.#rows.get(one.id) === clicked);
    if (event === undefined || String(getSelection()).length > 0) return;
    this.choose(event);
    this.open();
  }

  #press(pressed) {
    const page = Math.max(1, Math.floor(this.#room() / Math.max(1, this.#height)) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[pressed.key];
    if (by !== undefined) this.move(by);
    else if (pressed.key === "Enter" || pressed.key === " ") this.open();
    else return;
    pressed.preventDefault();
  }

  #clip() {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    return { top: Math.max(0, top), bottom: Math.min(innerHeight, bottom) };
  }

  #room() {
    const { top, bottom } = this.#clip();
    return Math.max(0, bottom - top);
  }

  #bring(index) {
    if (index < 0) return;
    const at = this.#list.getBoundingClientRect().top + index * this.#height, { top, bottom } = this.#clip();
    const inside = this.#scroller.scrollHeight > this.#scroller.clientHeight + 1;
    const scroll = (by) => (inside ? this.#scroller : document.scrollingElement).scrollBy({ top: by });
    if (at < top) scroll(at - top);
    else if (at + this.#height > bottom) scroll(at + this.#height - bottom);
  }

  #soon(scrolled = false) {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw(scrolled);
    });
  }

  #draw(scrolled = false) {
    if (!this.#height) return;
    const length = this.#events.length;
    this.#list.style.height = `${length * this.#height}px`;
    const { top, bottom } = this.#clip(), start = this.#list.getBoundingClientRect().top;
    const from = Math.min(length, Math.max(0, Math.floor((top - start) / this.#height) - AROUND));
    const to = Math.min(length, Math.max(from, Math.ceil((bottom - start) / this.#height) + AROUND));
    const wanted = this.#events.slice(from, to), rows = new Map();
    wanted.forEach((event, index) => rows.set(event.id, this.#placed(event, from + index, length)));
    for (const [id, old] of this.#rows) if (!rows.has(id)) old.remove();
    [...rows.values()].forEach((made, index) => {
      if (this.#list.children[index] !== made) this.#list.insertBefore(made, this.#list.children[index] ?? null);
    });
    this.#rows = rows;
    this.#mark();
    if (scrolled && length && to === length) this.#onEnd();
  }

  #placed(event, index, length) {
    const made = this.#rows.get(event.id) ?? row(event, this.#stepName(event.step_id));
    made.style.transform = `translateY(${index * this.#height}px)`;
    set(made, "aria-posinset", index + 1);
    set(made, "aria-setsize", length);
    return made;
  }

  #mark() {
    const chosen = this.#chosen === null ? null : (this.#rows.get(this.#chosen.id) ?? null);
    for (const made of this.#rows.values()) set(made, "aria-selected", String(made === chosen));
    set(this.#list, "aria-activedescendant", chosen?.id ?? null);
  }
}

function row(event, stepName) {
  const { kind, sign } = kindOfEvent(event), { timestamp } = event;
  return element("li", { class: `event kind-${kind}`, role: "option", id: `event-${event.id}`, "data-id": event.id },
    element("span", { class: "sign", "aria-hidden": "true" }, sign),
    element("time", { datetime: asDate(timestamp) && timestamp, title: timestamp }, shortDate(timestamp)),
    element("span", { class: "type" }, cut(event.event_type ?? "–", TYPE)),
    element("span", { class: "step" }, stepName === null ? "" : stepName),
    element("span", { class: "preview" },
      element("span", { class: "message" }, messageLine(event)), " ", element("span", { class: "data" }, payloadLine(event))));
}
