"""What one API process counted: plain numbers on the hot path, turned into Prometheus' text when somebody asks."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from query_api.fallback import Fallback
from query_api.response_cache import ResponseCache

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Stats:
    """Counters of polls."""

    def __init__(self) -> None:
        self._polls: Tally[tuple[str, int]] = Tally()
        self._buckets = [0] * (len(SECONDS) + 1)
        self._seconds = 0.0

    def poll(self, source: str, status: int, seconds: float) -> None:
        """Count a poll answered from `source` ("none" for an error) with an HTTP status."""
        self._polls[source, status] += 1
        self._buckets[bisect_left(SECONDS, seconds)] += 1
        self._seconds += seconds

    def families(self) -> Iterator[Metric]:
        """Give the metrics."""
        polls = CounterMetricFamily("readside_polls", "Polls answered.", labels=("source", "status"))
        for (source, status), count in sorted(self._polls.items()):
            polls.add_metric((source, str(status)), count)
        yield polls
        buckets, seen = [], 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self._buckets, strict=True):
            seen += count
            buckets.append((bound, seen))
        histogram = HistogramMetricFamily("readside_poll_duration_seconds", "Time from a poll's arrival to its answer.")
        histogram.add_metric((), buckets, self._seconds)
        yield histogram


class Exposition:
    """Renders this process' metrics; each worker process has its own."""

    def __init__(self, stats: Stats, cache: ResponseCache, fallback: Fallback) -> None:
        self._stats = stats
        self._cache = cache
        self._fallback = fallback
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Give Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give every metric, as prometheus_client asks for them."""
        yield from self._stats.families()
        cache, beat = self._cache, self._cache.beat
        yield GaugeMetricFamily("readside_response_cache_entries", "Answers kept in memory.", value=len(cache))
        yield GaugeMetricFamily("readside_response_cache_bytes", "Bytes of memory that they take.", value=cache.bytes)
        yield CounterMetricFamily(
            "readside_response_cache_breaks", "Breaks in the stream of changes; each emptied it.", value=cache.breaks
        )
        yield CounterMetricFamily("readside_fallback_queries", "Queries sent to Postgres.", value=self._fallback.sent)
        yield GaugeMetricFamily(
            "readside_fallback_waiting", "Queries that wait for others to end.", value=self._fallback.waiting
        )
        yield GaugeMetricFamily(
            "readside_lag_seconds",
            "How old the last as-of heard is; -1 where none was heard since the last break.",
            value=-1 if beat is None else beat.lag_seconds(time.monotonic()),
        )
