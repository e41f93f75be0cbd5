"""What one API process counts of polls: plain numbers on the hot path, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from readmodel.runtime.histogram import Histogram

SOURCES = ("memory", "redis", "postgres", "none")
"""Where answers come from; "none" for errors."""


class SourceStats:
    """Polls answered from one source: how many, by HTTP status, and how long they took."""

    __slots__ = ("durations", "statuses")

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.durations = Histogram()

    def poll(self, status: int, seconds: float) -> None:
        """Count a poll."""
        self.statuses[status] += 1
        self.durations.observe(seconds)


class Stats:
    """Counters of polls; `of` has those of each source ("none": an error)."""

    def __init__(self) -> None:
        self.of = {source: SourceStats() for source in SOURCES}
        for source in SOURCES[:-1]:
            self.of[source].statuses[200] = 0  # shown from the first on
        self._compressed = self._saved_bytes = 0

    def compressed(self, saved_bytes: int) -> None:
        """Count a poll whose answer left compressed, shorter by so many bytes."""
        self._compressed += 1
        self._saved_bytes += saved_bytes

    def families(self) -> Iterator[Metric]:
        """The metrics."""
        polls = CounterMetricFamily(
            "readside_polls",
            'Polls answered, by source ("none": an error) and HTTP status.',
            labels=["source", "status"],
        )
        for source, stats in sorted(self.of.items()):
            for status, count in sorted(stats.statuses.items()):
                polls.add_metric([source, str(status)], count)
        yield polls
        durations = HistogramMetricFamily(
            "readside_poll_duration_seconds", "Time from a poll's arrival to its answer, by source.", labels=["source"]
        )
        for source, stats in self.of.items():
            durations.add_metric([source], stats.durations.buckets(), stats.durations.seconds)
        yield durations
        memory, stores = self._from("memory"), self._from("redis") + self._from("postgres")
        yield CounterMetricFamily("readside_response_cache_hits", "Polls answered from memory.", value=memory)
        yield CounterMetricFamily("readside_response_cache_misses", "Polls that a store answered.", value=stores)
        yield CounterMetricFamily(
            "readside_polls_compressed", "Polls whose answer left in gzip.", value=self._compressed
        )
        yield CounterMetricFamily(
            "readside_compression_saved_bytes", "Bytes saved by sending answers in gzip.", value=self._saved_bytes
        )

    def _from(self, source: str) -> int:
        return self.of[source].durations.count
