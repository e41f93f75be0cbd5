"""The projector's reads of the event log: what to compare with, what was added, what to load."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from projector.core.comparison import Truth
from projector.core.new_events import BYTES_OF_ALL, BYTES_OF_ONE_SESSION, NewEvents
from projector.core.served_part import LogRow
from projector.loads.snapshot import LOAD_TIMEOUT_SECONDS, MOST_ROWS, SMALL_BYTES, LargeSnapshot, Snapshot
from projector.sql import statement
from projector.tail.triggers import inspect, late_partitions_of, left_partitions_of
from readmodel.errors import BadEvents, EventLogUnavailable, RightsMissing, StoreRefused, TableLocked
from readmodel.postgres.client import (
    Connection,
    Pool,
    check_rows_visible,
    connect,
    create_pool,
    is_open,
    target,
    translated,
)
from readmodel.postgres.sql import Tables
from readmodel.postgres.sql import statement as shared_statement
from readmodel.postgres.tables import find_tables
from readmodel.postgres.unreadable import EventFinder
from readmodel.values.event import EventRow, type_name

POOL_SIZE = 8
SMALL_SECONDS = 5.0
"""A small statement that takes so long is given up: its connection may be silent for ever."""
REST_SECONDS = 1.0
"""A connection that was given up has so long to come to rest; asyncpg alone would wait ten seconds for it."""
IDS_PER_QUERY = 200
KEPT_SECONDS = 20.0
"""The step's connection is opened anew after so long a rest: what lies between may have forgotten it, silently."""
PLAN_SECONDS = 10
"""A plan is kept so long: one made while the table was empty reads all of it, and nobody may have analysed it since."""

_log = structlog.get_logger(__name__)

Check = Callable[[Connection], Awaitable[None]]
"""Raises where a connection leads to another server than the leader's."""


