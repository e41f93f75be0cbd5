"""The transitions of a plan, taken before its batch is sent; and what holds of every plan."""

from collections.abc import Sequence
from random import Random
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from projector.core.decide import Facts, Plan, Wish, carry_out, decide, wanted_events
from projector.core.operations import Add, Drop, Put
from projector.core.sessions import LoadFailure, LoadOutcome, NoSession, UnfitSession
from tests.support.deciding import STAGED, eid, letters
from tests.support.deciding import facts as gathered
from tests.support.tables import Table, table

NAMES = "abcdef"
OUTCOMES: list[LoadOutcome | None] = [None, STAGED, STAGED, NoSession(), UnfitSession("bad"), LoadFailure("away.")]
VERBS: list[Literal["warm", "rebuild", "repair"]] = ["warm", "rebuild", "repair"]


def test_each_part_of_a_plan_is_carried_out() -> None:
    """Every name under which a session stands in the plan is its transition."""
    made = table("abcdg", "xyzu", "f")
    made.load("x", NoSession())
    plan = Plan(
        looks={"a"},
        forgiven={"f"},
        confirmed=["b"],
        touched=["b"],
        leaving={"c"},
        starting=["g", "n"],
        refused=["o"],
        missing=["x"],
        failed={"y": "away."},
        aside={"z": "bad"},
    )
    carry_out(made.sessions, plan)

    assert made.says() == (["b", "d", "g"], ["a", "g", "n", "u"], {"z": "bad"})
    assert [load.session_id for load in made.begun] == ["a", "g", "n"]
    assert dict(made.settled) == {"b": "hot", "o": "no_room", "x": "missing", "y": "failed", "z": "set_aside"}
    assert sorted(made.noted) == [("failed", "y"), ("looked", "a"), ("missing", "x"), ("set_aside", "z")]
    assert made.sessions.take_touched() == {"b": None}


def test_to_warm_is_no_poll() -> None:
    """It keeps the session from being idle all the same."""
    made = table({"a": 100}, ttl_seconds=60)
    carry_out(made.sessions, Plan(touched=["a"]))

    assert made.sessions.idle() == []
    assert made.sessions.take_touched() == {"a": None}


def test_what_is_forgiven_and_bad_again_is_set_aside() -> None:
    """The wish comes first, then what is known by now."""
    made = table(loading="a", aside="b")
    carry_out(made.sessions, Plan(forgiven={"a", "b"}, aside={"a": "bad"}))

    assert made.says() == ([], [], {"a": "bad"})


def test_what_is_looked_at_and_to_start_is_loaded_once() -> None:
    """As the wish to repair a cold session says both."""
    made = table("a")
    carry_out(made.sessions, Plan(looks={"a", "b"}, starting=["a", "b"]))

    assert [(load.session_id, load.attempts) for load in made.begun] == [("a", 0), ("b", 0)]


def some(chance: Random, most: int = 3) -> list[str]:
    """A few sessions."""
    return chance.sample(NAMES, chance.randint(0, most))


def numbers(chance: Random) -> dict[str, list[int]]:
    """A few events of a few sessions."""
    return {session_id: chance.sample(range(1, 5), chance.randint(1, 3)) for session_id in some(chance)}


def situation(seed: int) -> tuple[Table, Facts]:
    """Any table, and any facts that may be gathered of it. Drawn by the seed alone: quicker than by Hypothesis."""
    chance = Random(seed)
    ages = {session_id: chance.choice([0.0, 20.0, 100.0]) for session_id in some(chance, 6)}
    loading = some(chance)
    aside = [session_id for session_id in some(chance) if session_id not in {*ages, *loading}]
    made = table(ages, loading, aside, most=chance.randint(1, 8))
    heard = letters(numbers(chance), some(chance), some(chance), some(chance))
    made.sessions.hear(heard)
    loads = [
        made.load(session_id, chance.choice(OUTCOMES), map(eid, chance.sample(range(1, 5), chance.randint(0, 2))))
        for session_id in loading
    ]
    for load in loads:
        load.row_changed |= chance.random() < 0.3
    needed = wanted_events(made.sessions, heard, loads).items()
    wishes = [
        Wish(chance.choice(VERBS), some(chance), chance.random() < 0.7, some(chance, 6))
        for _ in range(chance.randint(0, 2))
    ]
    facts = gathered(
        finished=[load for load in loads if load.outcome is not None],
        found=numbers(chance)
        | {sid: [int(one, 16) for one in events] for sid, events in needed if chance.random() < 0.7},
        bad=dict.fromkeys(some(chance, 1), "bad"),
        big=some(chance, 1),
        statuses=dict.fromkeys(some(chance, 6), "failed"),
        wishes=wishes,
        recent=some(chance),
        differing=some(chance, 1),
        idle=made.sessions.idle() if chance.random() < 0.5 else (),
        touched=dict.fromkeys(some(chance), 5),
    )
    facts.letters = heard
    made.forget()
    return made, facts


