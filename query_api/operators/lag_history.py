"""The projection's last fifteen minutes, sampled in each API process: a chart that is opened now has a past."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from random import uniform
from typing import Any

from query_api.operators.projection_changes import ProjectionChanges
from readmodel.values.freshness import rfc3339
from readmodel.view.projection import Projection, Status

SAMPLES = 900
SAMPLE_SECONDS = (0.9, 1.1)
"""Between two samples, by chance: else each would fall on the same moment between two heartbeats."""

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """How the projection was: `at` is RFC 3339 by this machine's clock; None is what was not known."""

    at: str
    status: Status
    lag_ms: int | None
    events_per_second: float | None
    round_trip_ms: float | None
    """From the commit of the last heartbeat until it was in the view."""


class LagHistory:
    """Keeps the newest samples of what `read` gives; `clock` is seconds since 1970."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Projection]],
        max_staleness_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._max_staleness_seconds = max_staleness_seconds
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._leader: Report | None = None
        self._rate: float | None = None
        self._changes = ProjectionChanges()

    async def run(self) -> None:
        """Take samples, for ever."""
        while True:
            await self.sample()
            await asyncio.sleep(uniform(*SAMPLE_SECONDS))

    async def sample(self) -> None:
        """Take one."""
        projection = await self._read()
        at_us = int(self._clock() * 1_000_000)
        leader = projection.leader
        if leader != self._leader:
            self._leader, self._rate = leader, events_per_second(self._leader, leader)
        at = rfc3339(at_us)
        self._samples.append(Sample(at, projection.status, projection.lag_ms, self._rate, round_trip_ms(leader)))
        self._changes.note(at, projection)

    def as_json(self) -> dict[str, Any]:
        """The samples and the changes, oldest first, and past which lag the view is stale."""
        return {
            "max_staleness_ms": round(self._max_staleness_seconds * 1000),
            "samples": [asdict(sample) for sample in self._samples],
            "changes": [asdict(change) for change in self._changes.kept],
        }


def round_trip_ms(leader: Report | None) -> float | None:
    """How long the last heartbeat took, None where the report tells none."""
    took = None if leader is None else leader.get("round_trip_ms")
    return round(took, 2) if isinstance(took, int | float) else None


def events_per_second(before: Report | None, after: Report | None) -> float | None:
    """The events that a leader applied a second between two reports; None where they are not of one process."""
    if before is None or after is None or before.get("id") != after.get("id"):
        return None
    try:
        passed_us = after["reported_at_us"] - before["reported_at_us"]
        applied = after["events_applied"] - before["events_applied"]
    except (KeyError, TypeError):
        return None  # a report of another version
    return round(max(0, applied) * 1_000_000 / passed_us, 2) if passed_us > 0 else None
