"""The projector's metrics for Prometheus, read off its telemetry when they are scraped."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from projector.telemetry import SliceTelemetry, Telemetry

PREFIX = "readside_projector_"
_COUNTERS = {
    "events_applied": "Events sent to the view, one by one as letters named them; those of loads are not counted.",
    "batches": "Batches that the view accepted.",
    "terms": "Terms begun: each catches up by comparing.",
    "catch_ups": "Catch-ups done: every hot session compared with Postgres.",
    "connections": "Connections made to lead, or to stand by for it.",
    "loads": "Sessions loaded into the view, for the first time or anew.",
    "loads_failed": "Loads given up, since a store did not answer however often it was asked.",
    "looks": "Sessions dropped to be looked at again.",
    "readings": "Readings of the letters that writers leave.",
    "letters": "Letters read.",
    "comparisons": "Comparisons of every hot session since writers may have skipped a letter.",
    "compared": "Hot sessions compared with Postgres by the continuous check.",
    "drift": "Hot sessions found to differ from Postgres though Redis held them whole; each is loaded anew.",
    "drift_repaired": "Of these, sessions that were right again: loaded, or gone from the view.",
    "sessions_reloaded": "Hot sessions loaded anew since what rows read as was changed, or the encoding.",
    "sessions_lost": "Hot sessions of which Redis lost keys (evicted, expired, deleted); each is loaded anew.",
}


class TelemetryCollector(Collector):
    """The telemetry as metric families under `readside_projector_`.

    Of the view only its leader knows: the other projectors give these families without a value.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        t = self._telemetry
        t.sum_up()
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, text, value=getattr(t, name))
        reconnects = CounterMetricFamily(
            f"{PREFIX}reconnects",
            "Connections of the leading projector that were lost or given up, by cause; each is made again.",
            labels=["cause"],
        )
        for cause, count in sorted(t.reconnects.items()):
            reconnects.add_metric([cause], count)
        yield reconnects
        yield HistogramMetricFamily(
            f"{PREFIX}commit_to_applied_seconds",
            "Time from when a beat set out to read the letters until it was applied in Redis; of one that another held "
            "up, since it was due. An event that was committed just before it took no longer.",
            buckets=t.round_trips.buckets(),
            sum_value=t.round_trips.seconds,
        )
        yield GaugeMetricFamily(f"{PREFIX}leader", "1 while this projector leads.", value=int(t.role == "leader"))
        yield GaugeMetricFamily(
            f"{PREFIX}live",
            "1 while this projector leads and the view follows.",
            value=int(t.role == "leader" and t.state == "live" and t.reason is None),
        )
        for name, text, value in _of_the_view(t):
            family = GaugeMetricFamily(PREFIX + name, text)
            if value is not None and t.role == "leader":
                family.add_metric([], value)
            yield family
        yield _slice_ages(t)


def _slice_ages(t: Telemetry) -> Metric:
    """Tell how old each of several slices is; their number bounds the label."""
    family = GaugeMetricFamily(
        f"{PREFIX}slice_as_of_age_seconds",
        "Age of as-of of each slice, where there are several; no value before its first beat.",
        labels=["slice"],
    )
    for index, one in enumerate(t.slices):
        age = _age(one)
        if age is not None:
            family.add_metric([str(index)], age)
    return family


def _age(t: SliceTelemetry) -> float | None:
    if t.applied_at is None or t.round_trip_us is None:
        return None
    return time.monotonic() - t.applied_at + t.round_trip_us / 1e6


def _of_the_view(t: Telemetry) -> Iterator[tuple[str, str, float | None]]:
    yield "hot_sessions", "Sessions in the view.", t.hot_sessions
    yield "loading", "Sessions that are being loaded into the view.", t.loading
    yield "set_aside", "Sessions that the view cannot hold; Postgres serves them.", len(t.set_aside())
    yield "events_waiting", "Events that letters named and no batch has applied yet.", t.events_in_hand
    yield "letters_bytes", "What the tables of letters take on the disk, indexes included.", t.letters_bytes
    yield (
        "letters_open",
        "1 while letters are written; 0: past READSIDE_LETTERS_MAX_MB the view is compared instead.",
        t.letters_open,
    )
    yield (
        "letters_disk_full",
        "1 while PostgreSQL's disk has no space to empty the tables of letters; writers may fail.",
        int(t.letters_disk_full is not None),
    )
    yield "ringing", "1 while writers ring by NOTIFY; 0 where we look by ourselves.", t.ringing
    yield "notification_queue_usage", "Part of Postgres' notification queue in use, 0 to 1.", t.queue_usage
    trip = None if t.round_trip_us is None else t.round_trip_us / 1e6
    yield "heartbeat_round_trip_seconds", "The last beat's time through the whole pipe.", trip
    yield "lag_seconds", "Age of the view's as-of; nothing committed longer ago is missing.", _age(t)
    as_of = None if t.as_of_us is None else t.as_of_us / 1e6
    live = sum(one.state == "live" and one.reason is None for one in t.slices)
    yield "slices", "Slices of the view, where there are several.", len(t.slices) or None
    yield "slices_live", "Slices of the view that follow.", live if t.slices else None
    yield "as_of_timestamp_seconds", "The view's as-of, seconds since 1970 by Postgres' clock.", as_of


def exposition(telemetry: Telemetry) -> bytes:
    """The Prometheus text."""
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(telemetry))
    return generate_latest(registry)
