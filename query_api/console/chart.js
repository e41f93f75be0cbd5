// The chart of the projection: lag and commit-to-visible over the last minutes, on a logarithmic scale, as SVG.

import { byId, clockTime, drawn, element, rate, set, span, STATES, write } from "./page.js";

export const SPAN_MS = 15 * 60_000;
const GAP_MS = 4_000; // samples come each second: a longer silence is drawn as one
const EDGE = { left: 56, right: 12, top: 10, bottom: 44 }; // px, where a letter is as large as on a desk
const LANE = 24; // of marks, between the plot and the times
const DESK_PX = 15;
const LEAST_SPAN_MS = 60_000;
const STEPS_MS = [15, 30, 60, 120, 180, 300].map((seconds) => seconds * 1_000);
const SIGNS = { term: "◇", started: "▲", error: "✕" };
const THIN_PX = 4;
const NEAR_PX = 9; // marks that lie closer are one

/** The samples that the chart shows, as `{ at (ms), status, lagMs, tripMs }`, oldest first; they may come twice. */
export class Samples {
  #kept = [];

  /** Take samples in. `now` is the clock that they are of, ms. */
  add(samples, now = Date.now()) {
    this.#kept = this.#kept.filter(({ at }) => at <= now + GAP_MS); // the clock here was set back
    const known = new Set(this.#kept.map((sample) => sample.at));
    this.#kept.push(...samples.filter((sample) => !known.has(sample.at)));
    this.#kept.sort((a, b) => a.at - b.at);
    const oldest = (this.#kept.at(-1)?.at ?? 0) - SPAN_MS - GAP_MS;
    this.#kept = this.#kept.filter((sample) => sample.at >= oldest);
  }

  get list() {
    return this.#kept;
  }

  /** Half and 99 of 100 values are no greater than these, ms; `highest` is the greatest. Null where there is none. */
  summary(of) {
    const values = this.#kept.map((sample) => sample[of]).filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
    if (!values.length) return null;
    return { p50: quantile(values, 0.5), p99: quantile(values, 0.99), highest: values.at(-1), number: values.length };
  }
}

/** The least of sorted values that so great a share of them does not pass. */
export function quantile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
}

/** The numbers 1, 2 and 5 times a power of ten that enclose these two. */
export function enclosing(least, most) {
  const exponent = Math.floor(Math.log10(least)), found = [];
  for (let power = exponent; found.at(-1) === undefined || found.at(-1) < most; power += 1) found.push(...[1, 2, 5].map((step) => step * 10 ** power));
  const from = found.findLastIndex((value) => value <= least), to = found.findIndex((value) => value >= most);
  return found.slice(Math.max(0, from), Math.max(to, from + 1) + 1);
}

/** How much of the past is shown: what there is, at least a minute, at most fifteen. */
export function spanFor(samples, now) {
  return Math.min(SPAN_MS, Math.max(LEAST_SPAN_MS, (now - (samples[0]?.at ?? now)) * 1.02));
}

/** Draws into one `<svg>`, as wide as that is; `board` lies above it and is moved along by pointer and keys. */
export class LagChart {
  #svg; #board; #parts; #place = null; #picked = null; #shown = [];

