"""Reads of the write side's tables by whoever may: the tables move, rows are hidden, events cannot be read."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, Protocol, TypeVar, cast
from uuid import UUID

import asyncpg
import structlog

from readmodel.errors import BadEvents, EventLogUnavailable, SchemaMissing, ServerInRecovery, ServiceError
from readmodel.postgres.client import Connection, Pool, target, translated
from readmodel.postgres.sql import Tables
from readmodel.postgres.tables import TableFinder, check_tables
from readmodel.postgres.unreadable import EventFinder, UnreadableEvent
from readmodel.values.wal import Proof

CHECKED_SECONDS = 2.0
"""The tables are looked at so often. What would make an answer wrong before is noticed by the statement itself."""
MAX_UNREADABLE = 1_000
"""Questions of which it is remembered which event kept them from being answered: that one is tried first."""

_log = structlog.get_logger(__name__)


class OfSession(Hashable, Protocol):
    """A question about a session."""

    @property
    def session_id(self) -> str:
        """Which."""


Question = TypeVar("Question", bound=OfSession)


class TableReads(ABC, Generic[Question]):
    """Answers questions by one statement each, which tells `visible`, `unreadable` and `in_recovery` of itself.

    Each read raises EventLogUnavailable, AccessRefused, SchemaMissing or RightsMissing.
    """

    UNANSWERED: str
    """Says that a question cannot be answered for the event `{found}`."""

    def __init__(self, pool: Pool, url: str, finder: TableFinder) -> None:
        self._pool = pool
        self._url = url
        self._finder = finder
        self._checked_at = float("-inf")
        self._unreadable: OrderedDict[Question, UnreadableEvent] = OrderedDict()

    @abstractmethod
    async def _fetch(
        self, question: Question, tables: Tables, max_bytes: int
    ) -> tuple[asyncpg.Record | None, Proof | None]:
        """Send the statement; a hot standby's answer comes with what it had passed."""

    @abstractmethod
    async def _ids(self, question: Question, tables: Tables, max_bytes: int) -> Sequence[UUID]:
        """The events that the answer would hold."""

    def _judge(self, row: asyncpg.Record, _proof: Proof | None) -> None:
        """Raise unless the server that answered is one that may."""
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")

    async def _answered(self, question: Question, max_bytes: int) -> tuple[asyncpg.Record, Proof | None]:
        """The row of a server that may answer; raises BadEvents, which names the event that cannot be read."""
        try:
            try:
                row, proof = await self._row(question, max_bytes)
            except SchemaMissing:
                # a table was moved to another schema: look for it, once
                row, proof = await self._row(question, max_bytes)
        except BadEvents as error:
            raise await self._named(question, max_bytes, error) from error
        if row["unreadable"]:
            empty = BadEvents("An event of this page cannot be read: it holds NULL.")
            raise await self._named(question, max_bytes, empty)
        self._judge(row, proof)
        return row, proof

    async def _row(self, question: Question, max_bytes: int) -> tuple[asyncpg.Record, Proof | None]:
        tables = await self._finder.tables()
        if time.monotonic() - self._checked_at > CHECKED_SECONDS:
            try:
                await self._check(tables)
            except SchemaMissing:
                self._finder.forget(tables)  # who asks again looks for them
                raise
        try:
            with translated(self._url):
                row, proof = await self._fetch(question, tables, max_bytes)
        except ServiceError as error:
            if isinstance(error, SchemaMissing) or _is_of_schema(error):
                await self._refuse(tables)
            raise
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        if not row["visible"]:
            await self._refuse(tables)
            raise SchemaMissing("The tables were changed while they were read.")
        return row, proof

    async def _refuse(self, tables: Tables) -> None:
        """Look for the tables again, and say in full what is wrong with them, if it still is."""
        self._finder.forget(tables)
        await self._check(await self._finder.tables())

    async def _check(self, tables: Tables) -> None:
        before, self._checked_at = self._checked_at, time.monotonic()  # others need not look at the same time
        try:
            with translated(self._url):
                async with self._pool.acquire() as connection:
                    await self._look_at(cast("Connection", connection), tables)
        except BaseException:
            self._checked_at = before
            raise

    async def _look_at(self, connection: Connection, tables: Tables) -> None:
        """Raise unless our role can read what it must, as it is."""
        await check_tables(connection, tables, self._url)

    async def _named(self, question: Question, max_bytes: int, error: BadEvents) -> BadEvents:
        """Name the event that keeps a question from being answered, as far as it can still be found."""
        tables, known = await self._finder.tables(), self._unreadable.pop(question, None)
        find = EventFinder(self._pool, self._url, tables)
        found = await find.first([known.id]) if known else None
        if found is None:
            with translated(self._url):
                ids = await self._ids(question, tables, max_bytes)
            found = await find.first(ids)
        if found is None:
            return error
        if found != known:
            _log.warning("a page cannot be answered", session_id=question.session_id, reason=str(found))
        self._unreadable[question] = found
        if len(self._unreadable) > MAX_UNREADABLE:
            self._unreadable.popitem(last=False)
        return BadEvents(self.UNANSWERED.format(found=found))


def _is_of_schema(error: ServiceError) -> bool:
    """Tell whether Postgres found names, types or rights to be other than a statement takes them for (class 42)."""
    return str(getattr(error.__cause__, "sqlstate", None)).startswith("42")
