// The strip of a session's life: how many events there were when, what stands out among them, and its stations.

import { BY_WEIGHT, kindOf } from "./kinds.js";
import { count, dayAndTime, drawn, set, span, timeOfDay } from "./page.js";

const HEIGHT = 56, GROUND = 40;
const BAR = 6;

/** Draws into one `<svg>`; `about` is the element that says the same in words. */
export class Timeline {
  #svg; #about; #first = null; #stations = new Map();

  constructor(svg, about) {
    [this.#svg, this.#about] = [svg, about];
  }

  clear() {
    this.#first = null;
    this.#stations.clear();
    this.#svg.replaceChildren();
    this.#about.textContent = "";
  }

  /** The session's first event, which may be far older than those loaded. */
  begin(instant) {
    this.#first = Date.parse(instant);
  }

  /** Note events that mark stations, loaded or not. */
  mark(events) {
    for (const event of events) this.#stations.set(event.id, { at: Date.parse(event.timestamp), type: event.event_type });
  }

  /** Draw; `events` are the loaded ones, newest first, `total` counts all. */
  draw(events, total) {
    const width = this.#svg.getBoundingClientRect().width;
    const times = events.map((event) => Date.parse(event.timestamp)).filter((at) => !Number.isNaN(at));
    if (width < 50 || !times.length) return;
    const oldest = Math.min(...ends(times)), last = Math.max(...ends(times));
    const first = Math.min(this.#first ?? oldest, oldest), life = Math.max(last - first, 1000);
    const x = (at) => ((at - first) / life) * (width - BAR);
    set(this.#svg, "viewBox", `0 0 ${Math.round(width)} ${HEIGHT}`);
    this.#svg.replaceChildren(
      drawn("line", { class: "ground", x1: 0, x2: width, y1: GROUND, y2: GROUND }),
      ...(events.length < total ? [drawn("rect", { class: "unloaded", x: 0, y: 4, width: Math.max(0, x(oldest)).toFixed(1), height: GROUND - 4 })] : []),
      ...bars(events, x, width),
      ...[...this.#stations.values()].filter(({ at }) => at >= first && at <= last).map(({ at, type }) =>
        drawn("path", { class: `station kind-${kindOf(type).kind}`, d: `M${(x(at) + BAR / 2).toFixed(1)} ${GROUND + 3}l5 11h-10z` },
          drawn("title", {}, `${type}, ${timeOfDay(new Date(at).toISOString())}`))),
    );
    this.#about.textContent = `From ${dayAndTime(new Date(first).toISOString())} for ${span(last - first)}: ` +
      `${count(total)} ${total === 1 ? "event" : "events"}, ${count(events.length)} loaded.`;
  }
}

// Math.min(...) of very many arguments overflows the stack; events are newly sorted, so the ends are the extremes.
function ends(times) {
  return [times[0], times.at(-1)];
}

function bars(events, x, width) {
  const buckets = new Map();
  for (const event of events) {
    const at = x(Date.parse(event.timestamp));
    if (Number.isNaN(at)) continue;
    const place = Math.min(Math.floor(at / BAR), Math.floor(width / BAR));
    const bucket = buckets.get(place) ?? { size: 0, weight: BY_WEIGHT.length - 1 };
    bucket.size += 1;
    bucket.weight = Math.min(bucket.weight, BY_WEIGHT.indexOf(kindOf(event.event_type).kind));
    buckets.set(place, bucket);
  }
  const most = Math.max(1, ...[...buckets.values()].map((bucket) => bucket.size));
  return [...buckets].map(([place, { size, weight }]) => {
    const height = 4 + (GROUND - 10) * (Math.log1p(size) / Math.log1p(most));
    return drawn("rect", {
      class: `bar kind-${BY_WEIGHT[weight]}`, x: place * BAR, y: (GROUND - height).toFixed(1), width: BAR - 1, height: height.toFixed(1),
    });
  });
}
