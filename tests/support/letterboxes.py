"""The letterbox from outside: its sizes, its lease, transactions that stay open, and when events are shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from projector.tail.letterbox import Letterbox
from projector.tail.triggers import install
from readmodel.view.reader import ViewPage
from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.barriers import Barrier, before
from tests.support.healing import CLOCK_US
from tests.support.projecting import Bench, bench
from tests.support.servers import connected, fresh_database, make_template, running_postgres
from tests.support.waiting import PATIENCE_SECONDS, eventually

INSERT = """
INSERT INTO events (id, session_id, event_type, event_data, timestamp)
SELECT gen_random_uuid(), $1::uuid, 'step_created', '{}', now() FROM generate_series(1, $2::int)
"""
SIZES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
 WHERE relnamespace = to_regnamespace($1)::oid AND relkind IN ('r', 'S')
"""
LAPSE = """
SELECT setval('readside.presence', (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1) << 3) | last_value & 7)
  FROM readside.presence
"""
"""Moves the end of the lease into the past: to wait for it a lease would have to be so short that a stall ends it."""


@contextmanager
def own_server(**settings: str) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server of a test's own, with the template of the write side."""
    with running_postgres(**settings) as server:
        asyncio.run(make_template(server))
        yield server


async def add(connection: asyncpg.Connection[asyncpg.Record], session_id: str, count: int = 1) -> None:
    """Insert events in one statement, in whatever transaction is open."""
    await connection.execute(INSERT, session_id, count)


async def sizes(connection: asyncpg.Connection[asyncpg.Record], schema: str = "readside") -> int:
    """Bytes of all that is ours."""
    return int(await connection.fetchval(SIZES, schema))


async def skips(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """How many letters were skipped so far."""
    return int(await connection.fetchval("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM readside.skips"))


async def lease_ms(connection: asyncpg.Connection[asyncpg.Record], schema: str = "readside") -> int:
    """How long letters are still written, ms; negative once they are not."""
    return int(
        await connection.fetchval(
            f"SELECT (last_value >> 3) - (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM {schema}.presence"
        )
    )


async def lapsed(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Wait until the lease is over."""

    async def over() -> bool:
        return await lease_ms(connection) < 0

    await eventually(over, "the lease has lapsed")


def unrenewed(patch: pytest.MonkeyPatch) -> Barrier:
    """A barrier that keeps the lease from being renewed while it is closed."""
    return before(patch, Letterbox, "renew")


async def lapse(connection: asyncpg.Connection[asyncpg.Record], renewing: Barrier) -> None:
    """End the lease; nobody renews it until this barrier is opened."""
    renewing.close()
    await renewing.reached()
    await connection.execute(LAPSE)
    assert await lease_ms(connection) < 0


@asynccontextmanager
async def writers(url: str, count: int) -> AsyncIterator[list[asyncpg.Connection[asyncpg.Record]]]:
    """So many connections."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(url)) for _ in range(count)]


async def shows(stage: Bench, session_id: str, total: int, seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until the view shows what was just committed; none of its answers before may claim to be later.

    Gives how long it took.
    """
    committed_us = await stage.writer.connection.fetchval(CLOCK_US)
    started = time.monotonic()

    async def shown() -> bool:
        found = await stage.read(session_id)
        if isinstance(found, ViewPage) and found.total != total:
            assert found.as_of_us < committed_us, (found.total, total)
        return isinstance(found, ViewPage) and found.total == total

    await eventually(shown, f"{total} events are shown", seconds)
    return time.monotonic() - started


async def hot_session(stage: Bench, events: int = 0) -> str:
    """A session that was written while somebody reads letters, and that the view holds up to date."""
    await stage.caught_up()
    session_id = await stage.writer.session()
    if events:
        await stage.writer.events(session_id, events)
    await stage.hot(session_id)
    await stage.same(session_id)
    return session_id


async def prepared(connection: asyncpg.Connection[asyncpg.Record], session_id: str) -> str:
    """A transaction that added an event and was prepared; gives its name."""
    name = uuid4().hex
    await connection.execute("BEGIN")
    await add(connection, session_id)
    await connection.execute(f"PREPARE TRANSACTION '{name}'")
    return name


async def settled(stage: Bench, session_id: str) -> ViewPage:
    """Wait until the view has caught up and holds a session, loaded anew where need be; it equals Postgres then."""
    await stage.caught_up()
    await stage.hot(session_id)
    return await stage.same(session_id)


@asynccontextmanager
async def preparing_bench(server: EmbeddedPostgres, redis_url: str) -> AsyncIterator[Bench]:
    """A bench on a server where transactions may be prepared; its projectors want no bell."""
    async with fresh_database(server) as url, bench(url, redis_url, installed=False) as made:
        await install(made.writer.connection, warn=pytest.fail, doorbell=False)
        made.config = replace(made.config, doorbell=False)
        yield made
