"""The event log in Postgres as everybody may read it: polls, and whether a session exists."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from readmodel.errors import AnswerTooLarge, EventLogUnavailable, ServerInRecovery
from readmodel.poll import Poll
from readmodel.postgres_client import Pool, target, translated
from readmodel.sql import statement

_ANSWER = statement("answer")


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

    def __init__(self, pool: Pool, url: str) -> None:
        self._pool = pool
        self._url = url

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll by one statement; raises AnswerTooLarge past `max_bytes` of events, ServerInRecovery."""
        types = list(poll.types) or None
        with translated(self._url):
            row = await self._pool.fetchrow(
                _ANSWER, UUID(poll.session_id), poll.since_us, types, poll.limit, poll.offset, max_bytes
            )
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        if row["in_recovery"]:
            raise ServerInRecovery(f"PostgreSQL at {target(self._url)} is in recovery (a standby).")
        if row["fitting"] < row["asked"]:
            raise AnswerTooLarge(row["fitting"], max_bytes)
        return LogPage(row["status"], row["page"].encode(), row["total"], row["as_of_us"], row["database"])

    async def exists(self, session_id: str) -> bool:
        """Tell whether a session's row is there now."""
        with translated(self._url):
            return await self._pool.fetchval("SELECT 1 FROM sessions WHERE id = $1", UUID(session_id)) is not None

    async def ping(self) -> None:
        """Raise unless Postgres answers."""
        with translated(self._url):
            await self._pool.fetchval("SELECT 1")
