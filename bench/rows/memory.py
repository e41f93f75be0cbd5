"""Redis' memory an event: the view with all that it keeps, beside one plain sorted set of the same JSON a session."""

from redis.asyncio import Redis

from bench.events import EVENT_BYTES, fill, session_id
from bench.rows.polling import load_plain
from bench.stack import Servers
from bench.table import BenchError, Chart, Figure, Measurement, Row, Target

NAME = "memory"
SIZES = (100, 1_000, 10_000)
"""Events a session: the header's share falls with it."""
EVENTS = 50_000


async def measure(servers: Servers) -> Measurement:
    """Make sessions of each size hot, and write the same events into plain sorted sets in another database."""
    rows = [await _measure(servers, events_each) for events_each in SIZES]
    ours = [(float(size), row.figure.median) for size, row in zip(SIZES, rows, strict=True)]
    plain = [(float(size), row.beside.median) for size, row in zip(SIZES, rows, strict=True) if row.beside]
    lines = {"readside, type index included": ours, "plain sorted set": plain}
    chart = Chart("Redis memory", "events a session", f"bytes an event of {EVENT_BYTES}", lines, log_x=True)
    return Measurement(rows, {NAME: chart})


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
        before = await _used(site.redis)
        await load_plain(site, sessions)
        plain = await _used(site.redis) - before
    unit = "bytes/event"
    measured = f"Redis memory, {EVENT_BYTES}-byte events, {events_each:,} a session, type index included"
    beside = Figure([plain / EVENTS], unit)
    return Row(measured, Figure([view / EVENTS], unit), "plain sorted set", beside, Target(1.2, at_most=True))


async def _used(redis: Redis) -> int:
    """The bytes in use, without those of the clients' buffers, which come and go."""
    info = await redis.info("memory")
    return int(info["used_memory"]) - int(info["mem_clients_normal"])
