// What kind of thing an event tells, by its type: the colour and the sign it is shown with. New types may appear.

const RULES = [
  [/fail|error/, "bad", "✕"],
  [/complete/, "good", "✓"],
  [/pause|cancel/, "held", "‖"],
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

/** The kinds, the one that matters most first. */
export const BY_WEIGHT = ["bad", "held", "good", "flow", "status", "artifact", "step", "other"];

/** The types in use when this was written; what else a session has is offered when it is seen. */
export const KNOWN_TYPES = [
  "session_created", "status_changed", "step_created", "step_status_changed", "artifact_created", "workflow_started",
  "workflow_resumed", "workflow_paused", "workflow_completed", "workflow_failed", "workflow_error",
];

/** Those that mark the stations of a session's life; they are few. */
export const STATIONS = KNOWN_TYPES.filter((type) => !/^(step|artifact)/.test(type));
