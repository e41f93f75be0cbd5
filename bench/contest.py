"""Servers that are polled in turns, A B B A: what else the machine does strikes all of them alike."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from statistics import median

import orjson

from bench.load import COUNTER, HEADERS, Round, crowd
from bench.peers import granian_app, nginx
from bench.polling_client import PollingClient, Response
from bench.stack import Site, until
from bench.table import BenchError, Figure, Row, Target
from readside.demo.processes import LOOPBACK

ROUNDS, SECONDS, CLIENTS = 5, 2, 100
BARE, GRANIAN = "bare uvicorn, the same bytes", "bare Granian, the same bytes"
LUA, LUA_ON_TWO = "nginx + Lua + Redis, 1 worker", "nginx + Lua + Redis, 2 workers"
REDIS_APP = "FastAPI + redis-py, bytes joined"
POSTGRES_APP = "FastAPI + asyncpg + Postgres"
MICRO_CACHE = "nginx keeping Postgres' answers for 1 s, blind to keys"
_KEYLESS = {BARE, GRANIAN, MICRO_CACHE}
_VARYING = {"date", "readside-as-of", "readside-lag-ms", "x-request-id", "x-poll-interval"}
"""Header fields whose values differ from one answer of ours to the next."""


@dataclass(slots=True)
class Contestant:
    """One server and what it is asked, over and over; without a port it is missing, for the reason in `missing`."""

    name: str
    port: int
    targets: Sequence[str]
    missing: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: HEADERS)
    rounds: list[Round] = field(default_factory=list)

    def figure(self) -> Figure:
        """Polls a second, with the medians of the latencies and of the share that the generator was busy."""
        p50, p99, share = (
            median(getattr(load, name) for load in self.rounds) for name in ("p50_ms", "p99_ms", "generator_share")
        )
        note = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, wrk {share:.0%} busy"
        return Figure([load.polls_per_second for load in self.rounds], "polls/s", note)


async def contest(
    contestants: Sequence[Contestant], *, rounds: int = ROUNDS, seconds: int = SECONDS, clients: int = CLIENTS
) -> None:
    """Let a crowd poll each in turn, once unmeasured and then in rounds, every other one in the opposite order."""
    present = [contestant for contestant in contestants if not contestant.missing]
    for number in range(rounds + 1):
        for one in present if number % 2 else reversed(present):
            load = await crowd(
                one.port, one.targets, clients=clients, seconds=seconds, method=one.method, headers=one.headers
            )
            if number:
                one.rounds.append(load)


def beside(measure: str, ours: Contestant, *peers: tuple[Contestant, Target | None]) -> list[Row]:
    """A row for each peer; one that is missing says so in its place."""
    figure = ours.figure()
    return [
        Row(measure, figure, f"{peer.name}: {peer.missing}", target=target)
        if peer.missing
        else Row(measure, figure, peer.name, peer.figure(), target)
        for peer, target in peers
    ]


class Peers:
    """Starts peers on a site; they end with the stack."""

    def __init__(self, stack: AsyncExitStack, site: Site) -> None:
        self._stack = stack
        self._site = site

    async def bare(self, port: int, target: str) -> Contestant:
        """The limit of uvicorn: an app that gives the whole answer of ours, head and body, and does nothing."""
        path = await self._fixed(port, target)
        return Contestant(
            BARE, await self._stack.enter_async_context(self._site.app("bench.peers.bare_app", path)), [target]
        )

    async def granian(self, port: int, target: str) -> Contestant:
        """The same app under Granian, a server that is not Python's."""
        path = await self._fixed(port, target)
        missing = granian_app.missing()
        return await self._optional(GRANIAN, target, missing, lambda: self._site.app("bench.peers.granian_app", path))

    async def redis_app(self) -> int:
        """FastAPI and redis-py on the plain sorted sets."""
        return await self._stack.enter_async_context(self._site.app("bench.peers.redis_app"))

    async def postgres_app(self) -> int:
        """FastAPI and asyncpg on the tables."""
        return await self._stack.enter_async_context(self._site.app("bench.peers.postgres_app"))

    async def lua(self, target: str, *, workers: int = 1) -> Contestant:
        """Nginx with Lua on the plain sorted sets; one or two worker processes."""
        name = LUA if workers == 1 else LUA_ON_TWO
        return await self._optional(
            name, target, nginx.missing_for_lua(), lambda: nginx.lua(self._site, workers=workers)
        )

    async def micro_cache(self, target: str, upstream: int) -> Contestant:
        """Nginx that keeps what another app answers."""
        size = len((await answer_of(upstream, target)).body)
        return await self._optional(
            MICRO_CACHE, target, nginx.missing(), lambda: nginx.micro_cache(self._site, upstream, size)
        )

    async def _fixed(self, port: int, target: str) -> str:
        """Keep an answer of ours in a file; gives its path."""
        answer = await answer_of(port, target)
        path = self._site.directory / f"fixed-{port}-{abs(hash(target))}.http"
        path.write_bytes(answer.head + b"\r\n\r\n" + answer.body)
        return str(path)

    async def _optional(
        self, name: str, target: str, missing: str, start: Callable[[], AbstractAsyncContextManager[int]]
    ) -> Contestant:
        port = 0 if missing else await self._stack.enter_async_context(start())
        return Contestant(name, port, [target], missing)


