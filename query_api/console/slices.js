// The slices of the view, where there are several: a cell for each, and a row for each that is not live.

import { byId, element, set, span, STATES, write } from "./page.js";

const ROWS = 50; // of a thousand that are away the first tell enough

export class SlicePanel {
  #cells = [];

  show(slices = []) {
    byId("slices").hidden = !slices.length;
    if (!slices.length) return;
    const unwell = slices.filter((one) => one.status !== "live");
    write(byId("slices-summary"), summary(slices, unwell));
    this.#draw(slices);
    list(unwell);
  }

  #draw(slices) {
    if (this.#cells.length !== slices.length) {
      this.#cells = slices.map(() => element("span", {}));
      byId("slices-cells").replaceChildren(...this.#cells);
    }
    slices.forEach(({ slice, node, status }, index) => {
      const [sign, word] = STATES[status] ?? STATES.unknown, cell = this.#cells[index];
      set(cell, "data-status", status);
      set(cell, "title", `slice ${slice}: ${word}, on ${node}`);
      write(cell, sign);
    });
  }
}

/** How many there are, on how many servers, and how many of them are in each state: all that the cells show. */
function summary(slices, unwell) {
  const nodes = new Set(slices.map((one) => one.node)).size;
  const told = `${slices.length} slices on ${nodes} ${nodes === 1 ? "node" : "nodes"}`;
  if (!unwell.length) return `${told}, all live.`;
  const counts = new Map([["live", 0]]);
  for (const { status } of slices) counts.set(status, (counts.get(status) ?? 0) + 1);
  return `${told}: ${[...counts].map(([status, many]) => `${many} ${(STATES[status] ?? STATES.unknown)[1]}`).join(", ")}.`;
}

function list(unwell) {
  byId("slices-unwell").hidden = !unwell.length;
  byId("slices-unwell").querySelector("tbody").replaceChildren(...unwell.slice(0, ROWS).map((one) => element("tr", {},
    element("td", { class: "number" }, String(one.slice)),
    element("td", {}, one.node),
    element("td", {}, (STATES[one.status] ?? STATES.unknown)[1]),
    element("td", { class: "number" }, span(one.lag_ms)),
    element("td", {}, one.reason ?? ""),
  )));
  write(byId("slices-more"), unwell.length > ROWS ? `And ${unwell.length - ROWS} more.` : "");
}
