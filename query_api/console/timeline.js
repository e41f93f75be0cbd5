// The strip of a session's life: how many events there were when, what stands out among them, and its stations.

import { drawnAt } from "./client/instants.js";
import { BY_WEIGHT, kindOf } from "./kinds.js";
import { count, dayAndTime, drawn, set, span } from "./page.js";

const HEIGHT = 56, GROUND = 40;
const BAR = 6;
const END = 2 * BAR; // what an end takes, with the gap beside it
// One event of 44 BC, or of infinity, would press all others into a line: what is dated outside stands at the strip's ends.
const FROM_YEAR = 1900, TO_YEAR = 2200;
const FROM = Date.UTC(FROM_YEAR, 0), TO = Date.UTC(TO_YEAR, 0);

const toScale = (at) => at >= FROM && at < TO;

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
  begin(event) {
    this.#first = event;
  }

  /** Note events that mark stations, loaded or not. */
  mark(events) {
    for (const event of events) this.#stations.set(event.id, event);
  }

  /** Draw; `events` are the loaded ones, newest first, `total` counts all. */
  draw(events, total) {
    const width = this.#svg.getBoundingClientRect().width;
    if (width < 50 || !events.length) return;
    const known = this.#first === null ? events : [...events, this.#first];
    const scale = new Scale([...known, ...this.#stations.values()], known, width);
    const oldest = events.findLast((event) => toScale(drawnAt(event)));
    const unloaded = events.length < total && oldest ? scale.x(oldest) - scale.left : 0;
    set(this.#svg, "viewBox", `0 0 ${Math.round(width)} ${HEIGHT}`);
    this.#svg.replaceChildren(
      drawn("line", { class: "ground", x1: scale.left, x2: width - scale.right, y1: GROUND, y2: GROUND }),
      ...(unloaded > 0 ? [drawn("rect", { class: "unloaded", x: scale.left, y: 4, width: unloaded.toFixed(1), height: GROUND - 4 })] : []),
      ...bars(events, scale, width),
      ...[...this.#stations.values()].filter((event) => scale.holds(event)).map((event) =>
        drawn("path", { class: `station kind-${kindOf(event.event_type).kind}`, d: `M${(scale.x(event) + BAR / 2).toFixed(1)} ${GROUND + 3}l5 11h-10z` },
          drawn("title", {}, `${event.event_type}, ${dayAndTime(event.timestamp)}`))),
    );
    this.#about.textContent = [...scale.inWords(), `${count(total)} ${total === 1 ? "event" : "events"}, ${count(events.length)} loaded.`, ...endsInWords(known)].join(" ");
  }
}

// Where instants are drawn. What is dated outside the scale has a place of its own at an end, where there is such.
class Scale {
  constructor(shown, spanning, width) {
    const times = spanning.map(drawnAt).filter(toScale);
    // Math.min(...) of very many arguments overflows the stack.
    this.first = times.reduce((least, at) => Math.min(least, at), Infinity);
    this.last = times.reduce((most, at) => Math.max(most, at), -Infinity);
    this.width = width;
    this.left = shown.some((event) => drawnAt(event) < FROM) ? END : 0;
    this.right = shown.some((event) => drawnAt(event) >= TO) ? END : 0;
  }

  x(event) {
    const at = drawnAt(event);
    if (at < FROM) return 0;
    if (at >= TO) return this.width - BAR;
    return this.left + ((at - this.first) / Math.max(this.last - this.first, 1000)) * (this.width - this.left - this.right - BAR);
  }

  // A station that is not loaded may be later than what is.
  holds(event) {
    const at = drawnAt(event);
    return !toScale(at) || (at >= this.first && at <= this.last);
  }

  inWords() {
    return this.first === Infinity ? [] : [`From ${dayAndTime(this.first)} for ${span(this.last - this.first)}:`];
  }
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
