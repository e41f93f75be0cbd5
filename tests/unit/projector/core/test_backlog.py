"""What waits for one slice's Redis: several deliveries are as good as one, up to a bound."""

from projector.core.backlog import MAX_WAITING, Backlog, Delivery
from projector.core.letters import Beat, Letters

A, B, C = "a", "b", "c"


def letters(*added: str, session: str = A) -> Letters:
    """Letters of events added to a session."""
    return Letters(added={session: dict.fromkeys(added)}, txids={session: dict.fromkeys(added, 7)})


def test_what_was_put_is_taken_once() -> None:
    """And then there is nothing to take."""
    backlog, told = Backlog(), Delivery(letters("1"), Beat(5, 0.0), "shape")
    backlog.put(told)
    waits, taken, left = bool(backlog), backlog.take(), bool(backlog)

    assert (waits, taken, left) == (True, told, False)
    assert backlog.take() == Delivery(Letters())


def test_deliveries_are_taken_as_one() -> None:
    """With all that was named, the last beat and the last shape."""
    backlog = Backlog()
    backlog.put(Delivery(letters("1"), Beat(5, 0.0)))
    backlog.put(Delivery(Letters(rows={B}, created={C: None}, snapshot="later"), None, "shape"))
    backlog.put(Delivery(letters("2"), Beat(9, 1.0)))
    taken = backlog.take()

    assert (taken.letters.added, taken.letters.txids) == ({A: {"1": None, "2": None}}, {A: {"1": 7, "2": 7}})
    assert (taken.letters.rows, taken.letters.created, taken.letters.snapshot) == ({B}, {C: None}, "later")
    assert (taken.beat, taken.shape) == (Beat(9, 1.0), "shape")


def test_a_session_to_look_at_stays_one() -> None:
    """Whatever is added to it later: the look reads it all."""
    backlog = Backlog()
    backlog.put(Delivery(Letters(looks={A})))
    backlog.put(Delivery(letters("1")))
    taken = backlog.take().letters

    assert (taken.looks, taken.added) == ({A}, {})


def test_doubt_is_kept() -> None:
    """A delivery that says that letters were skipped is not healed by one that does not."""
    backlog = Backlog()
    backlog.put(Delivery(Letters(incomplete=True), Beat(5, 0.0)))
    backlog.put(Delivery(letters("1"), Beat(6, 0.0)))

    assert backlog.take().letters.incomplete


def test_past_the_bound_any_session_may_have_changed() -> None:
    """However little comes after that; the term goes on, or much that is written would never let a slice catch up."""
    backlog = Backlog()
    backlog.put(Delivery(letters("1")))
    backlog.put(Delivery(letters(*map(str, range(MAX_WAITING + 1)))))
    backlog.put(Delivery(letters("2"), Beat(5, 0.0)))
    taken = backlog.take()

    assert (taken.letters.incomplete, taken.letters.ended) == (True, None)
    assert taken.letters.events == 1
    assert taken.beat == Beat(5, 0.0)


def test_one_reading_may_be_as_large_as_it_is() -> None:
    """Readings have a bound of their own."""
    backlog = Backlog()
    backlog.put(Delivery(letters(*map(str, range(MAX_WAITING + 1)))))

    assert not backlog.take().letters.incomplete


def test_letters_are_split_by_slice() -> None:
    """Each slice is told of its own sessions, and of the reading that they came with."""
    whole = Letters(
        added={A: {"1": None}, B: {"2": None}},
        txids={A: {"1": 1}, B: {"2": 2}},
        looks={C},
        rows={B},
        created={A: None},
        snapshot="s",
    )
    parts = whole.split({A: 0, B: 1, C: 1}.__getitem__)

    assert parts == {
        0: Letters(added={A: {"1": None}}, txids={A: {"1": 1}}, created={A: None}, snapshot="s"),
        1: Letters(added={B: {"2": None}}, txids={B: {"2": 2}}, looks={C}, rows={B}, snapshot="s"),
    }
