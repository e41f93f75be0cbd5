/** Any JSON value, as JSON.parse makes it. */
export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };

/** The event types in use. New ones may appear at any time. */
export type KnownEventType =
  | "session_created"
  | "status_changed"
  | "step_created"
  | "step_status_changed"
  | "artifact_created"
  | "workflow_started"
  | "workflow_resumed"
  | "workflow_paused"
  | "workflow_completed"
  | "workflow_failed"
  | "workflow_error";

// Any other text too, while editors still offer those that are known.
export type EventType = KnownEventType | (string & Record<never, never>);

/** An event as the API gives it. */
export interface SessionEvent {
  readonly id: string;
  readonly session_id: string;
  readonly step_id: string | null;
  readonly event_type: EventType;
  /**
   * What JSON.parse makes of the data, when it is first read. **Not exact**: JavaScript rounds numbers past 2^53, writes 1.10 as
   * 1.1, and makes Infinity of 1e400. `event_data_json` has every digit.
   */
  readonly event_data: JsonValue;
  /**
   * The JSON text of the data as Postgres holds it, digit for digit: show it, or give it to a parser that keeps numbers. It is not
   * enumerable: JSON.stringify and `{ ...event }` leave it out.
   */
  readonly event_data_json: string;
  readonly message: string | null;
  /** With six decimals and `Z`; `infinity`, years BC and past 9999 as Postgres prints them. Compare by `isNewer`. */
  readonly timestamp: string;
}

/** An event that `follow` gave. */
export interface FollowedEvent extends SessionEvent {
  /** Where to go on once this event has been handled: store it, and give it to the next `follow`. Not enumerable. */
  readonly offset: string;
}

/** How fresh an answer is. */
export interface Freshness {
  /** RFC 3339: every event that was committed before this instant is in the answer. */
  readonly asOf: string | null;
  /** How old that instant was when the answer left, in milliseconds. */
  readonly lagMs: number | null;
  readonly source: "memory" | "redis" | "postgres" | null;
}

/** Returns a fresh token or a promise of one; null means that there are no more. The signal says that nobody waits any longer. */
export type GetToken = (asked: { readonly signal: AbortSignal }) => string | null | Promise<string | null>;

/** Who asks, and where. At most one of `getToken`, `token` and `apiKey`; none where the API asks for none. */
export interface AccessOptions {
  /** Where the API is, its path prefix included. In a browser, relative to the page. */
  baseUrl: string | URL;
  /**
   * Called for the first token, when four fifths of a token's life are over, and when the API refuses one that was good. Calls that
   * are given the same function share its tokens.
   */
  getToken?: GetToken | null;
  /** One token, that is never renewed. */
  token?: string | null;
  /** A key with the scope `read`: it reads every session, so never put it into a page of strangers. */
  apiKey?: string | null;
  /** In the place of globalThis.fetch. */
  fetch?: typeof globalThis.fetch;
}

/** For one call. */
export interface CallOptions extends AccessOptions {
  signal?: AbortSignal | null;
}

export type FollowState = "running" | "waiting" | "hidden" | "paused" | "stopped";

export interface LoopTold {
  /**
   * `waiting`: the last request failed, and it goes on by itself; `hidden`: the page's tab is; `stopped`: for good, with the error
   * where one is the reason.
   */
  readonly state: FollowState;
  readonly error: Error | null;
  readonly retryInSeconds: number | null;
}

/** What tells that a page's tab is hidden: a Document, say. */
export interface VisibilitySource {
  readonly visibilityState: "visible" | "hidden" | (string & Record<never, never>);
  addEventListener(type: "visibilitychange", listener: () => void): void;
  removeEventListener(type: "visibilitychange", listener: () => void): void;
}

export interface PaceOptions {
  /** The longest wait between two tries while nothing answers, in seconds; 30. */
  mostSeconds?: number;
  /** Reads that the API holds at once, of everything that follows; 4 in a browser. More do where it is reached by HTTP/2. */
  mostHeld?: number;
  /** What tells that the tab is hidden; the document by default, null: read on while it is. */
  page?: VisibilitySource | null;
}

export interface FollowOptions extends CallOptions, PaceOptions {
  /** Only events of these types; by default any. */
  types?: EventType | readonly EventType[];
  /** Begin behind this offset; `-1` (the default): with all that there is; `now`: with what comes next. */
  offset?: "-1" | "now" | (string & Record<never, never>);
  /** Begin at `-1` where the offset can't be continued, rather than throw OffsetLost; events may then come again. */
  restart?: boolean;
  /** How many events are known by id, so that what the API gives again is not given again; 100,000. */
  remember?: number;
  /** What it throws ends the following, and `next` rejects with it. */
  onState?: (told: LoopTold) => void;
}

/** One answer of the stream. */
export interface Batch {
  readonly events: readonly FollowedEvent[];
  /** Where to go on once all of them have been handled. */
  readonly offset: string;
  /** Whether that was all there is at the moment. */
  readonly upToDate: boolean;
  readonly freshness: Freshness;
}

/** It ends, without an error, when the signal is aborted or `return` is called, at once where it waits. */
export interface Following<T> extends AsyncIterableIterator<T> {
  next(): Promise<IteratorResult<T, undefined>>;
  return(value?: unknown): Promise<IteratorResult<T, undefined>>;
  throw(error?: unknown): Promise<IteratorResult<T, undefined>>;
  [Symbol.asyncIterator](): Following<T>;
}

/**
 * Follow a session's events: those that are there, then each the moment it is committed, in the order in which they arrive.
 *
 * Throws TypeError for options that are none; the loop throws SessionNotFound, OffsetLost, Forbidden, Unauthorized or
 * BadRequest. All else is waited out.
 */
