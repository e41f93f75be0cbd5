"""What one API process counts of streams."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from query_api.memory.answers import Source
from query_api.requests.stats import SOURCES, SourceStats


class StreamStats:
    """Counters of streams' answers; `of` has those of each source ("none": an error)."""

    def __init__(self) -> None:
        self.of = {source: SourceStats() for source in SOURCES}
        self._continued: dict[Source, int] = {"memory": 0, "redis": 0, "postgres": 0}
        for source in self._continued:
            self.of[source].statuses[200] = 0  # shown from the first on
        self.gone = 0
        """Offsets that could not be continued."""

    def continued(self, source: Source) -> None:
        """Count a stream that went on from an offset."""
        self._continued[source] += 1

    def families(self) -> Iterator[Metric]:
        """The metrics."""
        answers = CounterMetricFamily(
            "readside_stream_answers",
            'Reads of streams answered, by source ("none": an error) and HTTP status.',
            labels=["source", "status"],
        )
        durations = HistogramMetricFamily(
            "readside_stream_duration_seconds",
            "Time to an answer of a stream, by source: from its arrival, or from what woke it where it was held.",
            labels=["source"],
        )
        for source, stats in sorted(self.of.items()):
            durations.add_metric([source], stats.durations.buckets(), stats.durations.seconds)
            for status, count in sorted(stats.statuses.items()):
                answers.add_metric([source, str(status)], count)
        yield answers
        yield durations
        continued = CounterMetricFamily(
            "readside_stream_continuations", "Streams that went on from an offset, by source.", labels=["source"]
        )
        for source, count in self._continued.items():
            continued.add_metric([source], count)
        yield continued
        yield CounterMetricFamily(
            "readside_stream_offsets_gone", "Offsets that could not be continued (410).", value=self.gone
        )
