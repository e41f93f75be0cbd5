"""Pages of Postgres by their depth: the same events whichever end they are sorted from, and no work for what is not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import orjson
import pytest

from readmodel.postgres.client import Connection, create_pool
from readmodel.postgres.event_log import EventLog, answer_statement
from readmodel.postgres.sql import Tables
from readmodel.postgres.tables import TableFinder
from readmodel.values.poll import Poll
from tests.support.projecting import INSERT_SESSION
from tests.support.servers import connected

EVENTS = 50
# Three share an instant, so that ids decide; what comes last in time was written first.
INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), $1, CASE n % 2 WHEN 0 THEN 'even' ELSE 'odd' END, '{}',
       '2026-01-13T14:30:00Z'::timestamptz - n / 3 * interval '1 s'
FROM generate_series(1, $2::int) AS n
"""
NEWEST_FIRST = "SELECT id::text FROM events WHERE session_id = $1 ORDER BY timestamp DESC, id DESC"


@dataclass
class Pages:
    """A session's pages, as the log gives them."""

    log: EventLog
    connection: Connection
    session_id: UUID

    async def ids(self, page: int, limit: int, **asked: object) -> list[str]:
        """The ids of a page; its total must be right however deep it is."""
        poll = Poll(str(self.session_id), page=page, limit=limit, **asked)  # type: ignore[arg-type]
        found = await self.log.answer(poll, 1_000_000)
        assert found.total == (EVENTS // 2 if poll.types else EVENTS)
        return [event["id"] for event in orjson.loads(b"[" + found.page + b"]")]

    async def sorts(self, offset: int, limit: int) -> dict[str, float | None]:
        """How many rows each of the two sorts of the session gave; None where it did not run."""
        values = f"'{self.session_id}'::uuid", "NULL", "NULL", str(limit), str(offset), "1000000"
        sql = re.sub(
            r"\$(\d)",
            lambda found: values[int(found[1]) - 1],
            answer_statement(Tables.within("public", "public"), Poll("")),
        )
        rows = await self.connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}")
        found = re.findall(
            r"Sort \((?:actual rows=([\d.]+)|(never) executed).*?\n"
            r"\s+Sort Key: matching\w*\.\"timestamp\"( DESC)?.*?\n(?:.*\n){0,3}?\s+->  CTE Scan on matching",
            "\n".join(row[0] for row in rows),
        )
        assert len(found) == 2, rows
        return {
            "newest" if descending else "oldest": None if never else float(given) for given, never, descending in found
        }


@pytest.fixture
async def pages(database_url: str) -> AsyncIterator[Pages]:
    """Of a session with events that share their instants."""
    session_id = uuid4()
    pool = await create_pool(database_url, application_name="test", size=1)
    async with connected(database_url) as connection:
        await connection.execute(INSERT_SESSION, session_id, "in_progress")
        await connection.execute(INSERT, session_id, EVENTS)
        finder = TableFinder(database_url, application_name="test")
        yield Pages(EventLog(pool, database_url, finder), connection, session_id)
    pool.terminate()


@pytest.mark.parametrize("limit", [1, 7, 10, 25, 49, 50, 51, 1_000])
@pytest.mark.parametrize("oldest_first", [False, True])
async def test_pages_follow_one_another_whichever_end_they_are_nearer_to(
    pages: Pages, limit: int, oldest_first: bool
) -> None:
    """Each event once, from either end, to the last page and the empty ones behind it."""
    expected = [row[0] for row in await pages.connection.fetch(NEWEST_FIRST, pages.session_id)]
    found: list[str] = []
    for page in range(1, EVENTS // limit + 3):
        found += await pages.ids(page, limit, oldest_first=oldest_first)

    assert found == (expected[::-1] if oldest_first else expected)
    assert await pages.ids(10**9, 1_000, oldest_first=oldest_first) == []


async def test_pages_of_a_type_follow_one_another(pages: Pages) -> None:
    """Depth counts what matches."""
    found = [await pages.ids(page, 10, types=("odd",)) for page in (1, 2, 3, 4)]

    assert [len(page) for page in found] == [10, 10, 5, 0]
    assert len({event for page in found for event in page}) == EVENTS // 2


async def test_a_page_is_sorted_from_its_nearer_end(pages: Pages) -> None:
    """The other end's sort does not run."""
    assert await pages.sorts(0, 10) == {"newest": 10, "oldest": None}
    assert await pages.sorts(EVENTS - 10, 10) == {"newest": None, "oldest": 10}


async def test_a_page_past_the_end_sorts_nothing(pages: Pages) -> None:
    """Its total is counted all the same."""
    assert await pages.sorts(EVENTS, 10) == {"newest": None, "oldest": None}