async def answer_of(port: int, target: str, source: str = "") -> Response:
    """Poll until the answer comes from `source`. Raises BenchError when it never does, or it is no 200."""
    target = target.replace(COUNTER, "000000")
    async with PollingClient.open(LOOPBACK, port) as client:

        async def comes() -> bool:
            return (await client.get(target, HEADERS)).header("readside-source") == source

        if source:
            await until(comes, f"{target} is answered from {source}")
        answer = await client.get(target, HEADERS)
    if answer.status != 200:
        raise BenchError(f"{target} was answered {answer.status}: {answer.body[:200]!r}")
    return answer


async def same_bytes(contestants: Sequence[Contestant]) -> None:
    """Raise BenchError unless all give one body to the first target, and all that can refuse a wrong key.

    Where the head is to be ours too, each of its fields must be there, once, and of the same value if that is fixed.
    """
    first, *others = [contestant for contestant in contestants if not contestant.missing]
    expected = await answer_of(first.port, first.targets[0])
    for other in others:
        got = await answer_of(other.port, other.targets[0])
        if got.body != expected.body:
            raise BenchError(
                f"{other.name} gives other bytes than {first.name}: {got.body[:300]!r}, not {expected.body[:300]!r}."
            )
        if other.name in {BARE, GRANIAN}:
            same_head(other.name, got, expected)
        if other.name not in _KEYLESS:
            await _refuses_a_wrong_key(other)


def same_head(name: str, got: Response, expected: Response) -> None:
    """Raise BenchError unless both heads have the same fields; Granian's `server`, which it always adds, may differ."""
    theirs, ours = (
        sorted((field, "" if field in _VARYING else value) for field, value in one.fields() if field != "server")
        for one in (got, expected)
    )
    if theirs != ours:
        raise BenchError(f"{name} gives another head than readside: {theirs}, not {ours}.")


async def _refuses_a_wrong_key(contestant: Contestant) -> None:
    async with PollingClient.open(LOOPBACK, contestant.port) as client:
        answer = await client.get(contestant.targets[0].replace(COUNTER, "000000"), {"X-API-Key": "wrong"})
    if answer.status != 401:
        raise BenchError(f"{contestant.name} answers a wrong key with {answer.status}.")


async def nothing_new(port: int, path: str) -> str:
    """The poll of a client that has the newest event."""
    newest = orjson.loads((await answer_of(port, f"{path}?limit=1")).body)["items"][0]
    return f"{path}?since={newest['timestamp']}"
