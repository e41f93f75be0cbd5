"""What a hot poll costs by itself: the doorway in this process, beside no socket and no other process.

`python -m bench.rows.hot_path` measures it at once, without servers; `--profile NAME` tells where the time goes.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from statistics import median
from typing import cast

import jwt
import uvicorn
from uvicorn.server import ServerState

from bench.events import EVENT_BYTES, session_id
from bench.stack import API_KEY, Servers
from bench.table import BenchError, Figure, Measurement, Row, number
from query_api.access.gate import Gate
from query_api.access.token_config import TokenConfig
from query_api.access.tokens import Tokens
from query_api.doorway.bounds import SocketBounds
from query_api.doorway.census import Census
from query_api.doorway.connections import CONNECTIONS, Connections
from query_api.doorway.front import Front
from query_api.doorway.protocol import Doorway
from query_api.http.cors import Cors
from query_api.memory.answers import AsOf, Number, found, missing
from query_api.memory.content_coding import GzipForms
from query_api.memory.newest import Newest
from query_api.memory.response_cache import ResponseCache
from query_api.polls.events import Events, events_path
from query_api.polls.poll_interval import PollLoad
from query_api.requests.as_of_wait import AsOfWait
from query_api.requests.held_polls import HeldPolls
from query_api.requests.instants import Instants
from query_api.requests.places import WaitingPlaces
from query_api.requests.stats import Stats
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.reader import EventsReader
from query_api.streams.stream import Stream
from readmodel.values.freshness import rfc3339
from readmodel.values.messages import Change, ProjectorRequest
from readmodel.values.poll import Poll, render

NAME = "hot-path"
ROUNDS, POLLS = 9, 10_000
HOT, ABSENT = session_id(1), session_id(2)
LIMIT, EVENTS = 100, 10_000
NEWEST_US = 1_768_314_600_000_000
_SOCKETS = SocketBounds(
    max_connections=10,
    head_bytes=65_536,
    head_seconds=10.0,
    idle_seconds=75.0,
    untaken_seconds=30.0,
    body_bytes=16_384,
    waiting_bytes=32_000_000,
)
_TOKENS = TokenConfig(secrets=(secrets.token_bytes(32),))
_TERM, _CACHE_BYTES, _STALENESS_SECONDS = "term", 64_000_000, 60.0


class Sink(asyncio.Transport):
    """A socket that takes everything, at no cost; keeps the last thing it got."""

    def __init__(self) -> None:
        super().__init__()
        self.last: bytes | bytearray | memoryview = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes."""
        self.last = data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Take bytes in parts; the first of them is an answer's head."""
        self.last = next(iter(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def is_closing(self) -> bool:
        """It stays open."""
        return False


class _Line:
    """Carries no request to a projector."""

    async def send(self, request: ProjectorRequest) -> int:
        """Find nobody who hears it."""
        del request
        return 0


class HotPath:
    """One connection of an API process whose memory holds a session: its newest events, and its newest page."""

    def __init__(self) -> None:
        self._cache = ResponseCache(_CACHE_BYTES)
        self._batches = count(1)
        self._sink = Sink()
        self.beat()
        etag = self._fill()
        self.ways = _ways(etag)
        places = WaitingPlaces(1)
        events = Events(
            gate=Gate({sha256(API_KEY.encode()).digest(): ("bench", frozenset({"read"}))}, Tokens(_TOKENS)),
            cache=self._cache,
            forms=GzipForms(_CACHE_BYTES),
            as_of_wait=AsOfWait(self._cache, Instants(places), 0.5, _STALENESS_SECONDS),
            held=HeldPolls(places, self._cache, heartbeat_seconds=0.5),
            reader=cast("EventsReader", None),  # whoever asks it measures no hot poll
            requests=ProjectorRequests(_Line(), hot_ttl_seconds=600),
            stats=Stats(),
            load=PollLoad(lambda: False),
            max_staleness_seconds=_STALENESS_SECONDS,
            max_answer_bytes=32_000_000,
        )
        self.connections = Connections(Front(events, cast("Stream", None), Cors(()), ""), _SOCKETS, Census(2))
        state = ServerState()
        state.default_headers = [(b"date", b"Tue, 13 Jan 2026 14:30:00 GMT")]
        # The loop runs nothing: a poll that needed it would get no answer.
        self._loop = asyncio.new_event_loop()
        config = uvicorn.Config("", log_config=None)
        self._doorway = Doorway(config, state, {CONNECTIONS: self.connections}, self._loop)
        self._doorway.connection_made(self._sink)

    def close(self) -> None:
        """Close the loop."""
        self._loop.close()

    def beat(self) -> None:
        """Raise the as-of to now, as a projector does several times a second."""
        n = next(self._batches)
        self._cache.hear(Change(_TERM, n, NEWEST_US + n, 0, ()), time.monotonic())

    def status(self, data: bytes) -> int:
        """Ask once; gives the answer's status. Raises BenchError when there is none at once."""
        self._sink.last = b""
        self._doorway.data_received(data)
        head = bytes(self._sink.last[:12])
        if not head.startswith(b"HTTP/1.1 "):
            raise BenchError(f"The doorway does not answer by itself: {data!r}")
        return int(head[9:])

    def ask(self, polls: Sequence[bytes]) -> float:
        """Ask one after the other; gives the seconds of processor time that it took, whoever else wants the cores."""
        received = self._doorway.data_received
        began = time.thread_time()
        for data in polls:
            received(data)
        return time.thread_time() - began

    def _fill(self) -> bytes:
        """Put into memory what the polls ask for; gives the page's ETag."""
        fresh, numbered = AsOf(NEWEST_US, time.monotonic()), self._cache.number_of(HOT)
        members = [b'{"id":"%0*d"}' % (EVENT_BYTES - len(b'{"id":""}'), place) for place in range(LIMIT)]
        page = found(HOT, render(b",".join(members), EVENTS, Poll(HOT, limit=LIMIT)), terminal=False)
        newest = Newest(HOT, NEWEST_US, False, [NEWEST_US - place for place in range(LIMIT)], members)
        assert isinstance(numbered, Number)
        kept = (
            self._cache.store_newest(newest, fresh, numbered),
            self._cache.store(Poll(HOT, limit=LIMIT), page, fresh, numbered),
            self._cache.store(ABSENT, missing(ABSENT), fresh, numbered),
        )
        assert all(kept)
        return page.etag


@dataclass(frozen=True, slots=True)
class HotPoll:
    """A poll, written anew each time; and the status of its answer."""

    name: str
    status: int
    write: Callable[[], bytes]

    def polls(self, how_many: int) -> list[bytes]:
        """Write so many. Each is an object of its own, as what comes from a socket: it was never hashed."""
        return [bytes(bytearray(self.write())) for _ in range(how_many)]


def _ways(etag: bytes) -> list[HotPoll]:
    empty, page = _head(HOT, f"?since={rfc3339(NEWEST_US)}"), _head(HOT, f"?limit={LIMIT}")
    unmodified = _head(HOT, f"?limit={LIMIT}", f"If-None-Match: {etag.decode()}\r\n")
    absent, refused = _head(ABSENT), _head(HOT, key="wrong")
    later, shown = count(NEWEST_US), f"Authorization: Bearer {_token()}\r\n"
    by_token = _head(HOT, f"?since={rfc3339(NEWEST_US)}", shown, key="")

    def another(more: str = "", key: str = API_KEY) -> bytes:
        return _head(HOT, f"?since={rfc3339(next(later))}", more, key=key)

    return [
        HotPoll("empty poll", 200, lambda: empty),
        HotPoll("empty poll with a token", 200, lambda: by_token),
        HotPoll("empty poll, another since each time", 200, another),
        HotPoll("empty poll with a token, another since each time", 200, lambda: another(shown, "")),
        HotPoll("304", 304, lambda: unmodified),
        HotPoll(f"page of {LIMIT}", 200, lambda: page),
        HotPoll("401", 401, lambda: refused),
        HotPoll("404", 404, lambda: absent),
    ]


def _head(session: str, query: str = "", more: str = "", *, key: str = API_KEY) -> bytes:
    """Write a poll as wrk does; without a key it has no field for one."""
    target = f"{events_path(session)}{query}"
    shown = f"X-API-Key: {key}\r\n" if key else ""
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n{shown}{more}\r\n".encode()


def _token() -> str:
    """Mint a token for the hot session, as a backend would."""
    claims = {"aud": _TOKENS.audience, "sub": "bench", "sessions": [HOT], "exp": int(time.time()) + 86_400}
    return jwt.encode(claims, _TOKENS.secrets[0], "HS256")


async def measure(servers: Servers) -> Measurement:
    """Ask in turns, without any of the servers."""
    return Measurement(rows(costs_us(servers.choices.rounds or ROUNDS)))


def costs_us(rounds: int, polls: int = POLLS) -> dict[str, list[float]]:
    """Ask each way in turns; gives the microseconds of a poll by round. Raises BenchError for a wrong answer."""
    path = HotPath()
    costs: dict[str, list[float]] = {way.name: [] for way in path.ways}
    try:
        for turn in range(rounds + 1):
            for way in path.ways:
                if (status := path.status(way.write())) != way.status:
                    raise BenchError(f"{way.name} is answered {status}, not {way.status}.")
                seconds = _timed(path, way.polls(polls))
                if turn:
                    costs[way.name].append(seconds / polls * 1_000_000)
    finally:
        path.close()
    return costs


def rows(costs: dict[str, list[float]]) -> list[Row]:
    """A row for each way."""
    return [
        Row(f"hot path without a socket, {name}", Figure(found_us, "µs", f"best {number(min(found_us))}"))
        for name, found_us in costs.items()
    ]


def _timed(path: HotPath, polls: Sequence[bytes]) -> float:
    """Ask while no collection of cycles comes between: the API's process has few of them."""
    path.beat()
    gc.collect()
    gc.disable()
    try:
        return path.ask(polls)
    finally:
        gc.enable()


def main() -> None:
    """Print what each way costs, or the profile of one."""
    parser = argparse.ArgumentParser(prog="python -m bench.rows.hot_path", description=(__doc__ or "").splitlines()[0])
    path = HotPath()
    names = [way.name for way in path.ways]
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"rounds (default: {ROUNDS})")
    parser.add_argument("--profile", choices=names, metavar="NAME", help=f"profile one of: {'; '.join(names)}")
    options = parser.parse_args()
    if options.profile:
        _profile(path, next(way for way in path.ways if way.name == options.profile))
        return
    for name, found_us in costs_us(options.rounds).items():
        sys.stdout.write(f"{median(found_us):6.2f} µs  (best {min(found_us):.2f})  {name}\n")


def _profile(path: HotPath, way: HotPoll) -> None:
    """Print the functions in which the time goes, the costliest first."""
    polls = way.polls(4 * POLLS)
    path.ask(way.polls(POLLS))
    path.beat()
    with cProfile.Profile() as profile:
        path.ask(polls)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