  constructor(svg, board) {
    [this.#svg, this.#board] = [svg, board];
    this.#parts = {
      states: drawn("g"), grid: drawn("g", { class: "grid" }), limit: drawn("line", { class: "limit" }),
      area: drawn("path", { class: "area" }), line: drawn("path", { class: "line" }), trips: drawn("path", { class: "trips" }),
      marks: drawn("g"), cursor: drawn("g", { class: "cursor" }),
    };
    svg.replaceChildren(...Object.values(this.#parts));
    board.addEventListener("pointermove", (moved) => this.#pick(this.#at(moved.offsetX)));
    board.addEventListener("pointerdown", (moved) => this.#pick(this.#at(moved.offsetX)));
    board.addEventListener("pointerleave", () => this.#pick(null));
    board.addEventListener("blur", () => this.#pick(null));
    board.addEventListener("focus", () => this.#pick(this.#picked ?? this.#shown.at(-1)?.at ?? null));
    board.addEventListener("keydown", (pressed) => this.#press(pressed));
  }

  /** `limitMs`: past it the view is stale; `changes`: `{ at (ms), kind, text }`; `spanMs`: what is shown, null for what there is. */
  draw({ samples, changes, now, limitMs, spanMs = null }) {
    const { width, height } = this.#svg.getBoundingClientRect();
    if (width < 50 || height < 80) return;
    set(this.#svg, "viewBox", `0 0 ${Math.round(width)} ${Math.round(height)}`);
    const shownMs = spanMs ?? spanFor(samples, now);
    this.#shown = samples.filter((sample) => sample.at > now - shownMs && sample.at <= now + GAP_MS);
    const edge = edges(), ticks = ticksFor(this.#shown, limitMs), floor = height - edge.bottom, room = width - edge.left - edge.right;
    const [low, high] = [Math.log(ticks[0]), Math.log(ticks.at(-1))];
    const x = (at) => edge.left + room * (1 - (now - at) / shownMs);
    const y = (value) => floor - (floor - edge.top) * Math.min(1, Math.max(0, (Math.log(Math.max(value, 1e-3)) - low) / (high - low)));
    this.#place = { edge, x, y, width, floor, now, shownMs, limitMs, room, changes: changes.filter(({ at }) => at > now - shownMs && at <= now + GAP_MS) };
    const runs = unbroken(this.#shown, "lagMs").map((run) => thinned(run, x, "lagMs"));
    set(this.#parts.line, "d", runs.map((run) => path(run, x, y, "lagMs")).join(""));
    set(this.#parts.area, "d", runs.map((run) => closed(run, x, y, floor)).join(""));
    set(this.#parts.trips, "d", unbroken(this.#shown, "tripMs").map((run) => path(thinned(run, x, "tripMs"), x, y, "tripMs")).join(""));
    this.#parts.grid.replaceChildren(...grid(ticks, this.#place));
    this.#parts.states.replaceChildren(...states(this.#shown, this.#place));
    this.#parts.marks.replaceChildren(...marks(this.#place));
    const within = limitMs !== null && limitMs <= ticks.at(-1);
    for (const [name, value] of [["x1", edge.left], ["x2", width - edge.right], ["y1", y(limitMs)], ["y2", y(limitMs)]])
      set(this.#parts.limit, name, within ? value.toFixed(1) : 0);
    if (this.#picked !== null) this.#tell();
  }

  #at(offset) {
    if (this.#place === null) return null;
    const { edge, now, shownMs, room } = this.#place;
    return now - shownMs * (1 - (offset - edge.left) / room);
  }

  #press(pressed) {
    const last = this.#shown.length - 1, here = this.#shown.indexOf(this.#nearest());
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - 30, PageDown: here + 30, Home: 0, End: last }[pressed.key];
    if (to === undefined || last < 0) return;
    pressed.preventDefault();
    this.#pick(this.#shown[Math.min(last, Math.max(0, to))].at);
  }

  #nearest() {
    const wanted = this.#picked ?? Infinity;
    return this.#shown.reduce((best, one) => (best === null || Math.abs(one.at - wanted) < Math.abs(best.at - wanted) ? one : best), null);
  }

  #pick(at) {
    this.#picked = at;
    this.#tell();
  }

  // What was known at the picked instant, beside the line that marks it and for who listens.
  #tell() {
    const tip = byId("chart-tip"), sample = this.#picked === null ? null : this.#nearest();
    tip.hidden = sample === null;
    this.#parts.cursor.replaceChildren();
    if (sample === null) return;
    const { edge, x, y, width, floor, now, shownMs, changes } = this.#place, at = x(sample.at);
    const near = changes.filter((change) => Math.abs(x(change.at) - at) < NEAR_PX);
    const lines = [
      ["", `${clockTime(sample.at)}, ${(STATES[sample.status] ?? STATES.unknown)[1]}`],
      ["lag, at most", span(sample.lagMs)], ["commit to visible", span(sample.tripMs)],
      ...near.map(({ at: when, kind, text }) => [`${signOf(kind)} ${clockTime(when)}`, text]),
    ];
    tip.replaceChildren(...lines.map(([name, value]) => element("p", {}, ...(name ? [element("span", { class: "dim" }, `${name} `)] : []), value)));
    tip.style.left = `${Math.round(Math.min(Math.max(0, at + 12), Math.max(0, width - tip.offsetWidth - 4)))}px`;
    if (at + 12 > width - tip.offsetWidth - 4) tip.style.left = `${Math.round(Math.max(0, at - tip.offsetWidth - 12))}px`;
    this.#parts.cursor.append(
      drawn("line", { x1: at.toFixed(1), x2: at.toFixed(1), y1: edge.top, y2: floor }),
      ...["lagMs", "tripMs"].filter((of) => sample[of] !== null && sample[of] !== undefined).map((of) =>
        drawn("circle", { class: of, cx: at.toFixed(1), cy: y(sample[of]).toFixed(1), r: 4 })),
    );
    set(this.#board, "aria-valuemax", Math.round(shownMs / 1000));
    set(this.#board, "aria-valuenow", Math.max(0, Math.round((sample.at - now + shownMs) / 1000)));
    set(this.#board, "aria-valuetext", lines.map(([name, value]) => `${name} ${value}`.trim()).join("; "));
  }
}

/** Whether there is any mark of this kind in words: what the signs under the plot mean. */
export function signOf(kind) {
  return SIGNS[kind] ?? "•";
}

function edges() {
  const scale = parseFloat(getComputedStyle(document.documentElement).fontSize) / DESK_PX;
  return { left: EDGE.left * scale, right: EDGE.right, top: EDGE.top, bottom: EDGE.bottom * scale, lane: LANE * scale };
}

function ticksFor(shown, limitMs) {
  const values = shown.flatMap(({ lagMs, tripMs }) => [lagMs, tripMs]).filter((value) => value > 0);
  const least = Math.max(0.5, values.reduce((low, value) => Math.min(low, value), Infinity));
  const most = values.reduce((high, value) => Math.max(high, value), 10);
  const near = limitMs !== null && most * 5 >= limitMs; // the bound is drawn once the values come near it
  return enclosing(Math.min(least, most / 10), near ? Math.max(most, limitMs * 1.2) : most);
}

// Of the values that fall on a few pixels the highest is drawn: a peak is never left out.
function thinned(run, x, of) {
  const made = [];
  for (const sample of run) {
    const last = made.at(-1);
    if (last === undefined || x(sample.at) - x(last.at) >= THIN_PX) made.push({ at: sample.at, [of]: sample[of] });
    else last[of] = Math.max(last[of], sample[of]);
  }
  return made;
}

function unbroken(samples, of) {
  const runs = [];
  let before = null;
  for (const sample of samples) {
    if (sample[of] === null || sample[of] === undefined) before = null;
    else {
      if (before === null || sample.at - before > GAP_MS) runs.push([]);
      runs.at(-1).push(sample);
      before = sample.at;
    }
  }
  return runs;
}

function path(run, x, y, of) {
  return run.map((sample, place) => `${place ? "L" : "M"}${x(sample.at).toFixed(1)} ${y(sample[of]).toFixed(1)}`).join("");
}

function closed(run, x, y, floor) {
  return `${path(run, x, y, "lagMs")}L${x(run.at(-1).at).toFixed(1)} ${floor}L${x(run[0].at).toFixed(1)} ${floor}Z`;
}

// Where the view was not live, the ground is coloured.
function states(samples, { edge, x, floor }) {
  const bands = [];
  for (const sample of samples) {
    const last = bands.at(-1);
    if (last && last.status === sample.status && sample.at - last.to <= GAP_MS) last.to = sample.at;
    else bands.push({ status: sample.status, from: sample.at, to: sample.at });
  }
  return bands.filter((band) => band.status !== "live").map((band) => drawn("rect", {
    class: `state ${band.status}`, x: Math.max(edge.left, x(band.from)).toFixed(1), y: edge.top,
    width: Math.max(2, x(band.to) - Math.max(edge.left, x(band.from))).toFixed(1), height: floor - edge.top,
  }));
}

// Terms, starts and errors: a line through the plot and a sign under it; those that lie together have one, the gravest.
function marks({ changes, edge, x, floor }) {
  const placed = [];
  for (const change of changes.filter(({ kind }) => kind in SIGNS).sort((a, b) => a.at - b.at)) {
    const at = Math.max(edge.left, x(change.at)), last = placed.at(-1);
    if (last && at - last.at < NEAR_PX) last.kinds.push(change.kind);
    else placed.push({ at, kinds: [change.kind] });
  }
  return placed.map(({ at, kinds }) => {
    const kind = ["error", "term", "started"].find((one) => kinds.includes(one)) ?? "started";
    return drawn("g", { class: `mark ${kind}` },
      drawn("line", { x1: at.toFixed(1), x2: at.toFixed(1), y1: edge.top, y2: floor + 4 }),
      drawn("text", { x: at.toFixed(1), y: floor + edge.lane * 0.7, "text-anchor": "middle" }, SIGNS[kind]));
  });
}

function grid(ticks, { edge, x, y, now, width, floor, shownMs }) {
  const made = [], labelled = ticks.length > 6 ? ticks.filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6)) : ticks;
  for (const tick of labelled) {
    const at = y(tick).toFixed(1);
    made.push(drawn("line", { x1: edge.left, x2: width - edge.right, y1: at, y2: at }));
    made.push(drawn("text", { x: edge.left - 6, y: Number(at) + 4, "text-anchor": "end" }, tick < 1000 ? `${rate(tick)} ms` : `${rate(tick / 1000)} s`));
  }
  const most = Math.max(2, Math.floor(width / (edge.left * 2))), step = STEPS_MS.find((one) => shownMs / one <= most) ?? SPAN_MS;
  for (let at = Math.ceil((now - shownMs) / step) * step; at <= now; at += step) {
    const place = x(at);
    if (place < edge.left + 24 || place > width - edge.right - 24) continue;
    made.push(drawn("text", { x: place.toFixed(1), y: floor + edge.lane + edge.lane * 0.6, "text-anchor": "middle" }, clockTime(at)));
  }
  return made;
}
