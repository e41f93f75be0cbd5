"""The continuous check: what silently differs is found, repaired and counted; writers raise no false alarm."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from projector import drift
from projector.core.comparison import Truth
from projector.reads import Reads
from tests.support.damage import lose_oldest
from tests.support.projecting import Bench, bench
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; rounds follow each other closely."""
    async with bench(database_url, redis_url, drift_round_seconds=0.05) as made:
        yield made


async def test_a_silent_difference_is_found_repaired_and_counted(stage: Bench) -> None:
    """An event that vanished with all its traces in Redis comes back, and is counted once."""
    async with stage.projector() as telemetry:
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 5)
        await stage.hot(session_id)
        await stage.caught_up()
        await lose_oldest(stage.view.redis, stage.view.keys, session_id)
        await eventually(lambda: telemetry.drift, "the difference is found")
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 5
        assert telemetry.drift == 1


async def test_an_evicted_session_comes_back_without_a_poll(stage: Bench) -> None:
    """A hot session whose header is gone is loaded anew."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await stage.view.redis.delete(stage.view.keys.header(session_id))
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 0


async def test_writers_raise_no_false_alarm(stage: Bench) -> None:
    """Sessions that are written to, changed and purged while they are compared are no difference."""
    async with stage.projector() as telemetry:
        sessions = [await stage.writer.session() for _ in range(10)]
        rounds = 0
        async with asyncio.timeout(30):
            while telemetry.compared < 100:
                rounds += 1
                session_id = sessions[rounds % len(sessions)]
                await stage.writer.event(session_id)
                if rounds % 41 == 0:
                    await stage.writer.delete_session(session_id)
                    sessions[rounds % len(sessions)] = await stage.writer.session()

        assert telemetry.drift == 0


async def test_each_round_has_its_bound(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many sessions and so many events in a query, a larger session alone; in the end each has been compared."""
    monkeypatch.setattr(drift, "SESSIONS_A_ROUND", 5)
    monkeypatch.setattr(drift, "EVENTS_A_ROUND", 10)
    sizes = {await stage.writer.session(): size for size in [1] * 12 + [6] * 3 + [30]}
    for session_id, size in sizes.items():
        await stage.writer.events(session_id, size)
    rounds: list[list[str]] = []
    compare = Reads.compare

    async def noted(self: Reads, session_ids: list[str]) -> dict[str, Truth]:
        rounds.append(session_ids)
        return await compare(self, session_ids)

    async with stage.projector():
        for session_id in sizes:
            await stage.hot(session_id)
        await stage.caught_up()
        monkeypatch.setattr(Reads, "compare", noted)
        await eventually(lambda: set().union(*rounds) == sizes.keys(), "each has been compared")

    assert max(map(len, rounds)) <= 5
    assert all(len(asked) == 1 or sum(sizes[sid] for sid in asked) <= 10 for asked in rounds if asked)
