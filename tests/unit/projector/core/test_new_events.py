"""The new events of a step, within bounds: what is too long is refused whole, and counts for nothing."""

from projector.core.new_events import BYTES_OF_ONE_SESSION, NewEvents
from readmodel.values.event import EventRow


def event(session_id: str, number: int, length: int) -> EventRow:
    """An event whose JSON is so long."""
    return EventRow(session_id, number.to_bytes(16, "big"), 1, "x", 0, 0, b"x" * length)


def test_events_stand_by_session_and_id() -> None:
    """As letters name them, with the bytes of all."""
    found = NewEvents()
    one, two, other = event("a", 1, 10), event("a", 2, 20), event("b", 3, 5)
    for each in (one, two, other):
        found.take(each)

    assert found.rows == {"a": {f"{1:032x}": one, f"{2:032x}": two}, "b": {f"{3:032x}": other}}
    assert (found.bytes, found.big, found.bad) == (35, set(), {})


def test_a_session_within_its_bound_is_kept() -> None:
    """The bound itself is allowed."""
    found = NewEvents()
    found.take(event("a", 1, BYTES_OF_ONE_SESSION - 10))
    found.take(event("a", 2, 10))

    assert len(found.rows["a"]) == 2
    assert (found.bytes, found.big) == (BYTES_OF_ONE_SESSION, set())


def test_a_session_past_its_bound_is_refused_whole() -> None:
    """Some of its events alone would be a lie; what others have stays."""
    found = NewEvents()
    found.take(event("b", 9, 7))
    found.take(event("a", 1, BYTES_OF_ONE_SESSION))
    found.take(event("a", 2, 1))
    found.take(event("a", 3, 1))

    assert (set(found.rows), found.big, found.bytes) == ({"b"}, {"a"}, 7)


def test_a_refused_session_takes_no_more() -> None:
    """However short the next event is; and nothing is counted twice."""
    found = NewEvents()
    found.take(event("a", 1, 30))
    found.refuse("a")
    found.refuse("a")
    found.take(event("a", 2, 1))

    assert (found.rows, found.big, found.bytes) == ({}, {"a"}, 0)
