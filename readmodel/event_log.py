"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from readmodel.errors import AnswerTooLarge, EventLogUnavailable, SchemaMissing, ServerInRecovery
from readmodel.poll import Poll
from readmodel.postgres_client import Pool, target, translated
from readmodel.sql import statement
from readmodel.tables import TableFinder


class LogPage(NamedTuple):
    """A page from the event log.

    `status` is None when there is no such session. `page` is the events' JSON joined by commas; `as_of_us` the
    statement's `now()`, microseconds since 1970: every event committed before it is counted. `database` is the identity
    of the database that answered: a pooler or an address may lead to another one from one statement to the next.
    """

    status: str | None
    page: bytes
    total: int
    as_of_us: int
    database: str


class EventLog:
    """Reads of the event log. Each raises EventLogUnavailable, AccessRefused, SchemaMissing or RightsMissing."""

    def __init__(self, pool: Pool, url: str, finder: TableFinder) -> None:
        self._pool = pool
        self._url = url
        self._finder = finder

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll by one statement; raises AnswerTooLarge past `max_bytes` of events, ServerInRecovery."""
        types = list(poll.types) or None
        arguments = UUID(poll.session_id), poll.since_us, types, poll.limit, poll.offset, max_bytes
        try:
            row = await self._row(arguments)
        except SchemaMissing:
            row = await self._row(arguments)  # a table was moved to another schema: look for it, once
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")
        if row["fitting"] < row["asked"]:
            raise AnswerTooLarge(row["fitting"], max_bytes)
        return LogPage(row["status"], row["page"].encode(), row["total"], row["as_of_us"], row["database"])

    async def _row(self, arguments: Sequence[object]) -> asyncpg.Record | None:
        tables = await self._finder.tables()
        try:
            with translated(self._url):
                return await self._pool.fetchrow(statement("answer", tables), *arguments)
        except SchemaMissing:
            self._finder.forget(tables)
            raise

    async def ping(self) -> None:
        """Raise unless Postgres answers."""
        with translated(self._url):
            await self._pool.fetchval("SELECT 1")
