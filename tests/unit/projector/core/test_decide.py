"""What a step decides, row by row: given this table of sessions, when these facts are gathered, then this plan."""

from dataclasses import replace

import pytest

from projector.core.decide import MAX_CREATED, Plan, Wish, wanted_events, wanted_rows
from projector.core.letters import Letters
from projector.core.operations import Drop, Operations, Put, Status, Touch
from projector.core.sessions import LoadFailure, NoSession, UnfitSession
from tests.support.deciding import STAGED, Row, add, done, eid, facts, letters, row
from tests.support.tables import table

BAD = "it holds what no sorted set can"
AWAY = "Redis is away."
DROPPED: Operations = {"a": [Drop("a")]}
LOOKED = Plan(DROPPED, looks={"a"})
PUT = Put("a", STAGED)
CREATED = [f"new {number}" for number in range(MAX_CREATED + 1)]


def rows(sentences: dict[str, Row]) -> pytest.MarkDecorator:
    """Test each sentence."""
    return pytest.mark.parametrize("row", sentences.values(), ids=sentences.keys())


@rows(
    {
        "nothing heard is nothing to do": Row(table("ab", "c", "d"), facts(), Plan()),
        "an event of a hot session is added": Row(table("a"), facts(added={"a": [1]}), Plan({"a": [add("a", 1)]})),
        "the events of several sessions are added to each": Row(
            table("ab"), facts(added={"a": [1, 2], "b": [3]}), Plan({"a": [add("a", 1, 2)], "b": [add("b", 3)]})
        ),
        "an event of a cold session is passed over": Row(table(), facts(added={"a": [1]}), Plan()),
        "an event of a session on its way in waits in its load": Row(
            table(loading="a"), facts(added={"a": [1]}), Plan()
        ),
        "an event of a session set aside is passed over": Row(table(aside="a"), facts(added={"a": [1]}), Plan()),
        "an event of a hot session that is loaded anew is added to the old view": Row(
            table("a", "a"), facts(added={"a": [1]}), Plan({"a": [add("a", 1)]})
        ),
        "a hot session with an event that is not found is looked at": Row(
            table("a"), facts(added={"a": [1]}, found={}), LOOKED
        ),
        "a hot session of which one event of two is found is looked at": Row(
            table("a"), facts(added={"a": [1, 2]}, found={"a": [2]}), LOOKED
        ),
        "another event in place of the one that was named does not do": Row(
            table("a"), facts(added={"a": [1, 2]}, found={"a": [2, 3]}), LOOKED
        ),
        "an event found beside those that were named is added with them": Row(
            table("a"), facts(added={"a": [1]}, found={"a": [1, 2]}), Plan({"a": [add("a", 1, 2)]})
        ),
        "a hot session with too long events is looked at": Row(
            table("a"), facts(added={"a": [1]}, found={}, big="a"), LOOKED
        ),
        "a hot session with a bad event is set aside": Row(
            table("a"), facts(added={"a": [1, 2]}, found={"a": [2]}, bad={"a": BAD}), Plan(DROPPED, aside={"a": BAD})
        ),
        "a bad event of a session that nobody asked for is passed over": Row(table("a"), facts(bad={"a": BAD}), Plan()),
    }
)
def test_events_that_letters_name(row: Row) -> None:
    """Added to what is hot; what is not known well enough is looked at."""
    assert row.decided() == row.then


@rows(
    {
        "a hot session leaves": Row(table("a"), facts(looks="a"), LOOKED),
        "a session on its way in is dropped once more": Row(table(loading="a"), facts(looks="a"), LOOKED),
        "a hot session that is loaded anew leaves": Row(table("a", "a"), facts(looks="a"), LOOKED),
        "a cold session is named, and that is all": Row(table(), facts(looks="a"), Plan(looks={"a"})),
        "a session set aside is named, and may be tried again": Row(
            table(aside="a"), facts(looks="a"), Plan(looks={"a"})
        ),
        "events beside it are not added": Row(table("a"), facts(looks="a", added={"a": [1]}), LOOKED),
        "a bad event beside it is for the load to find": Row(
            table("a"), facts(looks="a", added={"a": [1]}, bad={"a": BAD}), LOOKED
        ),
        "a status beside it is not noted": Row(
            table("a"), facts(looks="a", rows="a", statuses={"a": "failed"}), LOOKED
        ),
        "what differs from Postgres is looked at": Row(table("a"), facts(differing="a"), LOOKED),
        "what differed and is cold by now is named": Row(table(), facts(differing="a"), Plan(looks={"a"})),
        "what is looked at and new is loaded": Row(
            table(), facts(looks="a", created="a"), Plan(looks={"a"}, starting=["a"])
        ),
    }
)
def test_a_look(row: Row) -> None:
    """Whatever is in doubt leaves the view first and is loaded after."""
    assert row.decided() == row.then


