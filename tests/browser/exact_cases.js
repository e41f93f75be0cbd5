// The console's modules as tests ask them: plain values in, plain values out.

import { parseAnswer } from "/console/client/exact.js";
import { isNewer, microseconds } from "/console/client/instants.js";
import { LinedJson } from "/console/layout.js";
import { Timeline } from "/console/timeline.js";

/** Of each event of an answer the text that is kept of its data, and that text laid out in parts of such a size. */
export function laidOut(answer, part) {
  return parseAnswer(answer).items.map(({ event_data_json: text }) => {
    const lines = new LinedJson(text), parts = [];
    while (lines.left) parts.push(lines.more(part));
    return [text, parts.join("")];
  });
}

/** Whether each event's data is what JSON.parse makes of it in the whole answer. */
export function parsesAlike(answer) {
  const plain = (parsed) => JSON.stringify(parsed);
  return plain(parseAnswer(answer)) === plain(JSON.parse(answer));
}

/** The ids of an answer's events in the order of the list, whatever order they came in. */
export function ordered(answer) {
  return parseAnswer(answer).items.sort((a, b) => (isNewer(a, b) ? -1 : 1)).map((event) => event.id);
}

/** Microseconds since 1970, in words. */
export function since1970(instants) {
  return instants.map((instant) => String(microseconds(instant)));
}

/** What the strip of a session's life shows of an answer: the places of its bars, from the left, and its words. */
export function strip(answer, total) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), about = document.createElement("p");
  svg.style.cssText = "display: block; width: 600px; height: 56px";
  const beside = ["life-tip", "zoom-in", "zoom-out", "zoom-all"].map((id) => Object.assign(document.createElement("button"), { id }));
  document.body.replaceChildren(svg, about, ...beside);
  const life = new Timeline({ svg, board: about, about, onRange: () => {} }), { items } = parseAnswer(answer);
  if (items.length) life.begin(items.at(-1));
  life.draw({ events: items, total, stations: items });
  const places = (of) => [...svg.querySelectorAll(of)].map((one) => Number(one.getAttribute("x"))).sort((a, b) => a - b);
  return {
    bars: places(".bar"), unloaded: places(".unloaded"), stations: svg.querySelectorAll(".station").length, text: about.textContent,
    drawn: [...svg.querySelectorAll("*")].flatMap((one) => [...one.attributes].map(({ value }) => value)),
  };
}
