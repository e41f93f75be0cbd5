// One read of a session's stream, held by the API while there is nothing, and how long to rest before the next.

import { eventsOf, required, typesAsked } from "./connection.js";

/** Offsets: all that there is, and nothing of it. */
export const START = "-1", NOW = "now";

const HOLD_SECONDS = 20; // the API's; what outlives its token is refused
const INTERVAL_SECONDS = 1; // between reads that nobody holds
const BREATH_SECONDS = 0.1; // between news, so that a burst of commits is some answers
// A browser opens six connections to a host by HTTP/1.1, for all its tabs; Node opens as many as are asked for.
const MOST_HELD = globalThis.process?.versions?.node ? Infinity : 4;
let held = 0; // of all readers of the page

export class StreamReader {
  #connection; #types; #clock; #random; #mostHeld;

  constructor(connection, { types = [], clock, random, mostHeld = MOST_HELD }) {
    [this.#connection, this.#types] = [connection, typesAsked(types)];
    [this.#clock, this.#random, this.#mostHeld] = [clock, random, mostHeld];
  }

  /**
   * Read what came behind an offset; resolves to `{ events, offset, upToDate, restSeconds, headers }`. Rejects with a
   * ReadsideError.
   */
  async read(behind, signal) {
    const live = behind !== NOW && held < this.#mostHeld && this.#connection.lasts(HOLD_SECONDS), asked = this.#clock.ticks();
    held += live;
    try {
      const parameters = [...this.#types, ["offset", behind], ...(live ? [["live", "long-poll"]] : [])];
      const { headers, body } = await this.#connection.ask("stream", { parameters, signal });
      const offset = required(headers, "Stream-Next-Offset"), upToDate = headers.has("Stream-Up-To-Date"), moved = offset !== behind;
      const restSeconds = upToDate || !moved ? this.#rest({ live, moved, asked }) : 0; // a proxy may leave a header out
      return { events: eventsOf(body ?? []), offset, upToDate, restSeconds: behind === NOW ? 0 : restSeconds, headers };
    } finally {
      held -= live;
    }
  }

  #rest({ live, moved, asked }) {
    if (live && moved) return BREATH_SECONDS;
    const wasHeld = live && this.#clock.ticks() - asked >= INTERVAL_SECONDS * 1000;
    return wasHeld ? 0 : INTERVAL_SECONDS * (1 + 0.1 * this.#random());
  }
}