@rows(
    {
        "a hot session gets it": Row(
            table("a"), facts(rows="a", statuses={"a": "failed"}), Plan({"a": [Status("a", "failed")]})
        ),
        "a hot session gets it after its events": Row(
            table("a"),
            facts(rows="a", added={"a": [1]}, statuses={"a": "failed"}),
            Plan({"a": [add("a", 1), Status("a", "failed")]}),
        ),
        "a hot session that is gone is looked at": Row(table("a"), facts(rows="a"), LOOKED),
        "a cold session gets none": Row(table(), facts(rows="a", statuses={"a": "failed"}), Plan()),
        "a session on its way in gets it with its put": Row(
            table(loading="a"), facts(rows="a", statuses={"a": "failed"}), Plan()
        ),
        "a session that is set aside at once gets none": Row(
            table("a"),
            facts(rows="a", added={"a": [1]}, bad={"a": BAD}, statuses={"a": "failed"}),
            Plan(DROPPED, aside={"a": BAD}),
        ),
    }
)
def test_a_status(row: Row) -> None:
    """The session's row changed."""
    assert row.decided() == row.then


@rows(
    {
        "it is put": Row(table(loading="a"), facts(finished=[done("a")]), Plan({"a": [PUT]})),
        "what arrived meanwhile is put with it": Row(
            table(loading="a"), facts(finished=[done("a", arrived=[1, 2])]), Plan({"a": [PUT, add("a", 1, 2)]})
        ),
        "a status that changed meanwhile is put with it": Row(
            table(loading="a"),
            facts(finished=[done("a", arrived=[1], row_changed=True)], statuses={"a": "failed"}),
            Plan({"a": [PUT, add("a", 1), Status("a", "failed")]}),
        ),
        "it replaces the view of a hot session, whose event arrived meanwhile too": Row(
            table("a", "a"),
            facts(added={"a": [2]}, finished=[done("a", arrived=[1, 2])], found={"a": [1, 2]}),
            Plan({"a": [PUT, add("a", 1, 2)]}),
        ),
        "what arrived and is not found begins it anew": Row(
            table(loading="a"), facts(finished=[done("a", arrived=[1])], found={}), LOOKED
        ),
        "what arrived and is too long begins it anew": Row(
            table(loading="a"), facts(finished=[done("a", arrived=[1])], found={}, big="a"), LOOKED
        ),
        "what arrived and is bad sets it aside": Row(
            table(loading="a"),
            facts(finished=[done("a", arrived=[1])], found={}, bad={"a": BAD}),
            Plan(DROPPED, aside={"a": BAD}),
        ),
        "a look begins it anew": Row(table(loading="a"), facts(looks="a", finished=[done("a")]), LOOKED),
        "a row that changed and is gone begins it anew": Row(
            table(loading="a"), facts(finished=[done("a", row_changed=True)]), LOOKED
        ),
        "several are put, each for itself": Row(
            table(loading="ab"),
            facts(looks="a", finished=[done("a"), done("b")]),
            Plan({"a": [Drop("a")], "b": [Put("b", STAGED)]}, looks={"a"}),
        ),
    }
)
def test_a_load_that_is_staged(row: Row) -> None:
    """It is put with all that is newer than its snapshot, or begun anew."""
    assert row.decided() == row.then


