"""Beats of 32 slices on one Redis, sharing a round trip, beside each with one of its own."""

import asyncio
import os
from collections.abc import Sequence

from bench.processor import processor_seconds
from bench.stack import Servers, Site
from bench.table import Figure, Measurement, Row
from projector.view.shared_trips import SharedTrips, SharingClient
from projector.view.writer import ViewWriter
from readmodel.view.slices import slot_of

NAME = "beats"
ROUNDS, BEATS, SLICES = 7, 300, 32
_TERM = "beats"


async def measure(servers: Servers) -> Measurement:
    """Send beats both ways in turns; counts the processor time of this process and of Redis."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    async with servers.site(slices=SLICES) as site:
        writers = {shares: _writers(site, shares=shares) for shares in found}
        for writer in writers[True]:
            await writer.begin(_TERM, "", "database", "shape")
        n = 0
        for number in range(servers.choices.rounds or ROUNDS):
            for shares in (True, False) if number % 2 else (False, True):
                found[shares].append(await _beat(writers[shares], n, servers.redis.pid))
                n += BEATS
    rows = []
    for place, whose in enumerate(("the projector", "Redis")):
        shared, alone = (Figure([round_[place] for round_ in found[shares]], "µs") for shares in (True, False))
        rows.append(Row(f"a beat of {SLICES} slices, of each: processor time of {whose}", shared, "each alone", alone))
    return Measurement(rows)


def _writers(site: Site, *, shares: bool) -> list[ViewWriter]:
    trips = SharedTrips(site.view.servers)
    return [
        ViewWriter(
            part.redis,
            part.keys,
            ttl_seconds=60,
            window_events=1_000,
            window_bytes=1_000_000,
            sender=SharingClient(part.redis, slot_of(part.keys.tag), trips) if shares else None,
        )
        for part in site.view.parts
    ]


async def _beat(writers: Sequence[ViewWriter], n: int, redis: int) -> tuple[float, float]:
    """The microseconds of this process and of Redis for a beat of one slice."""
    pids = os.getpid(), redis
    before = [processor_seconds([pid]) for pid in pids]
    for number in range(n + 1, n + 1 + BEATS):
        await asyncio.gather(*(writer.apply(_TERM, number, [], [], as_of_us=1, round_trip_us=1) for writer in writers))
    ours, theirs = (processor_seconds([pid]) - was for pid, was in zip(pids, before, strict=True))
    return ours / BEATS / len(writers) * 1_000_000, theirs / BEATS / len(writers) * 1_000_000
