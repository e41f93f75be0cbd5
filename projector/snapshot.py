"""One session as one transaction of Postgres sees it: what a load reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from readmodel.event import type_name
from readmodel.sql import statement

CHUNK_BYTES = 500_000
MOST_ROWS = 1_000
"""A load fetches so many rows at most, of about so many bytes: events may be of 100 bytes or of 1 MB."""
WHOLE_BYTES = 1_000_000
"""A session of so many bytes and MOST_ROWS events at most is read by one query: nearly every session."""
LOAD_TIMEOUT_SECONDS = 600.0
"""For what looks through a session's events: a large one from a cold disk takes its time."""


class Part(NamedTuple):
    """Some events of one session, newest first, as columns; `entries` as the type index holds them."""

    scores: list[int]
    members: list[bytes]
    types: list[str]
    entries: list[bytes]

    def within(self, most_bytes: int) -> Part:
        """Give the newest of them whose JSON is `most_bytes` long at most; this very part when all are."""
        for place, member in enumerate(self.members):
            most_bytes -= len(member)
            if most_bytes < 0:
                return Part(self.scores[:place], self.members[:place], self.types[:place], self.entries[:place])
        return self


class Snapshot:
    """One session as one transaction sees it: totals now, and its newest events as a stream."""

    def __init__(self, connection: Any, session_id: str, rows: Sequence[asyncpg.Record]) -> None:
        self.session_id = session_id
        self.status: str | None = rows[0]["status"] if rows else None
        self.count = sum(row["count"] for row in rows)
        self.hi = sum(row["hi"] for row in rows)
        self.lo = sum(row["lo"] for row in rows)
        self.size = sum(row["size"] for row in rows)
        self.types = {row["event_type"]: row["count"] for row in rows if row["event_type"] is not None}
        self._connection = connection

    async def newest(self, limit: int) -> AsyncGenerator[Part]:
        """Yield the newest events in parts of about CHUNK_BYTES, newest first.

        Each is rendered by a short query of its own; before the first the session's events are put in order.
        """
        if self.count <= min(limit, MOST_ROWS) and self.size <= WHOLE_BYTES:
            yield Part(*await self._connection.fetchrow(statement("whole"), UUID(self.session_id)))
            return
        parts = await self._connection.fetch(
            statement("newest"), UUID(self.session_id), limit, CHUNK_BYTES, timeout=LOAD_TIMEOUT_SECONDS
        )
        for (places,) in parts:
            for start in range(0, len(places), MOST_ROWS):
                yield Part(*await self._connection.fetchrow(statement("part"), places[start : start + MOST_ROWS]))


def type_counts(types: dict[str, int]) -> dict[str, int]:
    """Give the header's fields of totals per type; types that no poll can ask for share one."""
    fields: dict[str, int] = {}
    for name, count in types.items():
        field_name = f"t:{type_name(name)}"
        fields[field_name] = fields.get(field_name, 0) + count
    return fields
