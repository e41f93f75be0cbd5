// readside-client: follows the sessions of a readside API, and asks it. The package's README says how.

export { claimsOf, isToken } from "./credential.js";
export {
  BadRequest, Forbidden, OffsetLost, ReadsideError, RequestRefused, SessionNotFound, Unauthorized, Unavailable,
} from "./errors.js";
export { EventPoller } from "./event_poller.js";
export { follow, followBatches } from "./follow.js";
export { isNewer, microseconds } from "./instants.js";
export { poll, warm } from "./poll.js";
