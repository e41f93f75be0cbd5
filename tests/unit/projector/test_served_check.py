"""When what is served otherwise than Postgres has it is wrong for certain, and when it may have changed meanwhile."""

from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import pytest

from projector.core.served_part import LogRow, ServedEntry, ServedMember, ServedPart
from projector.served_check import ServedCheck, ServedFindings

SESSION, EVENT = str(uuid4()), uuid4().bytes
SERVED = ServedMember(EVENT, b"what is served", 1.0)
OLD = LogRow(SESSION, 1, "step_created", "version 1", b"the digest of something else")
NEW = OLD._replace(version="version 2")


class Readings:
    """Postgres: what it has at the first look, and at the second."""

    def __init__(self, *rows: LogRow | None) -> None:
        self._left = list(rows)

    async def served(self, ids: Iterable[bytes], *, rendered: bool) -> dict[tuple[str, bytes], LogRow]:
        """The next of them."""
        assert list(ids) == [EVENT]
        row = self._left.pop(0)
        return {} if row is None else {(SESSION, EVENT): row}


class Check(ServedCheck):
    """One member is served, and is there when it is looked for again, or not."""

    still_there = True

    async def _read(self, found: ServedFindings) -> list[ServedPart]:
        return [ServedPart(SESSION, (SERVED,))]

    async def _still_there(
        self, session_id: str, wrong: list[ServedMember | ServedEntry]
    ) -> list[ServedMember | ServedEntry]:
        return wrong if self.still_there else []


async def found(first: LogRow | None, second: LogRow | None, *, passed: bool = True, still_there: bool = True) -> bool:
    """Whether one look finds the session wrong."""

    async def has_passed() -> bool:
        return passed

    nothing: Any = type("Nothing", (), {"redis": None})()
    check = Check(nothing, Readings(first, second), "term")
    check.still_there = still_there
    return (await check.look([SESSION], has_passed)).differing == {SESSION}


@pytest.mark.parametrize("row", [OLD, None], ids=["otherwise", "not at all"])
async def test_what_postgres_has_otherwise_at_both_looks_is_wrong(row: LogRow | None) -> None:
    """Nothing changed in between, and the view had passed the first look."""
    assert await found(row, row)


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (OLD, None), (None, NEW)])
async def test_what_changed_between_two_looks_is_no_fault(first: LogRow | None, second: LogRow | None) -> None:
    """The view may have had the one or the other."""
    assert not await found(first, second)


async def test_a_view_that_has_not_passed_the_first_look_is_not_judged() -> None:
    """It may have what came before."""
    assert not await found(OLD, OLD, passed=False)


async def test_what_is_served_no_more_is_not_judged() -> None:
    """The view has changed since."""
    assert not await found(OLD, OLD, still_there=False)
