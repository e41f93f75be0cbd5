"""Streams of requests as Hypothesis draws them, and the packets that they are cut into."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from tests.doorway.conversations import PACKET_TURNS
from tests.doorway.twins import BIG, COLD, HOT, ORIGIN, PREFIX, SLOW_LIMIT

MISSING = "11111111-aaaa-4aaa-8aaa-000000000009"
SMUGGLED = b"GET /health/live HTTP/1.1\r\nx-request-id: smuggled\r\n\r\n"
"""What bodies hold: whoever takes it for a request answers too often."""
ETAG = b"<etag>"
"""Stands for the ETag of the hot session's page."""
MOST_BYTEWISE = 2_000
"""A longer stream is sent byte by byte about its ends of lines alone: elsewhere one byte is like the next."""
EVERY_BYTE = -1


class Sent(NamedTuple):
    """A request as it is sent. `upgrades`: it asks for another protocol."""

    data: bytes
    upgrades: bool = False


class Stream(NamedTuple):
    """What one client sends: requests, and at the end perhaps a part of one, or what is none.

    `cuts` are places in it, or EVERY_BYTE; so many `turns` of the loop come after each packet.
    """

    requests: tuple[Sent, ...]
    ending: bytes
    cuts: tuple[int, ...]
    turns: int

    def packets(self, etag: bytes) -> list[bytes]:
        """The packets, with this ETag."""
        return _cut(b"".join(self._parts(etag)), self.cuts)

    def gentle_packets(self, etag: bytes) -> list[list[bytes]]:
        """Packets as uvicorn's own protocol needs them: before the next group comes, all that came is answered.

        What comes in one packet behind a request for another protocol it throws away; and what is no request it answers
        at once, even before the requests that came first.
        """
        *requests, ending = self._parts(etag)
        groups = [b""]
        for data, request in zip(requests, self.requests, strict=True):
            groups[-1] += data
            if request.upgrades:
                groups.append(b"")
        if ending in NO_REQUESTS:
            groups.append(b"")
        groups[-1] += ending
        return [_cut(group, self.cuts) for group in groups]

    def _parts(self, etag: bytes) -> list[bytes]:
        return [*(request.data.replace(ETAG, etag) for request in self.requests), self.ending]


