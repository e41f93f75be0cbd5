"""Migrations that lock the tables: as-of goes on by readings that need no rows, and all is right afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from readmodel.view.reader import ViewPage
from tests.support.healing import CLOCK_US
from tests.support.letterboxes import hot_session, settled
from tests.support.projecting import Bench, bench
from tests.support.servers import connected
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.mark.parametrize(("tables", "doorbell"), [("events", True), ("sessions", True), ("sessions, events", False)])
async def test_hot_answers_stay_fresh_while_the_tables_are_locked(stage: Bench, tables: str, doorbell: bool) -> None:
    """As-of goes on, beat by beat, for seconds, which is many times what a quiet reading waits; no term ends."""
    async with stage.projector(doorbell=doorbell) as told, connected(stage.config.database_url) as migration:
        session_id = await hot_session(stage, 3)
        await migration.execute(f"BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
        began = await migration.fetchval(CLOCK_US)

        instants: set[int] = set()

        async def goes_on() -> bool:
            found = await stage.read(session_id)
            assert isinstance(found, ViewPage)
            instants.add(found.as_of_us)
            return bool(found.as_of_us > began + 3_000_000)

        await eventually(goes_on, "as-of is three seconds past the lock")
        await migration.execute("COMMIT")
        await stage.writer.event(session_id)

        assert (await settled(stage, session_id)).total == 4
        assert sum(at > began for at in instants) >= 3  # it does not leap past the lock in one reading
        assert (told.terms, told.connections, told.drift) == (1, 1, 0)


async def test_events_that_were_committed_just_before_the_lock_do_not_stop_as_of_for_long(stage: Bench) -> None:
    """Their letters are read and their rows can't be: whatever becomes of it, no answer is wrong, and it heals."""
    async with stage.projector() as told, connected(stage.config.database_url) as migration:
        sessions = [await hot_session(stage) for _ in range(5)]
        for session_id in sessions:
            await stage.writer.event(session_id)
        await migration.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        began = await migration.fetchval(CLOCK_US)

        async def for_long() -> bool:
            for session_id in sessions:
                found = await stage.read(session_id)
                assert not isinstance(found, ViewPage) or found.total == 1 or found.as_of_us < began
            return bool(await migration.fetchval(CLOCK_US) - began > 3_000_000)

        await eventually(for_long, "three seconds are over")
        await migration.execute("COMMIT")

        for session_id in sessions:
            assert (await settled(stage, session_id)).total == 1
        assert told.drift == 0
