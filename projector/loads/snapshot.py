"""One session as one statement or transaction of Postgres sees it: what a load reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from projector.sql import statement
from readmodel.errors import EventLogUnavailable
from readmodel.postgres.sql import Tables
from readmodel.values.event import type_name

CHUNK_BYTES = 500_000
MOST_ROWS = 1_000
"""A load fetches so many rows at most, of about so many bytes: events may be of 100 bytes or of 1 MB."""
SMALL_BYTES = 1_000_000
"""A session of so many bytes and MOST_ROWS events at most is read by one statement: nearly every session."""
LOAD_TIMEOUT_SECONDS = 600.0
"""For what looks through a session's events: a large one from a cold disk takes its time."""


class Part(NamedTuple):
    """Some events of one session: how many, the bytes of their JSON, the highest and the lowest score.

    `words` are scores and JSON as ZADD's arguments in Redis' protocol, in several pieces. `entries` are those of the
    type index by type name, end to end and in any order.
    """

    held: int
    size: int
    newest: int
    lowest: int
    words: list[bytes]
    entries: dict[str, bytes]


def part(rows: Sequence[asyncpg.Record]) -> Part | None:
    """Join what `part.sql` and `small.sql` give, a row for each type; None without events."""
    rows = [row for row in rows if row["count"]]
    if not rows:
        return None
    entries: defaultdict[str, bytes] = defaultdict(bytes)
    for row in rows:
        entries[type_name(row["event_type"])] += row["entries"]
    return Part(
        sum(row["count"] for row in rows),
        sum(row["bytes"] for row in rows),
        max(row["newest"] for row in rows),
        min(row["lowest"] for row in rows),
        [row["words"] for row in rows],
        entries,
    )


class Snapshot:
    """One session as one snapshot of Postgres sees it: totals now, and its newest events as a stream.

    `rows` hold the totals by type; no row where there is no such session.
    """

    def __init__(self, rows: Sequence[asyncpg.Record]) -> None:
        self.status: str | None = rows[0]["status"] if rows else None
        self.name: str = rows[0]["snapshot"] if rows else ""
        self.count = _total(rows, "count")
        self.hi = _total(rows, "hi")
        self.lo = _total(rows, "lo")
        self.types = {row["event_type"]: row["count"] for row in rows if row["event_type"] is not None}
        self._rows = rows

    async def newest(self) -> AsyncGenerator[Part]:
        """Yield the session's newest events that fit into the window: a small session's, all at once."""
        whole = part(self._rows)
        if whole:
            yield whole


class LargeSnapshot(Snapshot):
    """The same of any session, for as long as the connection's transaction lasts.

    `window` bounds what `newest` yields: how many events, and the bytes of their JSON.
    """

    def __init__(
        self, connection: Any, tables: Tables, session_id: str, rows: Sequence[asyncpg.Record], window: tuple[int, int]
    ) -> None:
        super().__init__(rows)
        self._connection = connection
        self._tables = tables
        self._session = UUID(session_id)
        self._window = window

    async def newest(self) -> AsyncGenerator[Part]:
        """Yield them in parts of about CHUNK_BYTES, newest first.

        Each is rendered by a short query of its own; before the first the session's events are put in order.
        Raises EventLogUnavailable where a partition was attached meanwhile.
        """
        most_events, left = self._window
        parts = await self._connection.fetch(
            statement("newest", self._tables), self._session, most_events, CHUNK_BYTES, timeout=LOAD_TIMEOUT_SECONDS
        )
        if self._tables.partitioned:
            await self._check_totals()
        for (places,) in parts:
            for start in range(0, len(places), MOST_ROWS):
                wanted = places[start : start + MOST_ROWS]
                fitting = part(await self._connection.fetch(statement("part", self._tables), wanted, left))
                if fitting:
                    yield fitting
                    left -= fitting.size
                if not fitting or fitting.held < len(wanted):
                    return

    async def _check_totals(self) -> None:
        """Count again: later statements see the rows of a partition that was attached after the first."""
        rows = await self._connection.fetch(
            statement("totals", self._tables), self._session, timeout=LOAD_TIMEOUT_SECONDS
        )
        if (self.count, self.hi, self.lo) != tuple(_total(rows, name) for name in ("count", "hi", "lo")):
            raise EventLogUnavailable("A partition was attached while a session was loaded.")


def _total(rows: Iterable[asyncpg.Record], name: str) -> int:
    return sum(row[name] or 0 for row in rows)


def type_counts(types: dict[str, int]) -> dict[str, int]:
    """The header's fields of totals per type; types that no poll can ask for share one."""
    fields: dict[str, int] = {}
    for name, count in types.items():
        field_name = f"t:{type_name(name)}"
        fields[field_name] = fields.get(field_name, 0) + count
    return fields