def _cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut at these places: even numbers count bytes, odd ones the places about the ends of heads, around and around."""
    edges = [found.end() + near for found in re.finditer(rb"\r\n\r\n", data) for near in (0, -1, 1, -3)] or [0]
    places = {0, len(data)} | {edges[n // 2 % len(edges)] if n % 2 else n // 2 % (len(data) + 1) for n in cuts}
    if EVERY_BYTE in cuts:
        lines = [found.end() for found in re.finditer(rb"\r\n", data)]
        bytewise = len(data) <= MOST_BYTEWISE
        places |= set(range(len(data))) if bytewise else {end + near for end in lines for near in range(-3, 2)}
    return [data[first:last] for first, last in pairwise(sorted(places & set(range(len(data) + 1))))]


def _events(session_id: str) -> str:
    return f"/api/v2/sessions/{session_id}/events"


def _mostly(usual: str, *others: str) -> st.SearchStrategy[str]:
    """The usual thing in three cases of four."""
    return st.sampled_from([usual] * 3 * len(others) + list(others))


_SESSIONS = _mostly(HOT, BIG, COLD, MISSING, HOT.upper(), "no-uuid", "%31" + HOT[1:], "%00") | st.uuids().map(str)
_QUERIES = st.sampled_from(
    [
        "", "", "", "", "?", "?limit=3", "?limit=2&page=2", "?limit=0", "?x", "?limit=2#part", "?event_type=a%5fb",
        '?x="', "?since=2026-01-13T14:30:05Z", "?since=2026-01-13T14:30:05+00:00",
        "?type=step_created&since=2026-01-13T14:30:05Z", "?limit=" + "9" * 800,
    ]
) | st.integers(8, 1000).map("?limit={}".format)  # fmt: skip
_PREFIXES = _mostly("", PREFIX, PREFIX * 2)
"""A proxy may have cut ours off, or not."""
_POLLS = st.builds(
    lambda method, prefix, session_id, query: (method, prefix + _events(session_id) + query),
    _mostly("GET", "HEAD"), _PREFIXES, _SESSIONS, _QUERIES,
)  # fmt: skip
_OTHERS = st.sampled_from(
    [
        ("GET", "/health/live"), ("HEAD", "/health/live"), ("GET", "/health/ready"), ("GET", "/nowhere?a=b"),
        ("GET", "/openapi.json"), ("HEAD", "/docs"), ("GET", "/console/poller.js"), ("GET", "/%2e%2e/%C3%A9"),
        *[("POST", f"/api/v2/sessions/{HOT}/warm")] * 5, ("POST", f"/api/v2/sessions/{COLD}/warm"),
        ("POST", f"/api/v2/sessions/{MISSING}/warm"), ("POST", _events(HOT)), ("DELETE", _events(HOT)),
        ("OPTIONS", _events(HOT)), ("OPTIONS", "*"), ("PUT", "/metrics"), ("PATCH", "/"), ("MKCOL", "/health/live"),
        ("GET", f"/api/v2/sessions/{HOT}/%65vents"), ("GET", _events(HOT) + "/"), ("GET", "//health/live"),
        ("GET", PREFIX), ("HEAD", f"{PREFIX}?a"),
    ]
)  # fmt: skip
_FORMS = st.sampled_from(["http://api.example", "http://api.example:80", "https://user@other"])
_KEYS = _mostly(
    "x-api-key: both-key", "X-API-Key: read-key", "x-api-key:ops-key", "x-api-key: wrong", "", "x-api-key:",
    "Authorization: Bearer read-key", "authorization: Basic cmVhZC1rZXk=", "x-api-key: both-key\r\nx-api-key: read-key",
)  # fmt: skip
_TAG = ETAG.decode()
_USUAL = st.lists(
    st.sampled_from(
        [
            "Host: api.example", "host:", "Accept: */*", "Cache-Control: no-cache", "X-Padding: " + "a" * 900,
            *[f"If-None-Match: {_TAG}", "If-None-Match: *"] * 3, f'if-none-match: "x", W/{_TAG}', 'if-none-match: "y"',
            "Readside-Max-Staleness: 3600", *["Readside-Max-Staleness: 0"] * 2, f"Origin: {ORIGIN}",
            "origin: https://elsewhere.example", "Accept-Encoding: gzip", "accept-encoding: br, gzip;q=0.5",
            "Accept-Encoding: gzip;q=0",
        ]
    ),
    max_size=4,
)  # fmt: skip
_UNUSUAL = st.sampled_from(
    [
        "readside-max-staleness: soon", "access-control-request-method: GET", "x-long: " + "b" * 5_000,
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "x-words: one\ttwo  ",
        "x-high: \xe9\xff", "connection:", "Connection: x-api-key", "Connection: keep-alive", "connection: Keep-Alive",
        "Proxy-Connection: keep-alive", "Keep-Alive: timeout=5", "Upgrade: h2c", "Expect: 100-continue",
        "Connection: close", "CONNECTION: CLOSE", "Connection: keep-alive, close", "Proxy-Connection: close",
        "Connection: keep-alive\r\nConnection: close",
    ]
)  # fmt: skip
_BLANKS = st.sampled_from(["\r\n", "\r\n\r\n", "\r\n" * 5])
_BODIES = st.sampled_from(["empty", *["length", "chunks"] * 3])
_CHUNKS = st.lists(st.integers(1, 90), max_size=4)
_ENDINGS = st.sampled_from(
    [b""] * 8
    + [
        b"\r\n", b"GET", b"GET /health/live HTTP/1.1\r\nhost: a\r\n",
        b"POST /nowhere HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf",
        b"POST /nowhere HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal",
    ]
)  # fmt: skip
"""Requests that are not whole: nobody answers them yet."""
NO_REQUESTS = (
    b"nonsense\r\n\r\n", b"get / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.2\r\n\r\n", b"GET / HTTP/1.1\nhost: a\n\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\n\r\n", b"GET http://api.example HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nx : y\r\n\r\n", b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n", b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
)  # fmt: skip
"""What no parser takes for requests."""


@st.composite
def _usual_polls(draw: st.DrawFn) -> Sent:
    """A poll such as dashboards send."""
    method, target = draw(_POLLS)
    return _sent(draw, method, target, draw(_USUAL))


@st.composite
def _slow_polls(draw: st.DrawFn) -> Sent:
    """A poll that Postgres answers slowly."""
    target = f"{_events(draw(st.sampled_from([HOT, COLD])))}?limit={SLOW_LIMIT}"
    return _sent(draw, "GET", target, ["Readside-Max-Staleness: 0"])


@st.composite
def _preflights(draw: st.DrawFn) -> Sent:
    """A browser's question whether a page may poll."""
    return _sent(draw, "OPTIONS", draw(_PREFIXES) + _events(HOT), [f"Origin: {ORIGIN}", *draw(_USUAL)])


