"""What every answer tells a browser: how to take it, and which pages may read it (CORS, by the Fetch standard)."""

from __future__ import annotations

from collections.abc import Sequence

from query_api.http.reply import SAFETY, HeaderFields

EXPOSED = (
    b"ETag, Preference-Applied, Retry-After, X-Poll-Interval, X-Request-ID, "
    b"Readside-Source, Readside-As-Of, Readside-Lag-Ms, Stream-Next-Offset, Stream-Up-To-Date, Stream-Cursor"
)
_METHODS = b"GET, HEAD, POST"
_REQUEST_HEADERS = (
    b"Accept, Accept-Language, Authorization, Cache-Control, Content-Type, If-None-Match, Pragma, Prefer, "
    b"Readside-Max-Staleness, Readside-Not-Before, Traceparent, X-API-Key, X-Request-ID, X-Requested-With"
)
_MAX_AGE_SECONDS = b"600"
_VARY = (b"vary", b"Origin")


class Cors:
    """Builds the fields for one list of origins (`*`: any page). Without origins answers bear SAFETY alone.

    Keys travel in headers, so no cookie is ever wanted and Access-Control-Allow-Credentials is never sent.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self.on = bool(origins)
        self._any = "*" in origins
        self._allowed = {origin.encode(): self._granted(origin.encode()) for origin in origins}
        self._refused = HeaderFields([*SAFETY.pairs, _VARY]) if self.on else SAFETY

    def fields(self, origin: bytes | None) -> HeaderFields:
        """The fields that every answer to a page of this origin bears."""
        if self._any and origin is not None:
            return self._allowed[b"*"]
        return self._allowed.get(origin, self._refused) if origin is not None else self._refused

    def preflight(self, origin: bytes | None) -> HeaderFields:
        """The fields of the answer to a preflight request."""
        pairs = [
            *self.fields(origin).pairs,
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST_HEADERS),
            (b"access-control-max-age", _MAX_AGE_SECONDS),
        ]
        return HeaderFields(pairs)

    @staticmethod
    def _granted(origin: bytes) -> HeaderFields:
        pairs = [_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]
        return HeaderFields([*SAFETY.pairs, *pairs])