@rows(
    {
        "no such session: it is missing": Row(
            table(loading="a"), facts(finished=[done("a", NoSession())]), Plan(DROPPED, missing=["a"])
        ),
        "no such session: what was hot leaves": Row(
            table("a", "a"),
            facts(added={"a": [1]}, finished=[done("a", NoSession(), [1])]),
            Plan(DROPPED, missing=["a"]),
        ),
        "no such session: a status that is there all the same is not noted": Row(
            table(loading="a"),
            facts(finished=[done("a", NoSession(), row_changed=True)], statuses={"a": "failed"}),
            Plan(DROPPED, missing=["a"]),
        ),
        "no such session: a bad event of it changes nothing": Row(
            table("a", "a"),
            facts(added={"a": [1]}, finished=[done("a", NoSession())], bad={"a": BAD}),
            Plan(DROPPED, missing=["a"]),
        ),
        "no such session: a look begins it anew": Row(
            table(loading="a"), facts(looks="a", finished=[done("a", NoSession())]), LOOKED
        ),
        "unfit: it is set aside": Row(
            table(loading="a"), facts(finished=[done("a", UnfitSession(BAD))]), Plan(DROPPED, aside={"a": BAD})
        ),
        "unfit: what was hot leaves, with its events and its status": Row(
            table("a", "a"),
            facts(added={"a": [1]}, rows="a", finished=[done("a", UnfitSession(BAD))], statuses={"a": "failed"}),
            Plan(DROPPED, aside={"a": BAD}),
        ),
        "unfit: a look begins it anew": Row(
            table(loading="a"), facts(looks="a", finished=[done("a", UnfitSession(BAD))]), LOOKED
        ),
        "failed: it stays cold": Row(
            table(loading="a"), facts(finished=[done("a", LoadFailure(AWAY), [1])]), Plan(failed={"a": AWAY})
        ),
        "failed: a status is not noted of what is cold": Row(
            table(loading="a"),
            facts(finished=[done("a", LoadFailure(AWAY), row_changed=True)], statuses={"a": "failed"}),
            Plan(failed={"a": AWAY}),
        ),
        "failed: what is hot stays hot, with its events and its status": Row(
            table("a", "a"),
            facts(added={"a": [1]}, rows="a", finished=[done("a", LoadFailure(AWAY), [1])], statuses={"a": "failed"}),
            Plan({"a": [add("a", 1), Status("a", "failed")]}, failed={"a": AWAY}),
        ),
        "failed: what is hot and has a bad event is set aside, and no more is told": Row(
            table("a", "a"),
            facts(added={"a": [1]}, finished=[done("a", LoadFailure(AWAY), [1])], bad={"a": BAD}),
            Plan(DROPPED, aside={"a": BAD}),
        ),
        "failed: a look begins it anew": Row(
            table(loading="a"), facts(looks="a", finished=[done("a", LoadFailure(AWAY))]), LOOKED
        ),
    }
)
def test_a_load_that_is_not_staged(row: Row) -> None:
    """It ends as what it found says; a look is newer than that."""
    assert row.decided() == row.then


WARM = Wish("warm", "a", confirmed="a")
REBUILD = Wish("rebuild", "a")


@rows(
    {
        "hot, as Redis confirms: that is told": Row(
            table("a"), facts(wishes=[WARM]), Plan(forgiven={"a"}, confirmed=["a"], touched=["a"])
        ),
        "hot, but its keys are gone: it is looked at": Row(
            table("a"),
            facts(wishes=[Wish("warm", "a")]),
            Plan(DROPPED, looks={"a"}, forgiven={"a"}, touched=["a"]),
        ),
        "hot, and loaded anew: it is told with who waits for that": Row(
            table("a", "a"), facts(wishes=[WARM]), Plan(forgiven={"a"}, touched=["a"])
        ),
        "hot, and to be loaded anew: it is told with who waits for that": Row(
            table("a"), facts(wishes=[WARM, REBUILD]), Plan(forgiven={"a"}, touched=["a"], starting=["a"])
        ),
        "hot, and looked at in this step: it is told when it is loaded": Row(
            table("a"),
            facts(wishes=[WARM], looks="a"),
            Plan(DROPPED, looks={"a"}, forgiven={"a"}, touched=["a"]),
        ),
        "hot, and set aside in this step: that is told": Row(
            table("a"),
            facts(wishes=[WARM], added={"a": [1]}, bad={"a": BAD}),
            Plan(DROPPED, forgiven={"a"}, touched=["a"], aside={"a": BAD}),
        ),
        "hot, and gone in this step: that is told": Row(
            table("a", "a"),
            facts(wishes=[WARM], finished=[done("a", NoSession())]),
            Plan(DROPPED, forgiven={"a"}, touched=["a"], missing=["a"]),
        ),
        "cold: it is loaded": Row(table(), facts(wishes=[WARM]), Plan(forgiven={"a"}, starting=["a"])),
        "on its way in: it is waited for": Row(table(loading="a"), facts(wishes=[WARM]), Plan(forgiven={"a"})),
        "set aside: it is tried again": Row(
            table(aside="a"), facts(wishes=[WARM]), Plan(forgiven={"a"}, starting=["a"])
        ),
        "not insistent, and set aside: it stays so": Row(
            table(aside="a"), facts(wishes=[Wish("warm", "a", insistent=False)]), Plan()
        ),
        "not insistent, and cold: it is loaded": Row(
            table(), facts(wishes=[Wish("warm", "a", insistent=False)]), Plan(starting=["a"])
        ),
        "not insistent, and hot: that is told": Row(
            table("a"),
            facts(wishes=[Wish("warm", "a", insistent=False, confirmed="a")]),
            Plan(confirmed=["a"], touched=["a"]),
        ),
        "asked for twice: it is loaded once": Row(
            table(), facts(wishes=[WARM, WARM]), Plan(forgiven={"a"}, starting=["a"])
        ),
        "two ask: each is told": Row(
            table("ab"),
            facts(wishes=[WARM, Wish("warm", "b", confirmed="b")]),
            Plan(forgiven={"a", "b"}, confirmed=["a", "b"], touched=["a", "b"]),
        ),
        "each session as it is": Row(
            table("ab", "c", "d"),
            facts(wishes=[Wish("warm", "abcde", confirmed="a")]),
            Plan(
                {"b": [Drop("b")]},
                looks={"b"},
                forgiven=set("abcde"),
                confirmed=["a"],
                touched=["a", "b"],
                starting=["d", "e"],
            ),
        ),
    }
)
def test_the_wish_to_warm(row: Row) -> None:
    """A session shall be hot."""
    assert row.decided() == row.then


