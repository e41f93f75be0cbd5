"""The listening connection: the lock that makes a leader, LISTEN, and the proof that both still hold."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from projector.reads import Reads, open_reads
from readmodel.errors import EventLogUnavailable, PoolerInTheWay
from readmodel.postgres_client import Connection, Server, check_server, connect, target, translated
from readmodel.supervise import end

CHANNEL = "readside"
SILENT_BEATS = 10
"""Nothing at all on the connection for so many beats (and SILENT_SECONDS): it is broken. Busy is not silent."""
SILENT_SECONDS = 5.0
FROZEN_BEATS = 6
FROZEN_SECONDS = 3.0
"""A leader that ran nothing for so many beats (and seconds), and does not report, is frozen or cut off."""
PROBE_SECONDS = 5.0
ANSWER_SECONDS = 5.0
"""Outside a term nobody watches the connection: a statement on it that takes so long will never be answered."""
LISTEN_SECONDS = 60.0
"""LISTEN skips what is in the queue already: a million notices take it a while."""
RECEIVE_BYTES = 128_000
"""What the listener's socket holds. As much is read and digested in one go, and in between the rest has its turn."""
_CONNECT_SECONDS = 5.0
# The server drops a listener whose network is gone, lock and all.
_SETTINGS = {"tcp_user_timeout": "10000", "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5"}

# `state_change` moves with every statement, and a leader runs one each beat: an old one is a frozen or unreachable
# leader's. One statement, so that it is that very backend which is ended; another role's cannot be.
_END_FROZEN_LEADER = """
SELECT a.pid, pg_terminate_backend(a.pid) AS ended
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = $1
  AND a.usename = current_user
  AND clock_timestamp() - a.state_change > $2 * interval '1 second'
"""


