// What kind of thing an event tells, by its type: the colour and the sign it is shown with. New types may appear.

const RULES = [
  [/cancel/, "gone", "⊘"],
  [/fail|error/, "bad", "✕"],
  [/complete/, "good", "✓"],
  [/pause/, "held", "‖"],
  [/^artifact/, "artifact", "◆"],
  [/^step/, "step", "•"],
  [/^status/, "status", "→"],
  [/^(workflow|session)/, "flow", "▶"],
];

const MOST_KNOWN = 1_000; // types are the writers' to invent
const known = new Map();

/** `{ kind, sign }` of an event type. */
export function kindOf(type) {
  const found = known.get(type);
  if (found) return found;
  const [, kind, sign] = RULES.find(([pattern]) => pattern.test(type)) ?? [null, "other", "○"];
  if (known.size < MOST_KNOWN) known.set(type, { kind, sign });
  return { kind, sign };
}

const STATUS_KINDS = new Map([
  ["completed", ["good", "✓"]], ["done", ["good", "✓"]], ["failed", ["bad", "✕"]], ["cancelled", ["gone", "⊘"]], ["paused", ["held", "‖"]],
]);
const MOST_LOOKED_AT = 2_000; // characters of a payload: one that is longer tells more than a status
const TO = /"(?:to|status|new_status)"\s*:\s*"(\w{1,20})"/;

/** The status that an event about one tells, or null: from the JSON text of its payload. */
export function statusIn(event) {
  const text = event.event_data_json ?? "";
  if (!/status/.test(event.event_type ?? "") || text.length > MOST_LOOKED_AT) return null;
  return TO.exec(text)?.[1] ?? null;
}

/** `{ kind, sign }` of an event: by the status that it tells, else by its type. */
export function kindOfEvent(event) {
  const type = event.event_type ?? "", [kind, sign] = STATUS_KINDS.get(statusIn(event)) ?? [];
  if (kind === "good" && type.startsWith("step")) return { kind: "step", sign }; // a step of many, not the session
  return kind ? { kind, sign } : kindOf(type);
}

/** The kinds, the one that matters most first. */
export const BY_WEIGHT = ["bad", "gone", "held", "good", "flow", "status", "artifact", "step", "other"];

/** The types in use when this was written; what else a session has is offered when it is seen. */
export const KNOWN_TYPES = [
  "session_created", "status_changed", "step_created", "step_status_changed", "artifact_created", "workflow_started",
  "workflow_resumed", "workflow_paused", "workflow_completed", "workflow_failed", "workflow_error",
];

/** Those that mark the stations of a session's life; they are few. */
export const STATIONS = KNOWN_TYPES.filter((type) => !/^(step|artifact)/.test(type));

/** Those that tell of steps. */
export const STEP_TYPES = KNOWN_TYPES.filter((type) => type.startsWith("step"));
