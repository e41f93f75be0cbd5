"""When writers ring: while it is quiet, while somebody hears them, and while they do not wait for one another."""

import pytest

from projector.core.pace import (
    BUSY_LETTERS_PER_SECOND,
    BUSY_LOOK_SECONDS,
    CONTENDED_LOOKS,
    CONTENDED_SECONDS,
    LOOK_SECONDS,
    MAX_CONTENDED_SECONDS,
    MAX_IDLE_RING_SECONDS,
    QUEUE_USAGE,
    QUIET_LETTERS_PER_SECOND,
    QUIET_WINDOWS,
    RING_SECONDS,
    WINDOW_SECONDS,
    Pace,
)

START = 1_000.0


def listening() -> Pace:
    """A pace whose bells are allowed and heard, one window after its first reading."""
    pace = Pace(allowed=True, connected=True)
    pace.note_reading(0, START, rung=False)
    return pace


def window(pace: Pace, now: float, letters_per_second: float) -> float:
    """Read one window's letters; gives when it ended."""
    now += WINDOW_SECONDS
    pace.note_reading(round(letters_per_second * WINDOW_SECONDS), now, rung=False)
    return now


@pytest.mark.parametrize(
    ("allowed", "connected", "rings"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_writers_ring_where_it_is_allowed_and_heard(allowed: bool, connected: bool, rings: bool) -> None:
    """The operator's word and a connection that listens: without either nobody rings."""
    assert Pace(allowed, connected).ringing(START) is rings


def test_many_letters_a_second_silence_the_bell_within_a_window() -> None:
    """Past a thousand letters a second the bell's lock would cost writers more than our looking does."""
    pace = listening()
    now = window(pace, START, BUSY_LETTERS_PER_SECOND * 1.1)

    assert pace.busy
    assert not pace.ringing(now)


def test_letters_are_counted_over_a_whole_window() -> None:
    """One reading soon after it began is no load, however fast its letters came."""
    pace = listening()
    pace.note_reading(int(BUSY_LETTERS_PER_SECOND * WINDOW_SECONDS) - 1, START + 0.001, rung=True)
    now = START + WINDOW_SECONDS
    pace.note_reading(0, now, rung=False)

    assert pace.ringing(now)


def test_many_small_readings_add_up() -> None:
    """Under load each reading brings few letters; their sum counts."""
    pace, now = listening(), START
    for _ in range(25):
        now += WINDOW_SECONDS / 25
        pace.note_reading(15, now, rung=True)
    now += 0.01
    pace.note_reading(0, now, rung=False)

    assert pace.busy


def test_the_bell_stays_silent_between_the_two_rates() -> None:
    """What lies between busy and quiet changes nothing: the mode must not flutter."""
    pace = listening()
    now = window(pace, START, BUSY_LETTERS_PER_SECOND * 2)
    between = (BUSY_LETTERS_PER_SECOND + QUIET_LETTERS_PER_SECOND) / 2
    for _ in range(4 * QUIET_WINDOWS):
        now = window(pace, now, between)

    assert pace.busy


def test_the_bell_keeps_ringing_between_the_two_rates() -> None:
    """And what was quiet stays so below the upper rate."""
    pace, now = listening(), START
    for _ in range(4 * QUIET_WINDOWS):
        now = window(pace, now, BUSY_LETTERS_PER_SECOND * 0.9)

    assert pace.ringing(now)


def test_some_quiet_windows_in_a_row_let_writers_ring_again() -> None:
    """One fewer does not."""
    pace = listening()
    now = window(pace, START, BUSY_LETTERS_PER_SECOND * 2)
    for _ in range(QUIET_WINDOWS - 1):
        now = window(pace, now, QUIET_LETTERS_PER_SECOND / 2)
    assert not pace.ringing(now)
    now = window(pace, now, QUIET_LETTERS_PER_SECOND / 2)

    assert pace.ringing(now)


def test_a_window_that_is_not_quiet_begins_the_count_anew() -> None:
    """Quiet windows must follow one another."""
    pace = listening()
    now = window(pace, START, BUSY_LETTERS_PER_SECOND * 2)
    for rate in (100.0, 100.0, 100.0, QUIET_LETTERS_PER_SECOND * 1.5, 100.0, 100.0, 100.0):
        now = window(pace, now, rate)

    assert pace.busy


def test_rings_that_bring_letters_are_heard_at_once() -> None:
    """None holds the next one up."""
    pace = listening()
    for now in (START + 0.01, START + 0.02, START + 0.03):
        pace.note_reading(1, now, rung=True)

        assert pace.next_ring_at == now


def test_rings_in_vain_come_farther_apart_up_to_a_bound() -> None:
    """Each doubles the gap: whoever forges rings gets so many readings a second and no more."""
    pace, gaps = listening(), []
    for n in range(10):
        pace.note_reading(0, START + n, rung=True)
        gaps.append(round(pace.next_ring_at - START - n, 6))

    assert gaps == [RING_SECONDS, 0.002, 0.004, 0.008, 0.016, 0.032, *[MAX_IDLE_RING_SECONDS] * 4]


def test_one_ring_with_letters_ends_the_suspicion() -> None:
    """A flood that stops leaves nothing behind."""
    pace = listening()
    for n in range(10):
        pace.note_reading(0, START + n, rung=True)
    pace.note_reading(1, START + 10, rung=True)

    assert pace.next_ring_at == START + 10


def test_looks_that_nobody_rang_for_leave_the_gap_alone() -> None:
    """Our own looks and beats say nothing about rings."""
    pace = listening()
    pace.note_reading(0, START + 1, rung=False)

    assert pace.next_ring_at == 0.0


def wait_in_line(pace: Pace, writers: int, now: float) -> None:
    """So many looks in a row find somebody waiting."""
    for _ in range(CONTENDED_LOOKS):
        pace.note_queue(0.0, writers, now)


def test_writers_that_wait_now_and_then_are_no_line() -> None:
    """One look that finds nobody begins the count anew."""
    pace = listening()
    for waiting in ([5] * (CONTENDED_LOOKS - 1) + [0]) * 3:
        pace.note_queue(0.0, waiting, START)

    assert pace.ringing(START)


def test_waiting_writers_silence_the_bell_for_a_while() -> None:
    """They wait for the lock of those who ring; then they may ring again."""
    pace = listening()
    wait_in_line(pace, 1, START)

    assert not pace.ringing(START + CONTENDED_SECONDS - 0.01)
    assert pace.ringing(START + CONTENDED_SECONDS)


def test_each_time_that_writers_wait_again_doubles_the_silence() -> None:
    """Up to five minutes; one who waits meanwhile rang before the silence and does not lengthen it."""
    pace, now, silences = listening(), START, []
    for _ in range(7):
        wait_in_line(pace, 3, now)
        wait_in_line(pace, 3, now + 0.5)
        ends = now
        while not pace.ringing(ends):
            ends += 1.0
        silences.append(ends - now)
        now = ends + 1.0

    assert silences == [10.0, 20.0, 40.0, 80.0, 160.0, MAX_CONTENDED_SECONDS, MAX_CONTENDED_SECONDS]


def test_writers_that_wait_after_a_long_peace_are_new_to_us() -> None:
    """The next silence is a short one again."""
    pace = listening()
    pace.note_queue(0.0, 1, START)
    later = START + 2 * CONTENDED_SECONDS + 0.01
    pace.note_queue(0.0, 1, later)

    assert pace.ringing(later + CONTENDED_SECONDS)


def test_a_queue_that_fills_silences_the_bell_until_it_is_empty() -> None:
    """Somebody's idle listener pins it, and we must not fill it."""
    pace = listening()
    for second in range(60):
        pace.note_queue(QUEUE_USAGE + 0.01, 0, START + second)
        assert not pace.ringing(START + second)
        assert pace.crowded
    pace.note_queue(0.0, 0, START + 60)

    assert not pace.crowded
    assert not pace.ringing(START + 60)
    assert pace.ringing(START + 59 + CONTENDED_SECONDS)


def test_a_queue_in_use_within_its_bound_is_no_reason() -> None:
    """Others may use it too."""
    pace = listening()
    pace.note_queue(QUEUE_USAGE, 0, START)

    assert not pace.crowded
    assert pace.ringing(START)


def test_a_full_queue_does_not_shorten_a_longer_silence() -> None:
    """The longer one counts."""
    pace, now = listening(), START
    wait_in_line(pace, 1, now)
    now += CONTENDED_SECONDS
    wait_in_line(pace, 1, now)
    pace.note_queue(QUEUE_USAGE * 2, 0, now + 1)

    assert not pace.ringing(now + 2 * CONTENDED_SECONDS - 0.01)
    assert pace.ringing(now + 2 * CONTENDED_SECONDS)


def test_under_load_looks_are_farther_apart() -> None:
    """Each takes processor time from the writers."""
    pace = listening()
    assert pace.look_seconds == LOOK_SECONDS
    window(pace, START, BUSY_LETTERS_PER_SECOND * 2)

    assert pace.look_seconds == BUSY_LOOK_SECONDS
