"""Writes the sample sessions' rows: the write side's SQL, each piece harmless when it is done twice."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeAlias
from uuid import UUID

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from readside.demo.moves import Change, Json, NewSession, Record, Savepoint, SetStatus, Transaction

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

INSERT_SESSION = """
INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
VALUES ($1, $2, 'pending', $3, $4, $5, $6, $6) ON CONFLICT (id) DO NOTHING
"""
UPDATE_SESSION = """
UPDATE sessions SET status = $2::text, result = $3, error_message = $4, updated_at = $5,
       completed_at = CASE WHEN $2::text IN ('pending', 'in_progress', 'paused') THEN NULL ELSE $5::timestamptz END
 WHERE id = $1
"""
INSERT_EVENT = """
INSERT INTO events (id, session_id, step_id, event_type, event_data, message, timestamp)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING
"""
PURGE = """
DELETE FROM sessions WHERE config @> '{"writer": "sample"}' AND completed_at < now() - $1::interval
"""
CANCEL_ABANDONED = """
WITH ended AS (
  UPDATE sessions
     SET status = 'cancelled', error_message = 'The writer was stopped.', updated_at = now(), completed_at = now()
   WHERE config @> '{"writer": "sample"}' AND status IN ('pending', 'in_progress', 'paused') RETURNING id
)
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), id, 'status_changed', '{"to": "cancelled"}', now() FROM ended
"""
COLUMNS = ["id", "session_id", "step_id", "event_type", "event_data", "message", "timestamp"]


class _TakenBack(Exception):
    """Leaves a transaction or savepoint so that asyncpg rolls it back."""


async def write(connection: Connection, *, session_id: UUID, transaction: Transaction, now: datetime) -> None:
    """Run one transaction of a session to its end; `now` is the application's clock when it began.

    Once it has committed, running it again changes nothing.
    """
    work = _Work(connection, session_id, now)
    try:
        async with connection.transaction():
            if transaction.bulk:
                await work.copy(transaction)
            else:
                await work.all(transaction.changes)
            await asyncio.sleep(transaction.held_seconds)
            if not transaction.commits:
                _take_back()
    except _TakenBack:
        return
    except asyncpg.ForeignKeyViolationError:
        return  # somebody deleted the session: its life goes on unrecorded


async def purge(connection: Connection, *, older_than_seconds: float) -> None:
    """Delete our sessions that have been finished for so long, events and all, as a retention job does."""
    await connection.execute(PURGE, timedelta(seconds=older_than_seconds))


async def cancel_abandoned(connection: Connection) -> None:
    """End the sessions that an earlier run of the writer left unfinished."""
    await connection.execute(CANCEL_ABANDONED)


class _Work:
    """What one transaction writes."""

    def __init__(self, connection: Connection, session_id: UUID, now: datetime) -> None:
        self._connection = connection
        self._session_id = session_id
        self._now = now

    async def all(self, changes: tuple[Change | Savepoint, ...]) -> None:
        for change in changes:
            if isinstance(change, Savepoint):
                await self._savepoint(change)
            else:
                await self._write(change)

    async def copy(self, transaction: Transaction) -> None:
        """Insert events by COPY, which knows no ON CONFLICT: look whether they are there already."""
        rows = [self._event(record) for record in transaction.changes if isinstance(record, Record)]
        there = await self._connection.fetchval("SELECT EXISTS (SELECT FROM events WHERE id = $1)", rows[0][0])
        if not there:
            await self._connection.copy_records_to_table("events", records=rows, columns=COLUMNS)

    async def _savepoint(self, savepoint: Savepoint) -> None:
        try:
            async with self._connection.transaction():
                await self.all(savepoint.changes)
                if not savepoint.kept:
                    _take_back()
        except _TakenBack:
            return

    async def _write(self, change: Change) -> None:
        match change:
            case NewSession(session_type, mode, project_path, config):
                values = (self._session_id, session_type, mode, project_path, _json(config), self._now)
                await self._connection.execute(INSERT_SESSION, *values)
            case SetStatus(status, result, error_message):
                result_text = None if result is None else _json(result)
                row = (self._session_id, status, result_text, error_message, self._now)
                await self._connection.execute(UPDATE_SESSION, *row)
            case Record():
                await self._connection.execute(INSERT_EVENT, *self._event(change))

    def _event(self, record: Record) -> tuple[Any, ...]:
        timestamp = self._now - timedelta(seconds=record.back_seconds)
        data = _json(record.data)
        return (record.id, self._session_id, record.step_id, record.event_type, data, record.message, timestamp)


def _json(value: Json) -> str:
    return orjson.dumps(value).decode()


def _take_back() -> NoReturn:
    raise _TakenBack
