"""Which sessions stay hot, which leave, and who makes room for whom; on a clock of the test's own."""

from hypothesis import given
from hypothesis import strategies as st

from projector.core.sessions import NEVER_EVICTED_SECONDS
from tests.support.tables import table


def test_an_idle_session_leaves_after_the_ttl() -> None:
    """Not at the TTL, but past it."""
    made = table(["a"], ttl_seconds=60)
    made.clock.now += 60
    assert made.sessions.idle() == []
    made.clock.now += 0.001

    assert made.sessions.idle() == ["a"]
    assert "a" in made.sessions.hot  # until the batch that drops it


def test_a_polled_session_stays_and_is_told_once() -> None:
    """Touches are collected for one operation a sweep."""
    made = table(["a"], ttl_seconds=60)
    made.clock.now += 50
    made.sessions.touch(["a", "a", "not hot"])
    made.clock.now += 50

    assert made.sessions.idle() == []
    assert made.sessions.take_touched() == {"a": None}
    assert made.sessions.take_touched() == {}
    assert "not hot" not in made.sessions.hot


def test_a_poll_is_told_with_its_age() -> None:
    """Once; writing to a session is no poll, and a session that left is not spoken of."""
    made = table(["polled", "written", "gone"])
    made.sessions.touch(["polled", "gone", "not hot"], polled=True)
    made.sessions.touch(["written"])
    made.sessions.leave("gone")
    made.clock.now += 1.5

    assert made.sessions.take_touched() == {"polled": 1500, "written": None}
    made.sessions.touch(["polled"])
    assert made.sessions.take_touched() == {"polled": None}


def test_a_poll_before_a_write_is_still_told() -> None:
    """With the age of the poll, however late the write."""
    made = table(["a"])
    made.sessions.touch(["a"], polled=True)
    made.clock.now += 2
    made.sessions.touch(["a"])

    assert made.sessions.take_touched() == {"a": 2000}


def test_what_was_idle_before_is_idle_still() -> None:
    """A new leader takes over the idle times that Redis remembers."""
    made = table({"old": 59, "new": 0}, ttl_seconds=60)
    made.clock.now += 2

    assert made.sessions.idle() == ["old"]


def test_a_session_that_left_is_forgotten() -> None:
    """It neither leaves again nor is touched."""
    made = table(["a"])
    made.sessions.touch(["a"])
    made.sessions.leave("a")
    made.sessions.leave("never there")
    made.clock.now += 100

    assert made.sessions.idle() == []
    assert made.sessions.take_touched() == {}
    assert made.says() == ([], [], {})


def test_room_while_there_is_room() -> None:
    """Nobody leaves before the bound is reached."""
    made = table(["a"], most=3)

    assert made.sessions.room_for(2) == (2, [])
    assert made.sessions.room_for(0) == (0, [])


def test_the_idlest_leave_first() -> None:
    """As many as are needed, in the order of their last activity."""
    made = table({"b": 60, "a": 40, "c": 20}, most=3)
    assert made.sessions.room_for(2) == (2, ["b", "a"])
    made.sessions.touch(["b"])
    made.clock.now += 20

    assert made.sessions.room_for(2) == (2, ["a", "c"])


def test_the_busy_are_never_pushed_out() -> None:
    """A storm of cold polls is turned away instead."""
    made = table({"idle": NEVER_EVICTED_SECONDS + 1, "at the bound": NEVER_EVICTED_SECONDS}, most=2)

    assert made.sessions.room_for(5) == (1, ["idle"])
    made.sessions.touch(["idle"])
    assert made.sessions.room_for(5) == (0, [])


def test_a_bound_that_was_lowered() -> None:
    """More hot sessions than there may be: nobody comes in but for one who leaves."""
    made = table(dict.fromkeys("abcd", 60.0), most=2)

    assert made.sessions.room_for(1) == (1, ["a"])


def test_who_is_on_the_way_in_has_one_place_each() -> None:
    """A rebuild of a hot session needs none."""
    made = table("a", "abc", most=6)

    assert made.sessions.room_for(5) == (3, [])


@given(ages=st.lists(st.integers(0, 40), max_size=12), most=st.integers(1, 8), more=st.integers(0, 10))
def test_room_never_breaks_the_bound(ages: list[int], most: int, more: int) -> None:
    """Whoever comes in finds a place that was free or that an idle session left."""
    made = table({str(number): float(age) for number, age in enumerate(ages)}, most=most)
    room, leaving = made.sessions.room_for(more)

    assert 0 <= room <= more
    assert all(ages[int(name)] > NEVER_EVICTED_SECONDS for name in leaving)
    assert len(ages) - len(leaving) + room <= max(most, len(ages))
    assert [ages[int(name)] for name in leaving] == sorted((ages[int(name)] for name in leaving), reverse=True)
