"""100 clients polling a session of 10,000 events, beside a bare uvicorn app that gives the very same bytes."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median

import orjson

from bench.events import fill, session_id
from bench.load import COUNTER, HEADERS, Load, crowd
from bench.polling_client import Answer, PollingClient
from bench.stack import Servers, until
from bench.table import BenchError, Figure, Row
from readside.demo.processes import LOOPBACK

NAME = "polls"
ROUNDS, SECONDS, CLIENTS = 7, 1, 100
EVENTS = 10_000
EVENTS_PATH = f"/api/v2/sessions/{session_id(1)}/events"
_PEER = "bare uvicorn, the same bytes"


@dataclass(slots=True)
class _Variant:
    """One server and what it is asked, over and over."""

    port: int
    target: str
    rounds: list[Load] = field(default_factory=list)

    def figure(self) -> Figure:
        p50, p99 = (median(getattr(load, name) for load in self.rounds) for name in ("p50_ms", "p99_ms"))
        return Figure([load.polls_per_second for load in self.rounds], "polls/s", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")


async def measure(servers: Servers) -> list[Row]:
    """Poll from memory and from Redis, empty and full pages; the variants take turns."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(servers.site())
        await fill(site.connection, 1, EVENTS)
        await site.run("install")
        await stack.enter_async_context(site.projector())
        await site.run("warm", session_id(1))
        memory = await stack.enter_async_context(site.api())
        redis = await stack.enter_async_context(site.api(response_cache_mb="0"))
        rows = []
        for what, target, own_target in (
            ("empty poll", await _nothing_new(memory), f"{EVENTS_PATH}?since=2100-01-01T00:00:00.{COUNTER}Z"),
            ("page of 100", f"{EVENTS_PATH}?limit=100", f"{EVENTS_PATH}?since=2000-01-01T00:00:00.{COUNTER}Z"),
        ):
            answer = await _answer(memory, target, "memory")
            await _answer(redis, own_target.replace(COUNTER, "000000"), "redis")
            fixed = site.bare_app(what.replace(" ", "-"), answer.head + b"\r\n\r\n" + answer.body)
            bare = await stack.enter_async_context(fixed)
            rows.append((what, _Variant(bare, target), _Variant(memory, target), _Variant(redis, own_target)))
        for _ in range(ROUNDS):
            for variant in (variant for _, *variants in rows for variant in variants):
                variant.rounds.append(await crowd(variant.port, variant.target, clients=CLIENTS, seconds=SECONDS))
    return [row for what, bare, *ours in rows for row in _rows(what, bare, *ours)]


def _rows(what: str, bare: _Variant, memory: _Variant, redis: _Variant) -> list[Row]:
    measured = f"{what}, {CLIENTS} clients, session of {EVENTS:,} events"
    return [
        Row(f"{measured}, from memory", memory.figure(), _PEER, bare.figure()),
        Row(f"{measured}, from Redis (memory off, no two polls alike)", redis.figure(), _PEER, bare.figure()),
    ]


async def _nothing_new(port: int) -> str:
    """Give the poll of a client that has the newest event."""
    newest = orjson.loads((await _answer(port, f"{EVENTS_PATH}?limit=1")).body)["items"][0]
    return f"{EVENTS_PATH}?since={newest['timestamp']}"


async def _answer(port: int, target: str, source: str = "") -> Answer:
    """Poll until the answer comes from `source`. Raises BenchError when it never does."""
    async with PollingClient.open(LOOPBACK, port) as client:

        async def comes() -> bool:
            return (await client.get(target, HEADERS)).header("readside-source") == source

        if source:
            await until(comes, f"{target} is answered from {source}")
        answer = await client.get(target, HEADERS)
    if answer.status != 200:
        raise BenchError(f"{target} was answered {answer.status}: {answer.body[:200]!r}")
    return answer
