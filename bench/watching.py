"""Figures that are read again and again while something else runs: how old as-of is, how large something is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from statistics import mean

import asyncpg

from bench.stack import Site
from bench.table import BenchError

Point = tuple[float, float]
"""Seconds since the watch began, and what was read then."""
SCHEMA = "readside"
MEGABYTE = 1_000_000
LAG_PAUSE_SECONDS, SIZE_PAUSE_SECONDS = 0.05, 0.5
# Indexes and TOAST are in a table's total. A sequence has one page, and would show here if it ever had more.
_OWN_BYTES = """
SELECT coalesce(sum(pg_catalog.pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'm', 'S')
"""


@asynccontextmanager
async def watched(question: Callable[[], Awaitable[float]], pause_seconds: float) -> AsyncIterator[list[Point]]:
    """Ask for as long as the block lasts; gives the answers so far. Raises what the question raises."""
    points: list[Point] = []
    began = time.perf_counter()

    async def ask() -> None:
        while True:
            value = await question()
            points.append((time.perf_counter() - began, value))
            await asyncio.sleep(pause_seconds)

    asking = asyncio.create_task(ask())
    try:
        yield points
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


@asynccontextmanager
async def lags_ms(site: Site) -> AsyncIterator[list[Point]]:
    """Read how old as-of is: what was committed before it is in the view, whatever else waits."""

    async def age_ms() -> float:
        as_of_us = await site.as_of_us()
        if as_of_us is None:
            raise BenchError("The view has no as-of, while a projector was to run.")
        return time.time() * 1_000 - as_of_us / 1_000  # the server's clock is this machine's

    async with watched(age_ms, LAG_PAUSE_SECONDS) as points:
        yield points


@asynccontextmanager
async def sizes_mb(database_url: str) -> AsyncIterator[list[Point]]:
    """Read how large all is that we installed: none of it, where the schema has no table."""
    connection = await asyncpg.connect(database_url)

    async def megabytes() -> float:
        size: int = await connection.fetchval(_OWN_BYTES, SCHEMA)
        return size / MEGABYTE

    try:
        async with watched(megabytes, SIZE_PAUSE_SECONDS) as points:
            yield points
    finally:
        connection.terminate()


def resident_mb(process: int) -> float:
    """The memory that a process has now. Raises BenchError where the machine does not tell (not Linux)."""
    return _status_mb(process, "VmRSS:")


def peak_mb(process: int) -> float:
    """The most that it ever had, or had since `forget_peak`. Raises BenchError as above."""
    return _status_mb(process, "VmHWM:")


def forget_peak(process: int) -> None:
    """Have the most that it had counted anew (proc(5), clear_refs). Raises BenchError as above."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="utf-8")
    except OSError as error:
        raise BenchError(f"The peak of a process' memory is forgotten through /proc: {error}") from error


def _status_mb(process: int, name: str) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError as error:
        raise BenchError(f"How much memory a process has is read from /proc: {error}") from error
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) * 1024 / MEGABYTE


def first_and_last(points: Sequence[Point], seconds: float, window_seconds: float) -> tuple[float, float]:
    """The means of the first and of the last seconds of a watch that was to last so long.

    Raises BenchError when either has fewer than five points.
    """
    first = [value for at, value in points if at <= window_seconds]
    last = [value for at, value in points if seconds - window_seconds <= at <= seconds]
    if min(len(first), len(last)) < 5:
        raise BenchError(f"Only {len(first)} and {len(last)} figures were read in {window_seconds:g} s.")
    return mean(first), mean(last)


def stopped_growing(points: Sequence[Point]) -> float:
    """The seconds after which nothing was larger than it had been before; 0.0 when nothing grew."""
    largest, at = points[0][1], 0.0
    for seconds, value in points[1:]:
        if value > largest:
            largest, at = value, seconds
    return at
