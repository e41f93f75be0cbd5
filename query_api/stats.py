"""What one API process counts of polls: plain numbers on the hot path, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from readmodel.histogram import Histogram

SOURCES = ("memory", "redis", "postgres", "none")
"""Where answers come from; "none" for errors."""


class Stats:
    """Counters of polls."""

    def __init__(self) -> None:
        self._polls = {source: defaultdict(int, {200: 0} if source != "none" else {}) for source in SOURCES}
        self._durations = {source: Histogram() for source in SOURCES}
        self._compressed = self._saved_bytes = 0

    def poll(self, source: str, status: int, seconds: float) -> None:
        """Count a poll answered from `source` ("none" for an error) with an HTTP status."""
        self._polls[source][status] += 1
        self._durations[source].observe(seconds)

    def compressed(self, saved_bytes: int) -> None:
        """Count a poll whose answer left compressed, shorter by so many bytes."""
        self._compressed += 1
        self._saved_bytes += saved_bytes

    def families(self) -> Iterator[Metric]:
        """Give the metrics."""
        polls = CounterMetricFamily(
            "readside_polls",
            'Polls answered, by where from ("none": an error) and HTTP status.',
            labels=["source", "status"],
        )
        for source, statuses in sorted(self._polls.items()):
            for status, count in sorted(statuses.items()):
                polls.add_metric([source, str(status)], count)
        yield polls
        durations = HistogramMetricFamily(
            "readside_poll_duration_seconds", "Time from a poll's arrival to its answer, by source.", labels=["source"]
        )
        for source, histogram in self._durations.items():
            durations.add_metric([source], histogram.buckets(), histogram.seconds)
        yield durations
        memory, stores = self._from("memory"), self._from("redis") + self._from("postgres")
        yield CounterMetricFamily("readside_response_cache_hits", "Polls answered from memory.", value=memory)
        yield CounterMetricFamily("readside_response_cache_misses", "Polls that a store answered.", value=stores)

        yield CounterMetricFamily(
            "readside_polls_compressed", "Polls whose answer left in gzip.", value=self._compressed
        )
        yield CounterMetricFamily(
            "readside_compression_saved_bytes", "Bytes that they are shorter by.", value=self._saved_bytes
        )

    def _from(self, source: str) -> int:
        return self._durations[source].count
