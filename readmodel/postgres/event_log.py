"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import asyncpg

from readmodel.errors import AnswerTooLarge
from readmodel.postgres.client import translated
from readmodel.postgres.sql import Tables, statement
from readmodel.postgres.table_reads import TableReads
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof


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


class EventLog(TableReads[Poll]):
    """Reads of the event log. Each raises EventLogUnavailable, AccessRefused, SchemaMissing or RightsMissing."""

    UNANSWERED = (
        "This page cannot be answered, since {found}. Pages without this event are answered, and this one is when the "
        "event's row is mended or deleted."
    )

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
        row, proof = await self._answered(poll, max_bytes)
        fitting = row["fitting"]
        is_whole = fitting == row["asked"]
        if not is_whole and not (poll.may_shorten and fitting):
            raise AnswerTooLarge(fitting, max_bytes)
        page = row["page"].encode()
        as_of_us = row["as_of_us"] if proof is None else proof.as_of_us
        return LogPage(
            row["status"], page, row["total"], as_of_us, row["database"], None if is_whole else fitting, proof
        )

    async def _fetch(self, poll: Poll, tables: Tables, max_bytes: int) -> tuple[asyncpg.Record | None, Proof | None]:
        return await self._pool.fetchrow(answer_statement(tables, poll), *arguments_of(poll, max_bytes)), None

    async def _ids(self, poll: Poll, tables: Tables, max_bytes: int) -> Sequence[UUID]:
        asked = answer_statement(tables, poll, "page_ids")
        return [row["id"] for row in await self._pool.fetch(asked, *arguments_of(poll, max_bytes))]

    async def ping(self) -> None:
        """Raise unless Postgres answers."""
        with translated(self._url):
            await self._pool.fetchval("SELECT 1")


def arguments_of(poll: Poll, max_bytes: int) -> tuple[object, ...]:
    """The parameters of `answer_statement`."""
    types, steps = list(poll.types) or None, [UUID(step) for step in poll.steps]
    wanted = UUID(poll.session_id), poll.since_us, types, poll.limit, poll.offset, max_bytes
    return (*wanted, steps) if steps else wanted
