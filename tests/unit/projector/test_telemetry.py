"""What the projector counts of the transitions of sessions, and remembers about itself."""

import pytest
from structlog.testing import capture_logs

from projector.core.sessions import Transition
from projector.telemetry import MAX_ERRORS, MAX_LATE_BEATS, MAX_REMEMBERED, Telemetry

ASIDE = "a session is set aside; Postgres serves it"
COUNTED = {
    "looks": "looked",
    "sessions_lost": "lost",
    "loads": "put",
    "loads_failed": "failed",
    "drift": "differed",
}


@pytest.mark.parametrize("transition", ["put", "looked", "lost", "set_aside", "failed", "missing", "differed", "kept"])
def test_each_transition_is_counted_under_its_name(transition: Transition) -> None:
    """Once, and no other is counted with it."""
    telemetry = Telemetry()
    telemetry.note(transition, "a", "why")

    assert {name: getattr(telemetry, name) for name in COUNTED} == {
        name: int(counted == transition) for name, counted in COUNTED.items()
    }


@pytest.mark.parametrize(
    ("transition", "repaired"),
    [("put", 1), ("kept", 1), ("missing", 1), ("set_aside", 1), ("failed", 1), ("looked", 0), ("lost", 0)],
)
def test_what_ends_a_difference(transition: Transition, repaired: int) -> None:
    """The view holds the session as Postgres does or, rightly, not at all; to be on its way is not enough."""
    telemetry = Telemetry()
    telemetry.note("differed", "a")
    telemetry.note(transition, "another", "why")
    assert telemetry.drift_repaired == 0
    telemetry.note(transition, "a", "why")
    telemetry.note(transition, "a", "why")

    assert telemetry.drift_repaired == repaired
    assert ("a" in telemetry.drifting) != bool(repaired)


def test_a_session_is_told_to_be_set_aside_once() -> None:
    """Only the first time is news: it may be tried again and again. Once it was hot, it would be news."""
    telemetry = Telemetry()
    with capture_logs() as logs:
        telemetry.note("set_aside", "a", "one")
        telemetry.note("set_aside", "a", "two")
        telemetry.note("put", "a")
        telemetry.note("set_aside", "a", "three")

    assert [(entry["event"], entry["session_id"], entry["reason"]) for entry in logs] == [
        (ASIDE, "a", "one"),
        (ASIDE, "a", "three"),
    ]


def test_a_load_that_failed_is_told_with_its_reason() -> None:
    """Each time: somebody may wait for it."""
    telemetry = Telemetry()
    with capture_logs() as logs:
        telemetry.note("failed", "a", "away.")
        telemetry.note("failed", "a", "away.")

    assert [(entry["log_level"], entry["session_id"], entry["reason"]) for entry in logs] == [
        ("warning", "a", "away.")
    ] * 2


def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten first."""
    telemetry = Telemetry()
    with capture_logs():
        for number in range(MAX_REMEMBERED + 5):
            telemetry.note("set_aside", str(number), "bad")
            telemetry.note("differed", str(number))

    for remembered in (telemetry.told_aside, telemetry.drifting):
        assert len(remembered) == MAX_REMEMBERED
        assert next(reversed(remembered)) == str(MAX_REMEMBERED + 4)
    assert telemetry.drift == MAX_REMEMBERED + 5


def test_it_begins_as_nothing() -> None:
    """No state is claimed before it is reached."""
    telemetry = Telemetry()

    assert (telemetry.role, telemetry.state, telemetry.as_of_us) == ("starting", "waiting", None)
    assert telemetry.set_aside() == {}


def test_the_last_errors_are_kept_and_repetition_is_not() -> None:
    """One that comes again and again is there once, with its last time."""
    telemetry = Telemetry()
    for number in range(MAX_ERRORS + 2):
        telemetry.note_error(f"error {number}")
    telemetry.note_error(f"error {MAX_ERRORS + 1}")

    assert [text for _, text in telemetry.errors] == [f"error {number}" for number in range(2, MAX_ERRORS + 2)]
    times = [at_us for at_us, _ in telemetry.errors]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("seconds", "count", "sum_seconds"),
    [(0.25, 1, 0.25), (0.75, 2, 0.75 + 0.25), (2.25, 5, 2.25 + 1.75 + 1.25 + 0.75 + 0.25)],
)
def test_a_beat_is_measured_with_those_that_it_held_up(seconds: float, count: int, sum_seconds: float) -> None:
    """Beats are half a second apart: each that was due meanwhile waited for what was left of it."""
    telemetry = Telemetry()
    telemetry.note_beat(seconds, 0.5)

    assert (telemetry.round_trips.count, telemetry.round_trips.seconds) == (count, sum_seconds)


def test_a_day_of_standing_still_is_no_endless_count() -> None:
    """There is a bound on what one beat is measured for."""
    telemetry = Telemetry()
    telemetry.note_beat(86_400.0, 0.01)

    assert telemetry.round_trips.count == MAX_LATE_BEATS + 1