def lock_key(prefix: str, redis_target: str) -> int:
    """Derive the advisory lock's key: deployments with another prefix or another Redis leave each other alone."""
    digest = hashlib.blake2b(f"readside/{prefix}/{redis_target}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Tail:
    """One connection that stands by, leads and listens. Its methods raise EventLogUnavailable when it is broken."""

    def __init__(self, connection: Connection, url: str, server: Server, heartbeat_seconds: float) -> None:
        self.server = server
        self._connection = connection
        self._url = url
        self._heartbeat_seconds = heartbeat_seconds
        self._turn = asyncio.Lock()  # one statement at a time: asyncpg refuses a second
        self._heard_at = time.monotonic()
        self._hear: Callable[[str], None] = lambda _payload: None

    async def try_lock(self, key: int) -> bool:
        """Try to become the leader, without waiting: a waiting lock would hold back vacuum."""
        return bool(await self._value("SELECT pg_try_advisory_lock($1)", key))

    async def end_frozen_leader(self, key: int) -> int | None:
        """End the leader's connection if it has run nothing for some beats; give its process id if one was ended.

        For those who know that the leader does not report either: one that digests a million notices runs nothing
        on this connection for a while, and reports all the same.
        """
        silent = max(FROZEN_BEATS * self._heartbeat_seconds, FROZEN_SECONDS)
        async with _answering(self._url), self._turn:
            row = await self._connection.fetchrow(_END_FROZEN_LEADER, key, silent)
        return row["pid"] if row and row["ended"] else None

    async def listen(self, hear: Callable[[str], None]) -> None:
        """LISTEN, and hand every notice's payload to `hear` from now on, in commit order."""
        self._hear = hear
        async with _answering(self._url, LISTEN_SECONDS), self._turn:
            await self._connection.add_listener(CHANNEL, self._on_notice)

    def hand_to(self, hear: Callable[[str], None]) -> None:
        """Hand the notices to another listener; LISTEN goes on unbroken."""
        self._hear = hear

    async def prove(self) -> None:
        """Run a statement: the connection, and so lock and LISTEN, held until now. Patient: `watch` is not."""
        with translated(self._url):
            async with self._turn:
                await self._connection.fetchval("SELECT 1")
        self._heard_at = time.monotonic()

    async def watch(self) -> None:
        """Prove the connection each beat, for ever; raises EventLogUnavailable when nothing at all comes back."""
        proof: asyncio.Task[None] | None = None
        try:
            while True:
                if proof is None or proof.done():
                    if proof is not None:
                        await proof
                    proof = asyncio.create_task(self.prove())
                await asyncio.sleep(self._heartbeat_seconds)
                if self._connection.is_closed():
                    raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} closed the listening connection.")
                silent = time.monotonic() - self._heard_at
                if silent > max(SILENT_BEATS * self._heartbeat_seconds, SILENT_SECONDS):
                    raise EventLogUnavailable(
                        f"PostgreSQL at {target(self._url)} sent the listener nothing for {silent:.1f} s."
                    )
        finally:
            if proof is not None:
                await end([proof])

    async def check_no_pooler(self, reads: Reads) -> None:
        """Prove that LISTEN works here before anything relies on it; raises PoolerInTheWay."""
        channel, came = f"readside_probe_{uuid4().hex}", asyncio.Event()

        def on_probe(*_: Any) -> None:
            came.set()

        before = await self._value("SELECT pg_backend_pid()")
        async with _answering(self._url, LISTEN_SECONDS), self._turn:
            await self._connection.add_listener(channel, on_probe)
        await reads.row("SELECT pg_notify($1, 'probe')", channel)
        try:
            # No statement meanwhile: while one runs, a pooler lends us the very connection that hears.
            async with asyncio.timeout(PROBE_SECONDS):
                await came.wait()
        except TimeoutError:
            await self._value("SELECT 1")  # else it is silent altogether, and says so
            raise self._pooler("a notification sent to it never arrived") from None
        async with _answering(self._url), self._turn:
            await self._connection.remove_listener(channel, on_probe)
        if await self._value("SELECT pg_backend_pid()") != before:
            raise self._pooler("two statements on it reached two server processes")

    def _pooler(self, symptom: str) -> PoolerInTheWay:
        return PoolerInTheWay(
            f"The connection to {target(self._url)} cannot LISTEN ({symptom}): "
            "a pooler in transaction mode is in the way. Set READSIDE_LISTEN_URL to the server's own address."
        )

    def _on_notice(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._heard_at = time.monotonic()
        self._hear(str(payload))

    async def _value(self, sql: str, *arguments: object) -> Any:
        async with _answering(self._url), self._turn:
            value = await self._connection.fetchval(sql, *arguments)
        self._heard_at = time.monotonic()
        return value


@asynccontextmanager
async def _answering(url: str, seconds: float | None = None) -> AsyncIterator[None]:
    """Translate errors, and the lack of an answer."""
    with translated(url):
        async with asyncio.timeout(ANSWER_SECONDS if seconds is None else seconds):
            yield


def _hold_little(connection: Any) -> None:
    """Leave a burst of notices in the server: read at once, it would stall the loop for seconds and fill our memory."""
    listening = connection._transport.get_extra_info("socket")  # noqa: SLF001 (asyncpg has no option for it)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)


@asynccontextmanager
async def open_tail(
    listen_url: str, database_url: str, *, heartbeat_seconds: float, statement_cache_size: int
) -> AsyncIterator[tuple[Tail, Reads]]:
    """Connect to the server to listen to, and to the same one for reads; checks both before it hands them over.

    Raises EventLogUnavailable, ServerInRecovery, AccessRefused, ConfigurationError, RightsMissing, PoolerInTheWay.
    """
    connection = await connect(
        listen_url,
        application_name="readside-listener",
        timeout_seconds=_CONNECT_SECONDS,
        statement_cache_size=100,
        settings=_SETTINGS,
    )
    try:
        async with _answering(listen_url):
            _hold_little(connection)
            server = await check_server(connection, listen_url)
        tail = Tail(connection, listen_url, server, heartbeat_seconds)
        async with open_reads(
            database_url, server_started=server.started, statement_cache_size=statement_cache_size
        ) as reads:
            await tail.check_no_pooler(reads)
            yield tail, reads
    finally:
        connection.terminate()
