// One answer, by one request: a page of a session's events, or that it is being made ready.

import { Connection, foreign, freshnessOf, pageOf, required, typesAsked } from "./connection.js";

const MOST_WAIT_SECONDS = 60;
const LONGEST_INTERVAL_SECONDS = 3600;

/**
 * Ask for one page of events, newest first. Rejects with a ReadsideError (Unavailable where it is worth asking again), or
 * with the signal's reason.
 *
 * `previous`, an earlier answer to the same question, is given back with its new freshness where nothing has changed
 * (`notModified`). `wait`: the answer is held for up to so many seconds, until it differs from `previous`, or without that
 * until it has an item.
 */
export async function poll(session, {
  since = null, types = [], limit = null, page = null, wait = null, previous = null, maxStaleness = null,
  notBefore = previous?.freshness.asOf ?? null, signal, ...access
} = {}) {
  const asked = { since: since instanceof Date ? since.toISOString() : since, limit, page, wait };
  const parameters = [...typesAsked(types), ...Object.entries(asked).filter(([, value]) => value !== null)];
  const answer = await put(session, access, "events", {
    parameters, signal, heldSeconds: Math.min(wait ?? 0, MOST_WAIT_SECONDS),
    headers: { "If-None-Match": previous?.etag, "Readside-Max-Staleness": maxStaleness, "Readside-Not-Before": notBefore },
  });
  const told = { freshness: freshnessOf(answer.headers), pollIntervalSeconds: interval(answer.headers.get("X-Poll-Interval")) };
  if (answer.status === 304 && previous === null) throw foreign("answers 304 to what was no condition");
  if (answer.status === 304) return { ...previous, ...told, notModified: true };
  return { ...pageOf(answer.body), etag: required(answer.headers, "ETag"), ...told, notModified: false };
}

/** Have a session loaded into Redis; resolves to `{ session_id, state }`, the state `warming` or `hot`. Rejects as `poll`. */
export async function warm(session, { signal, ...access } = {}) {
  return (await put(session, access, "warm", { method: "POST", signal })).body;
}

const interval = (text) => (Number(text) > 0 ? Math.min(Number(text), LONGEST_INTERVAL_SECONDS) : 1);

async function put(session, access, what, question) {
  question.signal?.throwIfAborted();
  try {
    return await new Connection(session, access).ask(what, question);
  } catch (error) {
    question.signal?.throwIfAborted();
    throw error;
  }
}
