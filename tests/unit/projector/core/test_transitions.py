"""The transitions of a session, each by its name: what the table says afterwards, and whom it told."""

from collections.abc import Callable
from functools import partial

import pytest

from projector.core import sessions as module
from projector.core.letters import Letters
from projector.core.sessions import MAX_ARRIVED, MAX_SET_ASIDE, LoadFailure, NoSession, Sessions
from tests.support.deciding import STAGED, eid, letters
from tests.support.tables import Table, table


def begun(made: Table) -> list[tuple[str, int]]:
    """The loads that began: whose, and how often it was tried before."""
    return [(load.session_id, load.attempts) for load in made.begun]


def test_keep() -> None:
    """A session that catching up found equal is hot, idle for as long as Redis says; nobody waits for it."""
    made = table(ttl_seconds=60)
    made.sessions.keep("a", 61.0)
    made.sessions.keep("b", 0.0)

    assert made.says() == (["a", "b"], [], {})
    assert made.sessions.idle() == ["a"]
    assert (made.noted, made.settled, begun(made)) == ([("kept", "a"), ("kept", "b")], [], [])


def test_start() -> None:
    """A load begins for the first time."""
    made = table()
    made.sessions.start("a")

    assert made.says() == ([], ["a"], {})
    assert begun(made) == [("a", 0)]
    assert made.sessions.load_of("a") is made.begun[0]
    assert made.sessions.load_of("b") is None


def test_start_of_what_is_hot() -> None:
    """Its view stays until the put."""
    made = table("a")
    made.sessions.start("a")

    assert made.says() == (["a"], ["a"], {})


def test_start_of_what_is_set_aside() -> None:
    """What is tried again is not set aside any more."""
    made = table(aside="ab")
    made.sessions.start("a")

    assert made.says() == ([], ["a"], {"b": "b is bad"})


def test_restart() -> None:
    """Another load takes its place, counts one try more, and knows nothing of what arrived."""
    made = table(loading="a")
    first = made.load("a", STAGED, "x")
    made.sessions.restart("a")
    made.sessions.restart("a")

    assert begun(made) == [("a", 1), ("a", 2)]
    second = made.load("a")
    assert second is made.begun[-1]
    assert second is not first
    assert (second.outcome, second.arrived, second.row_changed, second.created) == (None, {}, False, False)


def test_hear() -> None:
    """A load collects what letters name of its session."""
    made = table("h", "abc")
    made.sessions.hear(letters({"a": [1], "x": [2], "h": [3]}, rows="bx", created="cx"))
    made.sessions.hear(letters({"a": [1, 4]}))

    said = {sid: made.load(sid) for sid in "abc"}
    assert {sid: set(load.arrived) for sid, load in said.items()} == {"a": {eid(1), eid(4)}, "b": set(), "c": set()}
    assert [sid for sid, load in said.items() if load.row_changed] == ["b"]
    assert [sid for sid, load in said.items() if load.created] == ["c"]
    assert made.says() == (["h"], ["a", "b", "c"], {})
    assert begun(made) == []


@pytest.mark.parametrize("come_in", [Sessions.put, partial(Sessions.keep, idle_seconds=0.0)])
def test_what_its_snapshot_showed_is_crossed_out(come_in: Callable[..., None]) -> None:
    """A letter that the load or the comparison has seen adds nothing; the session is named all the same."""
    made = table()
    come_in(made.sessions, "a", snapshot="700:705:703")
    told = letters({"a": [1, 2, 3], "b": [4]})
    told.txids = {"a": {eid(1): 702, eid(2): 703, eid(3): 705}, "b": {eid(1): 705, eid(4): 702}}
    told.snapshot = "703:704:703"
    made.sessions.hear(told)

    assert told.added == {"a": {eid(2): None, eid(3): None}, "b": {eid(4): None}}
    again = letters({"a": [5]})
    again.txids, again.snapshot = {"a": {eid(5): 704}}, "706:706:"
    made.sessions.hear(again)
    assert again.added == {"a": {}}
    assert again.named() == {"a"}
    last = letters({"a": [5]})
    last.txids = {"a": {eid(5): 704}}
    made.sessions.hear(last)
    assert last.added == {"a": {eid(5): None}}  # the reading before covered the snapshot: nothing is left to compare


def test_what_left_is_known_no_more() -> None:
    """Another load of it will tell what it has seen."""
    made = table()
    made.sessions.put("a", "700:705:")
    made.sessions.leave("a")
    told = letters({"a": [1]})
    told.txids = {"a": {eid(1): 702}}
    made.sessions.hear(told)

    assert told.added == {"a": {eid(1): None}}


def test_hear_too_much() -> None:
    """As many as the bound are kept; one more begins the load anew, and the others are left alone."""
    made = table(loading="ab")
    made.sessions.hear(letters({"a": range(MAX_ARRIVED), "b": [1]}))
    assert begun(made) == []
    made.sessions.hear(letters({"a": [MAX_ARRIVED]}))

    assert begun(made) == [("a", 1)]
    assert made.load("a").arrived == {}
    assert made.load("b").arrived == {eid(1): None}


def test_hear_with_rows() -> None:
    """A row that a letter brought counts like a name."""
    made = table(loading="a")
    made.sessions.hear(Letters(added={"a": {eid(1): None}}))

    assert made.load("a").arrived == {eid(1): None}


def test_put() -> None:
    """The session is hot from now on, its load is over, and who waits is told."""
    made = table({"old": 50}, ["a", "old"], ttl_seconds=60)
    made.clock.now += 20
    made.sessions.put("a")
    made.sessions.put("old")

    assert made.says() == (["a", "old"], [], {})
    assert made.sessions.idle() == []
    assert made.noted == [("put", "a"), ("put", "old")]
    assert made.settled == [("a", "hot"), ("old", "hot")]