@rows(
    {
        "hot: it is loaded, and its view stays": Row(
            table("a"), facts(wishes=[REBUILD]), Plan(forgiven={"a"}, starting=["a"])
        ),
        "hot, and loaded anew already: that is waited for": Row(
            table("a", "a"), facts(wishes=[REBUILD]), Plan(forgiven={"a"})
        ),
        "hot, with an event: that is added meanwhile": Row(
            table("a"),
            facts(wishes=[REBUILD], added={"a": [1]}),
            Plan({"a": [add("a", 1)]}, forgiven={"a"}, starting=["a"]),
        ),
        "hot, and set aside in this step: it is not loaded": Row(
            table("a"),
            facts(wishes=[REBUILD], added={"a": [1]}, bad={"a": BAD}),
            Plan(DROPPED, forgiven={"a"}, aside={"a": BAD}),
        ),
        "cold: it is loaded": Row(table(), facts(wishes=[REBUILD]), Plan(forgiven={"a"}, starting=["a"])),
        "on its way in: it is waited for": Row(table(loading="a"), facts(wishes=[REBUILD]), Plan(forgiven={"a"})),
        "set aside: it is tried again": Row(
            table(aside="a"), facts(wishes=[REBUILD]), Plan(forgiven={"a"}, starting=["a"])
        ),
        "hot and cold ones: each is loaded once": Row(
            table("ac"),
            facts(wishes=[Wish("rebuild", "abc"), Wish("warm", "b")]),
            Plan(forgiven=set("abc"), starting=["a", "c", "b"]),
        ),
    }
)
def test_the_wish_to_rebuild(row: Row) -> None:
    """A session shall be loaded anew; readers see the old view until the put."""
    assert row.decided() == row.then


REPAIR = Wish("repair", "a")


@rows(
    {
        "hot: it leaves at once": Row(table("a"), facts(wishes=[REPAIR]), Plan(DROPPED, looks={"a"}, forgiven={"a"})),
        "cold: it is named and loaded": Row(
            table(), facts(wishes=[REPAIR]), Plan(looks={"a"}, forgiven={"a"}, starting=["a"])
        ),
        "on its way in: its load begins anew": Row(
            table(loading="a"), facts(wishes=[REPAIR]), Plan(DROPPED, looks={"a"}, forgiven={"a"})
        ),
        "set aside: it is tried again": Row(
            table(aside="a"), facts(wishes=[REPAIR]), Plan(looks={"a"}, forgiven={"a"}, starting=["a"])
        ),
        "loaded in this step: what was staged is not put": Row(
            table(loading="a"),
            facts(wishes=[REPAIR], finished=[done("a")]),
            Plan(DROPPED, looks={"a"}, forgiven={"a"}),
        ),
    }
)
def test_the_wish_to_repair(row: Row) -> None:
    """What the view says of a session is wrong."""
    assert row.decided() == row.then


