"""The connection on which the step fetches new events: kept between fetches, never trusted for long."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from projector import reads as module
from projector.reads import Reads, open_reads
from readmodel.errors import EventLogUnavailable
from readmodel.postgres.sql import statement
from tests.support.servers import connected

WANTED = {str(uuid4()): {uuid4().hex: None}}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """A connection of somebody else's."""
    async with connected(database_url) as connection:
        yield connection


@pytest.fixture
async def reads(database_url: str, connection: Any) -> AsyncIterator[Reads]:
    """Reads of a database."""
    started = (await connection.fetchrow(statement("server")))["started"]
    async with open_reads(database_url, server_started=started, statement_cache_size=100) as opened:
        yield opened


async def _pid(reads: Reads) -> int:
    return int(await reads._kept.fetchval("SELECT pg_backend_pid()"))


async def test_it_is_kept_between_fetches(reads: Reads) -> None:
    """To give it back costs a task and two turns of the loop."""
    await reads.added(WANTED)
    first = await _pid(reads)
    await reads.added(WANTED)
    assert await _pid(reads) == first


async def test_after_a_long_rest_it_is_another(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    """What forgot it on the way would let the next fetch wait for ten seconds."""
    await reads.added(WANTED)
    first = await _pid(reads)
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.0)
    await reads.added(WANTED)
    assert await _pid(reads) != first


async def test_one_that_was_ended_is_replaced(reads: Reads, connection: Any) -> None:
    """The fetch that meets it fails or not, as it is noticed; the next one has another."""
    await reads.added(WANTED)
    first = await _pid(reads)
    await connection.execute("SELECT pg_terminate_backend($1)", first)
    try:
        await reads.added(WANTED)
    except EventLogUnavailable:
        await reads.added(WANTED)
    assert await _pid(reads) != first


async def test_cancelled_fetches_leave_none_behind(reads: Reads, connection: Any) -> None:
    """However often: the pool has eight, and each comes back to it."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        for _ in range(module.POOL_SIZE + 2):
            task = asyncio.ensure_future(reads.added(WANTED))
            await asyncio.wait([task], timeout=0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await reads.added(WANTED)
    assert (await reads.now_us()) > 0