def test_leave() -> None:
    """It is not in the view; nobody is told, and a load of it goes on."""
    made = table("ab", "a")
    made.sessions.touch("ab", polled=True)
    made.sessions.leave("a")

    assert made.says() == (["b"], ["a"], {})
    assert made.sessions.take_touched() == {"b": 0}
    assert (made.noted, made.settled, begun(made)) == ([], [], [])


def test_leave_forgets_the_poll() -> None:
    """A session that comes back was not polled since."""
    made = table("a")
    made.sessions.touch("a", polled=True)
    made.sessions.leave("a")
    made.sessions.put("a")
    made.sessions.touch("a")

    assert made.sessions.take_touched() == {"a": None}


@pytest.mark.parametrize(
    ("hot", "loading", "aside", "loads"),
    [
        ("a", "", "", [("a", 0)]),
        ("", "a", "", [("a", 1)]),
        ("a", "a", "", [("a", 1)]),
        ("", "", "", []),
        ("", "", "a", []),
    ],
    ids=["hot", "on its way in", "hot and loaded anew", "cold", "set aside"],
)
def test_look(hot: str, loading: str, aside: str, loads: list[tuple[str, int]]) -> None:
    """What is hot or on its way leaves the view and is loaded; what is neither may at least be tried again."""
    made = table(hot, loading, aside)
    made.sessions.look("a")

    assert made.says() == ([], [session_id for session_id, _ in loads], {})
    assert begun(made) == loads
    assert (made.noted, made.settled) == ([("looked", "a")], [])


def test_lose() -> None:
    """A session that was believed hot is loaded; of one that was not, nothing is lost."""
    made = table("ab", "b")
    for session_id in "abc":
        made.sessions.lose(session_id)

    assert made.says() == ([], ["a", "b"], {})
    assert begun(made) == [("a", 0)]
    assert made.noted == [("lost", "a"), ("lost", "b")]
    assert made.settled == []


def test_damage() -> None:
    """It is told of what is hot, and changes nothing: whoever found it has the session looked at."""
    made = table("a", "b")
    for session_id in "abc":
        made.sessions.damage(session_id)

    assert made.says() == (["a"], ["b"], {})
    assert (made.noted, made.settled, begun(made)) == ([("damaged", "a")], [], [])


def test_reload() -> None:
    """A load begins, unless one is under way."""
    made = table("a", "b")
    for session_id in "aabc":
        made.sessions.reload(session_id)

    assert made.says() == (["a"], ["a", "b", "c"], {})
    assert begun(made) == [("a", 0), ("c", 0)]
    assert made.noted == []


def test_set_aside() -> None:
    """It is neither hot nor loaded any more, and who waits is told; the reason is the last one."""
    made = table("a", "ab")
    for session_id, reason in (("a", "one"), ("b", "bad"), ("a", "two")):
        made.sessions.set_aside(session_id, reason)

    assert made.says() == ([], [], {"b": "bad", "a": "two"})
    assert list(made.sessions.aside) == ["b", "a"]  # the latest last
    assert made.noted == [("set_aside", "a"), ("set_aside", "b"), ("set_aside", "a")]
    assert made.settled == [("a", "set_aside"), ("b", "set_aside"), ("a", "set_aside")]


def test_set_aside_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first."""
    assert MAX_SET_ASIDE == 10_000
    monkeypatch.setattr(module, "MAX_SET_ASIDE", 2)
    made = table(aside="abc")

    assert list(made.sessions.aside) == ["b", "c"]


def test_forgive() -> None:
    """It may be tried again; nobody is told, and nothing begins by itself."""
    made = table(aside="ab")
    made.sessions.forgive("a")
    made.sessions.forgive("never there")

    assert made.says() == ([], [], {"b": "b is bad"})
    assert (made.noted, made.settled, begun(made)) == ([], [], [])


def test_miss() -> None:
    """There is no such session, and who waits is told."""
    made = table("a", "a")
    made.load("a", NoSession())
    made.sessions.miss("a")

    assert made.says() == ([], [], {})
    assert (made.noted, made.settled, begun(made)) == ([("missing", "a")], [("a", "missing")], [])


@pytest.mark.parametrize("heard", [letters({"a": [1]}), letters(created="a")], ids=["event", "row"])
def test_miss_of_what_was_named_meanwhile(heard: Letters) -> None:
    """It was not there yet when it was looked for: it is looked for again, and who waits goes on waiting."""
    made = table("a", "a")
    made.sessions.hear(heard)
    made.load("a", NoSession())
    made.sessions.miss("a")

    assert made.says() == ([], ["a"], {})
    assert (made.noted, made.settled, begun(made)) == ([("missing", "a")], [], [("a", 1)])


def test_fail() -> None:
    """Its load is given up and who waits is told; what is hot stays hot."""
    made = table("a", "ab")
    for session_id in "ab":
        made.load(session_id, LoadFailure("away."))
        made.sessions.fail(session_id, "away.")

    assert made.says() == (["a"], [], {})
    assert made.noted == [("failed", "a"), ("failed", "b")]
    assert made.settled == [("a", "failed"), ("b", "failed")]


def test_what_is_told_and_changes_nothing() -> None:
    """A wish that ended at once, and a difference that the continuous check found."""
    made = table("a")
    made.sessions.confirm("a")
    made.sessions.refuse("b")
    made.sessions.differ("a")

    assert made.says() == (["a"], [], {})
    assert made.settled == [("a", "hot"), ("b", "no_room")]
    assert made.noted == [("differed", "a")]
    assert begun(made) == []