SEEDS = st.integers(0, 2**32)


def settled(made: Table, plan: Plan) -> None:
    """What the step does when the batch is answered and nothing was found amiss."""
    for session_id, operations in plan.operations.items():
        if any(isinstance(operation, Put) for operation in operations):
            made.sessions.put(session_id)
        if all(isinstance(operation, Drop) for operation in operations):
            made.sessions.leave(session_id)


def ids(operations: Sequence[object]) -> set[str]:
    """The events that these add."""
    return {event.id.hex() for one in operations if isinstance(one, Add) for event in one.events}


@given(seed=SEEDS)
def test_whatever_is_gathered_the_plan_is_sound(seed: int) -> None:
    """No session is told two things, none is served that must not be, and there are never too many."""
    made, facts = situation(seed)
    hot, loading = set(made.sessions.hot), set(made.sessions.loading)
    plan = decide(made.sessions, facts)

    for session_id, operations in plan.operations.items():
        assert session_id in hot | loading
        assert operations
        assert all(operation.session_id == session_id for operation in operations)
        assert Drop(session_id) not in operations or operations == [Drop(session_id)]
    assert {sid for sid in plan.looks if sid in hot | loading} <= {sid for sid in plan.operations if plan.drops(sid)}
    ended = [*set(plan.confirmed), *plan.refused, *plan.missing, *plan.failed, *plan.aside]
    assert len(set(ended)) == len(ended)
    assert set(ended).isdisjoint(plan.starting)
    assert plan.leaving.isdisjoint([*plan.looks, *plan.starting, *plan.touched, *plan.confirmed, *plan.missing])


@given(seed=SEEDS)
def test_whatever_is_gathered_no_event_of_a_hot_session_is_lost(seed: int) -> None:
    """What letters named is added, or put, or the session is dropped."""
    made, facts = situation(seed)
    hot = set(made.sessions.hot)
    plan = decide(made.sessions, facts)

    for session_id in hot & facts.letters.added.keys():
        named = facts.letters.added[session_id].keys()
        assert plan.drops(session_id) or ids(plan.operations[session_id]) >= named
    for load in facts.finished:
        operations = plan.operations.get(load.session_id, [])
        if any(isinstance(operation, Put) for operation in operations):
            assert ids(operations) >= load.arrived.keys()
    for session_id in hot & facts.letters.rows:
        assert plan.drops(session_id) or "Status" in {type(one).__name__ for one in plan.operations[session_id]}


@given(seed=SEEDS)
def test_whatever_is_gathered_the_table_stays_sound(seed: int) -> None:
    """What was dropped is not hot, what is set aside is nothing else, and there is room for all who are coming."""
    made, facts = situation(seed)
    before = len({*made.sessions.hot, *made.sessions.loading})
    plan = decide(made.sessions, facts)
    carry_out(made.sessions, plan)
    settled(made, plan)

    hot, loading, aside = map(set, made.says())
    assert hot.isdisjoint(session_id for session_id in plan.operations if plan.drops(session_id))
    assert aside.isdisjoint(hot | loading)
    assert len(hot | loading) <= max(made.most, before)


@given(seed=SEEDS)
def test_whatever_is_gathered_who_waits_is_told_in_the_end(seed: int) -> None:
    """A session that somebody insists on is told of at once, or is on its way."""
    made, facts = situation(seed)
    plan = decide(made.sessions, facts)
    carry_out(made.sessions, plan)
    settled(made, plan)

    told = {session_id for session_id, _ in made.settled}
    for wish in facts.wishes:
        if wish.insistent:
            assert set(wish.sessions) <= told | set(made.sessions.loading)


@given(seed=SEEDS)
def test_whatever_is_gathered_no_finished_load_is_left_behind(seed: int) -> None:
    """It was handed over once: its session is put, or begun anew, or its end is told."""
    made, facts = situation(seed)
    plan = decide(made.sessions, facts)
    carry_out(made.sessions, plan)
    settled(made, plan)

    assert [load for load in facts.finished if made.sessions.load_of(load.session_id) is load] == []
