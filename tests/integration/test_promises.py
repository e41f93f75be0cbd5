"""What dashboards see of purges, very large sessions and bad ones: writer, projector and API together."""

from itertools import count

import pytest
from structlog.testing import capture_logs

from readmodel.view.reader import Cold
from tests.support.waiting import eventually
from tests.support.whole import whole_service

pytestmark = pytest.mark.installed


async def test_truncate_empties_everything(database_url: str, redis_url: str) -> None:
    """Hot, cold and in memory: every session is gone within the lag, and none is left in Redis."""
    async with whole_service(database_url, redis_url) as whole:
        writer = whole.bench.writer
        sessions = [await writer.session() for _ in range(5)]
        cold = await writer.session("completed")
        for session_id in (*sessions, cold):
            await writer.events(session_id, 3)
            await whole.served(session_id, "memory")
        await writer.connection.execute("TRUNCATE sessions, events")
        for session_id in (*sessions, cold):
            await whole.never_late(session_id, None)
        await whole.bench.caught_up()

        assert await whole.bench.view.hot_sessions() == []
        assert [await whole.bench.read(session_id) for session_id in sessions] == [Cold("not hot")] * 5


async def test_a_very_large_session_is_whole(database_url: str, redis_url: str) -> None:
    """Its newest events come from Redis, older pages from Postgres, and the total is exact on every page."""
    async with whole_service(database_url, redis_url, window_events=100) as whole:
        session_id = await whole.bench.writer.session()
        await whole.bench.writer.events(session_id, 500)
        await whole.bench.caught_up()

        async def trimmed() -> bool:
            return await whole.bench.read(session_id, limit=50, page=3) == Cold("older than the window")

        await eventually(trimmed, "only its newest events are hot")
        pages = [await whole.poll(session_id, f"?limit=50&page={page}") for page in range(1, 11)]
        truth = await whole.poll(session_id, "?limit=1000", readside_max_staleness="0")

        assert [answer.headers["readside-source"] for answer in pages] == ["redis"] * 2 + ["postgres"] * 8
        assert [answer.json()["total"] for answer in pages] == [500] * 10
        assert [event for answer in pages for event in answer.json()["items"]] == truth.json()["items"]
        assert await whole.bench.is_hot(session_id)


async def test_a_bad_session_is_said_once_and_counted(database_url: str, redis_url: str) -> None:
    """However often it is polled, written to and looked at again; Postgres answers for it, Redis for the rest."""
    async with whole_service(database_url, redis_url) as whole:
        writer, limit = whole.bench.writer, count(1)
        bad, good = await writer.session(), await writer.session()

        async def polled_and_set_aside() -> bool:
            await whole.poll(bad, f"?limit={next(limit)}")
            return bad in whole.bench.telemetry.set_aside()

        with capture_logs() as logs:
            await writer.event(bad, timestamp="infinity")
            for total in range(2, 5):
                await eventually(polled_and_set_aside, "it is set aside")
                doomed = await writer.event(bad)
                await whole.never_late(bad, total)
                await writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", doomed)
                await writer.event(bad)
                await whole.bench.caught_up()
                await writer.event(good)
                await whole.served(bad, "postgres", f"?limit={next(limit)}")
                await whole.served(good, "redis", f"?limit={next(limit)}")
            await eventually(polled_and_set_aside, "it is set aside again")

        async def counted() -> bool:
            leader = (await whole.client.get("/api/v2/projection")).json()["leader"]
            return bool(leader["set_aside"] == 1)

        await eventually(counted, "the projection counts it")
    told = [entry["session_id"] for entry in logs if entry["event"].startswith("a session is set aside")]
    assert told == [bad]
