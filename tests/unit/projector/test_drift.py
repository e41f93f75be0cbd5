"""The continuous comparison: what differs for certain, and what only seems to."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest

from projector.core.comparison import Truth
from projector.core.operations import Operation, Put, StagedSession, Status, Touch
from projector.drift import DriftCheck
from projector.served_check import ServedFindings
from projector.telemetry import Telemetry
from readmodel.view.header import Header
from tests.support.tables import table
from tests.support.waiting import eventually

SID = "11111111-aaaa-4aaa-8aaa-000000000001"
HEADER = Header(SID, "term", "1", "in_progress", 1, 2, 3, 1, 100, None, 5, complete=True)


class Stores:
    """A view that says the same every time, and a Postgres that says otherwise."""

    def __init__(self, status: str = "paused", served: ServedFindings | None = None) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.rounds = self.looks = 0
        self.status = status
        self.served = served or ServedFindings()

    async def headers(self, session_ids: Collection[str]) -> list[Header]:
        """The header."""
        return [HEADER for _ in session_ids]

    async def compare(self, session_ids: Collection[str]) -> dict[str, Truth]:
        """What Postgres says, while something else happens."""
        self.meanwhile()
        self.rounds += 1
        return {sid: Truth(self.status, 1, 2, 3) for sid in session_ids}

    async def look(self, *_: object) -> ServedFindings:
        """What is served wrongly, while something else happens."""
        self.meanwhile()
        self.looks += 1
        return self.served

    async def now_us(self) -> int:
        """An instant that as-of has passed."""
        return 0


async def found_after_some_rounds(operations: list[Operation], stores: Any = None) -> set[str]:
    """Compare a session in which a batch of these operations happens during each round."""
    stores = stores or Stores()
    check = DriftCheck(
        view=stores,
        reads=stores,
        sessions=table([SID]).sessions,
        telemetry=Telemetry(),
        served=stores,
        wake=asyncio.Event(),
        as_of_us=lambda: 1,
        every=(0, 0),
    )
    stores.meanwhile = lambda: check.note({SID: operations})
    running = asyncio.create_task(check.run())
    await eventually(lambda: stores.rounds > 2 and stores.looks > 2, "three rounds")
    running.cancel()
    return check.take()


@pytest.mark.parametrize("operations", [[], [Touch(SID)]])
async def test_a_session_that_no_batch_changes_differs(operations: list[Operation]) -> None:
    """A touch is no change."""
    assert await found_after_some_rounds(operations) == {SID}


async def test_a_session_that_changes_and_changes_back_does_not_differ() -> None:
    """Its header is the same before and after, and Postgres was read in between."""
    assert await found_after_some_rounds([Status(SID, "paused"), Status(SID, "in_progress")]) == set()


@pytest.mark.parametrize("found", [ServedFindings(damaged={SID}), ServedFindings(differing={SID})])
async def test_what_a_load_replaced_meanwhile_is_found_once(found: ServedFindings) -> None:
    """Another look found it first; the session is whole again before this one has told."""
    put = Put(SID, StagedSession("", 0, {}))

    assert await found_after_some_rounds([Touch(SID)], Stores("in_progress", found)) == {SID}
    assert await found_after_some_rounds([put], Stores("in_progress", found)) == set()