class Reads:
    """Reads over a pool whose every connection was checked to reach the server that the leader is on.

    Each raises EventLogUnavailable, AccessRefused, SchemaMissing, RightsMissing or BadEvents.
    """

    def __init__(self, pool: Pool, url: str, tables: Tables, check: Check | None = None) -> None:
        self.tables = tables
        self._pool = pool
        self._url = url
        self._check = check
        self._kept: Any = None
        self._kept_at = 0.0

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Lend a connection, and translate errors; one that does not come to rest is thrown away."""
        with translated(self._url):
            connection = await self._pool.acquire()
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=REST_SECONDS)

    @asynccontextmanager
    async def _own_connection(self) -> AsyncIterator[Any]:
        """Lend the step's own connection: between two fetches it stays with us, since to give it back takes a while.

        To one caller at a time. After whatever went wrong the pool has it, and knows what to do with it.
        """
        usable = self._kept is not None and is_open(self._kept)
        if usable and time.monotonic() - self._kept_at > KEPT_SECONDS:
            self._kept.terminate()
            usable = False
        if not usable:
            self._kept = await self._pool.acquire()
        try:
            yield self._kept
            self._kept_at = time.monotonic()
        except BaseException:
            lent, self._kept = self._kept, None
            await self._pool.release(lent, timeout=REST_SECONDS)
            raise

    async def compare(self, session_ids: Collection[str]) -> dict[str, Truth]:
        """What the headers of these sessions must say; missing sessions are left out."""
        async with self._connection() as connection:
            rows = await connection.fetch(
                statement("compare", self.tables), list(session_ids), timeout=LOAD_TIMEOUT_SECONDS
            )
        return {row["session_id"]: Truth(*row[1:]) for row in rows}

    async def statuses(self, session_ids: Collection[str]) -> dict[str, str]:
        """These sessions' statuses; missing sessions are left out."""
        with translated(self._url):
            rows = await self._pool.fetch(statement("statuses", self.tables), list(session_ids))
        return {row["session_id"]: row["status"] for row in rows}

    async def added(self, wanted: Mapping[str, Mapping[str, EventRow | None]]) -> NewEvents:
        """Fetch the named events (ids in 32 hex digits) by primary key, but for those that are here already.

        Sessions whose rows cannot be read are bad.
        """
        found = NewEvents()
        for events in wanted.values():
            for event in events.values():
                if event is not None:
                    _take(event, found)
        ids = [(sid, event_id) for sid, events in wanted.items() for event_id, event in events.items() if event is None]
        for start in range(0, len(ids), IDS_PER_QUERY):
            chunk = [pair for pair in ids[start : start + IDS_PER_QUERY] if pair[0] not in found.big]
            if found.bytes > BYTES_OF_ALL - BYTES_OF_ONE_SESSION:
                found.big.update(sid for sid, _ in chunk)
                continue
            try:
                await self._fetch(chunk, found)
            except BadEvents:
                await self._fetch_one_by_one(chunk, found)
        return found

    async def _fetch_one_by_one(self, chunk: Sequence[tuple[str, str]], found: NewEvents) -> None:
        for sid in {sid for sid, _ in chunk}:
            try:
                await self._fetch([pair for pair in chunk if pair[0] == sid], found)
            except BadEvents as error:
                found.bad[sid] = await self._why([UUID(event_id) for owner, event_id in chunk if owner == sid], error)

    async def _fetch(self, chunk: Sequence[tuple[str, str]], found: NewEvents) -> None:
        pairs = set(chunk)
        ids = list({event_id for _, event_id in chunk})
        bounds = BYTES_OF_ONE_SESSION, BYTES_OF_ALL - found.bytes
        with translated(self._url):
            async with self._own_connection() as connection:
                rows = await connection.fetch(statement("added", self.tables), ids, *bounds, timeout=SMALL_SECONDS)
                if any(row["member"] is None for row in rows):
                    rows = await connection.fetch(
                        statement("added_within", self.tables), ids, *bounds, timeout=SMALL_SECONDS
                    )
        for (session_id, event_id), times in Counter((row["session_id"], row["id"]) for row in rows).items():
            if times > 1 and (session_id, event_id.hex()) in pairs:
                found.bad[session_id] = repeated(str(UUID(bytes=event_id)))
        for row in rows:
            if (row["session_id"], row["id"].hex()) not in pairs or row["session_id"] in found.bad:
                continue  # it moved meanwhile: the one session misses it, and the other may have it already
            if row["member"] is None and row["score"] is not None:
                found.refuse(row["session_id"])
            else:
                _take(EventRow(*row), found)

    async def served(self, ids: Iterable[bytes], *, rendered: bool) -> dict[tuple[str, bytes], LogRow]:
        """What polls are served of these events, by session and id; digests of their JSON where `rendered`."""
        async with self._connection() as connection:
            wanted = [UUID(bytes=event_id) for event_id in ids]
            served = statement("served", self.tables)
            rows = await connection.fetch(served, wanted, rendered, timeout=LOAD_TIMEOUT_SECONDS)
        return {
            (row["session_id"], row["id"]): LogRow(
                row["session_id"], row["score"], type_name(row["event_type"]), row["version"], row["digest"]
            )
            for row in rows
        }

    async def recent(self, limit: int) -> list[str]:
        """List the most recently created sessions that are not in a terminal status; reads them all."""
        async with self._connection() as connection:
            rows = await connection.fetch(statement("recent", self.tables), limit, timeout=LOAD_TIMEOUT_SECONDS)
        return [row["session_id"] for row in rows]

    async def every(self, page: int = 5_000) -> AsyncIterator[list[str]]:
        """Yield every session's id, in pages."""
        last = UUID(int=0)
        while True:
            with translated(self._url):
                rows = await self._pool.fetch(statement("every", self.tables), last, page)
            if not rows:
                return
            yield [row["session_id"] for row in rows]
            last = UUID(rows[-1]["session_id"])

    @asynccontextmanager
    async def snapshot(self, session_id: str, window: tuple[int, int]) -> AsyncIterator[Snapshot]:
        """Open one session's snapshot, of its newest events within a window: how many, and the bytes of their JSON.

        Raises BadEvents when an event cannot be read (which it is, is said), has no score, or has the id of another.
        """
        try:
            async with self._snapshot(session_id, window) as snapshot:
                yield snapshot
        except BadEvents as error:
            raise BadEvents(await self._why_unfit(session_id, window[0], error)) from error

    async def _why_unfit(self, session_id: str, most_events: int, error: BadEvents) -> str:
        async with self._connection() as connection:
            rows = await connection.fetch(
                statement("fitness", self.tables), UUID(session_id), most_events, timeout=LOAD_TIMEOUT_SECONDS
            )
        if rows and rows[0]["is_far"]:
            return unscored(rows[0]["id"].bytes)
        return await self._why([row["id"] for row in rows], error)

    async def _why(self, ids: Sequence[UUID], error: BadEvents) -> str:
        """Name the event that cannot be read, as far as it can be found."""
        try:
            found = await EventFinder(self._pool, self._url, self.tables).first(ids)
        except BadEvents as other:
            return str(other)
        return str(found or error).rstrip(".")

    @asynccontextmanager
    async def _snapshot(self, session_id: str, window: tuple[int, int]) -> AsyncIterator[Snapshot]:
        session, (most_events, most_bytes) = UUID(session_id), window
        bounds = min(most_events, MOST_ROWS), min(most_bytes, SMALL_BYTES)
        async with self._connection() as connection:
            rows = await connection.fetch(
                statement("small", self.tables), session, *bounds, timeout=LOAD_TIMEOUT_SECONDS
            )
        # What is small by its sizes may be long as text all the same, as the number 1e100000 is.
        if all(row["small"] for row in rows) and sum(row["bytes"] or 0 for row in rows) <= bounds[1]:
            yield Snapshot(scored(rows))
            return
        with translated(self._url):
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                rows = await connection.fetch(statement("totals", self.tables), session, timeout=LOAD_TIMEOUT_SECONDS)
                yield LargeSnapshot(connection, self.tables, session_id, scored(rows), window)

    async def row(self, sql: str, *arguments: object) -> asyncpg.Record:
        """Run one small statement, give its one row."""
        async with self._connection() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(sql, *arguments, timeout=SMALL_SECONDS)
        if row is None:
            raise EventLogUnavailable(f"PostgreSQL at {target(self._url)} gave no answer.")
        return row

    async def check_rights(self) -> None:
        """Raise RightsMissing, which names the tables, unless our role may read all that we read."""
        names = self.tables.sessions, self.tables.events
        forbidden = (await self.row(statement("rights", self.tables), *names))["forbidden"]
        if forbidden:
            raise RightsMissing(
                f"PostgreSQL at {target(self._url)}: permission denied for table {forbidden}: our role needs SELECT."
            )

    async def now_us(self) -> int:
        """Ask Postgres' clock: microseconds since 1970."""
        return int(
            (await self.row("SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000::numeric)::bigint"))[0]
        )

    async def fire_always(self, schema: str) -> bool:
        """Have triggers of ours that were enabled as ordinary ones fire always again; tells whether any was.

        False too where it is not installed, our role may not, or somebody has the tables' locks.
        """
        function = f'"{schema}".fire_always()'
        try:
            if (await self.row("SELECT pg_catalog.to_regprocedure($1::text) IS NULL", function))[0]:
                return False
            return bool((await self.row(f"SELECT {function}"))[0])
        except (StoreRefused, TableLocked):
            return False

    async def adopt_partitions(self, schema: str) -> bool:
        """Have late partitions told of by statement, as those are that `install` found; tells whether any is left.

        Those that were detached are rid of our triggers. Left are those whose locks somebody has, or that our role may
        not alter.
        """
        named = schema, self.tables.sessions, self.tables.events
        async with self._connection() as connection:
            late = [each.oid for each in await late_partitions_of(connection, *named)]
            late += [each.oid for each in await left_partitions_of(connection, *named)]
        left = False
        for partition in late:
            try:
                done = (await self.row(f'SELECT "{schema}".adopt_partition($1)', partition))[0]
            except (StoreRefused, EventLogUnavailable) as error:  # whatever became of it meanwhile: we look again
                _log.info("a partition keeps its triggers until its lock is free", reason=str(error))
                done = False
            left = left or not done
        return left

    async def inspect_triggers(self, schema: str) -> str | None:
        """None when the triggers are ours, whole and enabled; else the sentence that says how to mend it.

        On a connection of its own, with the owners' search_path. Raises EventLogUnavailable where that finds other
        tables by now.
        """
        async with _owners_connection(self._url, self._check) as connection:
            if await find_tables(connection, self._url) != self.tables:
                raise EventLogUnavailable("The search_path finds other tables than before.")
            with translated(self._url):
                await check_rows_visible(connection, self.tables)
                return await inspect(connection, schema)


