"""Redis' memory an event: the view with all that it keeps, beside one plain sorted set of the same JSON a session."""

from typing import Any

from redis.asyncio import Redis

from bench.events import EVENT_BYTES, fill, session_id
from bench.stack import Servers, Site
from bench.table import BenchError, Figure, Row
from readmodel.redis_client import connect

NAME = "memory"
SIZES = (100, 1_000, 10_000)
"""Events a session: the header's share falls with it."""
EVENTS = 50_000
PLAIN_DATABASE = 1


async def measure(servers: Servers) -> list[Row]:
    """Make sessions of each size hot, and copy their members into plain sorted sets in another database."""
    return [await _measure(servers, events_each) for events_each in SIZES]


async def _measure(servers: Servers, events_each: int) -> Row:
    sessions = [session_id(number) for number in range(1, EVENTS // events_each + 1)]
    async with servers.site() as site:
        await fill(site.connection, len(sessions), events_each)
        await site.run("install")
        async with site.projector(warm_limit="0"):
            empty = await _used(site.redis)
            await site.run("warm", *sessions)
        headers = await site.view.headers(sessions)
        sizes = {header.bytes / header.count for header in headers if header and header.complete}
        if sizes != {EVENT_BYTES}:
            raise BenchError(f"Events of {EVENT_BYTES} bytes were wanted, these are of {sorted(sizes)}.")
        view = await _used(site.redis) - empty
        plain = await _copy(servers, site, sessions)
    unit = "bytes/event"
    measured = f"Redis memory, {EVENT_BYTES}-byte events, {events_each:,} a session"
    return Row(measured, Figure([view / EVENTS], unit), "plain sorted set", Figure([plain / EVENTS], unit))


async def _copy(servers: Servers, site: Site, sessions: list[str]) -> int:
    """Copy the events into sorted sets that hold nothing else; gives the bytes that they take."""
    before = await _used(site.redis)
    plain = connect(servers.redis.url(PLAIN_DATABASE), name="bench")
    try:
        for name in sessions:
            held: list[Any] = await site.redis.zrange(site.view.keys.events(name), 0, -1, withscores=True)
            await plain.zadd(name, dict(held))
    finally:
        await plain.aclose()
    return await _used(site.redis) - before


async def _used(redis: Redis) -> int:
    """Give the bytes in use, without those of the clients' buffers, which come and go."""
    info = await redis.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"])
