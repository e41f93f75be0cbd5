"""The projector's metrics: names that dashboards rely on, values off the telemetry."""

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from projector.metrics import exposition
from projector.telemetry import Telemetry

ALWAYS = {
    "readside_projector_events_applied_total",
    "readside_projector_batches_total",
    "readside_projector_terms_total",
    "readside_projector_connections_total",
    "readside_projector_loads_total",
    "readside_projector_looks_total",
    "readside_projector_notices_ignored_total",
    "readside_projector_compared_total",
    "readside_projector_drift_total",
    "readside_projector_hot_sessions",
    "readside_projector_loading",
    "readside_projector_set_aside",
    "readside_projector_leader",
    "readside_projector_live",
    "readside_projector_notification_queue_usage",
}
ONCE_LIVE = {"readside_projector_lag_seconds", "readside_projector_heartbeat_round_trip_seconds"}


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Scrape as Prometheus does."""
    text = exposition(telemetry).decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_the_names() -> None:
    """A name that changes breaks somebody's dashboard."""
    assert samples(Telemetry()).keys() == ALWAYS
    assert samples(Telemetry(applied_at=time.monotonic(), round_trip_us=1)).keys() == ALWAYS | ONCE_LIVE


def test_every_family_says_what_it_is() -> None:
    """Help and type for each."""
    families = list(text_string_to_metric_families(exposition(Telemetry()).decode()))

    assert all(family.documentation.endswith(".") for family in families)
    assert {family.type for family in families} == {"counter", "gauge"}


def test_the_values() -> None:
    """Counters, gauges and flags, each from its field."""
    telemetry = Telemetry(
        role="leader", state="live", hot_sessions=3, loading=2, queue_usage=0.25, events_applied=10, batches=9, terms=8,
        connections=7, loads=6, looks=5, notices_ignored=4, set_aside={"a": "bad"},
    )  # fmt: skip
    found = {name.removeprefix("readside_projector_"): value for name, value in samples(telemetry).items()}

    assert found == {
        "events_applied_total": 10, "batches_total": 9, "terms_total": 8, "connections_total": 7, "loads_total": 6,
        "looks_total": 5, "notices_ignored_total": 4, "compared_total": 0,
        "drift_total": 0, "hot_sessions": 3, "loading": 2, "set_aside": 1, "leader": 1,
        "live": 1, "notification_queue_usage": 0.25,
    }  # fmt: skip


def test_the_lag_grows_while_nothing_is_applied() -> None:
    """A gauge that stood still at its last value would read well while the pipe is stuck."""
    telemetry = Telemetry(applied_at=time.monotonic() - 100, round_trip_us=2_000_000)

    assert samples(telemetry)["readside_projector_lag_seconds"] == pytest.approx(102, abs=5)


def test_a_standby_leads_nothing() -> None:
    """Both flags are 0, not absent."""
    found = samples(Telemetry(role="standby"))

    assert (found["readside_projector_leader"], found["readside_projector_live"]) == (0, 0)
