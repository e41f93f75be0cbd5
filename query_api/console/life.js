// What the events of a session say about it as a whole: its status, and its steps. They may come in any order, and twice.

import { drawnAt, isNewer } from "./client/instants.js";
import { STATIONS, STEP_TYPES, statusIn } from "./kinds.js";
import { cut } from "./preview.js";
import { STATUSES } from "./page.js";

const MOST_STATIONS = 2_000;
const MOST_STEPS = 2_000;
const MOST_READ = 4_000; // characters of a payload that is parsed for a step's name
const NAME = 60;
const BY_TYPE = {
  session_created: "pending", workflow_started: "in_progress", workflow_resumed: "in_progress", workflow_paused: "paused",
  workflow_completed: "completed", workflow_failed: "failed",
};

/** The status that a session's stations tell, newest first, or null: one that is told in so many words comes before a guess. */
export function statusOf(stations) {
  const told = stations.find((event) => Object.hasOwn(STATUSES, statusIn(event) ?? "") && event.event_type === "status_changed");
  const meant = stations.find((event) => Object.hasOwn(BY_TYPE, event.event_type));
  if (told && !(meant && drawnAt(meant) > drawnAt(told))) return statusIn(told);
  return meant ? BY_TYPE[meant.event_type] : null;
}

export class Life {
  #stations = new Map(); #steps = new Map(); #sorted = null;

  clear() {
    this.#stations.clear();
    this.#steps.clear();
    this.#sorted = null;
  }

  /** Take note of events; true where there was one that says something about the session or a step. */
  note(events) {
    let changed = false;
    for (const event of events) {
      if (STATIONS.includes(event.event_type) && !this.#stations.has(event.id)) {
        this.#stations.set(event.id, event);
        [this.#sorted, changed] = [null, true];
      }
      if (event.step_id !== null && STEP_TYPES.includes(event.event_type)) changed = this.#noteStep(event) || changed;
    }
    this.#forgetOldest();
    return changed;
  }

  /** The events that mark stations, newest first. */
  get stations() {
    this.#sorted ??= [...this.#stations.values()].sort((a, b) => (isNewer(a, b) ? -1 : 1));
    return this.#sorted;
  }

  get status() {
    return statusOf(this.stations);
  }

  /** The steps, the one that began last first: `{ id, name, status, number }`, where null is not known. */
  get steps() {
    return [...this.#steps.values()].sort((a, b) => b.began - a.began);
  }

  stepName(id) {
    return this.#steps.get(id)?.name ?? null;
  }

  #forgetOldest() {
    for (const { id } of this.#stations.size > MOST_STATIONS ? this.stations.splice(MOST_STATIONS) : []) this.#stations.delete(id);
    for (const { id } of this.#steps.size > MOST_STEPS ? this.steps.slice(MOST_STEPS) : []) this.#steps.delete(id);
  }

  #noteStep(event) {
    let step = this.#steps.get(event.step_id);
    if (step === undefined) {
      step = { id: event.step_id, name: null, status: null, number: null, began: Infinity, told: null };
      this.#steps.set(event.step_id, step);
    }
    const before = `${step.name} ${step.status} ${step.began}`;
    step.began = Math.min(step.began, drawnAt(event));
    const status = statusIn(event);
    if (status !== null && (step.told === null || isNewer(event, step.told))) [step.status, step.told] = [status, event];
    const { name, number } = nameIn(event);
    if (name !== null) [step.name, step.number] = [name, number];
    return before !== `${step.name} ${step.status} ${step.began}`;
  }
}

function nameIn(event) {
  if (event.event_type !== "step_created" || (event.event_data_json ?? "").length > MOST_READ) return { name: null, number: null };
  const { name, step_name: other, number } = event.event_data ?? {}, found = [name, other].find((one) => typeof one === "string" && one);
  return { name: found === undefined ? null : cut(found, NAME), number: Number.isInteger(number) ? number : null };
}