@asynccontextmanager
async def open_reads(url: str, *, server_started: str, statement_cache_size: int) -> AsyncIterator[Reads]:
    """Open the projector's reads; a connection that reaches another server than the leader's is refused."""

    async def check(connection: Connection) -> None:
        row = await connection.fetchrow(shared_statement("server"))
        if row is None or row["started"] != server_started or row["in_recovery"]:
            raise EventLogUnavailable(
                f"PostgreSQL at {target(url)} is not the server that the leader is connected to, or was restarted."
            )

    async def check_pooled(connection: Connection) -> None:
        await check_rows_visible(connection, tables)
        await check(connection)

    async with _owners_connection(url, check) as connection:
        tables = await find_tables(connection, url)
    pool = await create_pool(
        url,
        application_name="readside-projector",
        size=POOL_SIZE,
        statement_cache_size=statement_cache_size,
        statement_seconds=PLAN_SECONDS,
        init=check_pooled,
    )
    try:
        yield Reads(pool, url, tables, check)
    finally:
        pool.terminate()


@asynccontextmanager
async def _owners_connection(url: str, check: Check | None) -> AsyncIterator[Connection]:
    """Open a checked connection that has the owners' search_path."""
    connection = await connect(url, application_name="readside-projector", owners_path=True)
    try:
        with translated(url):
            async with asyncio.timeout(SMALL_SECONDS):
                if check is not None:
                    await check(connection)
        yield connection
    finally:
        connection.terminate()


def scored(rows: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """A session's totals again; raises BadEvents for what the view cannot hold."""
    if any(row["unscored"] for row in rows):
        raise BadEvents(
            "an event has a timestamp that a sorted set cannot hold, or a NULL where readside needs a value"
        )
    if any(row["repeated"] for row in rows):
        raise BadEvents(repeated(None))
    return rows


def _take(event: EventRow, found: NewEvents) -> None:
    if event.score is None:
        found.bad[event.session_id] = unscored(event.id)
    else:
        found.take(event)


def unscored(event_id: bytes) -> str:
    """Say that a timestamp has no score."""
    return (
        f"event {UUID(bytes=event_id)} has a timestamp that a sorted set cannot hold exactly (before 1684, after 2255, "
        "or infinite)"
    )


def repeated(event_id: str | None) -> str:
    """Say that an id is there twice: a partitioned table may allow it, and the view knows an event by its id."""
    return f"two of its events have {f'the id {event_id}' if event_id else 'one id'}"
