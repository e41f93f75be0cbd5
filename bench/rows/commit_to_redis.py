"""How old as-of is while 8 and 32 writers write as fast as they can, and whether it grows."""

import time

from bench.load import percentile
from bench.rows.polling import hot_site
from bench.stack import Servers, Site
from bench.table import Chart, Figure, Measurement, Row, Target
from bench.watching import Point, first_and_last, lags_ms
from bench.writing import ONE_BY_ONE, Manner, write

NAME = "commit-to-redis"
SECONDS, SESSIONS, EVENTS_EACH = 30, 200, 100
WINDOW_SECONDS = 10
HEARTBEAT_SECONDS = 0.1
WORST_MS = 5_000
"""READSIDE_MAX_STALENESS_SECONDS by default: past it the API asks Postgres instead."""
_CROWDS = (
    (8, "each commit on the disk", ONE_BY_ONE),
    (32, "each commit on the disk", ONE_BY_ONE),
    (8, "synchronous_commit off", Manner(durable=False)),
)


async def measure(servers: Servers) -> Measurement:
    """Watch as-of; how old it is may be what it is, but must not grow."""
    seconds = servers.choices.seconds or SECONDS
    rows: list[Row] = []
    lines: dict[str, list[Point]] = {}
    async with hot_site(
        servers, sessions=SESSIONS, events_each=EVENTS_EACH, heartbeat_seconds=str(HEARTBEAT_SECONDS)
    ) as site:
        for writers, how, manner in _CROWDS:
            lags, rate, behind_seconds = await _press(site, writers, manner, seconds)
            what = f"{writers} writers at full speed ({rate:,.0f} events/s, {how})"
            rows += rows_of(what, lags, seconds, behind_seconds)
            lines[what] = lags
    return Measurement(rows, {"commit-to-redis-lag": Chart("How old as-of is", "seconds", "ms", lines)})


async def _press(site: Site, writers: int, manner: Manner, seconds: int) -> tuple[list[Point], float, float]:
    """Write as fast as possible; gives the lags, events a second, and the seconds to catch up at the end."""
    await site.caught_up()
    async with lags_ms(site) as lags:
        rate = await write(site, writers=writers, seconds=seconds, sessions=(1, SESSIONS), manner=manner)
        began = time.perf_counter()
        await site.caught_up()
        behind_seconds = time.perf_counter() - began
    return [point for point in lags if point[0] <= seconds], rate, behind_seconds


def rows_of(what: str, lags: list[Point], seconds: int, behind_seconds: float) -> list[Row]:
    """The rows of one crowd. Raises BenchError when as-of was read too few times."""
    window = min(WINDOW_SECONDS, seconds / 3)
    first, last = first_and_last(lags, seconds, window)
    values = [milliseconds for _, milliseconds in lags]
    note = f"p99 {percentile(values, 99):.0f} ms; caught up {behind_seconds:.2f} s after"
    return [
        Row(f"age of as-of, {what}, p50", Figure([percentile(values, 50)], "ms", note)),
        Row(f"the same, {what}: worst", Figure([max(values)], "ms"), target=Target(WORST_MS, at_most=True, unit="ms")),
        Row(
            f"the same, {what}: does it grow",
            Figure([last], "ms", f"mean of the last {window:g} s"),
            f"mean of the first {window:g} s",
            Figure([first], "ms"),
            Target(1.5, at_most=True),
        ),
    ]
