// Building and filling elements: always by text, never by markup; and how times, spans and numbers are written.

import { asDate } from "./client/instants.js";

/** Make an element: attributes by name (`class`, `aria-label`, …), then children, where a string is text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) set(made, attribute, value);
  made.append(...children);
  return made;
}

/** The same for SVG. */
export function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) set(made, attribute, value);
  made.append(...children);
  return made;
}

/** Set an attribute only where it changes, so that nothing is laid out, or read aloud, for nothing; null takes it away. */
export function set(target, attribute, value) {
  if (value === null || value === undefined) target.removeAttribute(attribute);
  else if (target.getAttribute(attribute) !== String(value)) target.setAttribute(attribute, value);
}

/** Set the text of an element only where it changes. */
export function write(target, text) {
  if (target.textContent !== String(text)) target.textContent = text;
}

/** How each state is shown: a sign, so that colour is not all that tells them apart, and a word. */
export const STATES = {
  live: ["✓", "live"], catching_up: ["…", "catching up"], stale: ["!", "stale"], down: ["✕", "down"], unknown: ["?", "unknown"],
};

/** The same of a session. */
export const STATUSES = {
  pending: ["◌", "pending"], in_progress: ["▶", "in progress"], paused: ["‖", "paused"],
  completed: ["✓", "completed"], failed: ["✕", "failed"], cancelled: ["⊘", "cancelled"],
};

/** Show a session's status in an element: sign, word and colour; what is no known status stands as it is. */
export function showStatus(target, status) {
  const known = Object.hasOwn(STATUSES, status ?? "");
  set(target, "data-status", known ? status : null);
  set(target, "class", "badge");
  write(target, known ? STATUSES[status].join(" ") : (status ?? "unknown"));
}

/** The first UUID in a text, as it is written there; undefined where there is none. */
export const uuidIn = (text) => /[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}/i.exec(text)?.[0];

export const byId = (id) => document.getElementById(id);

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const day = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "short" });

export const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));
export const rate = (number) => (number === null || number === undefined ? "–" : short.format(number));

/** A span of milliseconds in words as long as they must be: 180 ms, 4.2 s, 3 min 20 s, 2 h 5 min. */
export function span(milliseconds) {
  if (milliseconds === null || milliseconds === undefined || Number.isNaN(milliseconds)) return "–";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago an instant was, to the second. */
export function ago(instant, now = Date.now()) {
  const at = asDate(instant);
  if (at === null) return instant ?? "–";
  const passed = now - at.getTime();
  if (passed < 1500) return "just now";
  return passed < 60_000 ? `${Math.floor(passed / 1000)} s ago` : `${span(passed)} ago`;
}

/** The time of day here, with milliseconds. An instant before the year 1 or after 9999 stays as Postgres prints it. */
export function timeOfDay(instant) {
  const at = asDate(instant);
  if (at === null) return instant ?? "–";
  return `${clock.format(at)}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** The time of day here, to the second. */
export function clockTime(instant) {
  const at = asDate(instant);
  return at === null ? (instant ?? "–") : clock.format(at);
}

/** Day, month and the time of day here, with milliseconds; the year too where it is not this one. */
export function shortDate(instant) {
  const at = asDate(instant);
  if (at === null) return instant ?? "–";
  const year = at.getFullYear() === new Date().getFullYear() ? "" : ` ${at.getFullYear()}`;
  return `${day.format(at)}${year} ${timeOfDay(instant)}`;
}

/** The day and the time of day here, to the second. */
export function dayAndTime(instant) {
  const at = asDate(instant);
  return at === null ? (instant ?? "–") : `${dated.format(at)}, ${clock.format(at)}`;
}

/** Say something to who listens instead of looking; the same words twice are said once. */
export function announce(text) {
  write(byId("announcements"), text);
}
