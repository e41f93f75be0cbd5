"""The projector's metrics: names that dashboards rely on, values off the telemetry."""

import time
from collections import Counter
from dataclasses import fields

import pytest
from prometheus_client.parser import text_string_to_metric_families

from projector.leader import CAUSES, _cause
from projector.metrics import exposition
from projector.telemetry import SliceTelemetry, Telemetry
from readmodel.errors import (
    BeatNotPassed,
    EventLogUnavailable,
    QueryTooSlow,
    RecoveryConflict,
    ServiceError,
    StandbyUnfit,
    StoreRefused,
    StoreUnavailable,
    ViewFull,
)

COUNTERS = {
    "events_applied", "batches", "terms", "catch_ups", "connections", "loads", "loads_failed", "looks",
    "readings", "letters", "comparisons", "compared", "drift", "drift_repaired", "sessions_lost", "sessions_reloaded",
}  # fmt: skip
OF_THE_LEADER = {
    "hot_sessions",
    "loading",
    "set_aside",
    "events_waiting",
    "notification_queue_usage",
    "letters_bytes",
    "letters_open",
    "letters_disk_full",
    "ringing",
}
ONCE_LIVE = {"lag_seconds", "heartbeat_round_trip_seconds", "as_of_timestamp_seconds"}
ALWAYS = {f"{name}_total" for name in COUNTERS} | {"reconnects_total", "leader", "live"}
BUCKETS = {f"commit_to_applied_seconds_{part}" for part in ("bucket", "count", "sum")}
LIVE = Telemetry(role="leader", state="live", applied_at=time.monotonic(), round_trip_us=1, as_of_us=1)


def samples(telemetry: Telemetry) -> dict[str, float]:
    """Scrape as Prometheus does; of several labels the last one's value."""
    text = exposition(telemetry).decode()
    return {
        sample.name.removeprefix("readside_projector_"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_names() -> None:
    """A name that changes breaks somebody's dashboard."""
    assert samples(Telemetry()).keys() == ALWAYS | BUCKETS
    assert samples(Telemetry(role="leader")).keys() == ALWAYS | BUCKETS | OF_THE_LEADER
    assert samples(LIVE).keys() == ALWAYS | BUCKETS | OF_THE_LEADER | ONCE_LIVE


def test_several_slices_have_names_of_their_own() -> None:
    """How many there are, how many follow, and how old each is that ever had a beat; one slice has none of it."""
    begun = SliceTelemetry("live", applied_at=time.monotonic() - 60, round_trip_us=2_000)
    slow = SliceTelemetry("live", "Redis is slow.", applied_at=time.monotonic(), round_trip_us=1)
    text = exposition(Telemetry(role="leader", slices=[begun, slow, SliceTelemetry()])).decode()
    found = {
        (sample.name.removeprefix("readside_projector_"), sample.labels.get("slice")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "slice" in sample.name
    }

    assert found.keys() == {("slices", None), ("slices_live", None)} | {("slice_as_of_age_seconds", n) for n in "01"}
    assert (found["slices", None], found["slices_live", None]) == (3, 1)
    assert 60 <= found["slice_as_of_age_seconds", "0"] < 90
    assert not {name for name in samples(LIVE) if "slice" in name}


def test_every_family_says_what_it_is() -> None:
    """Help and type for each, also for those without a value."""
    families = list(text_string_to_metric_families(exposition(Telemetry()).decode()))

    assert all(family.documentation.endswith(".") for family in families)
    assert {family.type for family in families} == {"counter", "gauge", "histogram"}
    assert {family.name for family in families} >= {f"readside_projector_{name}" for name in ONCE_LIVE}


def test_every_counter_is_shown() -> None:
    """A number that the telemetry counts and nobody sees would be forgotten."""
    numbers = {field.name for field in fields(Telemetry) if field.type == "int"}

    assert numbers - {"hot_sessions", "loading", "letters_bytes", "events_in_hand"} == COUNTERS


def test_the_values() -> None:
    """Counters, gauges and flags, each from its field."""
    telemetry = Telemetry(
        role="leader", state="live", hot_sessions=3, loading=2, queue_usage=0.25, events_applied=10, batches=9, terms=8,
        connections=7, loads=6, looks=5, readings=4, letters=40, comparisons=41, letters_bytes=42,
        ringing=True, set_aside=lambda: {"a": "bad"}, catch_ups=11, compared=12, sessions_reloaded=20,
        drift=13, drift_repaired=14, loads_failed=15, sessions_lost=16, events_in_hand=17,
        reconnects=Counter(postgres=18), letters_disk_full="No space.", round_trip_us=500_000, as_of_us=1_500_000,
    )  # fmt: skip
    telemetry.round_trips.observe(0.5)
    found = samples(telemetry)

    assert found == {
        "events_applied_total": 10, "batches_total": 9, "terms_total": 8, "connections_total": 7, "loads_total": 6,
        "looks_total": 5, "readings_total": 4, "letters_total": 40, "comparisons_total": 41,
        "letters_bytes": 42, "letters_disk_full": 1, "ringing": 1,
        "letters_open": 1, "compared_total": 12, "drift_total": 13, "hot_sessions": 3,
        "loading": 2, "set_aside": 1, "leader": 1, "live": 1, "notification_queue_usage": 0.25, "catch_ups_total": 11,
        "drift_repaired_total": 14, "loads_failed_total": 15, "sessions_lost_total": 16, "sessions_reloaded_total": 20,
        "events_waiting": 17,
        "reconnects_total": 18, "heartbeat_round_trip_seconds": 0.5, "as_of_timestamp_seconds": 1.5,
        "commit_to_applied_seconds_bucket": 1, "commit_to_applied_seconds_count": 1,
        "commit_to_applied_seconds_sum": 0.5,
    }  # fmt: skip


def test_the_lag_grows_while_nothing_is_applied() -> None:
    """A gauge that stood still at its last value would read well while the pipe is stuck."""
    telemetry = Telemetry(role="leader", applied_at=time.monotonic() - 100, round_trip_us=2_000_000)

    assert samples(telemetry)["lag_seconds"] == pytest.approx(102, abs=5)


@pytest.mark.parametrize("role", ["standby", "starting"])
def test_who_does_not_lead_tells_nothing_of_the_view(role: str) -> None:
    """What it knew while it led would grow old, and raise alarms about a view that another keeps."""
    telemetry = Telemetry(role=role, state="waiting", applied_at=1.0, round_trip_us=1, as_of_us=1)  # type: ignore[arg-type]
    found = samples(telemetry)

    assert (found["leader"], found["live"]) == (0, 0)
    assert not found.keys() & (OF_THE_LEADER | ONCE_LIVE)


def test_every_error_of_a_store_is_a_cause() -> None:
    """What ends a connection is counted under a word of its own; the narrowest kind decides."""
    kinds = {kind for parent in (StoreUnavailable, StoreRefused) for kind in _kinds(parent)}
    kinds -= {StandbyUnfit, BeatNotPassed, RecoveryConflict}  # no leader reads a standby

    assert {_cause(kind("…")) for kind in kinds} == set(CAUSES.values())
    assert [_cause(kind("…")) for kind in (EventLogUnavailable, QueryTooSlow, ViewFull)] == [
        "postgres",
        "postgres",
        "redis",
    ]


def _kinds(parent: type[ServiceError]) -> set[type[ServiceError]]:
    below = set(parent.__subclasses__())
    return below | {kind for child in below for kind in _kinds(child)}