@rows(
    {
        "a new session is loaded": Row(table(), facts(created="a"), Plan(starting=["a"])),
        "a new session that is hot is left alone": Row(table("a"), facts(created="a"), Plan()),
        "a new session on its way in is left alone": Row(table(loading="a"), facts(created="a"), Plan()),
        "a new session that is set aside is left alone": Row(table(aside="a"), facts(created="a"), Plan()),
        "of many new sessions the first are loaded": Row(
            table(most=1_000), facts(created=CREATED), Plan(starting=CREATED[:MAX_CREATED])
        ),
        "of many new sessions the hot ones count as well": Row(
            table(CREATED[:1], most=1_000), facts(created=CREATED), Plan(starting=CREATED[1:MAX_CREATED])
        ),
        "a recent session is loaded": Row(table(), facts(recent=["a"]), Plan(starting=["a"])),
        "a recent session that is hot is left alone": Row(table("a"), facts(recent=["a"]), Plan()),
        "a recent session on its way in is left alone": Row(table(loading="a"), facts(recent=["a"]), Plan()),
        "a recent session that is set aside is left alone": Row(table(aside="a"), facts(recent=["a"]), Plan()),
    }
)
def test_what_nobody_asked_for(row: Row) -> None:
    """New and recent sessions are probably polled soon."""
    assert row.decided() == row.then


@rows(
    {
        "who comes in while all are busy is refused": Row(table("b", most=1), facts(created="a"), Plan(refused=["a"])),
        "the idlest leaves for who comes in": Row(
            table({"b": 20, "c": 30}, most=2),
            facts(created="a"),
            Plan({"c": [Drop("c")]}, leaving={"c"}, starting=["a"]),
        ),
        "as many leave as come in": Row(
            table({"b": 20, "c": 30, "d": 40}, most=4),
            facts(created="aef"),
            Plan({"c": [Drop("c")], "d": [Drop("d")]}, leaving={"c", "d"}, starting=["a", "e", "f"]),
        ),
        "nobody leaves for who is refused": Row(
            table({"b": 20, "c": 0}, most=2),
            facts(created="ae"),
            Plan({"b": [Drop("b")]}, leaving={"b"}, starting=["a"], refused=["e"]),
        ),
        "who asked comes before who is new, and before who is recent": Row(
            table(most=1),
            facts(recent=["c"], created="b", wishes=[Wish("warm", "a")]),
            Plan(forgiven={"a"}, starting=["a"], refused=["b", "c"]),
        ),
        "those on their way in have their places": Row(
            table(loading="b", most=1), facts(created="a"), Plan(refused=["a"])
        ),
        "a hot session that is loaded anew needs one place": Row(
            table("b", "b", most=2), facts(created="a"), Plan(starting=["a"])
        ),
        "who is loaded anew does not leave": Row(
            table({"b": 20}, "b", most=1), facts(created="a"), Plan(refused=["a"])
        ),
        "who is to be loaded anew does not leave": Row(
            table({"b": 20}, most=1),
            facts(created="a", wishes=[Wish("rebuild", "b")]),
            Plan(forgiven={"b"}, starting=["b"], refused=["a"]),
        ),
        "who was warmed just now does not leave": Row(
            table({"b": 20}, most=1),
            facts(created="a", wishes=[Wish("warm", "b", confirmed="b")]),
            Plan(forgiven={"b"}, confirmed=["b"], touched=["b"], refused=["a"]),
        ),
        "who gets an event does not leave": Row(
            table({"b": 20}, most=1), facts(created="a", added={"b": [1]}), Plan({"b": [add("b", 1)]}, refused=["a"])
        ),
        "who gets a status does not leave": Row(
            table({"b": 20}, most=1),
            facts(created="a", rows="b", statuses={"b": "failed"}),
            Plan({"b": [Status("b", "failed")]}, refused=["a"]),
        ),
        "who is looked at comes back to its place": Row(
            table({"b": 20}, most=1),
            facts(created="a", looks="b"),
            Plan({"b": [Drop("b")]}, looks={"b"}, refused=["a"]),
        ),
        "who was touched long ago may leave": Row(
            table({"b": 20}, most=1),
            facts(created="a", touched={"b": None}),
            Plan({"b": [Drop("b")]}, leaving={"b"}, starting=["a"]),
        ),
        "who leaves for being idle makes room": Row(
            table({"b": 100, "c": 20}, most=2),
            facts(created="a", idle="b"),
            Plan({"b": [Drop("b")]}, leaving={"b"}, starting=["a"]),
        ),
    }
)
def test_room(row: Row) -> None:
    """There are so many places and no more; the busy keep theirs."""
    assert row.decided() == row.then


