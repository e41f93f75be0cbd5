// The timeline of a session: how many events there were when, and its stations by name. It can be zoomed, and a stretch
// of it can be chosen: then the list shows that stretch.

import { drawnAt } from "./client/instants.js";
import { BY_WEIGHT, kindOfEvent, statusIn } from "./kinds.js";
import { byId, clockTime, count, dayAndTime, drawn, element, set, shortDate, span, write } from "./page.js";
import { cut } from "./preview.js";

const HEIGHT = 92, GROUND = 46, LABELS = 64, TIMES = 86;
const BAR = 6;
const END = 2 * BAR; // what an end takes, with the gap beside it
const LETTER = 7.6; // about what a character of a label takes
const LABEL = 24; // characters
const CLICK_PX = 4;
const LEAST_MS = 20; // what it is zoomed in to at most
// One event of 44 BC, or of infinity, would press all others into a line: what is dated outside stands at the strip's ends.
const FROM_YEAR = 1900, TO_YEAR = 2200;
const FROM = Date.UTC(FROM_YEAR, 0), TO = Date.UTC(TO_YEAR, 0);
const STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3, 1800e3,
  3600e3, 7200e3, 14400e3, 21600e3, 43200e3, 86400e3, 172800e3, 604800e3, 2592000e3, 7776000e3, 31536000e3, 315360000e3, 3153600000e3,
];

const toScale = (at) => at >= FROM && at < TO;

/** Draws into one `<svg>`; `board` lies above it, and `about` says the same in words. `onRange([from, to] or null)`, ms. */
export class Timeline {
  #svg; #board; #about; #onRange; #first = null; #stations = []; #events = []; #total = 0; #view = null; #range = null; #drag = null; #scale = null;

