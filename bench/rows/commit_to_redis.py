"""Commit to Redis while 8 writers write as fast as they can, by heartbeats that take the notices' own way."""

import asyncio
import time
from contextlib import AsyncExitStack, aclosing
from statistics import mean

from bench.load import percentile
from bench.rows.polling import hot_site
from bench.stack import Servers, Site
from bench.table import BenchError, Chart, Figure, Measured, Row, Target
from bench.writing import ONE_BY_ONE, Manner, write
from readmodel.messages import decode_change
from readmodel.subscription import heard

NAME = "commit-to-redis"
WRITERS, SECONDS, SESSIONS, EVENTS_EACH = 8, 30, 200, 100
HEARTBEAT_SECONDS = 0.1
_MANNERS = {"each commit on the disk": ONE_BY_ONE, "synchronous_commit off": Manner(durable=False)}

Lag = tuple[float, float]
"""Seconds since the writers began, and the milliseconds that a beat needed through the whole pipe."""


async def measure(servers: Servers) -> Measured:
    """Watch the beats of the projector; their delay may be what it is, but must not grow."""
    rows: list[Row] = []
    lines: dict[str, list[Lag]] = {}
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(
            hot_site(servers, sessions=SESSIONS, events_each=EVENTS_EACH, heartbeat_seconds=str(HEARTBEAT_SECONDS))
        )
        for how, manner in _MANNERS.items():
            lags, rate, behind_seconds = await _press(site, manner)
            what = f"{WRITERS} writers at full speed ({rate:,.0f} events/s, {how})"
            rows += _rows(what, lags, behind_seconds)
            lines[what] = lags
    chart = Chart("Commit to Redis: a heartbeat through the whole pipe", "seconds", "ms", lines)
    return Measured(rows, {"commit-to-redis-lag": chart})


async def _press(site: Site, manner: Manner) -> tuple[list[Lag], float, float]:
    """Write as fast as possible; gives the lags, events a second, and the seconds to catch up at the end."""
    await site.caught_up()
    lags: list[Lag] = []
    watching = asyncio.create_task(_watch(site, lags))
    try:
        rate = await write(site, writers=WRITERS, seconds=SECONDS, sessions=(1, SESSIONS), manner=manner)
        began = time.perf_counter()
        await site.caught_up()
        behind_seconds = time.perf_counter() - began
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return [lag for lag in lags if lag[0] <= SECONDS], rate, behind_seconds


async def _watch(site: Site, lags: list[Lag]) -> None:
    """Note the round trip of every beat that is published."""
    began = time.perf_counter()
    async with aclosing(heard(site.redis, site.view.keys.changes)) as messages:
        async for data in messages:
            change = decode_change(data) if data else None
            if change is not None and change.round_trip_us is not None:
                lags.append((time.perf_counter() - began, change.round_trip_us / 1000))


def _rows(what: str, lags: list[Lag], behind_seconds: float) -> list[Row]:
    third = len(lags) // 3
    if third < 5:
        raise BenchError(f"Only {len(lags)} beats came back while {what} wrote for {SECONDS} s.")
    values = [milliseconds for _, milliseconds in lags]
    note = f"p99 {percentile(values, 99):.0f} ms, worst {max(values):.0f} ms; caught up {behind_seconds:.2f} s after"
    first, last = mean(values[:third]), mean(values[-third:])
    return [
        Row(f"commit to Redis, {what}", Figure([percentile(values, 50)], "ms", note)),
        Row(
            f"the same, {what}: does it grow",
            Figure([last], "ms", f"mean of the last {SECONDS // 3} s"),
            f"mean of the first {SECONDS // 3} s",
            Figure([first], "ms"),
            Target(1.5, at_most=True),
        ),
    ]
