"""One session as one transaction of Postgres sees it: what a load reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from itertools import repeat
from typing import Any
from uuid import UUID

import asyncpg

from readmodel.event import Event, type_name
from readmodel.sql import statement

CHUNK_BYTES = 500_000
MOST_ROWS = 1_000
"""A load fetches so many rows at most, of about so many bytes: events may be of 100 bytes or of 1 MB."""
LOAD_TIMEOUT_SECONDS = 600.0
"""For what looks through a session's events: a large one from a cold disk takes its time."""


class Snapshot:
    """One session as one transaction sees it: totals now, and its newest events as a stream."""

    def __init__(self, connection: Any, session_id: str, rows: Sequence[asyncpg.Record]) -> None:
        self.session_id = session_id
        self.status: str | None = rows[0]["status"] if rows else None
        self.count = sum(row["count"] for row in rows)
        self.hi = sum(row["hi"] for row in rows)
        self.lo = sum(row["lo"] for row in rows)
        self.types = {row["event_type"]: row["count"] for row in rows if row["event_type"] is not None}
        self._connection = connection

    async def newest(self, limit: int) -> AsyncGenerator[list[Event]]:
        """Yield the newest events in chunks of about CHUNK_BYTES, newest first.

        Each is rendered by a short query of its own; before the first the session's events are put in order.
        """
        parts = await self._connection.fetch(
            statement("newest"), UUID(self.session_id), limit, CHUNK_BYTES, timeout=LOAD_TIMEOUT_SECONDS
        )
        for (places,) in parts:
            for start in range(0, len(places), MOST_ROWS):
                row = await self._connection.fetchrow(statement("part"), places[start : start + MOST_ROWS])
                columns = repeat(self.session_id), row["ids"], row["scores"], row["types"], repeat(0), repeat(0)
                yield list(map(Event._make, zip(*columns, row["members"], strict=False)))


def type_counts(types: dict[str, int]) -> dict[str, int]:
    """Give the header's fields of totals per type; types that no poll can ask for share one."""
    fields: dict[str, int] = {}
    for name, count in types.items():
        field_name = f"t:{type_name(name)}"
        fields[field_name] = fields.get(field_name, 0) + count
    return fields
