"""A finished answer to a poll, how fresh it is, and the headers that say so."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple

from blake3 import blake3

from query_api.problems import problem
from readmodel.freshness import rfc3339
from readmodel.poll import Poll, render

Source = Literal["memory", "redis", "postgres"]
Headers = list[tuple[bytes, bytes]]

TERMINAL = frozenset({"completed", "failed", "cancelled"})
"""A session's statuses after which it is seldom that anything happens."""

ETAG_BYTES = 16
"""128 bits of the hash: two bodies of one poll that share them will not be seen."""
_CACHE_CONTROL = (b"cache-control", b"private, no-cache")


class AsOf(NamedTuple):
    """An as-of, microseconds since 1970 by Postgres' clock, and the monotonic second at which it was at most now."""

    as_of_us: int
    since: float

    def lag_seconds(self, now: float) -> float:
        """How old the as-of is at `now`, monotonic seconds."""
        return max(0.0, now - self.since)


class Number(NamedTuple):
    """Where in the stream of changes an answer belongs: a term, and a batch of it; `database` is the term's."""

    term: str
    n: int
    database: str = ""


class Answer(NamedTuple):
    """An answer that can be sent again; `headers` are those that do not change with time.

    `unmodified` are the headers of the 304 in its place; `etag` is empty on a 404, which is never unmodified.
    """

    status: int
    session_id: str
    body: bytes
    etag: bytes
    headers: Headers
    unmodified: Headers
    terminal: bool = False


def found(session_id: str, session_status: str, body: bytes) -> Answer:
    """Build a 200; the ETag is a hash of the body's bytes alone, so that source, worker and key do not matter.

    BLAKE3 takes 11 µs for a page of 47 kB where SHA-256, the fastest of hashlib's, takes 25 with the processor's help
    and several times that without. In practice nobody can make other bytes that hash alike: a 304 is not wrong.
    """
    etag = b'"%b"' % blake3(body).hexdigest(ETAG_BYTES).encode()
    unmodified = [(b"etag", etag), _CACHE_CONTROL]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *unmodified]
    return Answer(200, session_id, body, etag, headers, unmodified, session_status in TERMINAL)


@lru_cache(maxsize=1024)
def nothing(limit: int, page: int, terminal: bool) -> Answer:
    """Give the 200 of a poll that nothing matches, of whatever session."""
    return found("", "", render(b"", 0, Poll("", limit=limit, page=page)))._replace(terminal=terminal)


def missing(session_id: str) -> Answer:
    """Build the 404 of a session that does not exist."""
    reply = problem(404, f"Session not found: {session_id}")
    headers = [*(header for header in reply.headers if header[0] != b"cache-control"), _CACHE_CONTROL]
    return Answer(404, session_id, reply.body, b"", headers, [])


def freshness_headers(source: Source, freshness: AsOf, now: float) -> Headers:
    """Say where an answer comes from and how old its as-of is when it leaves, at `now`."""
    lag_ms = int((now - freshness.since) * 1000)
    lag = _LAGS[lag_ms] if 0 <= lag_ms < len(_LAGS) else _lag(lag_ms)
    return [_SOURCES[source], _as_of(freshness.as_of_us), lag]


def _lag(milliseconds: int) -> tuple[bytes, bytes]:
    return b"readside-lag-ms", b"%d" % max(0, milliseconds)


_LAGS = [_lag(milliseconds) for milliseconds in range(2_000)]
"""Made beforehand: a live view's answers lag by a heartbeat at most."""
_SOURCES: dict[Source, tuple[bytes, bytes]] = {
    "memory": (b"readside-source", b"memory"),
    "redis": (b"readside-source", b"redis"),
    "postgres": (b"readside-source", b"postgres"),
}


@lru_cache(maxsize=16)  # hot polls share the as-of of the last beat
def _as_of(as_of_us: int) -> tuple[bytes, bytes]:
    return b"readside-as-of", rfc3339(as_of_us).encode()
