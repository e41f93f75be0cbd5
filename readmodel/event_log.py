"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, cast
from uuid import UUID

import asyncpg
import structlog

from readmodel.errors import (
    AnswerTooLarge,
    BadEvents,
    EventLogUnavailable,
    SchemaMissing,
    ServerInRecovery,
    ServiceError,
)
from readmodel.poll import Poll
from readmodel.postgres_client import Connection, Pool, target, translated
from readmodel.sql import Tables, statement
from readmodel.tables import TableFinder, check_tables
from readmodel.unreadable import EventFinder, UnreadableEvent

CHECKED_SECONDS = 2.0
"""The tables are looked at so often. What would make an answer wrong before is noticed by the statement itself."""
MAX_UNREADABLE = 1_000
"""Polls of which it is remembered which event kept them from being answered: that one is tried first."""

_log = structlog.get_logger(__name__)


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
        self._checked_at = float("-inf")
        self._unreadable: OrderedDict[Poll, UnreadableEvent] = OrderedDict()

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll by one statement.

        Raises AnswerTooLarge past `max_bytes` of events, ServerInRecovery, and BadEvents, which names the event of the
        page that cannot be read.
        """
        arguments = (*_matching(poll), max_bytes)
        try:
            try:
                row = await self._row(arguments)
            except SchemaMissing:
                row = await self._row(arguments)  # a table was moved to another schema: look for it, once
        except BadEvents as error:
            raise await self._named(poll, error) from error
        if row["unreadable"]:
            raise await self._named(poll, BadEvents("An event of this page cannot be read: it holds NULL."))
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")
        if row["fitting"] < row["asked"]:
            raise AnswerTooLarge(row["fitting"], max_bytes)
        return LogPage(row["status"], row["page"].encode(), row["total"], row["as_of_us"], row["database"])

    async def _row(self, arguments: Sequence[object]) -> asyncpg.Record:
        tables = await self._finder.tables()
        if time.monotonic() - self._checked_at > CHECKED_SECONDS:
            await self._check(tables)
        try:
            with translated(self._url):
                row = await self._pool.fetchrow(statement("answer", tables), *arguments)
        except ServiceError as error:
            if isinstance(error, SchemaMissing) or _is_of_schema(error):
                await self._refuse(tables)
            raise
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        if not row["visible"]:
            await self._refuse(tables)
            raise SchemaMissing("The tables were changed while they were read.")
        return row

    async def _refuse(self, tables: Tables) -> None:
        """Look for the tables again, and say in full what is wrong with them, if it still is."""
        self._finder.forget(tables)
        await self._check(await self._finder.tables())

    async def _check(self, tables: Tables) -> None:
        before, self._checked_at = self._checked_at, time.monotonic()  # others need not look at the same time
        try:
            with translated(self._url):
                async with self._pool.acquire() as connection:
                    await check_tables(cast("Connection", connection), tables, self._url)
        except BaseException:
            self._checked_at = before
            raise

    async def _named(self, poll: Poll, error: BadEvents) -> BadEvents:
        """Name the event that keeps a page from being answered, as far as it can still be found."""
        tables, known = await self._finder.tables(), self._unreadable.pop(poll, None)
        find = EventFinder(self._pool, self._url, tables)
        found = await find.first([known.id]) if known else None
        if found is None:
            with translated(self._url):
                rows = await self._pool.fetch(statement("page_ids", tables), *_matching(poll))
            found = await find.first([row["id"] for row in rows])
        if found is None:
            return error
        if found != known:
            _log.warning("a page cannot be answered", session_id=poll.session_id, reason=str(found))
        self._unreadable[poll] = found
        if len(self._unreadable) > MAX_UNREADABLE:
            self._unreadable.popitem(last=False)
        return BadEvents(
            f"This page cannot be answered, since {found}. Pages without this event are answered, and this one is when "
            "the event's row is mended or deleted."
        )

    async def ping(self) -> None:
        """Raise unless Postgres answers."""
        with translated(self._url):
            await self._pool.fetchval("SELECT 1")


def _matching(poll: Poll) -> tuple[object, ...]:
    """Give the arguments that say which events a poll asks for."""
    return UUID(poll.session_id), poll.since_us, list(poll.types) or None, poll.limit, poll.offset


def _is_of_schema(error: ServiceError) -> bool:
    """Tell whether Postgres found names, types or rights to be other than a statement takes them for (class 42)."""
    return str(getattr(error.__cause__, "sqlstate", None)).startswith("42")
