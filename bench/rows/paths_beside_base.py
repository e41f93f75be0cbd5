"""Each way through the API, from memory, Redis and Postgres, warm and health, beside an earlier version (--base)."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.contest import CLIENTS, Contestant, answer_of, beside, contest
from bench.events import session_id
from bench.load import COUNTER
from bench.revision import tree_of
from bench.rows.polling import EVENTS_PATH, polled_site
from bench.stack import ROOT, Servers, Site
from bench.table import BenchError, Measurement, Row, Target

NAME = "paths-beside-base"
ROUNDS, SECONDS = 8, 2
SESSIONS, EVENTS_EACH = 10, 1_000
NO_SLOWER = Target(0.95)
"""A twentieth is what medians of one version differ by."""
NOBODYS_PREFIX = "nobodys"
"""No projector writes under this prefix of keys, so every session stays cold."""


@dataclass(frozen=True, slots=True)
class Way:
    """What is asked, of which API, by how many clients, and where its answers come from; "" where they do not say."""

    what: str
    api: str
    target: str
    source: str = ""
    method: str = "GET"
    clients: int = CLIENTS


WAYS = (
    Way("empty poll, from memory", "memory", f"{EVENTS_PATH}?since=2100-01-01T00:00:00Z", "memory"),
    Way("page of 100, from memory", "memory", f"{EVENTS_PATH}?limit=100", "memory"),
    Way("page of 100, from Redis", "redis", f"{EVENTS_PATH}?since=2000-01-01T00:00:00.{COUNTER}Z&limit=100", "redis"),
    # Of more clients some would be refused, here and by warm: few queries may wait, and each only so long.
    Way(
        "page of 100 of a cold session, from Postgres",
        "postgres",
        f"{EVENTS_PATH}?since=2000-01-01T00:00:00.{COUNTER}Z&limit=100",
        "postgres",
        clients=32,
    ),
    Way("POST warm of a hot session", "memory", f"/api/v2/sessions/{session_id(1)}/warm", method="POST", clients=16),
    Way("GET /health/live", "memory", "/health/live"),
)


async def measure(servers: Servers) -> Measurement:
    """Ask both versions in turns, each on a database of its own."""
    base = servers.choices.base
    if base is None:
        raise BenchError(f"{NAME} needs an earlier version to measure beside: --base REVISION.")
    rounds, seconds = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS
    found: list[Row] = []
    with tree_of(base) as tree:
        async with AsyncExitStack() as stack:
            ours = await _served(servers, stack, 0, ROOT)
            theirs = await _served(servers, stack, 1, tree)
            for way in WAYS:
                both = [await _contestant(name, apis[way.api], way) for name, apis in (("ours", ours), (base, theirs))]
                await contest(both, rounds=rounds, seconds=seconds, clients=way.clients)
                found += beside(f"{way.what}, {way.clients} clients", both[0], (both[1], NO_SLOWER))
    return Measurement(found)


async def _served(servers: Servers, stack: AsyncExitStack, number: int, source: Path) -> dict[str, int]:
    """Run a projector and the APIs of one tree; gives their ports, by where they answer from."""
    site: Site = await stack.enter_async_context(
        polled_site(servers, number, sessions=SESSIONS, events_each=EVENTS_EACH, source=source)
    )
    return {
        "memory": await stack.enter_async_context(site.api()),
        "redis": await stack.enter_async_context(site.api(response_cache_mb="0")),
        "postgres": await stack.enter_async_context(site.api(redis_prefix=NOBODYS_PREFIX)),
    }


async def _contestant(name: str, port: int, way: Way) -> Contestant:
    if way.source:
        await answer_of(port, way.target, way.source)
    return Contestant(name, port, [way.target], method=way.method)