export function follow(session: string, options: FollowOptions): Following<FollowedEvent>;

/** The same by whole answers, those without events too. */
export function followBatches(session: string, options: FollowOptions): Following<Batch>;

/** A page of events, newest first. */
export interface Page {
  readonly items: readonly SessionEvent[];
  /** All matches, exactly. */
  readonly total: number;
  readonly pagination: {
    readonly page: number;
    readonly per_page: number;
    readonly total: number;
    readonly total_pages: number;
    readonly has_next: boolean;
    readonly has_prev: boolean;
  };
  readonly etag: string;
  readonly freshness: Freshness;
  /** What the API would like between polls. */
  readonly pollIntervalSeconds: number;
  /** Whether the items are those of `previous`, since nothing has changed. */
  readonly notModified: boolean;
}

export interface PollOptions extends CallOptions {
  /** Only later events. A text is ISO 8601, in UTC where it names no offset. */
  since?: string | Date | null;
  types?: EventType | readonly EventType[];
  /** 1–1000; by default 100, or as many as fit into an answer. */
  limit?: number | null;
  page?: number | null;
  /** Seconds, at most 60: held until the answer differs from `previous`, or without that until it has an item. */
  wait?: number | null;
  /** An earlier answer to the same question. */
  previous?: Page | null;
  /** Seconds; 0 asks for all that is committed when the API is asked. */
  maxStaleness?: number | null;
  /** An instant that the answer must be as of, at least; by default that of `previous`. */
  notBefore?: string | null;
}

/**
 * Ask for one page, by one request. Rejects with RequestRefused, with Unavailable where it is worth asking again, and with the
 * signal's reason.
 */
export function poll(session: string, options: PollOptions): Promise<Page>;

export interface WarmReply {
  readonly session_id: string;
  readonly state: "warming" | "hot";
}

/** Have a session loaded into Redis. Rejects as `poll` does. */
export function warm(session: string, options: CallOptions): Promise<WarmReply>;

export interface ErrorDetails {
  status?: number;
  retryAfterSeconds?: number | null;
  parameter?: string | null;
}

/** Why a call failed. */
export class ReadsideError extends Error {
  constructor(message: string, details?: ErrorDetails);
  /** HTTP's; 0: no answer came. */
  readonly status: number;
  readonly retryAfterSeconds: number | null;
  /** The parameter that the API refuses, where it names one. */
  readonly parameter: string | null;
  /** Whether asking again changes nothing. */
  get final(): boolean;
}

/** No answer came, or a 408, 425, 429 or 5xx, or an answer that can't be read: it is worth asking again. */
export class Unavailable extends ReadsideError {}

/** Asking again changes nothing. */
export class RequestRefused extends ReadsideError {}

/** 400 */
export class BadRequest extends RequestRefused {}

/** 401: no or a wrong key, or a token that has ended. */
export class Unauthorized extends RequestRefused {}

/** 403: the key lacks the scope, or the token does not name the session. */
export class Forbidden extends RequestRefused {}

/** 404: the session never was, or was deleted meanwhile. */
export class SessionNotFound extends RequestRefused {}

/** 410: the stream can't be continued from this offset. Begin at `-1`, and drop by `id` what you have. */
export class OffsetLost extends RequestRefused {}

export interface PollerTold extends LoopTold {
  readonly total: number;
  readonly hasOlder: boolean;
  readonly asOf?: string | null;
  readonly lagMs?: number | null;
  readonly source?: Freshness["source"];
}

export interface EventPollerOptions extends AccessOptions, PaceOptions {
  sessionId: string;
  types?: EventType | readonly EventType[];
  /** Events on a page, 1–1000; 200. */
  limit?: number;
  /** `newest`: begin with one page, older ones by `loadOlder()`; `all`: begin with every event. */
  history?: "newest" | "all";
  /** In `newest`: past so many new events begin again with the newest page; 2000. */
  maxBurst?: number;
  /** New events, newest first. `restarted`: forget what you hold. */
  onEvents?: (events: SessionEvent[], told: { readonly older: boolean; readonly restarted: boolean }) => void;
  /** What it throws stops the poller, and is told as its `error`. */
  onState?: (told: PollerTold) => void;
  /** In the place of what gives each event its `event_data_json`. */
  parse?: (text: string) => unknown;
}

/** The newest page of a session joined with its stream, and older pages when they are asked for. Each event comes once. */
export class EventPoller {
  constructor(options: EventPollerOptions);
  start(): void;
  /** Nothing is handed over any more: what is on its way is given up. */
  stop(): void;
  pause(): void;
  resume(): void;
  /** Ask now instead of when it is due. */
  hurry(): void;
  /** Whether `loadOlder()` would bring any: false once it is stopped. */
  get hasOlder(): boolean;
  /** Hand over the next page of older events; resolves to how many there were, 0 once it is stopped. Rejects with a ReadsideError. */
  loadOlder(): Promise<number>;
  /** Say that you no longer hold these events, your oldest: `loadOlder()` brings them again. */
  forget(ids: Iterable<string>): void;
}

/** Whether an event comes before another in the order of the API: timestamp, then id, both descending. */
export function isNewer(a: Pick<SessionEvent, "id" | "timestamp">, b: Pick<SessionEvent, "id" | "timestamp">): boolean;

/** Microseconds since 1970 of a timestamp: a bigint, or Infinity or -Infinity. They compare by `<`, whichever they are. */
export function microseconds(timestamp: string): bigint | number;

/** Whether a text has the form of a token. All else is a key. */
export function isToken(text: string): boolean;

/** What a token says, for display; null where it says nothing. Only the server checks it. */
export function claimsOf(token: string): { readonly [name: string]: JsonValue | undefined } | null;
