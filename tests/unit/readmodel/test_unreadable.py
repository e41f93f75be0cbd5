"""Finding the event that cannot be read among others that can."""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import pytest

from readmodel.postgres.sql import Tables
from readmodel.postgres.unreadable import TOGETHER, EventFinder

IDS = [UUID(int=number) for number in range(1_000)]


class FakePostgres:
    """Renders events, but for `bad` ones; `empty` ones come out as NULL."""

    def __init__(self, bad: set[int], empty: set[int]) -> None:
        self.bad, self.empty = {IDS[n] for n in bad}, {IDS[n] for n in empty}
        self.queries = 0

    async def fetchrow(self, _statement: str, ids: Sequence[UUID]) -> dict[str, UUID | None]:
        """Render these."""
        self.queries += 1
        if self.bad.intersection(ids):
            raise asyncpg.CharacterNotInRepertoireError("invalid byte sequence")
        return {"empty": next((one for one in ids if one in self.empty), None)}


@pytest.mark.parametrize(
    ("bad", "empty", "found"),
    [
        (set(), set(), None),
        ({0}, set(), 0),
        ({999}, set(), 999),
        ({417, 933}, set(), 417),
        (set(), {512}, 512),
        ({600}, {3}, 3),
        ({4, 5, 6}, {0}, 0),
    ],
)
async def test_the_first_one_is_found(bad: set[int], empty: set[int], found: int | None) -> None:
    """Whichever way it cannot be read, by a few queries."""
    postgres = FakePostgres(bad, empty)
    event = await EventFinder(postgres, "postgresql://db/app", Tables("s", "e")).first(IDS)

    assert (event and event.id) == (None if found is None else IDS[found])
    assert postgres.queries <= len(IDS) / TOGETHER + 2 * TOGETHER.bit_length()


async def test_it_says_why() -> None:
    """In Postgres' words, or in ours."""
    finder = EventFinder(FakePostgres({1}, {2}), "postgresql://db/app", Tables("s", "e"))

    assert str(await finder.first(IDS[1:2])) == f"event {IDS[1]} cannot be read: invalid byte sequence"
    assert str(await finder.first(IDS[2:3])) == (
        f"event {IDS[2]} cannot be read: it holds NULL where readside needs a value"
    )