@rows(
    {
        "an idle session leaves": Row(table("a"), facts(idle="a"), Plan(DROPPED, leaving={"a"})),
        "an idle session that gets an event stays": Row(
            table("a"), facts(idle="a", added={"a": [1]}), Plan({"a": [add("a", 1)]})
        ),
        "an idle session that is loaded anew stays": Row(table("a", "a"), facts(idle="a"), Plan()),
        "an idle session that is to be loaded anew stays": Row(
            table("a"), facts(idle="a", wishes=[REBUILD]), Plan(forgiven={"a"}, starting=["a"])
        ),
        "an idle session that was warmed just now stays": Row(
            table("a"), facts(idle="a", wishes=[WARM]), Plan(forgiven={"a"}, confirmed=["a"], touched=["a"])
        ),
        "an idle session that is looked at is loaded": Row(table("a"), facts(idle="a", looks="a"), LOOKED),
        "a touched session keeps its keys": Row(
            table("ab"),
            facts(touched={"a": 1500, "b": None}),
            Plan({"a": [Touch("a", 1500)], "b": [Touch("b")]}),
        ),
        "a touched session that gets an event is touched as well": Row(
            table("a"), facts(touched={"a": 5}, added={"a": [1]}), Plan({"a": [add("a", 1), Touch("a", 5)]})
        ),
        "a touched session that leaves is not touched": Row(table("a"), facts(touched={"a": 5}, looks="a"), LOOKED),
        "a touched session that is cold by now is not touched": Row(table(), facts(touched={"a": 5}), Plan()),
        "a touch long ago saves nobody": Row(
            table("a"), facts(idle="a", touched={"a": 5}), Plan(DROPPED, leaving={"a"})
        ),
        "a touch long ago keeps no keys of what is loaded anew": Row(
            table("a", "a"), facts(idle="a", touched={"a": 5}), Plan()
        ),
    }
)
def test_a_sweep(row: Row) -> None:
    """Who was silent for long leaves; who was polled keeps its keys in Redis."""
    assert row.decided() == row.then


def test_which_events_a_step_needs() -> None:
    """Those of hot sessions, whose rows letters may bring; those that arrived during staged loads are fetched."""
    made = table("ab", "cde")
    heard = letters({"a": [1], "b": [2], "c": [3], "d": [4], "x": [5]}, looks="b")
    heard.added["a"][eid(1)] = row("a", 1)
    heard.added["c"][eid(3)] = row("c", 3)
    finished = [done("c", arrived=[3, 6]), done("d", NoSession(), [4]), done("e")]

    assert wanted_events(made.sessions, heard, finished) == {
        "a": {eid(1): row("a", 1)},
        "c": {eid(3): None, eid(6): None},
        "e": {},
    }


def test_a_load_needs_no_event_that_it_has_seen() -> None:
    """By its snapshot: another version would stand beside its own. Nor does a hot session whose letters say no more."""
    load = done("b", replace(STAGED, snapshot="700:705:703"))
    load.arrived = {eid(1): 702, eid(2): 703, eid(3): 705, eid(4): None}
    made = table("a", "b")

    assert wanted_events(made.sessions, letters({"a": []}), [load]) == {"b": dict.fromkeys(map(eid, (2, 3, 4)))}


def test_no_events_are_needed_of_what_is_looked_at() -> None:
    """Its load finds them."""
    made = table("a", "b")

    assert wanted_events(made.sessions, letters({"a": [1]}, looks="ab"), [done("b", arrived=[2])]) == {}


def test_which_statuses_a_step_needs() -> None:
    """Those of hot sessions whose row changed, and those that changed during a load."""
    made = table("a", "bc")

    assert wanted_rows(made.sessions, Letters(rows=set("abx")), [done("b"), done("c", row_changed=True)]) == {"a", "c"}
