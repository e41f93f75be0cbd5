"""A crash of the server empties the letterbox and resets its sequences: the term ends, and nothing is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.healing import healed, reconnect, watched
from tests.support.letterboxes import hot_session, own_server, sizes, skips
from tests.support.projecting import Bench, bench
from tests.support.servers import connected, fresh_database

EMPTY_BYTES = (3 + 4) * 2 * 8_192
"""An index a table of letters, and four sequences: each a page, beside the page that a crash has it begin with.
Empty tables take none."""


@pytest.fixture(scope="module")
def crashing_server() -> Iterator[EmbeddedPostgres]:
    """A server that keeps what it acknowledged."""
    with own_server(fsync="on", full_page_writes="on") as server:
        yield server


@pytest.fixture
async def stage(crashing_server: EmbeddedPostgres, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers on a server that crashes."""
    async with fresh_database(crashing_server) as url, bench(url, redis_url) as made:
        yield made


async def test_a_crash_ends_the_term_and_loses_nothing(stage: Bench, crashing_server: EmbeddedPostgres) -> None:
    """What was committed and not read yet is found by comparing; the reader's number is nobody's any more."""
    async with watched(stage) as watch, stage.projector() as told:
        sessions = [await watch.session() for _ in range(5)]
        await healed(stage)
        for session_id in sessions:
            await watch.event(session_id)
        await crashing_server.restart("immediate")
        await reconnect(stage)
        await healed(stage)
        for session_id in sessions:
            await watch.event(session_id)
        await healed(stage)

        assert told.connections > 1
        assert told.drift == 0


async def test_a_crash_while_nobody_reads_starts_from_nothing(stage: Bench, crashing_server: EmbeddedPostgres) -> None:
    """The sequences begin anew, writers skip, and the next projector compares."""
    async with stage.projector():
        session_id = await hot_session(stage, 3)
    await crashing_server.restart("immediate")
    await reconnect(stage)
    assert await skips(stage.writer.connection) == 0
    await stage.writer.event(session_id)
    assert await skips(stage.writer.connection) == 1
    assert await sizes(stage.writer.connection) <= EMPTY_BYTES
    async with stage.projector() as told:
        await stage.caught_up()
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 4
        assert told.drift == 0


async def test_a_crash_under_load(stage: Bench, crashing_server: EmbeddedPostgres) -> None:
    """Four writers, two crashes: the view equals Postgres in the end, and no answer on the way was short."""
    stop = asyncio.Event()

    async def write(session_id: str) -> None:
        while not stop.is_set():
            try:
                async with connected(stage.config.database_url) as connection:
                    while not stop.is_set():
                        await connection.execute(
                            "INSERT INTO events (id, session_id, event_type, event_data, timestamp) "
                            "VALUES (gen_random_uuid(), $1::uuid, 'x', '{}', now())",
                            session_id,
                        )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.05)

    async with stage.projector() as told:
        sessions = [await hot_session(stage) for _ in range(4)]
        load = [asyncio.create_task(write(session_id)) for session_id in sessions]
        for _ in range(2):
            await stage.caught_up()
            await crashing_server.restart("immediate")
            await reconnect(stage)
            await stage.caught_up()
        stop.set()
        await asyncio.gather(*load)
        await healed(stage)

        assert told.drift == 0
