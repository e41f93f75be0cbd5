// Why a call failed, by class: what the API refuses, and what is worth asking again.
//
//   ReadsideError
//   ├── Unavailable          no answer came (status 0), or a 408, 425, 429 or 5xx, or an answer that cannot be read
//   └── RequestRefused       asking again changes nothing
//       ├── BadRequest       400
//       ├── Unauthorized     401
//       ├── Forbidden        403: the key lacks the scope, or the token does not name the session
//       ├── SessionNotFound  404: the session never was, or was deleted meanwhile
//       └── OffsetLost       410: the stream cannot be continued from this offset

/**
 * `status` is HTTP's (0: no answer came), `retryAfterSeconds` what the server asked for, or null. `parameter`: the one that
 * the API refuses, or null.
 */
export class ReadsideError extends Error {
  constructor(message, { status = 0, retryAfterSeconds = null, parameter = null } = {}) {
    super(message);
    [this.name, this.status] = [this.constructor.NAME, status];
    [this.retryAfterSeconds, this.parameter] = [retryAfterSeconds, parameter];
  }

  // In words of its own: a minifier renames classes.
  static NAME = "ReadsideError";

  /** Whether asking again changes nothing. */
  get final() {
    return true;
  }
}

export class Unavailable extends ReadsideError {
  static NAME = "Unavailable";

  get final() {
    return false;
  }
}

export class RequestRefused extends ReadsideError {
  static NAME = "RequestRefused";
}

export class BadRequest extends RequestRefused {
  static NAME = "BadRequest";
}

export class Unauthorized extends RequestRefused {
  static NAME = "Unauthorized";
}

export class Forbidden extends RequestRefused {
  static NAME = "Forbidden";
}

export class SessionNotFound extends RequestRefused {
  static NAME = "SessionNotFound";
}

export class OffsetLost extends RequestRefused {
  static NAME = "OffsetLost";
}

const TRY_AGAIN = new Set([408, 425, 429]);
const REFUSED = new Map([[400, BadRequest], [401, Unauthorized], [403, Forbidden], [404, SessionNotFound], [410, OffsetLost]]);

/** The error that an answer of this status stands for. */
export function errorOf(message, told) {
  const { status } = told, later = status < 400 || status >= 500 || TRY_AGAIN.has(status);
  return new (later ? Unavailable : (REFUSED.get(status) ?? RequestRefused))(message, told);
}
