// The table of hot sessions: sorted and filtered here, over those that were active last.

import { ago, announce, byId, count, dayAndTime, element, set, write } from "./page.js";

const MOST_ROWS = 200;
const DESCENDING_FIRST = new Set(["events", "last_event_at", "last_polled_at", "bytes"]);

/** The sessions that match, in order; what has no value comes last, whichever way. */
export function arranged(sessions, { by, descending, filter }) {
  const wanted = filter.trim().toLowerCase();
  const matching = sessions.filter((one) => !wanted || one.session_id.includes(wanted) || (one.status ?? "").includes(wanted));
  const absent = (one) => one[by] === null || one[by] === undefined;
  return matching.sort((a, b) => {
    if (absent(a) || absent(b)) return absent(a) - absent(b);
    const order = a[by] < b[by] ? -1 : a[by] > b[by] ? 1 : 0;
    return descending ? -order : order;
  });
}

export class HotSessions {
  #sessions = []; #total = 0; #rows = new Map(); #order = { by: "last_event_at", descending: true };

  constructor() {
    byId("hot-filter").addEventListener("input", () => {
      this.#draw();
      announce(byId("hot-note").textContent);
    });
    for (const button of byId("hot-sessions").tHead.querySelectorAll("button"))
      button.addEventListener("click", () => this.#sortBy(button.dataset.sort));
  }

  show({ items, total }) {
    [this.#sessions, this.#total] = [items, total];
    this.#draw();
  }

  /** Say why the list is not renewed, if there is a reason. */
  tell(error) {
    if (error) write(byId("hot-note"), `${error.message} The list is an old one.`);
  }

  #sortBy(by) {
    const descending = this.#order.by === by ? !this.#order.descending : DESCENDING_FIRST.has(by);
    this.#order = { by, descending };
    this.#draw();
  }

  #draw() {
    const { by, descending } = this.#order;
    const matching = arranged([...this.#sessions], { by, descending, filter: byId("hot-filter").value });
    const shown = matching.slice(0, MOST_ROWS);
    const rows = new Map(shown.map((one) => [one.session_id, this.#rows.get(one.session_id) ?? row(one.session_id)]));
    for (const one of shown) fill(rows.get(one.session_id), one);
    this.#rows = rows;
    place(byId("hot-sessions").tBodies[0], [...rows.values()]);
    for (const button of byId("hot-sessions").tHead.querySelectorAll("button"))
      set(button.closest("th"), "aria-sort", button.dataset.sort === by ? (descending ? "descending" : "ascending") : null);
    const among = this.#total > this.#sessions.length ? `the ${count(this.#sessions.length)} most recently active of ` : "";
    write(byId("hot-note"), `${count(shown.length)} of ${count(matching.length)} that match, among ${among}${count(this.#total)}.`);
  }
}

// Rows that stay where they are are not touched: a link keeps its focus while the table is renewed.
function place(body, rows) {
  const wanted = new Set(rows);
  for (const old of [...body.rows]) if (!wanted.has(old)) old.remove();
  rows.forEach((made, at) => {
    if (body.rows[at] !== made) body.insertBefore(made, body.rows[at] ?? null);
  });
}

function row(id) {
  const link = element("a", { href: `#${new URLSearchParams({ session: id })}`, title: id }, id);
  return element("tr", {}, element("td", { class: "id" }, link), element("td"), element("td", { class: "number" }),
    element("td"), element("td"), element("td", { class: "number" }));
}

function fill(made, one) {
  const [, status, events, lastEvent, lastPoll, bytes] = made.cells;
  write(status, one.status ?? "leaving");
  write(events, count(one.events));
  when(lastEvent, one.last_event_at);
  when(lastPoll, one.last_polled_at);
  write(bytes, count(one.bytes / 1000));
}

function when(cell, instant) {
  write(cell, instant ? ago(instant) : "–");
  set(cell, "title", instant ? dayAndTime(instant) : null);
}
