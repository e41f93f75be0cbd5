// A request that fails in one way only: with an error of errors.js.

import { ReadsideError, Unavailable, errorOf } from "./errors.js";
import { httpDate, retryAfterSeconds, systemClock } from "./loop.js";

const TIMEOUT_SECONDS = 30; // an API and proxies that are well answer before, and come to no such halt in an answer
const NO_BODY = new Set([204, 304]);

/**
 * Send a request; resolves to `{ status, headers, body }`, the body parsed from JSON (null for a 204 or 304). Rejects with a
 * ReadsideError; where it is aborted, too.
 *
 * The browser's own cache is left out of it: the 304 is ours. `parse` makes the body of the answer's text.
 * `heldSeconds`: how long the API was asked to hold the answer, past what any may take to begin.
 */
export async function request(url, {
  method = "GET", headers = {}, signal, parse = JSON.parse, fetch = globalThis.fetch, clock = systemClock, heldSeconds = 0,
} = {}) {
  const abort = new AbortController();
  const leave = () => abort.abort();
  if (signal?.aborted) leave();
  signal?.addEventListener("abort", leave, { once: true });
  let timer;
  const wait = (seconds) => {
    clock.clearTimeout(timer);
    timer = clock.setTimeout(leave, seconds * 1000);
  };
  wait(TIMEOUT_SECONDS + heldSeconds);
  try {
    const response = await fetch.call(globalThis, url, { method, headers, cache: "no-store", signal: abort.signal });
    const text = () => textOf(response, () => wait(TIMEOUT_SECONDS));
    if (!response.ok && response.status !== 304) throw await refusal(response, text, clock);
    const body = NO_BODY.has(response.status) ? null : read(parse, await text(), response.status);
    return { status: response.status, headers: response.headers, body };
  } catch (error) {
    if (error instanceof ReadsideError) throw error;
    throw new Unavailable("The API does not answer.");
  } finally {
    clock.clearTimeout(timer);
    signal?.removeEventListener("abort", leave);
  }
}

// What a browser's text() gives; `onPart` is called whenever some of it has come.
async function textOf(response, onPart) {
  onPart();
  if (!response.body?.getReader) return response.text(); // React Native has no streams
  const reader = response.body.getReader(), decoder = new TextDecoder(), parts = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    onPart();
    parts.push(decoder.decode(part.value, { stream: true }));
  }
  return parts.join("") + decoder.decode();
}

// An answer that came is told apart from one that did not.
function read(parse, text, status) {
  try {
    return parse(text);
  } catch (error) {
    throw new Unavailable(`What the API answered cannot be read: ${error?.message ?? error}`, { status });
  }
}

async function refusal(response, text, clock) {
  const told = await text().then(JSON.parse).catch(() => null);
  const detail = typeof told?.detail === "string" ? told.detail : null;
  return errorOf(detail ?? `The API answered ${response.status}.`, {
    status: response.status,
    parameter: told?.parameter ?? null,
    retryAfterSeconds: retryAfterSeconds(response.headers.get("Retry-After"), httpDate(response.headers.get("Date")) ?? clock.now()),
  });
}
