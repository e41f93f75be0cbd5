"""The leader's connection: the lock that makes a leader, and the readings, which it is lost with or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg

from projector.reads import Reads, open_reads
from projector.tail.lead_holders import LeadHolder
from projector.tail.sql import statement
from readmodel.errors import BadEvents, EventLogUnavailable, PoolerInTheWay, QueryTooSlow
from readmodel.postgres.client import Connection, Server, check_server, connect, target, translated

FROZEN_BEATS = 6
FROZEN_SECONDS = 3.0
"""A leader that ran nothing for so many beats (and seconds), and does not report, is frozen or cut off."""
PROBE_SECONDS = 5.0
ANSWER_SECONDS = 5.0
"""A small statement that takes so long will never be answered: the connection is given up, and the lead with it."""
LISTEN_SECONDS = 60.0
"""LISTEN skips what is in the queue already: a million notifications take it a while."""
LOCK_MS = 500
"""A reading waits so long for tables that somebody locks, as a migration does; then it does without their rows."""
_CONNECT_SECONDS = 5.0
_SETTINGS = {
    # A letter that a policy hides would be passed over for good: an error ends the term instead.
    "row_security": "off",
    # The server drops a leader whose network is gone, lock and all.
    "tcp_user_timeout": "10000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    # The tables of letters are young and small: no plan of ours may read them, or the events, from end to end, and none
    # may be made anew for each reading. What we write is unlogged, and waits for no disk.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "lock_timeout": str(LOCK_MS),
    "synchronous_commit": "off",
}

# `state_change` moves with every statement, and a leader runs one each beat: an old one is a frozen or unreachable
# leader's. Its doorbell goes with it, by the same key shared: a frozen one would pin the notification queue. One
# statement, so that it is that very backend which is ended; another role's cannot be.
_END_FROZEN_LEADER = """
WITH held AS (
  SELECT a.pid, (l.classid::bigint << 32) | l.objid::bigint AS key,
         clock_timestamp() - a.state_change > $3 * interval '1 second' AS is_silent
  FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND a.usename = current_user AND a.pid <> pg_backend_pid()
)
SELECT pid, pg_terminate_backend(pid) AS ended FROM held
WHERE key IN ($1, $2) AND EXISTS (SELECT FROM held WHERE key = $1 AND is_silent)
"""


def lock_key(prefix: str, redis_target: str) -> int:
    """Derive the advisory lock's key: deployments with another prefix or another Redis leave each other alone."""
    digest = hashlib.blake2b(f"readside/{prefix}/{redis_target}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def bell_key(lead_key: int) -> int:
    """Derive the key that a leader's doorbell holds beside the lead's."""
    return lead_key ^ 1


class Tail:
    """One connection that stands by, leads, and reads letters.

    Its methods raise EventLogUnavailable when it is broken.
    """

    def __init__(self, connection: Connection, url: str, server: Server, heartbeat_seconds: float) -> None:
        self.server = server
        self._connection = connection
        self._url = url
        self._heartbeat_seconds = heartbeat_seconds
        self._turn = asyncio.Lock()  # one statement at a time: asyncpg refuses a second

    async def try_lock(self, key: int) -> bool:
        """Try to become the leader, without waiting: a waiting lock would hold back vacuum."""
        return bool(await self.value("SELECT pg_try_advisory_lock($1)", key))

    async def end_frozen_leader(self, key: int) -> list[int]:
        """End the connections of a leader that ran nothing for some beats; give the process ids of those ended.

        For those who know that the leader does not report either.
        """
        silent = max(FROZEN_BEATS * self._heartbeat_seconds, FROZEN_SECONDS)
        rows = await self.rows(_END_FROZEN_LEADER, key, bell_key(key), silent)
        return [row["pid"] for row in rows if row["ended"]]

    async def lead_holders(self, key: int) -> list[LeadHolder]:
        """Ask who else holds the lead's lock."""
        return [LeadHolder.read(row) for row in await self.rows(statement("lead_holders"), key)]

    async def value(self, sql: str, *arguments: object) -> Any:
        """Run a small statement, give its first value; None without a row."""
        rows = await self.rows(sql, *arguments)
        return rows[0][0] if rows else None

    async def rows(self, sql: str, *arguments: object, timeout: float | None = None) -> list[Any]:
        """Run a statement that takes `timeout` seconds at most (ANSWER_SECONDS); raises TableLocked, BadEvents too."""
        async with self._turn, _answering(self._url, timeout):
            if self._connection.is_closed():
                raise EventLogUnavailable(self._closed())
            try:
                rows: list[Any] = await self._connection.fetch(sql, *arguments)
            except (asyncpg.ConnectionDoesNotExistError, ConnectionError) as exc:
                raise EventLogUnavailable(self._closed()) from exc
        return rows

    def _closed(self) -> str:
        return f"PostgreSQL at {target(self._url)} closed the leader's connection."

    async def check_no_pooler(self, reads: Reads) -> None:
        """Prove that LISTEN works here before anything relies on it; raises PoolerInTheWay."""
        channel, came = f"readside_probe_{uuid4().hex}", asyncio.Event()

        def on_probe(*_: Any) -> None:
            came.set()

        before = await self.value("SELECT pg_backend_pid()")
        async with self._turn, _answering(self._url, LISTEN_SECONDS):
            await self._connection.add_listener(channel, on_probe)
        try:
            await reads.row("SELECT pg_catalog.pg_notify($1, 'probe')", channel)
        except BadEvents:  # the notification queue is full: nothing is proven, and whoever leads needs no bell
            return
        try:
            # No statement meanwhile: while one runs, a pooler lends us the very connection that hears.
            async with asyncio.timeout(PROBE_SECONDS):
                await came.wait()
        except TimeoutError:
            await self.value("SELECT 1")  # else it is silent altogether, and says so
            raise self._pooler("a notification sent to it never arrived") from None
        async with self._turn, _answering(self._url):
            await self._connection.remove_listener(channel, on_probe)
        if await self.value("SELECT pg_backend_pid()") != before:
            raise self._pooler("two statements on it reached two server processes")

    def _pooler(self, symptom: str) -> PoolerInTheWay:
        return PoolerInTheWay(
            f"The connection to {target(self._url)} cannot LISTEN ({symptom}): "
            "a pooler in transaction mode is in the way. Set READSIDE_LISTEN_URL to the server's own address."
        )


@asynccontextmanager
async def _answering(url: str, seconds: float | None = None) -> AsyncIterator[None]:
    """Translate errors, and the lack of an answer: that of a broken connection, not of a slow query."""
    try:
        with translated(url):
            async with asyncio.timeout(ANSWER_SECONDS if seconds is None else seconds):
                yield
    except QueryTooSlow as exc:
        raise EventLogUnavailable(f"PostgreSQL at {target(url)} sent the leader nothing for a while.") from exc


@asynccontextmanager
async def open_tail(
    listen_url: str, database_url: str, *, heartbeat_seconds: float, statement_cache_size: int
) -> AsyncIterator[tuple[Tail, Reads]]:
    """Connect to the server to lead on, and to the same one for reads; checks both before it hands them over.

    Raises EventLogUnavailable, ServerInRecovery, AccessRefused, ConfigurationError, RightsMissing, PoolerInTheWay.
    """
    connection = await connect(
        listen_url,
        application_name="readside-projector",
        timeout_seconds=_CONNECT_SECONDS,
        statement_cache_size=100,
        settings=_SETTINGS,
    )
    try:
        async with _answering(listen_url):
            server = await check_server(connection, listen_url)
        tail = Tail(connection, listen_url, server, heartbeat_seconds)
        async with open_reads(
            database_url, server_started=server.started, statement_cache_size=statement_cache_size
        ) as reads:
            await tail.check_no_pooler(reads)
            yield tail, reads
    finally:
        connection.terminate()
