"""The step around the decision: what it sends, and what it settles when the scripts have answered. Stores are fakes."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from projector.core.decide import Wish
from projector.core.letters import Beat, Letters
from projector.core.new_events import NewEvents
from projector.core.operations import Add, Drop, Operations, Put, Touch
from projector.core.sessions import Load
from projector.step import MAX_PUTS, TermStep
from projector.telemetry import Telemetry
from projector.view.writer import BatchResult
from readmodel.values.event import EventRow
from tests.support.deciding import STAGED, row
from tests.support.tables import Table, table

BEAT = Beat(1_768_314_600_000_000, sent_at=1.0)


@dataclass
class Fakes:
    """All that a step is wired to, but for the table: what it shall be given, and what it was told."""

    wishes: list[Wish] = field(default_factory=list)
    finished: list[Load] = field(default_factory=list)
    differing: set[str] = field(default_factory=set)
    alter: Callable[[Operations], None] = lambda _operations: None
    """What a committer does to operations that cannot be applied."""
    result: BatchResult = field(default_factory=BatchResult)
    sent: list[tuple[Operations, set[str], Beat | None]] = field(default_factory=list)
    noted: list[Operations] = field(default_factory=list)

    async def gather(self) -> list[Wish]:
        """Stand in for the requests."""
        return self.wishes

    def take_finished(self, most: int) -> list[Load]:
        """Stand in for the loader."""
        assert most == MAX_PUTS
        return self.finished

    def take(self) -> set[str]:
        """Stand in for the continuous check."""
        return self.differing

    def note(self, operations: Operations) -> None:
        """Stand in for the continuous check."""
        self.noted.append(dict(operations))

    async def added(self, wanted: Mapping[str, Mapping[str, EventRow | None]]) -> NewEvents:
        """Find every event, as the row of its number."""
        found = NewEvents()
        for session_id, events in wanted.items():
            for event_id in events:
                found.take(row(session_id, int(event_id, 16)))
        return found

    async def statuses(self, session_ids: Collection[str]) -> dict[str, str]:
        """Find every session."""
        assert session_ids
        return dict.fromkeys(session_ids, "failed")

    async def commit(
        self, operations: Operations, named: set[str], beat: Beat | None
    ) -> list[tuple[Operations, BatchResult]]:
        """Stand in for the committer."""
        self.sent.append((dict(operations), set(named), beat))
        self.alter(operations)
        return [(operations, self.result)]


class Bench:
    """A step over a table and fakes."""

    def __init__(self, made: Table) -> None:
        self.table = made
        self.fakes = Fakes()
        self.telemetry = Telemetry()
        fakes: Any = self.fakes
        self.step = TermStep(
            sessions=made.sessions,
            committer=fakes,
            reads=fakes,
            loader=fakes,
            requests=fakes,
            drift=fakes,
            telemetry=self.telemetry,
        )

    async def take(self, letters: Letters | None = None, beat: Beat | None = None, *, sweep: bool = False) -> None:
        """Take the step."""
        await self.step.take(letters or Letters(), beat, (), sweep=sweep)


def heard(session_id: str, *numbers: int) -> Letters:
    """Letters that name these events of a session."""
    return Letters({session_id: {f"{number:032x}": None for number in numbers}})


async def test_nothing_to_do_is_nothing_sent() -> None:
    """A step that was woken for nothing costs Redis nothing."""
    bench = Bench(table("a"))
    await bench.take()

    assert bench.fakes.sent == []
    assert bench.telemetry.batches == 0


@pytest.mark.parametrize(
    ("letters", "beat", "named"),
    [
        (Letters(), BEAT, set()),
        (heard("a", 1), None, {"a"}),
        (Letters(rows={"a"}), None, {"a"}),
        (Letters(created={"a": None}), BEAT, {"a"}),
    ],
    ids=["a beat", "events of a cold session", "a row", "a new session"],
)
async def test_what_was_heard_is_sent(letters: Letters, beat: Beat | None, named: set[str]) -> None:
    """With the names of all sessions, hot or not: an answer in memory may know less."""
    bench = Bench(table())
    await bench.take(letters, beat)

    assert bench.fakes.sent == [({}, named, beat)]
    assert bench.telemetry.batches == 1


@pytest.mark.parametrize("how", ["repair", "differing"])
async def test_a_doubt_is_named_where_nothing_is_hot(how: str) -> None:
    """An answer in memory may be as wrong as the view was."""
    bench = Bench(table())
    if how == "repair":
        bench.fakes.wishes = [Wish("repair", ["a"])]
    else:
        bench.fakes.differing = {"a"}
    await bench.take()

    assert bench.fakes.sent == [({}, {"a"}, None)]


async def test_letters_reach_the_loads_before_these_are_put() -> None:
    """An event that arrives in the very step that puts its session is put with it."""
    bench = Bench(table(loading="a"))
    bench.fakes.finished = [bench.table.load("a", STAGED)]
    await bench.take(heard("a", 1))

    assert bench.fakes.sent == [({"a": [Put("a", STAGED), Add("a", (row("a", 1),))]}, {"a"}, None)]
    assert bench.table.says() == (["a"], [], {})
    assert bench.table.settled == [("a", "hot")]


async def test_added_events_are_counted_and_keep_their_session() -> None:
    """Each event once; a session that is written to is not idle."""
    bench = Bench(table({"a": 100}, ttl_seconds=60))
    await bench.take(heard("a", 1, 2))

    assert bench.telemetry.events_applied == 2
    assert bench.table.sessions.idle() == []
    assert bench.table.sessions.take_touched() == {"a": None}


async def test_a_sweep_tells_and_drops() -> None:
    """Idle sessions leave and touched ones keep their keys; without a sweep both stay as they are."""
    bench = Bench(table({"a": 100, "b": 0}, ttl_seconds=60))
    bench.table.sessions.touch(["b"])
    await bench.take()
    await bench.take(sweep=True)

    assert bench.fakes.sent == [({"a": [Drop("a")], "b": [Touch("b")]}, set(), None)]
    assert bench.table.says() == (["b"], [], {})


async def test_what_could_not_be_put_is_loaded_again() -> None:
    """The committer drops a session whose staging is gone: its load starts over."""
    bench = Bench(table(loading="a"))
    bench.fakes.finished = [bench.table.load("a", STAGED)]
    bench.fakes.alter = lambda operations: operations.update(a=[Drop("a")])
    await bench.take()

    assert [(load.session_id, load.attempts) for load in bench.table.begun] == [("a", 1)]
    assert bench.table.says() == ([], ["a"], {})
    assert bench.table.settled == []


async def test_what_could_not_be_added_goes_cold() -> None:
    """A full Redis: the committer drops what grows, and nobody loads it until it is polled."""
    bench = Bench(table("a"))
    bench.fakes.alter = lambda operations: operations.update(a=[Drop("a")])
    await bench.take(heard("a", 1))

    assert bench.table.says() == ([], [], {})
    assert bench.table.begun == []
    assert bench.telemetry.events_applied == 0


async def test_a_load_that_is_done_before_the_drop_is_answered_is_kept() -> None:
    """It began with the look, and so its snapshot is newer: to load again would only cost."""
    bench = Bench(table("a"))
    bench.fakes.alter = lambda _operations: setattr(bench.table.load("a"), "outcome", STAGED)
    await bench.take(Letters(looks={"a"}))

    assert [(load.session_id, load.attempts) for load in bench.table.begun] == [("a", 0)]
    assert bench.table.sessions.load_of("a") is bench.table.begun[0]


async def test_what_the_script_finds_is_loaded() -> None:
    """Cold, which is a loss, or forgotten: it leaves and is loaded. Grown: it is loaded, and stays until then."""
    bench = Bench(table("abcd"))
    bench.fakes.result = BatchResult(cold=("a", "x"), forgotten=("b",), grown=("c",))
    await bench.take(heard("d", 1))

    assert bench.table.says() == (["c", "d"], ["a", "b", "c"], {})
    assert sorted(bench.table.noted) == [("looked", "b"), ("lost", "a")]


async def test_what_the_script_finds_damaged_is_loaded() -> None:
    """Counted as damage, and not a second time as lost."""
    bench = Bench(table("ab"))
    bench.fakes.result = BatchResult(cold=("a",), forgotten=("a",), damaged=("a",))
    await bench.take(heard("b", 1))

    assert bench.table.says() == (["b"], ["a"], {})
    assert [load.session_id for load in bench.table.begun] == ["a"]
    assert bench.table.noted == [("damaged", "a"), ("looked", "a")]


async def test_the_continuous_check_knows_before_it_is_sent() -> None:
    """A session that changes, and changes back, between two looks at it must not seem to differ."""
    bench = Bench(table("a"))
    bench.fakes.alter = lambda operations: bench.fakes.noted.append({"sent": operations["a"]})
    await bench.take(heard("a", 1))

    assert [list(noted) for noted in bench.fakes.noted] == [["a"], ["sent"]]
