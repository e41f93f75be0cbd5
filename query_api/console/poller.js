// readside-client for pages that take it from the service itself, with that service as its `baseUrl`:
//
//   import { follow } from "https://readside.example/console/poller.js";
//
//   for await (const event of follow(sessionId, { getToken })) show(event);
//
// A page of another origin than the service's needs READSIDE_CORS_ORIGINS to name it.

import * as client from "./client/index.js";

export * from "./client/index.js";
export { ReadsideError as PollError } from "./client/errors.js"; // its name in version 0.1

const baseUrl = new URL("..", import.meta.url);

export const follow = (session, options) => client.follow(session, { baseUrl, ...options });
export const followBatches = (session, options) => client.followBatches(session, { baseUrl, ...options });
export const poll = (session, options) => client.poll(session, { baseUrl, ...options });
export const warm = (session, options) => client.warm(session, { baseUrl, ...options });

/** As in version 0.1, `token` may be a function too. */
export class EventPoller extends client.EventPoller {
  constructor({ token = null, ...options }) {
    super({ baseUrl, ...(typeof token === "function" ? { getToken: token } : { token }), ...options });
  }
}
