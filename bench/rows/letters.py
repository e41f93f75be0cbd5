"""How large our tables become under 8 and 32 writers at full speed, with one transaction held open throughout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.events import session_id
from bench.load import percentile
from bench.rows.polling import cold_site
from bench.stack import Servers, Site
from bench.table import Chart, Figure, Measurement, Row, Target
from bench.watching import Point, lags_ms, sizes_mb
from bench.writing import write

NAME = "letters"
SECONDS = 600
SESSIONS, EVENTS_EACH = 200, 10
CROWDS = (8, 32)
MOST_MB = 100
_INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
VALUES (gen_random_uuid(), $1, 'step_created', '{}', clock_timestamp())
"""


async def measure(servers: Servers) -> Measurement:
    """Let each crowd write for ten minutes on a database of its own."""
    seconds = servers.choices.seconds or SECONDS
    rows: list[Row] = []
    lines: dict[str, list[Point]] = {}
    for writers in CROWDS:
        async with cold_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH) as site:
            async with held_transaction(site), sizes_mb(site.database_url) as sizes, lags_ms(site) as lags:
                rate = await write(site, writers=writers, seconds=seconds, sessions=(1, SESSIONS))
            await site.caught_up()
        rows.append(row(writers, rate, seconds, sizes, lags))
        lines[f"{writers} writers"] = sizes
    return Measurement(rows, {NAME: Chart("Our tables, one transaction held open", "seconds", "MB", lines)})


def row(writers: int, rate: float, seconds: int, sizes: list[Point], lags: list[Point]) -> Row:
    """A crowd's row: the largest size, and how old as-of was meanwhile."""
    values, ages = [size for _, size in sizes], [age for _, age in lags]
    note = (
        f"{values[-1]:.1f} MB at the end; {rate:,.0f} events/s; "
        f"age of as-of p50 {percentile(ages, 50):.0f} ms, worst {max(ages):.0f} ms"
    )
    what = (
        f"our tables at their largest, {writers} writers at full speed for {seconds} s, one transaction open throughout"
    )
    return Row(what, Figure([max(values)], "MB", note), target=Target(MOST_MB, at_most=True, unit="MB"))


@asynccontextmanager
async def held_transaction(site: Site) -> AsyncIterator[None]:
    """Hold a transaction that wrote an event open for as long as the block lasts; then it commits."""
    connection = await asyncpg.connect(site.database_url)
    try:
        async with connection.transaction():
            await connection.execute(_INSERT, session_id(1))
            yield
    finally:
        connection.terminate()