@st.composite
def _revalidations(draw: st.DrawFn) -> Sent:
    """A poll for a page that may be new to memory, which its client has."""
    target = f"{_events(draw(st.sampled_from([HOT, BIG])))}?limit={draw(st.integers(11, 1000))}"
    return _sent(draw, "GET", target, ["If-None-Match: *"])


@st.composite
def _upgrades(draw: st.DrawFn) -> Sent:
    """A request for another protocol."""
    method, target = draw(_POLLS | _OTHERS)
    return _sent(draw, method, target, ["Connection: Upgrade\r\nUpgrade: h2c"])._replace(upgrades=True)


@st.composite
def _odd_requests(draw: st.DrawFn) -> Sent:
    """A request with something odd about it."""
    method, target = draw(_POLLS | st.just(("GET", _events(HOT))) | _OTHERS)
    odd = draw(st.sets(st.sampled_from(["form", "version", "blanks", "field", "body", "body"]), min_size=1, max_size=2))
    if "form" in odd and target.startswith("/") and not target.startswith("//"):
        target = draw(_FORMS) + target
    fields = [*draw(_USUAL), draw(_UNUSUAL) if "field" in odd else ""]
    announced, body = draw(_bodies()) if "body" in odd else ("", b"")
    version = "HTTP/1.0" if "version" in odd else "HTTP/1.1"
    request = _sent(draw, method, target, draw(st.permutations([*fields, announced])), version)
    return Sent((draw(_BLANKS).encode() if "blanks" in odd else b"") + request.data + body)


def _sent(draw: st.DrawFn, method: str, target: str, fields: list[str], version: str = "HTTP/1.1") -> Sent:
    """A request's head, with a key and an id."""
    name = _mostly(f"x-request-id: r-{draw(st.integers(0, 99))}", "", "x-request-id: no id")
    lines = [f"{method} {target} {version}", draw(_KEYS), *fields, draw(name)]
    return Sent("".join(f"{line}\r\n" for line in [*filter(None, lines), ""]).encode("latin-1"))


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    """The field that announces a body, and the body."""
    kind = draw(_BODIES)
    if kind == "empty":
        return "Content-Length: 0", b""
    if kind == "length":
        body = (SMUGGLED * 9)[: draw(st.integers(1, 300))]
        return f"Content-Length: {len(body)}", body
    extension, trailer = draw(st.sampled_from([b"", b";a=b"])), draw(st.sampled_from([b"", b"X-Trailer: 1\r\n"]))
    chunks = [(SMUGGLED * 2)[:size] for size in draw(_CHUNKS)]
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return "Transfer-Encoding: chunked", framed + b"0\r\n" + trailer + b"\r\n"


_SPECIAL = st.one_of(_slow_polls(), _upgrades(), _preflights(), _revalidations())
_REQUESTS = st.one_of(_usual_polls(), _odd_requests(), _odd_requests(), _odd_requests(), _SPECIAL, _SPECIAL)
_CUTS = st.just(()) | st.lists(st.integers(0, 40_000), min_size=1, max_size=12).map(tuple)
_PACKETS = st.tuples(_CUTS, st.sampled_from([PACKET_TURNS, 3, 100])) | st.just(((EVERY_BYTE,), PACKET_TURNS))

streams = st.builds(
    lambda requests, ending, packets: Stream(tuple(requests), ending, *packets),
    st.lists(_REQUESTS, min_size=1, max_size=8),
    _ENDINGS | st.sampled_from(NO_REQUESTS),
    _PACKETS,
)
