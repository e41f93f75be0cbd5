"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

import time
from collections import OrderedDict
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
from readmodel.wal import Proof

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
    `shortened_to` is how long pages are where that is less than the poll's limit. `proof` is what a hot standby had
    passed, which answers as of then; None of a primary's answer.
    """

    status: str | None
    page: bytes
    total: int
    as_of_us: int
    database: str
    shortened_to: int | None = None
    proof: Proof | None = None


_NEWEST_FIRST, _OLDEST_FIRST = (("forth", "DESC"), ("back", "ASC")), (("forth", "ASC"), ("back", "DESC"))
_OF_STEPS = ("of_steps", "AND e.step_id = ANY ($7::uuid[])")
_OF_ANY_STEP = ("of_steps", "")


def answer_statement(tables: Tables, poll: Poll, name: str = "answer", *, standby: bool = False) -> str:
    """Write the statement that answers a poll, or another of its page; steps, if any, are its seventh parameter.

    `standby`: it also tells which timeline a hot standby follows.
    """
    order = _OLDEST_FIRST if poll.oldest_first else _NEWEST_FIRST
    timeline = ("timeline", statement("receiver").rstrip() if standby else "NULL::int4")
    return statement(name, tables, words=(*order, timeline, _OF_STEPS if poll.steps else _OF_ANY_STEP))


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

        Where no limit was asked for, pages are as long as the first one can be: a second statement finds that out.
        Raises AnswerTooLarge past `max_bytes` of events, ServerInRecovery, and BadEvents, which names the event of the
        page that cannot be read.
        """
        if not poll.may_shorten or poll.page == 1:
            return await self._page(poll, max_bytes)
        first = await self._page(poll._replace(page=1), max_bytes)
        if first.shortened_to is None:
            return await self._page(poll._replace(may_shorten=False), max_bytes)
        short = poll._replace(limit=first.shortened_to, may_shorten=False)
        return (await self._page(short, max_bytes))._replace(shortened_to=first.shortened_to)

    async def _page(self, poll: Poll, max_bytes: int) -> LogPage:
        try:
            try:
                row, proof = await self._row(poll, max_bytes)
            except SchemaMissing:
                row, proof = await self._row(poll, max_bytes)  # a table was moved to another schema: look for it, once
        except BadEvents as error:
            raise await self._named(poll, max_bytes, error) from error
        if row["unreadable"]:
            raise await self._named(poll, max_bytes, BadEvents("An event of this page cannot be read: it holds NULL."))
        self._judge(row, proof)
        fitting = row["fitting"]
        is_whole = fitting == row["asked"]
        if not is_whole and not (poll.may_shorten and fitting):
            raise AnswerTooLarge(fitting, max_bytes)
        page = row["page"].encode()
        as_of_us = row["as_of_us"] if proof is None else proof.as_of_us
        return LogPage(
            row["status"], page, row["total"], as_of_us, row["database"], None if is_whole else fitting, proof
        )

    def _judge(self, row: asyncpg.Record, _proof: Proof | None) -> None:
        """Raise unless the server that answered is one that may."""
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")

    async def _fetch(self, poll: Poll, tables: Tables, max_bytes: int) -> tuple[asyncpg.Record | None, Proof | None]:
        """Send the statement; a hot standby's answer comes with what it had passed."""
        return await self._pool.fetchrow(answer_statement(tables, poll), *arguments_of(poll, max_bytes)), None

    async def _row(self, poll: Poll, max_bytes: int) -> tuple[asyncpg.Record, Proof | None]:
        tables = await self._finder.tables()
        if time.monotonic() - self._checked_at > CHECKED_SECONDS:
            await self._check(tables)
        try:
            with translated(self._url):
                row, proof = await self._fetch(poll, tables, max_bytes)
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
                    await check_tables(cast("Connection", connection), tables, self._url)
        except BaseException:
            self._checked_at = before
            raise

    async def _named(self, poll: Poll, max_bytes: int, error: BadEvents) -> BadEvents:
        """Name the event that keeps a page from being answered, as far as it can still be found."""
        tables, known = await self._finder.tables(), self._unreadable.pop(poll, None)
        find = EventFinder(self._pool, self._url, tables)
        found = await find.first([known.id]) if known else None
        if found is None:
            with translated(self._url):
                rows = await self._pool.fetch(
                    answer_statement(tables, poll, "page_ids"), *arguments_of(poll, max_bytes)
                )
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


def arguments_of(poll: Poll, max_bytes: int) -> tuple[object, ...]:
    """Give the parameters of `answer_statement`."""
    types, steps = list(poll.types) or None, [UUID(step) for step in poll.steps]
    wanted = UUID(poll.session_id), poll.since_us, types, poll.limit, poll.offset, max_bytes
    return (*wanted, steps) if steps else wanted


def _is_of_schema(error: ServiceError) -> bool:
    """Tell whether Postgres found names, types or rights to be other than a statement takes them for (class 42)."""
    return str(getattr(error.__cause__, "sqlstate", None)).startswith("42")
