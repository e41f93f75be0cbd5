// The list of a session's events, newest first: thousands of rows, changed once a frame, filled with text only.

import { asDate, isNewer } from "./client/instants.js";
import { kindOf } from "./kinds.js";
import { LinedJson, PlainText, inDirections, wholeBefore, withEscapes } from "./layout.js";
import { count, element, timeOfDay } from "./page.js";

const ROWS_A_FRAME = 250;
export const LIVE_ROWS = 2_000;
const MOST_ROWS = 20_000;
const MESSAGE_IN_ROW = 1_000; // characters; the rest is shown with the payload
const AT_ONCE = 262_144; // characters of a text that are shown when it is opened
const PART = 4_096; // characters that are laid out together, once they come into sight: a megabyte of them takes seconds

export class EventList {
  #list; #rows = []; #waiting = []; #frame = null; #bound = LIVE_ROWS; #onChange; #onDropped;

  /** `onDropped(ids)`: rows that were let go because there were too many, the oldest. */
  constructor(list, { onChange, onDropped }) {
    [this.#list, this.#onChange, this.#onDropped] = [list, onChange, onDropped];
  }

  get events() {
    return this.#rows.map((row) => row.event);
  }

  get size() {
    return this.#rows.length;
  }

  /** Whether it holds as many rows as it may, however many are asked for. */
  get full() {
    return this.#rows.length >= MOST_ROWS;
  }

  clear() {
    [this.#rows, this.#waiting, this.#bound] = [[], [], LIVE_ROWS];
    this.#list.replaceChildren();
  }

  /** Add events in the next frames; those asked for (`older`) widen the bound on rows. */
  add(events, { older = false } = {}) {
    if (older) this.#bound = Math.min(MOST_ROWS, Math.max(this.#bound, this.#rows.length + this.#waiting.length + events.length));
    for (const event of events) this.#waiting.push(event);
    this.#frame ??= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#frame = null;
    const now = this.#waiting.splice(0, ROWS_A_FRAME);
    if (this.#waiting.length) this.#frame = requestAnimationFrame(() => this.#flush());
    for (const run of this.#runs(now)) this.#insert(run);
    this.#trim();
    if (now.length) this.#onChange();
  }

  // Neighbours go in together: { at: place in the rows, events, newest first }.
  #runs(events) {
    const runs = [];
    for (const event of events.sort((a, b) => (isNewer(a, b) ? -1 : 1))) {
      const at = this.#placeOf(event);
      if (runs.at(-1)?.at === at) runs.at(-1).events.push(event);
      else runs.push({ at, events: [event] });
    }
    return runs.reverse(); // from the end, so that places stay true
  }

  #placeOf(event) {
    let [low, high] = [0, this.#rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isNewer(event, this.#rows[middle].event)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #insert({ at, events }) {
    const rows = events.map((event) => ({ event, element: row(event) }));
    const fragment = document.createDocumentFragment();
    fragment.append(...rows.map((made) => made.element));
    this.#list.insertBefore(fragment, this.#rows[at]?.element ?? null);
    this.#rows.splice(at, 0, ...rows);
  }

  #trim() {
    const dropped = this.#rows.splice(this.#bound);
    for (const row of dropped) row.element.remove();
    if (dropped.length) this.#onDropped(dropped.map((row) => row.event.id));
  }
}

function row(event) {
  const { kind, sign } = kindOf(event.event_type);
  const { timestamp } = event, message = event.message ?? "", cut = message.length > MESSAGE_IN_ROW;
  const shown = cut ? `${message.slice(0, wholeBefore(message, MESSAGE_IN_ROW))}…` : message;
  const details = element("details", {},
    element("summary", {},
      element("time", { datetime: asDate(timestamp) && timestamp, title: timestamp }, timeOfDay(timestamp)),
      element("span", { class: "sign", "aria-hidden": "true" }, sign),
      element("span", { class: "type" }, withEscapes(event.event_type ?? "–")),
      element("span", { class: cut ? "message cut" : "message" }, withEscapes(shown)),
    ));
  details.addEventListener("toggle", () => fill(details, event), { once: true });
  return element("li", { class: `event kind-${kind}`, "data-id": event.id }, details);
}

// The payload is written when it is first looked at.
function fill(details, event) {
  const facts = [["event", event.id], ["time", event.timestamp ?? "–"], ["step", event.step_id ?? "–"]];
  details.append(
    element("dl", { class: "facts" }, ...facts.flatMap(([name, value]) =>
      [element("dt", {}, name), element("dd", {}, value)])),
    ...((event.message ?? "").length > MESSAGE_IN_ROW ? inParts("message", new PlainText(event.message)) : []),
    ...inParts("payload", new LinedJson(event.event_data_json ?? "")),
  );
}

// A long text is shown as far as a page is made at once; a button brings more, each time as much again.
function inParts(name, text) {
  const shown = element("pre", { tabindex: "0", "aria-label": name });
  shown.addEventListener("copy", (copied) => copyAsItIs(copied, shown));
  grow(shown, text, AT_ONCE);
  if (!text.left) return [shown];
  const button = element("button", { type: "button" }, `Show more of the ${name}`), note = element("span", { class: "dim", role: "status" });
  const tell = () => { note.textContent = text.left ? `${count(text.left)} characters to come` : "All is shown."; };
  button.addEventListener("click", () => {
    grow(shown, text, shown.textContent.length);
    tell();
    if (text.left) return;
    button.remove();
    shown.focus({ preventScroll: true });
  });
  tell();
  return [shown, element("p", { class: "tools" }, button, note)];
}

function grow(shown, text, by) {
  const made = document.createDocumentFragment();
  for (let size = 0; size < by && text.left; size += made.lastChild.textContent.length) {
    const pieces = inDirections(text.more(PART));
    made.append(element("span", {}, ...pieces.map((piece, place) => (place % 2 ? element("bdi", {}, piece) : piece))));
  }
  shown.append(made);
}

// Parts are blocks, and a browser would copy a line's end between two: what is copied is the text alone.
function copyAsItIs(copied, shown) {
  const range = getSelection().getRangeAt(0);
  if (!shown.contains(range.commonAncestorContainer)) return;
  copied.clipboardData.setData("text/plain", range.toString());
  copied.preventDefault();
}