  constructor({ svg, board, about, onRange }) {
    [this.#svg, this.#board, this.#about, this.#onRange] = [svg, board, about, onRange];
    board.addEventListener("pointerdown", (pressed) => this.#press(pressed));
    board.addEventListener("pointermove", (moved) => this.#move(moved));
    board.addEventListener("pointerup", (moved) => this.#release(moved));
    board.addEventListener("pointercancel", () => this.#cancel());
    board.addEventListener("pointerleave", () => { byId("life-tip").hidden = true; });
    board.addEventListener("dblclick", ({ offsetX }) => this.#zoomAt(0.25, this.#scale?.instant(offsetX)));
    board.addEventListener("wheel", (turned) => this.#wheel(turned), { passive: false });
    board.addEventListener("keydown", (pressed) => this.#key(pressed));
    byId("zoom-in").addEventListener("click", () => this.#zoomIn());
    byId("zoom-out").addEventListener("click", () => this.#zoomAt(2));
    byId("zoom-all").addEventListener("click", () => this.#showAll());
  }

  clear() {
    [this.#first, this.#stations, this.#events, this.#total, this.#view, this.#range, this.#drag, this.#scale] = [null, [], [], 0, null, null, null, null];
    this.#svg.replaceChildren();
    write(this.#about, "");
    byId("life-tip").hidden = true;
  }

  /** The session's first event, which may be far older than those loaded. */
  begin(event) {
    this.#first = event;
  }

  /** Choose no stretch any more, without telling. */
  forgetRange() {
    this.#range = null;
    this.#draw();
  }

  /** Draw; `events` are the loaded ones, newest first, `total` counts all, `stations` are loaded or not. */
  draw({ events, total, stations }) {
    [this.#events, this.#total, this.#stations] = [events, total, stations];
    this.#draw();
  }

  #draw() {
    const width = this.#svg.getBoundingClientRect().width, events = this.#events;
    if (width < 50 || !events.length) return;
    const known = this.#first === null ? events : [...events, this.#first];
    const scale = new Scale({ shown: [...known, ...this.#stations], spanning: known, width, view: this.#view });
    this.#scale = scale;
    const oldest = events.findLast((event) => toScale(drawnAt(event)));
    const unloaded = events.length < this.#total && oldest ? Math.max(0, scale.x(oldest) - scale.left) : 0;
    set(this.#svg, "viewBox", `0 0 ${Math.round(width)} ${HEIGHT}`);
    this.#svg.replaceChildren(
      drawn("line", { class: "ground", x1: scale.left, x2: width - scale.right, y1: GROUND, y2: GROUND }),
      ...(unloaded > 0 ? notLoaded(scale.left, Math.min(unloaded, width)) : []),
      ...bars(events.filter((event) => scale.holds(event)), scale, width),
      ...stationMarks(this.#stations.filter((event) => scale.holds(event)), scale, width),
      ...times(scale, width),
      ...this.#chosen(scale),
    );
    const zoomed = this.#view === null ? [] : [`Shown: ${span(scale.last - scale.first)} of it.`];
    write(this.#about, [...scale.inWords(), `${count(this.#total)} ${this.#total === 1 ? "event" : "events"}, ${count(events.length)} loaded.`, ...zoomed, ...endsInWords(known)].join(" "));
    byId("zoom-out").disabled = byId("zoom-all").disabled = this.#view === null && this.#range === null;
  }

  #chosen(scale) {
    const range = this.#drag?.range ?? this.#range;
    if (range === null || range === undefined) return [];
    const [from, to] = range.map((at) => Math.min(scale.width, Math.max(0, scale.place(at))));
    return [drawn("rect", { class: "brush", x: from.toFixed(1), y: 1, width: Math.max(1, to - from).toFixed(1), height: HEIGHT - 2 })];
  }

  #press(pressed) {
    if (pressed.button !== 0 || this.#scale === null) return;
    this.#board.setPointerCapture(pressed.pointerId);
    this.#drag = { x: pressed.offsetX, range: null };
  }

  #move(moved) {
    if (this.#scale === null) return;
    if (this.#drag !== null && Math.abs(moved.offsetX - this.#drag.x) >= CLICK_PX) {
      this.#drag.range = [this.#scale.instant(Math.min(this.#drag.x, moved.offsetX)), this.#scale.instant(Math.max(this.#drag.x, moved.offsetX))];
      this.#draw();
    }
    this.#tip(moved.offsetX);
  }

  #release(moved) {
    const drag = this.#drag;
    this.#drag = null;
    if (drag === null || this.#scale === null) return;
    if (drag.range !== null) this.#choose(drag.range);
    else if (Math.abs(moved.offsetX - drag.x) < CLICK_PX && this.#range !== null) this.#choose(null);
  }

  #cancel() {
    this.#drag = null;
    this.#draw();
  }

  #choose(range) {
    this.#range = range;
    this.#draw();
    this.#onRange(range);
  }

  #wheel(turned) {
    if (!turned.ctrlKey || this.#scale === null) return; // the page scrolls
    turned.preventDefault();
    this.#zoomAt(turned.deltaY < 0 ? 0.7 : 1.4, this.#scale.instant(turned.offsetX));
  }

  #key(pressed) {
    const work = {
      ArrowLeft: () => this.#pan(-0.25), ArrowRight: () => this.#pan(0.25), "+": () => this.#zoomIn(), "=": () => this.#zoomIn(), "-": () => this.#zoomAt(2),
      Enter: () => this.#scale && this.#choose([this.#scale.first, this.#scale.last]), Escape: () => this.#showAll(), 0: () => this.#showAll(),
    }[pressed.key];
    if (work === undefined || pressed.ctrlKey || pressed.metaKey) return;
    pressed.preventDefault();
    pressed.stopPropagation();
    work();
  }

  #zoomIn() {
    if (this.#range === null) this.#zoomAt(0.5);
    else this.#look(...this.#range);
  }

  #showAll() {
    this.#view = null;
    if (this.#range !== null) this.#choose(null);
    else this.#draw();
  }

  // So many times as much of the time, around an instant: the middle where none is given.
  #zoomAt(factor, around) {
    if (this.#scale === null || this.#scale.first === Infinity) return;
    const { first, last, whole } = this.#scale, middle = around ?? (first + last) / 2;
    const from = middle - (middle - first) * factor, to = middle + (last - middle) * factor;
    if (to - from >= whole[1] - whole[0]) this.#view = null;
    else if (to - from >= LEAST_MS) this.#view = within([from, to], whole);
    this.#draw();
  }

  #look(from, to) {
    if (this.#scale === null) return;
    const middle = (from + to) / 2, half = Math.max(LEAST_MS, to - from) / 2;
    this.#view = within([middle - half, middle + half], this.#scale.whole);
    this.#draw();
  }

  #pan(share) {
    if (this.#scale === null || this.#view === null) return;
    const by = (this.#view[1] - this.#view[0]) * share;
    this.#view = within(this.#view.map((at) => at + by), this.#scale.whole);
    this.#draw();
  }

  // What there is at the pointer.
  #tip(offset) {
    const tip = byId("life-tip"), scale = this.#scale, from = scale.instant(offset - BAR), to = scale.instant(offset + BAR);
    const near = this.#events.filter((event) => drawnAt(event) >= from && drawnAt(event) <= to);
    const stations = this.#stations.filter((event) => drawnAt(event) >= from && drawnAt(event) <= to).slice(0, 6);
    tip.hidden = false;
    tip.replaceChildren(
      element("p", {}, dayAndTime(scale.instant(offset))), element("p", {}, `${count(near.length)} ${near.length === 1 ? "event" : "events"}`),
      ...stations.map((event) => element("p", {}, `${kindOfEvent(event).sign} ${labelOf(event)} `, element("span", { class: "dim" }, clockTime(event.timestamp)))),
    );
    const room = scale.width - tip.offsetWidth - 4;
    tip.style.left = `${Math.round(offset + 14 > room ? Math.max(0, offset - tip.offsetWidth - 14) : offset + 14)}px`;
  }
}

function within([from, to], [first, last]) {
  const shift = from < first ? first - from : to > last ? last - to : 0;
  return [Math.max(first, from + shift), Math.min(last, to + shift)];
}

// Where instants are drawn. What is dated outside the scale has a place of its own at an end, where there is such.
class Scale {
  constructor({ shown, spanning, width, view }) {
    // Math.min(...) of very many arguments overflows the stack.
    let [least, most] = [Infinity, -Infinity];
    for (const event of spanning) {
      const at = drawnAt(event);
      if (toScale(at)) [least, most] = [Math.min(least, at), Math.max(most, at)];
    }
    this.whole = [least, Math.max(most, least + LEAST_MS)];
    [this.first, this.last] = view ?? [least, Math.max(most, least + 1000)];
    [this.zoomed, this.width] = [view !== null, width];
    this.left = view === null && shown.some((event) => drawnAt(event) < FROM) ? END : 0;
    this.right = view === null && shown.some((event) => drawnAt(event) >= TO) ? END : 0;
  }

  place(at) {
    return this.left + ((at - this.first) / Math.max(this.last - this.first, 1)) * (this.width - this.left - this.right - BAR);
  }

  x(event) {
    const at = drawnAt(event);
    if (at < FROM) return 0;
    if (at >= TO) return this.width - BAR;
    return this.place(at);
  }

  instant(place) {
    return this.first + ((place - this.left) / (this.width - this.left - this.right - BAR)) * (this.last - this.first);
  }

  // A station that is not loaded may be later than what is; where it is zoomed, the ends are not shown.
  holds(event) {
    const at = drawnAt(event);
    return toScale(at) ? at >= this.first && at <= this.last : !this.zoomed;
  }

  inWords() {
    const [from, to] = this.whole;
    return from === Infinity ? [] : [`From ${dayAndTime(from)} for ${span(Math.max(0, to - from))}:`];
  }
}

function notLoaded(left, width) {
  const made = [drawn("rect", { class: "unloaded", x: left, y: 4, width: width.toFixed(1), height: GROUND - 4 })];
  if (width > 90) made.push(drawn("text", { x: (left + width / 2).toFixed(1), y: GROUND / 2 + 5, "text-anchor": "middle" }, "not loaded"));
  return made;
}

function endsInWords(known) {
  const early = known.filter((event) => drawnAt(event) < FROM), late = known.filter((event) => drawnAt(event) >= TO);
  return [
    ...atAnEnd(early, `before ${FROM_YEAR}`, "left", early.at(-1)),
    ...atAnEnd(late, `after ${TO_YEAR - 1}`, "right", late[0]),
  ];
}

function atAnEnd(events, when, side, farthest) {
  if (!events.length) return [];
  const size = new Set(events.map((event) => event.id)).size;
  return [`${count(size)} dated ${when} ${size === 1 ? "stands" : "stand"} at the ${side} end, ${size === 1 ? "" : "the farthest "}${farthest.timestamp ?? "without a time"}.`];
}

function bars(events, scale, width) {
  const buckets = new Map();
  for (const event of events) {
    const place = Math.min(Math.floor(scale.x(event) / BAR), Math.floor(width / BAR));
    const bucket = buckets.get(place) ?? { size: 0, weight: BY_WEIGHT.length - 1 };
    bucket.size += 1;
    bucket.weight = Math.min(bucket.weight, BY_WEIGHT.indexOf(kindOfEvent(event).kind));
    buckets.set(place, bucket);
  }
  let most = 1;
  for (const { size } of buckets.values()) most = Math.max(most, size);
  return [...buckets].map(([place, { size, weight }]) => {
    const height = 4 + (GROUND - 10) * (Math.log1p(size) / Math.log1p(most));
    return drawn("rect", {
      class: `bar kind-${BY_WEIGHT[weight]}`, x: place * BAR, y: (GROUND - height).toFixed(1), width: BAR - 1, height: height.toFixed(1),
    });
  });
}

const labelOf = (event) => cut((statusIn(event) ?? event.event_type ?? "").replace(/^(workflow|session)_/, "").replaceAll("_", " "), LABEL);

// Each station has its sign; its name where there is room, those that matter most first. Of two at one place the second
// says what the first does: a status, and the event that brought it.
function stationMarks(stations, scale, width) {
  const placed = [];
  for (const event of [...stations].sort((a, b) => weight(a) - weight(b))) {
    const at = scale.x(event) + BAR / 2;
    if (placed.some((one) => Math.abs(one.at - at) < BAR)) continue;
    placed.push({ event, at });
  }
  const letter = (LETTER * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 15;
  const taken = placed.map(({ at }) => [at - BAR, at + BAR]);
  return placed.map(({ event, at }, index) => {
    const { kind, sign } = kindOfEvent(event), text = labelOf(event), long = text.length * letter + BAR + 6;
    const fits = ([from, to]) => from >= 0 && to <= width && !taken.some(([low, high], other) => other !== index && from < high && to > low);
    const room = [[at - BAR, at + long], [at - long, at + BAR]].find(fits);
    if (room) taken[index] = room;
    const side = room && room[0] < at - BAR ? "end" : "start";
    return drawn("g", { class: `station kind-${kind}` },
      drawn("title", {}, `${cut(event.event_type ?? "", 100)}, ${dayAndTime(event.timestamp)}`),
      drawn("line", { x1: at.toFixed(1), x2: at.toFixed(1), y1: GROUND, y2: GROUND + 6 }),
      drawn("text", { class: "sign", x: at.toFixed(1), y: LABELS, "text-anchor": "middle" }, sign),
      ...(room ? [drawn("text", { x: (side === "start" ? at + BAR + 3 : at - BAR - 3).toFixed(1), y: LABELS, "text-anchor": side }, text)] : []));
  });
}

const weight = (event) => BY_WEIGHT.indexOf(kindOfEvent(event).kind);

function times(scale, width) {
  if (scale.first === Infinity) return [];
  const spanMs = scale.last - scale.first, most = Math.max(2, Math.floor(width / 130));
  const step = STEPS_MS.find((one) => spanMs / one <= most) ?? STEPS_MS.at(-1), made = [];
  const format = step >= 86_400_000 ? (at) => dayAndTime(at).split(",")[0] : step < 1000 ? (at) => shortDate(at).slice(-12) : clockTime;
  for (let at = Math.ceil(scale.first / step) * step; at <= scale.last; at += step) {
    const place = scale.place(at);
    made.push(drawn("line", { class: "tick", x1: place.toFixed(1), x2: place.toFixed(1), y1: GROUND, y2: GROUND + 3 }));
    if (place > 30 && place < width - 34) made.push(drawn("text", { class: "time", x: place.toFixed(1), y: TIMES, "text-anchor": "middle" }, format(at)));
  }
  return made;
}
