"""Finding the event that cannot be rendered, where a statement that renders several fails for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from readmodel.causes import cause
from readmodel.errors import BadEvents
from readmodel.postgres.client import translated
from readmodel.postgres.sql import Tables, statement

TOGETHER = 200
"""Events that are rendered at once; of a part that fails, the half that does is looked through."""


class UnreadableEvent(NamedTuple):
    """An event that Postgres cannot render, and why."""

    id: UUID
    reason: str

    def __str__(self) -> str:
        """Say it as the beginning of a sentence."""
        return f"event {self.id} cannot be read: {self.reason}"


class EventFinder:
    """Looks through events for one that cannot be read; `connection` is one of Postgres', or a pool of them."""

    def __init__(self, connection: Any, url: str, tables: Tables) -> None:
        self._connection = connection
        self._url = url
        self._tables = tables

    async def first(self, ids: Sequence[UUID]) -> UnreadableEvent | None:
        """The first of these events that cannot be read, None where each can; raises the errors of `translated`."""
        for start in range(0, len(ids), TOGETHER):
            part = ids[start : start + TOGETHER]
            found = await self._of(part)
            while found is not None and len(part) > 1:
                half = part[: len(part) // 2]
                of_half = await self._of(half)
                part = half if of_half else part[len(half) :]
                found = of_half or await self._of(part)
            if found is not None:
                return found
        return None

    async def _of(self, part: Sequence[UUID]) -> UnreadableEvent | None:
        """Tell whether one of a part cannot be read: which one is certain of a part of one alone."""
        try:
            with translated(self._url):
                row = await self._connection.fetchrow(statement("readable", self._tables), part)
        except BadEvents as error:
            return UnreadableEvent(part[0], cause(error.__cause__ or error))
        if row is None or row["empty"] is None:
            return None
        return UnreadableEvent(row["empty"], "it holds NULL where readside needs a value")
