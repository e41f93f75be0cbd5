"""What the projector remembers about itself."""

from projector import telemetry as module
from projector.telemetry import MAX_ERRORS, MAX_SET_ASIDE, Telemetry


def test_a_session_is_set_aside_once() -> None:
    """Only the first time is news; the reason is the last one."""
    telemetry = Telemetry()

    assert telemetry.put_aside("a", "one")
    assert not telemetry.put_aside("a", "two")
    assert telemetry.set_aside == {"a": "two"}


def test_a_session_that_is_tried_again_is_no_news() -> None:
    """Unless it was hot in between."""
    telemetry = Telemetry()
    telemetry.put_aside("a", "one")
    telemetry.set_aside.clear()

    assert not telemetry.put_aside("a", "one")
    telemetry.put_hot("a")
    assert telemetry.put_aside("a", "one")


def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten first."""
    telemetry = Telemetry()
    for number in range(MAX_SET_ASIDE + 5):
        assert telemetry.put_aside(str(number), "bad")

    assert len(telemetry.set_aside) == len(telemetry.told_aside) == MAX_SET_ASIDE
    assert next(iter(telemetry.set_aside)) == "5"


def test_it_begins_as_nothing() -> None:
    """No state is claimed before it is reached."""
    telemetry = module.Telemetry()

    assert (telemetry.role, telemetry.state, telemetry.as_of_us) == ("starting", "waiting", None)


def test_the_last_errors_are_kept_and_repetition_is_not() -> None:
    """One that comes again and again is there once, with its last time."""
    telemetry = Telemetry()
    for number in range(MAX_ERRORS + 2):
        telemetry.note_error(f"error {number}")
    telemetry.note_error(f"error {MAX_ERRORS + 1}")

    assert [text for _, text in telemetry.errors] == [f"error {number}" for number in range(2, MAX_ERRORS + 2)]
    times = [at_us for at_us, _ in telemetry.errors]
    assert times == sorted(times)
