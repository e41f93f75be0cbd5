"""Which sessions stay hot, which leave, and who makes room for whom; on a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projector.core.hot import NEVER_EVICTED_SECONDS, HotSessions


class Clock:
    """A monotonic clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def test_an_idle_session_leaves_after_the_ttl(clock: Clock) -> None:
    """Not at the TTL, but past it."""
    hot = HotSessions(60, 10, clock)
    hot.add("a")
    clock.now += 60
    assert hot.sweep() == ([], [])
    clock.now += 0.001

    assert hot.sweep() == (["a"], [])
    assert "a" in hot  # until the batch that drops it


def test_a_polled_session_stays_and_is_told_once(clock: Clock) -> None:
    """Touches are collected for one operation a sweep."""
    hot = HotSessions(60, 10, clock)
    hot.add("a")
    clock.now += 50
    hot.touch(["a", "a", "not hot"])
    clock.now += 50

    assert hot.sweep() == ([], ["a"])
    assert hot.sweep() == ([], [])
    assert "not hot" not in hot


def test_a_poll_is_told_with_its_age(clock: Clock) -> None:
    """Once; writing to a session is no poll, and a session that left is not spoken of."""
    hot = HotSessions(60, 10, clock)
    for name in ("polled", "written", "gone"):
        hot.add(name)
    hot.touch(["polled", "gone", "not hot"], polled=True)
    hot.touch(["written"])
    hot.discard("gone")
    clock.now += 1.5

    assert hot.take_polled() == {"polled": 1500}
    assert hot.take_polled() == {}


def test_a_touch_long_ago_saves_nobody(clock: Clock) -> None:
    """A session touched since the last sweep and idle since is not kept alive in Redis."""
    hot = HotSessions(60, 10, clock)
    hot.add("a")
    hot.touch(["a"])
    clock.now += 61

    assert hot.sweep() == (["a"], [])


def test_what_was_idle_before_is_idle_still(clock: Clock) -> None:
    """A new leader takes over the idle times that Redis remembers."""
    hot = HotSessions(60, 10, clock)
    hot.add("old", idle_seconds=59)
    hot.add("new")
    clock.now += 2

    assert hot.sweep() == (["old"], [])


def test_a_discarded_session_is_forgotten(clock: Clock) -> None:
    """It neither leaves again nor is touched."""
    hot = HotSessions(60, 10, clock)
    hot.add("a")
    hot.touch(["a"])
    hot.discard("a")
    hot.discard("never there")
    clock.now += 100

    assert hot.sweep() == ([], [])
    assert (len(hot), list(hot)) == (0, [])


def test_room_while_there_is_room(clock: Clock) -> None:
    """Nobody leaves before the bound is reached."""
    hot = HotSessions(60, 3, clock)
    hot.add("a")

    assert hot.room_for(2) == (2, [])
    assert hot.room_for(0) == (0, [])


def test_the_idlest_leave_first(clock: Clock) -> None:
    """As many as are needed, in the order of their last activity."""
    hot = HotSessions(600, 3, clock)
    for name in ["b", "a", "c"]:
        hot.add(name)
        clock.now += 20
    assert hot.room_for(2) == (2, ["b", "a"])
    hot.touch(["b"])
    clock.now += 20

    assert hot.room_for(2) == (2, ["a", "c"])


def test_the_busy_are_never_pushed_out(clock: Clock) -> None:
    """A storm of cold polls is turned away instead."""
    hot = HotSessions(600, 2, clock)
    hot.add("idle", idle_seconds=NEVER_EVICTED_SECONDS + 1)
    hot.add("busy", idle_seconds=NEVER_EVICTED_SECONDS - 1)

    assert hot.room_for(5) == (1, ["idle"])
    hot.touch(["idle"])
    assert hot.room_for(5) == (0, [])


def test_a_bound_that_was_lowered(clock: Clock) -> None:
    """More hot sessions than there may be: nobody comes in but for one who leaves."""
    hot = HotSessions(600, 2, clock)
    for name in "abcd":
        hot.add(name)
    clock.now += 60
    room, leaving = hot.room_for(1)

    assert (room, leaving) == (1, ["a"])


@given(ages=st.lists(st.integers(0, 40), max_size=12), most=st.integers(1, 8), more=st.integers(0, 10))
def test_room_never_breaks_the_bound(ages: list[int], most: int, more: int) -> None:
    """Whoever comes in finds a place that was free or that an idle session left."""
    hot = HotSessions(600, most, Clock())
    for number, age in enumerate(ages):
        hot.add(str(number), age)
    room, leaving = hot.room_for(more)

    assert 0 <= room <= more
    assert all(ages[int(name)] > NEVER_EVICTED_SECONDS for name in leaving)
    assert len(ages) - len(leaving) + room <= max(most, len(ages))
    assert [ages[int(name)] for name in leaving] == sorted((ages[int(name)] for name in leaving), reverse=True)
