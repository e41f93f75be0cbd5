"""Steps of several slices that ask at one moment share a statement; each gets what it asked for."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from projector.core.new_events import NewEvents
from projector.shared_reads import SharedReads, Wanted
from readmodel.errors import EventLogUnavailable
from tests.support.waiting import eventually


class Statements:
    """Counts what is asked; `gate` lets the answers through."""

    def __init__(self) -> None:
        self.added_of: list[set[str]] = []
        self.statuses_of: list[set[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def added(self, wanted: Wanted) -> NewEvents:
        """Every session has something wrong with it: so it shows who is told of whom."""
        self.added_of.append(set(wanted))
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return NewEvents(bad=dict.fromkeys(wanted, "bad"), big=set(wanted))

    async def statuses(self, session_ids: Collection[str]) -> Mapping[str, str]:
        """All are pending, but for `gone`."""
        self.statuses_of.append(set(session_ids))
        return {sid: "pending" for sid in session_ids if sid != "gone"}


async def test_who_asks_in_one_turn_shares_a_statement() -> None:
    """And is told of its own sessions alone."""
    statements = Statements()
    reads = SharedReads(statements)
    one, other = await asyncio.gather(reads.added({"a": {"1": None}}), reads.added({"b": {"2": None}}))

    assert statements.added_of == [{"a", "b"}]
    assert (set(one.bad), one.big, set(other.bad), other.big) == ({"a"}, {"a"}, {"b"}, {"b"})


async def test_who_asks_meanwhile_shares_the_next() -> None:
    """One statement runs at a time: the connection takes no second."""
    statements = Statements()
    reads = SharedReads(statements)
    statements.gate.clear()
    first = asyncio.create_task(reads.added({"a": {}}))
    await eventually(lambda: bool(statements.added_of), "the first is asked")
    later = [asyncio.create_task(reads.added({name: {}})) for name in "bc"]
    await asyncio.sleep(0)
    before = list(statements.added_of)
    statements.gate.set()
    await asyncio.gather(first, *later)

    assert before == [{"a"}]
    assert statements.added_of == [{"a"}, {"b", "c"}]


async def test_nothing_wanted_is_no_statement() -> None:
    """Most steps of a quiet slice want nothing."""
    statements = Statements()

    assert await SharedReads(statements).added({}) == NewEvents()
    assert statements.added_of == []


async def test_statuses_are_shared_too() -> None:
    """Missing sessions are left out."""
    statements = Statements()
    reads = SharedReads(statements)
    one, other = await asyncio.gather(reads.statuses({"a", "gone"}), reads.statuses({"b"}))

    assert [one, other] == [{"a": "pending"}, {"b": "pending"}]
    assert statements.statuses_of == [{"a", "b", "gone"}]


async def test_an_error_is_everybodys_and_no_later_ones() -> None:
    """Who asks after it is answered."""
    statements = Statements()
    reads = SharedReads(statements)
    statements.failure = EventLogUnavailable("away")
    found = await asyncio.gather(reads.added({"a": {}}), reads.added({"b": {}}), return_exceptions=True)
    statements.failure = None
    later = await reads.added({"c": {}})

    assert [type(one) for one in found] == [EventLogUnavailable, EventLogUnavailable]
    assert set(later.bad) == {"c"}


async def test_who_leaves_takes_the_answer_from_nobody() -> None:
    """A slice's term may end while others wait for the same statement."""
    statements = Statements()
    reads = SharedReads(statements)
    statements.gate.clear()
    leaving, staying = asyncio.create_task(reads.added({"a": {}})), asyncio.create_task(reads.added({"b": {}}))
    await eventually(lambda: bool(statements.added_of), "the first is asked")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    statements.gate.set()

    assert set((await staying).bad) == {"b"}
