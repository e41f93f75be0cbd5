"""Commit to the first poll that shows the event, at 500 events/s, beside an earlier version (--base), in turns."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from bench.load import percentile
from bench.revision import tree_of
from bench.rows.commit_to_http import EVENTS_PER_SECOND, probing
from bench.stack import Servers
from bench.table import BenchError, Figure, Measurement, Row, Target

NAME = "commit-beside-base"
ROUNDS, SECONDS = 8, 10
NO_WORSE = 1.1
"""A tenth is what rounds of one version differ by."""


async def measure(servers: Servers) -> Measurement:
    """Probe both versions in turns on the same servers, each on a database of its own."""
    rounds, seconds, base = servers.choices.rounds or ROUNDS, servers.choices.seconds or SECONDS, servers.choices.base
    if base is None:
        raise BenchError(f"{NAME} needs an earlier version to measure beside: --base REVISION.")
    with tree_of(base) as tree:
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(probing(servers, 0))
            theirs = await stack.enter_async_context(probing(servers, 1, source=tree))
            for number in range(rounds):
                for prober in (ours, theirs) if number % 2 else (theirs, ours):
                    await prober.under_load(seconds)
    return Measurement(rows(base, ours.rounds_ms, theirs.rounds_ms))


def rows(base: str, ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> list[Row]:
    """P50 and p99 of each round, beside the earlier version's. Raises BenchError for a round without probes."""
    if not all((*ours, *theirs)):
        raise BenchError("A round had no probe.")
    what = f"commit to visible through HTTP at {EVENTS_PER_SECOND} events/s"
    found = []
    for share in (50, 99):
        figures = [Figure([percentile(probes, share) for probes in rounds], "ms") for rounds in (ours, theirs)]
        found.append(Row(f"{what}, p{share}", figures[0], base, figures[1], Target(NO_WORSE, at_most=True)))
    return found
