"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import asyncpg

from readmodel.errors import AnswerTooLarge, EventLogUnavailable, SchemaMissing, ServerInRecovery
from readmodel.poll import Poll
from readmodel.postgres_client import Pool, target, translated
from readmodel.sql import Tables, statement
from readmodel.tables import TableFinder


class LogPage(NamedTuple):
    """A page from the event log.

    `status` is None when there is no such session. `page` is the events' JSON joined by commas; `as_of_us` the
    statement's `now()`, microseconds since 1970: every event committed before it is counted. `database` is the identity
    of the database that answered: a pooler or an address may lead to another one from one statement to the next.
    `shortened_to` is how long pages are where that is less than the poll's limit.
    """

    status: str | None
    page: bytes
    total: int
    as_of_us: int
    database: str
    shortened_to: int | None = None


_NEWEST_FIRST, _OLDEST_FIRST = (("forth", "DESC"), ("back", "ASC")), (("forth", "ASC"), ("back", "DESC"))
_OF_STEPS = ("of_steps", "AND e.step_id = ANY ($7::uuid[])")
_OF_ANY_STEP = ("of_steps", "")


def answer_statement(tables: Tables, poll: Poll) -> str:
    """Write the statement that answers a poll; steps, where it has any, are its seventh parameter."""
    order = _OLDEST_FIRST if poll.oldest_first else _NEWEST_FIRST
    return statement("answer", tables, words=(*order, _OF_STEPS if poll.steps else _OF_ANY_STEP))


class EventLog:
    """Reads of the event log. Each raises EventLogUnavailable, AccessRefused, SchemaMissing or RightsMissing."""

    def __init__(self, pool: Pool, url: str, finder: TableFinder) -> None:
        self._pool = pool
        self._url = url
        self._finder = finder

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll by one statement; raises AnswerTooLarge past `max_bytes` of events, ServerInRecovery.

        Where no limit was asked for, pages are as long as the first one can be: a second statement finds that out.
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
            row = await self._row(poll, max_bytes)
        except SchemaMissing:
            row = await self._row(poll, max_bytes)  # a table was moved to another schema: look for it, once
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")
        fitting = row["fitting"]
        is_whole = fitting == row["asked"]
        if not is_whole and not (poll.may_shorten and fitting):
            raise AnswerTooLarge(fitting, max_bytes)
        page = row["page"].encode()
        return LogPage(
            row["status"], page, row["total"], row["as_of_us"], row["database"], None if is_whole else fitting
        )

    async def _row(self, poll: Poll, max_bytes: int) -> asyncpg.Record | None:
        tables = await self._finder.tables()
        types, steps = list(poll.types) or None, [UUID(step) for step in poll.steps]
        arguments = UUID(poll.session_id), poll.since_us, types, poll.limit, poll.offset, max_bytes
        try:
            with translated(self._url):
                return await self._pool.fetchrow(
                    answer_statement(tables, poll), *arguments, *([steps] if steps else [])
                )
        except SchemaMissing:
            self._finder.forget(tables)
            raise

    async def ping(self) -> None:
        """Raise unless Postgres answers."""
        with translated(self._url):
            await self._pool.fetchval("SELECT 1")
