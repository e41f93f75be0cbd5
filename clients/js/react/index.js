"use client";
// A React hook over the client: the newest events of a session, as they come.

import { useCallback, useEffect, useRef, useState } from "react";
import { EventPoller } from "../src/event_poller.js";
import { isNewer } from "../src/instants.js";

const KEPT = 1000;
const STATUS = { running: "live", waiting: "retrying", hidden: "hidden", paused: "paused", stopped: "stopped" };
const NOTHING = { events: [], error: null, freshness: null, total: null, hasOlder: false };
const sources = new WeakMap(); // of tokens, by the function that a component began with

/**
 * Follow a session's events while the component is mounted; null for no session.
 *
 * It begins anew, with an empty list, when the session, `baseUrl`, `types`, `token`, `apiKey`, `limit` or `keep` change.
 * `getToken`, `fetch` and `paused` may be others in each render. Components that begin with one `getToken` share its tokens.
 */
export function useSessionEvents(session, options = {}) {
  const { baseUrl, types = [], token = null, apiKey = null, limit, keep = KEPT, mostHeld, paused = false } = options;
  const key = JSON.stringify([session, String(baseUrl), types, token, apiKey, limit, keep, mostHeld, (options.getToken ?? null) !== null]);
  const newest = useRef(options), list = useRef(null);
  const [shown, show] = useState({ key: null, ...NOTHING });
  useEffect(() => {
    newest.current = options;
  });
  useEffect(() => {
    if ((session ?? null) === null) return undefined;
    const made = new EventsShown(session, newest, (told) => show({ key, ...told }));
    list.current = made;
    made.poller.start();
    return () => {
      list.current = null;
      made.stop();
    };
  }, [key]);
  useEffect(() => {
    if (paused) list.current?.poller.pause();
    else list.current?.poller.resume();
  }, [key, paused]);
  const loadOlder = useCallback(async () => (await list.current?.loadOlder()) ?? 0, []);
  const begun = shown.key === key ? shown : { ...NOTHING, status: (session ?? null) === null ? "idle" : "connecting" };
  const { events, status, error, freshness, total, hasOlder } = begun;
  return { events, status, error, freshness, total, hasOlder, loadOlder };
}

// What is shown of a session: at most `keep` events, newest first.
class EventsShown {
  #keep; #show; #leave; #told = { ...NOTHING, status: "connecting" }; #stopped = false;

  constructor(session, newest, show) {
    const { getToken = null, fetch = null, keep = KEPT, paused, ...options } = newest.current;
    [this.#keep, this.#show] = [keep, show];
    const source = typeof getToken === "function" ? sourceOf(getToken) : null;
    this.poller = new EventPoller({
      ...options, sessionId: session, maxBurst: Math.max(keep, 1000),
      getToken: source?.getToken ?? getToken,
      ...(fetch === null ? {} : { fetch: (...given) => newest.current.fetch(...given) }),
      onEvents: (events, { restarted }) => this.#take(events, restarted),
      onState: (told) => this.#note(told),
    });
    this.#leave = source?.join(newest);
  }

  stop() {
    this.#stopped = true;
    this.poller.stop();
    this.#leave?.();
  }

  /** Resolves to how many came: none where the list is full. */
  async loadOlder() {
    return this.#full ? 0 : this.poller.loadOlder();
  }

  get #full() {
    return this.#told.events.length >= this.#keep;
  }

  #take(events, restarted) {
    const all = [...events, ...(restarted ? [] : this.#told.events)].sort((a, b) => (isNewer(a, b) ? -1 : 1));
    const dropped = all.splice(this.#keep);
    if (dropped.length > 0) this.poller.forget(dropped.map(({ id }) => id));
    this.#tell({ events: all, hasOlder: this.poller.hasOlder && all.length < this.#keep });
  }

  #note({ state, error, total, hasOlder, asOf = null, lagMs, source }) {
    const freshness = asOf === null ? null : { asOf, lagMs, source };
    this.#tell({ status: STATUS[state], error, total, hasOlder: hasOlder && !this.#full, freshness });
  }

  #tell(changed) {
    this.#told = { ...this.#told, ...changed };
    if (!this.#stopped) this.#show(this.#told);
  }
}

function sourceOf(getToken) {
  if (!sources.has(getToken)) sources.set(getToken, new TokenSource(getToken));
  return sources.get(getToken);
}

// What components that began with one function share. It is called as long as one of them is still given it. Where all have
// another by now, since it is made in each render, a newest one is.
class TokenSource {
  #first; #members = new Set();

  constructor(first) {
    this.#first = first;
  }

  /** Share it; gives what ends that. `newest` is the ref of a component's options. */
  join(newest) {
    this.#members.add(newest);
    return () => this.#members.delete(newest);
  }

  getToken = (asked) => {
    const all = [...this.#members].map(({ current }) => current.getToken);
    const getToken = all.includes(this.#first) ? this.#first : (all.at(-1) ?? this.#first);
    return getToken(asked);
  };
}
