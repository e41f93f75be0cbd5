"""What the projector remembers of its errors."""

from projector.telemetry import MAX_ERRORS, Telemetry


def test_the_last_errors_are_kept_and_repetition_is_not() -> None:
    """One that comes again and again is there once, with its last time."""
    telemetry = Telemetry()
    for number in range(MAX_ERRORS + 2):
        telemetry.note_error(f"error {number}")
    telemetry.note_error(f"error {MAX_ERRORS + 1}")

    assert [text for _, text in telemetry.errors] == [f"error {number}" for number in range(2, MAX_ERRORS + 2)]
    times = [at_us for at_us, _ in telemetry.errors]
    assert times == sorted(times)
