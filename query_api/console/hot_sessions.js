// The table of sessions: the hot ones, sorted and filtered here; and any other by its id. Rows stay put under the pointer.

import { ask } from "./api.js";
import { ago, announce, byId, count, dayAndTime, element, set, showStatus, STATUSES, uuidIn, write } from "./page.js";
import { ReadsideError } from "./client/errors.js";

const FIRST_ROWS = 25;
const MORE_ROWS = 100;
const MOST_ROWS = 1_025;
const FIRST_SESSIONS = 500; // each costs the API some reads of Redis
const PAGE = 1_000;
const MOST_PAGES = 5;
const EVERY_SECONDS = 4;
const DESCENDING_FIRST = new Set(["events", "last_event_at", "last_polled_at", "bytes"]);

/** The sessions that match, in order; what has no value comes last, whichever way. */
export function arranged(sessions, { by, descending, filter }) {
  const wanted = filter.trim().toLowerCase(), id = uuidIn(wanted) ?? wanted;
  const status = (one) => STATUSES[one.status]?.[1] ?? one.status ?? "";
  const matching = sessions.filter((one) => !wanted || one.session_id.includes(id) || status(one).includes(wanted) || (one.status ?? "").includes(wanted));
  const absent = (one) => one[by] === null || one[by] === undefined;
  return matching.sort((a, b) => {
    if (absent(a) || absent(b)) return absent(a) - absent(b);
    const order = a[by] < b[by] ? -1 : a[by] > b[by] ? 1 : 0;
    return descending ? -order : order;
  });
}

export class HotSessions {
  #sessions = []; #total = 0; #rows = new Map(); #order = { by: "last_event_at", descending: true };
  #most = FIRST_ROWS; #pages = 0; #onMore; #pointed = false; #paused = false; #shown = []; #sought = null;

