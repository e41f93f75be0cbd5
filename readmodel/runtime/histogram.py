"""A histogram of durations: plain numbers, cheap enough for every poll."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Histogram:
    """Counts of durations, seconds, by upper bounds that rise."""

    __slots__ = ("_bounds", "_counts", "seconds")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration; one that is a bound lies below it."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.seconds += seconds

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """What Prometheus wants: (upper bound, how many lie below it), the last bound being +Inf."""
        seen, given = 0, []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            seen += count
            given.append((bound, float(seen)))
        return given
