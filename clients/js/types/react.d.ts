import type { AccessOptions, EventType, Freshness, PaceOptions, SessionEvent } from "./index.js";

export interface SessionEventsOptions extends AccessOptions, PaceOptions {
  /** Only events of these types; by default any. */
  types?: EventType | readonly EventType[];
  /** Events on the first page, and on each older one, 1–1000; 200. */
  limit?: number;
  /** The most events that are held: past it the oldest are let go; 1000. */
  keep?: number;
  /** Rest, until it is false again. */
  paused?: boolean;
}

/**
 * `idle`: no session; `connecting`: nothing has come yet; `retrying`: the last request failed, and it goes on by itself; `hidden`: the
 * tab is; `stopped`: for good, `error` says why.
 */
export type SessionEventsStatus = "idle" | "connecting" | "live" | "retrying" | "hidden" | "paused" | "stopped";

export interface SessionEvents {
  /** Newest first, each once. */
  readonly events: readonly SessionEvent[];
  readonly status: SessionEventsStatus;
  readonly error: Error | null;
  readonly freshness: Freshness | null;
  /** How many events the session has, as far as is known. */
  readonly total: number | null;
  /** Whether `loadOlder` would bring any. */
  readonly hasOlder: boolean;
  /** Show the next page of older events; resolves to how many there were. Rejects with a ReadsideError. */
  readonly loadOlder: () => Promise<number>;
}

/**
 * Follow a session's events while the component is mounted; null for no session. Components that begin with the same `getToken`
 * share its tokens. It may be a new function in each render: the newest is called.
 */
export function useSessionEvents(session: string | null | undefined, options: SessionEventsOptions): SessionEvents;
