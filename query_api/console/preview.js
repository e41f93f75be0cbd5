// What an event says in one line: its message, and the beginning of its payload without the quotes around its names.

import { wholeBefore, withEscapes } from "./layout.js";

const MESSAGE = 300; // characters; a screen has room for fewer
const PAYLOAD = 240;
const NAME = /"([\w-]{1,40})":\s*/g;

/** The first characters of a text, with an ellipsis where there are more; nothing in them is hidden. */
export function cut(text, most) {
  const shown = text.length > most ? `${text.slice(0, wholeBefore(text, most))}…` : text;
  return withEscapes(shown.replaceAll(/[\n\r\t]+/g, " "));
}

/** An event's message in a line; empty where it has none. */
export function messageLine(event) {
  return cut(event.message ?? "", MESSAGE);
}

/** The JSON text of an event's payload in a line; empty where that is an empty object or null. */
export function payloadLine(event) {
  const text = event.event_data_json ?? "";
  if (text === "{}" || text === "null") return "";
  const all = text.length <= PAYLOAD, inner = text.startsWith("{") ? text.slice(1, all ? -1 : PAYLOAD + 1) : text.slice(0, PAYLOAD);
  return withEscapes(inner.replaceAll(NAME, "$1: ").trim() + (all ? "" : "…"));
}