  constructor({ onMore }) {
    this.#onMore = onMore;
    byId("hot-filter").addEventListener("input", () => {
      this.#draw({ anew: true });
      this.#seek();
      announce(byId("hot-note").textContent);
    });
    byId("hot-filter").addEventListener("keydown", (pressed) => this.#typed(pressed));
    for (const button of this.#table.tHead.querySelectorAll("button"))
      button.addEventListener("click", () => this.#sortBy(button.dataset.sort));
    byId("more-rows").addEventListener("click", () => this.#more());
    byId("more-sessions").addEventListener("click", () => this.#fetchMore());
    byId("hot-pause").addEventListener("click", () => this.togglePause());
    this.#table.addEventListener("pointermove", ({ pointerType }) => { this.#pointed = pointerType === "mouse"; });
    this.#table.addEventListener("pointerleave", () => this.#leave());
    this.#table.addEventListener("focusout", () => setTimeout(() => this.#leave()));
  }

  get #table() {
    return byId("hot-sessions");
  }

  /** Ask for the list again; the seconds until the next time. */
  async renew(signal) {
    if (this.#pages === 0) this.#take(await ask(`api/v2/projection/sessions?limit=${FIRST_SESSIONS}`, { signal }));
    else {
      const found = new Map();
      let total = 0;
      for (let page = 1; page <= this.#pages; page += 1) {
        const told = await ask(`api/v2/projection/sessions?limit=${PAGE}&page=${page}`, { signal });
        for (const one of told.items) found.set(one.session_id, one); // one that moves may be on two pages
        total = told.total;
        if (page * PAGE >= total) break;
      }
      this.#take({ items: [...found.values()], total });
    }
    return EVERY_SECONDS * Math.max(1, 2 * this.#pages);
  }

  #take({ items, total }) {
    [this.#sessions, this.#total] = [items, total];
    this.#draw();
  }

  /** Say why the list is not renewed, if there is a reason. */
  tell(error) {
    if (error) write(byId("hot-note"), `${error.message} The list is an old one.`);
  }

  /** Put the focus on the next row, or the one before. */
  move(by) {
    const links = [...this.#table.tBodies[0].querySelectorAll("a")], at = links.indexOf(document.activeElement);
    (links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))] ?? byId("hot-filter")).focus();
  }

  togglePause() {
    this.#paused = !this.#paused;
    set(byId("hot-pause"), "aria-pressed", String(this.#paused));
    this.#draw();
  }

  #sortBy(by) {
    const descending = this.#order.by === by ? !this.#order.descending : DESCENDING_FIRST.has(by);
    this.#order = { by, descending };
    this.#draw({ anew: true });
  }

  #more() {
    this.#most = Math.min(MOST_ROWS, this.#most + MORE_ROWS);
    this.#draw({ anew: true });
  }

  #fetchMore() {
    this.#pages = Math.min(MOST_PAGES, this.#pages + 1);
    this.#onMore();
  }

  #leave() {
    this.#pointed = false;
    this.#draw();
  }

  // While somebody points at a row, or has the focus on it, rows keep their places; what they say is renewed.
  get #still() {
    return this.#paused || this.#pointed || this.#table.tBodies[0].contains(document.activeElement);
  }

  #draw({ anew = false } = {}) {
    const { by, descending } = this.#order, filter = byId("hot-filter").value;
    const matching = arranged([...this.#sessions], { by, descending, filter }), newest = matching.slice(0, this.#most);
    const known = new Map(this.#sessions.map((one) => [one.session_id, one]));
    const still = this.#still && !anew && this.#shown.length > 0;
    const ids = still ? this.#shown : newest.map((one) => one.session_id);
    const rows = new Map(ids.map((id) => [id, this.#rows.get(id) ?? row(id)]));
    for (const [id, made] of rows) fill(made, known.get(id));
    [this.#rows, this.#shown] = [rows, ids];
    place(this.#table.tBodies[0], [...rows.values()]);
    for (const button of this.#table.tHead.querySelectorAll("button"))
      set(button.closest("th"), "aria-sort", button.dataset.sort === by ? (descending ? "descending" : "ascending") : null);
    this.#tell(matching, ids, still ? newest.filter((one) => !rows.has(one.session_id)).length : 0);
  }

  #tell(matching, ids, news) {
    const partly = this.#total > this.#sessions.length;
    const among = partly ? `the ${count(this.#sessions.length)} most recently active of ${count(this.#total)} hot sessions` : `${count(this.#total)} hot sessions`;
    const filtered = byId("hot-filter").value.trim() !== "";
    write(byId("hot-note"), `${count(ids.length)} of ${filtered ? `${count(matching.length)} that match among ` : ""}${among}.${
      news ? ` Order frozen; ${news} new ${news === 1 ? "session is" : "sessions are"} waiting.` : this.#paused ? " Order frozen." : ""}`);
    byId("more-rows").hidden = matching.length <= this.#most || this.#most >= MOST_ROWS;
    byId("more-sessions").hidden = !partly || this.#pages >= MOST_PAGES;
    byId("no-sessions").hidden = ids.length > 0;
    write(byId("no-sessions"), this.#total === 0 ? "No session is in Redis." : "No hot session matches. A whole id finds any session.");
  }

  // A whole id is looked up, hot or not.
  async #seek() {
    const id = uuidIn(byId("hot-filter").value)?.toLowerCase() ?? null;
    if (id === this.#sought) return;
    this.#sought = id;
    byId("found").replaceChildren();
    if (id === null) return;
    byId("found").append(link(id), " ");
    const note = element("span", { class: "dim" }, "looking …");
    byId("found").append(note);
    write(note, await inWords(id));
  }

  #typed(pressed) {
    const links = this.#table.tBodies[0].querySelectorAll("a"), one = byId("found").querySelector("a") ?? (links.length === 1 ? links[0] : null);
    if (pressed.key === "Enter" && one) location.hash = one.hash;
    if (pressed.key === "ArrowDown" && links.length) links[0].focus();
    if (pressed.key === "Escape") pressed.target.blur();
  }
}

async function inWords(id) {
  try {
    const { items, total } = await ask(`api/v2/sessions/${encodeURIComponent(id)}/events?limit=1`);
    return `has ${count(total)} ${total === 1 ? "event" : "events"}${items.length ? `, the last ${ago(items[0].timestamp)}` : ""}.`;
  } catch (error) {
    if (!(error instanceof ReadsideError)) throw error;
    return error.message;
  }
}

const link = (id) => element("a", { href: `#${new URLSearchParams({ session: id })}`, title: id, class: "id" }, id);

// Rows that stay where they are are not touched: a link keeps its focus while the table is renewed.
function place(body, rows) {
  const wanted = new Set(rows);
  for (const old of [...body.rows]) if (!wanted.has(old)) old.remove();
  rows.forEach((made, at) => {
    if (body.rows[at] !== made) body.insertBefore(made, body.rows[at] ?? null);
  });
}

function row(id) {
  return element("tr", {}, element("td", {}, link(id)), element("td", {}, element("span", { class: "badge" })), element("td", { class: "number" }),
    element("td"), element("td", { class: "aside" }), element("td", { class: "number aside" }));
}

function fill(made, one) {
  const [, status, events, lastEvent, lastPoll, bytes] = made.cells;
  showStatus(status.firstChild, one?.status ?? "leaving Redis");
  if (one === undefined) return;
  write(events, count(one.events));
  when(lastEvent, one.last_event_at);
  when(lastPoll, one.last_polled_at);
  write(bytes, one.bytes < 1000 && one.bytes > 0 ? "< 1" : count(one.bytes / 1000));
}

function when(cell, instant) {
  write(cell, instant ? ago(instant) : "–");
  set(cell, "title", instant ? dayAndTime(instant) : null);
}
