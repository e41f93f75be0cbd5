// What `poll` and `warm` ask, and what they make of the answers.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BadRequest, SessionNotFound, Unavailable, poll, warm } from "../../../clients/js/src/index.js";

const BODY = `{"items": [{"id": "a", "session_id": "s", "step_id": null, "event_type": "step_created",
  "event_data": {"n": 12345678901234567890, "price": 1.10}, "message": null, "timestamp": "2026-01-13T14:30:00.123456Z"}],
  "total": 45, "pagination": {"page": 1, "per_page": 1, "total": 45, "total_pages": 45, "has_next": true, "has_prev": false}}`;
const HEADERS = {
  ETag: '"e"', "Readside-As-Of": "2026-01-13T14:30:01.000000Z", "Readside-Lag-Ms": "12", "Readside-Source": "redis", "X-Poll-Interval": "2",
};
const page = (more = {}) => new Response(BODY, { headers: { ...HEADERS, ...more } });
const unchanged = () => new Response(null, { status: 304, headers: { ...HEADERS, "Readside-Lag-Ms": "700", "Readside-Source": "memory" } });
const refused = (status, headers = {}) => new Response('{"detail": "Not so.", "parameter": "since"}', { status, headers });

// An API that gives these answers, and what it was asked.
function giving(...answers) {
  const asked = [];
  const fetch = async (url, { method, headers, signal }) => {
    asked.push({ url: new URL(url), method, headers, signal });
    return answers.shift();
  };
  return { asked, access: { baseUrl: "http://api.test/under", apiKey: "key", fetch } };
}

describe("poll", () => {
  test("asks for one page, and says how fresh it is", async () => {
    const { asked, access } = giving(page());
    const answer = await poll("s", access);
    assert.equal(asked[0].url.href, "http://api.test/under/api/v2/sessions/s/events");
    assert.deepEqual(asked[0].headers, { "X-API-Key": "key" });
    assert.deepEqual([answer.total, answer.items.length, answer.pagination.has_next], [45, 1, true]);
    assert.deepEqual(answer.freshness, { asOf: "2026-01-13T14:30:01.000000Z", lagMs: 12, source: "redis" });
    assert.deepEqual([answer.etag, answer.pollIntervalSeconds, answer.notModified], ['"e"', 2, false]);
  });

  test("keeps every digit of an event's data", async () => {
    const { items: [event] } = await poll("s", giving(page()).access);
    assert.equal(event.event_data_json, '{"n": 12345678901234567890, "price": 1.10}');
    assert.deepEqual(event.event_data, { n: 12345678901234567000, price: 1.1 });
    assert.equal(JSON.stringify(event).includes("event_data_json"), false);
  });

  test("asks for what is wished, and for nothing else", async () => {
    const { asked, access } = giving(page());
    await poll("s", {
      ...access, since: new Date(Date.UTC(2026, 0, 13)), types: ["a", "b"], limit: 5, page: 2, wait: 0, maxStaleness: 0, notBefore: "2026-01-13T14:00:00Z",
    });
    assert.equal(asked[0].url.search, "?event_type=a&event_type=b&since=2026-01-13T00%3A00%3A00.000Z&limit=5&page=2&wait=0");
    assert.deepEqual(asked[0].headers, { "Readside-Max-Staleness": 0, "Readside-Not-Before": "2026-01-13T14:00:00Z", "X-API-Key": "key" });
  });

  test("gives the answer back that has not changed, as fresh as it is now", async () => {
    const { asked, access } = giving(page(), unchanged());
    const previous = await poll("s", access);
    const answer = await poll("s", { ...access, previous, wait: 20 });
    assert.deepEqual([answer.items, answer.total, answer.etag, answer.notModified], [previous.items, 45, '"e"', true]);
    assert.deepEqual(answer.freshness, { asOf: "2026-01-13T14:30:01.000000Z", lagMs: 700, source: "memory" });
    assert.deepEqual(asked[1].headers, { "If-None-Match": '"e"', "Readside-Not-Before": "2026-01-13T14:30:01.000000Z", "X-API-Key": "key" });
  });

  test("is refused by kind", async () => {
    const { asked, access } = giving(refused(400), refused(404), refused(503, { "Retry-After": "3" }));
    await assert.rejects(poll("s", access), (error) => error instanceof BadRequest && error.parameter === "since" && error.final);
    await assert.rejects(poll("s", access), (error) => error instanceof SessionNotFound && error.message === "Not so.");
    await assert.rejects(poll("s", access), (error) => error instanceof Unavailable && error.retryAfterSeconds === 3 && !error.final);
    assert.equal(asked.length, 3);
  });

  test("takes what a proxy says for no answer", async () => {
    for (const answer of [unchanged(), new Response("null", { headers: HEADERS }), new Response("<html>"), new Response(BODY), Response.error()]) {
      await assert.rejects(poll("s", giving(answer).access), Unavailable);
    }
  });

  test("rejects with the signal's reason, and leaves nothing behind", async () => {
    const abort = new AbortController(), { access } = giving();
    const left = [];
    const fetch = (_, { signal }) => new Promise((_, fail) => signal.addEventListener("abort", () => (left.push(1), fail(signal.reason))));
    const asked = poll("s", { ...access, fetch, signal: abort.signal });
    await new Promise((done) => setImmediate(done));
    abort.abort(new Error("enough"));
    await assert.rejects(asked, { message: "enough" });
    await assert.rejects(poll("s", { ...access, fetch, signal: abort.signal }), { message: "enough" });
    assert.equal(left.length, 1);
  });

  test("asks once more with a fresh token", async () => {
    const { asked, access } = giving(page(), refused(401), page());
    let n = 0;
    const mine = { ...access, apiKey: null, getToken: () => `token-${(n += 1)}` };
    await poll("s", mine);
    await poll("s", mine);
    assert.deepEqual(asked.map(({ headers }) => headers["X-API-Key"]), ["token-1", "token-1", "token-2"]);
  });

  test("tells a token that is refused at once from one that has ended", async () => {
    const { access } = giving(refused(401));
    await assert.rejects(poll("s", { ...access, apiKey: null, getToken: () => "wrong" }), (error) => error instanceof Unavailable && error.status === 401);
  });
});

describe("warm", () => {
  test("has a session brought into memory", async () => {
    const { asked, access } = giving(new Response('{"session_id": "s", "state": "warming"}', { status: 202 }));
    assert.deepEqual(await warm("s", access), { session_id: "s", state: "warming" });
    assert.deepEqual([asked[0].method, asked[0].url.pathname], ["POST", "/under/api/v2/sessions/s/warm"]);
  });
});
