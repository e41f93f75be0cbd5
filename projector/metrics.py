"""The projector's metrics for Prometheus, read off its telemetry when they are scraped."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from projector.telemetry import Telemetry

_COUNTERS = {
    "events_applied": "Events sent to the view.",
    "batches": "Batches that the view accepted.",
    "terms": "Terms begun: each catches up by comparing.",
    "connections": "Connections made to listen.",
    "loads": "Sessions loaded into the view.",
    "looks": "Sessions dropped to be looked at again.",
    "notices_ignored": "Notices on our channel that were not ours.",
    "compared": "Hot sessions compared with Postgres by the continuous check.",
    "drift": "Hot sessions found to differ from Postgres, and loaded anew.",
}
_GAUGES = {
    "hot_sessions": "Sessions in the view.",
    "loading": "Sessions on their way into the view.",
}


class TelemetryCollector(Collector):
    """Gives the telemetry as metric families under `readside_projector_`."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def collect(self) -> Iterator[Metric]:
        """Yield every family; the lag only once a beat was applied."""
        t, prefix = self._telemetry, "readside_projector"
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"{prefix}_{name}", text, value=getattr(t, name))
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"{prefix}_{name}", text, value=getattr(t, name))
        yield GaugeMetricFamily(f"{prefix}_set_aside", "Sessions that the view cannot hold.", value=len(t.set_aside))
        yield GaugeMetricFamily(f"{prefix}_leader", "1 while this projector leads.", value=int(t.role == "leader"))
        yield GaugeMetricFamily(f"{prefix}_live", "1 while this projector is live.", value=int(t.state == "live"))
        yield GaugeMetricFamily(
            f"{prefix}_notification_queue_usage",
            "Part of Postgres' notification queue in use, 0 to 1.",
            value=t.queue_usage,
        )
        if t.applied_at is not None and t.round_trip_us is not None:
            lag = time.monotonic() - t.applied_at + t.round_trip_us / 1_000_000
            yield GaugeMetricFamily(f"{prefix}_lag_seconds", "Age of the view's as-of.", value=lag)
            yield GaugeMetricFamily(
                f"{prefix}_heartbeat_round_trip_seconds",
                "Last heartbeat through the pipe.",
                value=t.round_trip_us / 1e6,
            )


def exposition(telemetry: Telemetry) -> bytes:
    """Give the Prometheus text."""
    registry = CollectorRegistry()
    registry.register(TelemetryCollector(telemetry))
    return generate_latest(registry)
