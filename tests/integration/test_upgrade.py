"""What version 0.1 installed: it is called by its name, and replaced in one transaction while writers write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from projector.tail.triggers import install, uninstall
from tests.support.letterboxes import add, settled, writers
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

OLD = (Path(__file__).parent.parent / "data" / "triggers_0.1.sql").read_text()
OURS = """
SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname LIKE 'readside%')
     + (SELECT count(*) FROM pg_namespace WHERE nspname = 'readside')
"""


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """A writer and readers; the triggers are those of version 0.1."""
    async with bench(database_url, redis_url, installed=False) as made:
        async with made.writer.connection.transaction():
            await made.writer.connection.execute(OLD)
        yield made


async def test_the_projector_says_which_version_is_installed_and_what_to_do(stage: Bench) -> None:
    """It does not begin, and goes on as soon as that is done."""
    async with stage.projector() as told:
        await eventually(
            lambda: told.reason == "The triggers are those of version 0.1: run `readside install`.", "it says so"
        )
        session_id = await stage.writer.session()
        await install(stage.writer.connection, warn=pytest.fail)
        await stage.writer.event(session_id)
        await stage.caught_up()
        await stage.hot(session_id)

        assert (await settled(stage, session_id)).total == 1
        assert told.reason is None


async def test_version_0_1_is_replaced_under_writers(stage: Bench) -> None:
    """None of them fails, and the view is right afterwards, whatever they wrote on the way."""
    stop = asyncio.Event()
    async with stage.projector() as told, writers(stage.config.database_url, 4) as connections:
        sessions = [await stage.writer.session() for _ in connections]

        async def write(number: int) -> int:
            written = 0
            while not stop.is_set():
                async with connections[number].transaction():
                    await add(connections[number], sessions[number])
                    await add(connections[number], sessions[number])
                written += 2
            return written

        load = [asyncio.create_task(write(number)) for number in range(len(connections))]
        await eventually(lambda: told.reason is not None, "the projector sees version 0.1")
        await install(stage.writer.connection, warn=pytest.fail)
        await stage.caught_up()
        stop.set()
        written = await asyncio.gather(*load)
        for session_id, count in zip(sessions, written, strict=True):
            assert (
                await stage.writer.connection.fetchval(
                    "SELECT count(*) FROM events WHERE session_id = $1::uuid", session_id
                )
                == count
            )
            assert (await settled(stage, session_id)).total == count

        assert told.drift == 0


async def test_uninstall_removes_what_version_0_1_installed(stage: Bench) -> None:
    """No trigger, no function, no schema."""
    assert await stage.writer.connection.fetchval(OURS) > 1
    await uninstall(stage.writer.connection)

    assert await stage.writer.connection.fetchval(OURS) == 0
