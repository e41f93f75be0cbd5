// All of one event: beside the list, or over it where the screen is small. Long texts are shown in parts.

import { LinedJson, PlainText, inDirections, withEscapes } from "./layout.js";
import { kindOfEvent } from "./kinds.js";
import { ago, byId, count, dayAndTime, element, set, write } from "./page.js";

const AT_ONCE = 131_072; // characters of a text that are shown when it is opened
const PART = 4_096; // characters that are laid out together, once they come into sight: a megabyte of them takes seconds

export class EventDetail {
  #event = null; #onClose;

  constructor({ onClose, onMove }) {
    this.#onClose = onClose;
    byId("detail-close").addEventListener("click", () => this.close());
    byId("detail-newer").addEventListener("click", () => onMove(-1));
    byId("detail-older").addEventListener("click", () => onMove(1));
  }

  get isOpen() {
    return !byId("detail").hidden;
  }

  /** Show an event; `stepName` is its step's, or null. */
  show(event, stepName) {
    byId("detail").hidden = false;
    set(byId("event-panes"), "data-detail", "open");
    if (event === this.#event) return;
    this.#event = event;
    const { kind, sign } = kindOfEvent(event);
    set(byId("detail-title"), "class", `kind-${kind}`);
    byId("detail-title").replaceChildren(element("span", { class: "sign", "aria-hidden": "true" }, sign), ` ${withEscapes(event.event_type ?? "–")}`);
    byId("detail-body").replaceChildren(...facts(event, stepName), ...texts(event));
    byId("detail-body").scrollTop = 0;
    byId("detail").scrollTop = 0;
  }

  focus() {
    byId("detail-close").focus();
  }

  /** Whether it lies over the list. */
  get covers() {
    return this.isOpen && getComputedStyle(byId("detail")).position === "fixed";
  }

  close({ quiet = false } = {}) {
    this.#event = null;
    byId("detail").hidden = true;
    set(byId("event-panes"), "data-detail", null);
    byId("detail-body").replaceChildren();
    if (!quiet) this.#onClose();
  }
}

function facts(event, stepName) {
  const told = [
    ["time", `${dayAndTime(event.timestamp)} (${ago(event.timestamp)})`], ["exactly", event.timestamp ?? "–"],
    ["step", event.step_id === null ? "none" : [stepName, event.step_id].filter(Boolean).join(", ")], ["event", event.id],
  ];
  return [element("dl", { class: "facts" }, ...told.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]))];
}

function texts(event) {
  return [
    ...(event.message ? [element("h3", {}, "Message"), ...inParts("message", new PlainText(event.message))] : []),
    element("h3", {}, "Payload"), ...inParts("payload", new LinedJson(event.event_data_json ?? "")),
  ];
}

// A long text is shown as far as a page is made at once; a button brings more, each time twice as much.
function inParts(name, text) {
  const shown = element("pre", { tabindex: "0", role: "region", "aria-label": name });
  shown.addEventListener("copy", (copied) => copyAsItIs(copied, shown));
  grow(shown, text, AT_ONCE);
  if (!text.left) return [shown];
  const button = element("button", { type: "button" }, `Show more of the ${name}`), note = element("span", { class: "dim", role: "status" });
  const tell = () => write(note, text.left ? `${count(text.left)} more characters` : "All is shown.");
  button.addEventListener("click", () => {
    grow(shown, text, 2 * AT_ONCE);
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
