// The chart of the view's lag over the last fifteen minutes, as SVG.

import { drawn, rate, set, span } from "./page.js";

export const SPAN_MS = 15 * 60_000;
const GAP_MS = 4_000; // samples come each second: a longer silence is drawn as one
const EDGE = { left: 54, right: 10, top: 10, bottom: 24 };
const STEPS = [1, 2, 5];

/** The samples that the chart shows, as `{ at (ms), status, lagMs }`, oldest first; they may come twice. */
export class Samples {
  #kept = [];

  add(samples) {
    const known = new Set(this.#kept.map((sample) => sample.at));
    this.#kept.push(...samples.filter((sample) => !known.has(sample.at)));
    this.#kept.sort((a, b) => a.at - b.at);
    const oldest = (this.#kept.at(-1)?.at ?? 0) - SPAN_MS - GAP_MS;
    this.#kept = this.#kept.filter((sample) => sample.at >= oldest);
  }

  get list() {
    return this.#kept;
  }

  /** Median and highest lag, ms; null without samples. */
  get summary() {
    const lags = this.#kept.map((sample) => sample.lagMs).filter((lag) => lag !== null).sort((a, b) => a - b);
    return lags.length ? { median: lags[Math.floor(lags.length / 2)], highest: lags.at(-1) } : null;
  }
}

/** A round number at or above this one. */
export function niceCeiling(value) {
  const magnitude = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return (STEPS.find((step) => step * magnitude >= value) ?? 10) * magnitude;
}

/** Draws into one `<svg>`, as wide as that is. `limitMs`: past it the view is stale. */
export class LagChart {
  constructor(svg) {
    this.svg = svg;
    this.parts = {
      states: drawn("g"), grid: drawn("g", { class: "grid" }), limit: drawn("line", { class: "limit" }),
      area: drawn("path", { class: "area" }), line: drawn("path", { class: "line" }),
    };
    svg.replaceChildren(...Object.values(this.parts));
  }

  draw(samples, now, limitMs) {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width < 50 || height < 50) return;
    set(this.svg, "viewBox", `0 0 ${Math.round(width)} ${Math.round(height)}`);
    const shown = samples.filter((sample) => sample.at > now - SPAN_MS && sample.at <= now + GAP_MS);
    const top = niceCeiling(Math.max(200, ...shown.map((sample) => sample.lagMs ?? 0)) * 1.1);
    const floor = height - EDGE.bottom, room = width - EDGE.left - EDGE.right;
    const x = (at) => EDGE.left + room * (1 - (now - at) / SPAN_MS);
    const y = (lag) => floor - (floor - EDGE.top) * (lag / top);
    const runs = unbroken(shown);
    set(this.parts.line, "d", runs.map((run) => path(run, x, y)).join(""));
    set(this.parts.area, "d", runs.map((run) => closed(run, x, y, floor)).join(""));
    this.parts.grid.replaceChildren(...grid({ top, x, y, now, width, floor }));
    this.parts.states.replaceChildren(...states(shown, x, floor));
    const within = limitMs !== null && limitMs <= top;
    for (const [name, value] of [["x1", EDGE.left], ["x2", width - EDGE.right], ["y1", y(limitMs)], ["y2", y(limitMs)]])
      set(this.parts.limit, name, within ? value.toFixed(1) : 0);
  }
}

function unbroken(samples) {
  const runs = [];
  let before = null;
  for (const sample of samples) {
    if (sample.lagMs === null) before = null;
    else {
      if (before === null || sample.at - before > GAP_MS) runs.push([]);
      runs.at(-1).push(sample);
      before = sample.at;
    }
  }
  return runs;
}

function path(run, x, y) {
  return run.map((sample, place) => `${place ? "L" : "M"}${x(sample.at).toFixed(1)} ${y(sample.lagMs).toFixed(1)}`).join("");
}

function closed(run, x, y, floor) {
  return `${path(run, x, y)}L${x(run.at(-1).at).toFixed(1)} ${floor}L${x(run[0].at).toFixed(1)} ${floor}Z`;
}

// Where the view was not live, the ground is coloured.
function states(samples, x, floor) {
  const bands = [];
  for (const sample of samples) {
    const last = bands.at(-1);
    if (last && last.status === sample.status && sample.at - last.to <= GAP_MS) last.to = sample.at;
    else bands.push({ status: sample.status, from: sample.at, to: sample.at });
  }
  return bands.filter((band) => band.status !== "live").map((band) => drawn("rect", {
    class: `state ${band.status}`, x: Math.max(EDGE.left, x(band.from)).toFixed(1), y: EDGE.top,
    width: Math.max(2, x(band.to) - Math.max(EDGE.left, x(band.from))).toFixed(1), height: floor - EDGE.top,
  }));
}

function grid({ top, x, y, now, width, floor }) {
  const made = [];
  for (let part = 0; part <= 4; part += 1) {
    const lag = (top * part) / 4, at = y(lag).toFixed(1);
    made.push(drawn("line", { x1: EDGE.left, x2: width - EDGE.right, y1: at, y2: at }));
    made.push(drawn("text", { x: EDGE.left - 6, y: Number(at) + 4, "text-anchor": "end" }, label(lag)));
  }
  for (const minutes of width < 420 ? [15, 5, 0] : [15, 10, 5, 0]) {
    const at = x(now - minutes * 60_000).toFixed(1);
    const anchor = minutes === 0 ? "end" : minutes === 15 ? "start" : "middle";
    made.push(drawn("text", { x: at, y: floor + 17, "text-anchor": anchor }, minutes ? `−${minutes} min` : "now"));
  }
  return made;
}

function label(lag) {
  return lag < 1000 ? span(lag) : `${rate(lag / 1000)} s`;
}
