"""The projector in ordinary life: what is committed becomes visible, what is deleted vanishes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from projector.reads import Reads
from readmodel.errors import EventLogUnavailable
from readmodel.view.reader import Cold
from tests.support.projecting import Bench, bench, ids
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector."""
    async with bench(database_url, redis_url) as made:
        yield made


async def test_a_new_session_is_hot_and_empty(stage: Bench) -> None:
    """A session whose row was just inserted answers with an empty list from Redis."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)

        found = await stage.same(session_id)
        assert (found.page, found.total) == (b"", 0)


async def test_events_arrive_newest_first(stage: Bench) -> None:
    """Events committed one after another come back in the contract's order, byte for byte as from Postgres."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        written = [await stage.writer.event(session_id) for _ in range(5)]

        found = await stage.same(session_id)
        assert ids(found) == written[::-1]


async def test_sessions_are_warmed_at_start(stage: Bench) -> None:
    """Sessions that were there before the projector become hot, terminal ones do not."""
    running = await stage.writer.session()
    finished = await stage.writer.session(status="completed")
    await stage.writer.events(running, 2_500)
    async with stage.projector():
        await stage.hot(running)

        found = await stage.same(running, limit=1000)
        assert found.total == 2_500
        assert isinstance(await stage.read(finished), Cold)


async def test_as_of_does_not_wait_for_what_is_warmed(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recent sessions are looked for beside the steps: all sessions are read for them."""
    session_id, opened = await stage.writer.session(), asyncio.Event()
    recent = Reads.recent

    async def held(reads: Reads, limit: int) -> list[str]:
        await opened.wait()
        return await recent(reads, limit)

    monkeypatch.setattr(Reads, "recent", held)
    async with stage.projector():
        await stage.caught_up()
        assert isinstance(await stage.read(session_id), Cold)
        opened.set()
        await stage.hot(session_id)


async def test_what_is_warmed_is_a_hint(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be found, the term goes on without."""
    tried = asyncio.Event()

    async def failing(*_: object) -> list[str]:
        tried.set()
        raise EventLogUnavailable("PostgreSQL did not finish a query.")

    monkeypatch.setattr(Reads, "recent", failing)
    async with stage.projector() as telemetry:
        await stage.caught_up()
        session_id = await stage.writer.session()
        await stage.hot(session_id)

        assert tried.is_set()
        assert telemetry.terms == 1


async def test_a_restart_catches_up_by_comparing(stage: Bench) -> None:
    """What changed while no projector ran is right before the next one is live."""
    sessions = [await stage.writer.session() for _ in range(4)]
    async with stage.projector():
        for session_id in sessions:
            await stage.writer.events(session_id, 3)
            await stage.hot(session_id)
        await stage.caught_up()
    untouched, grown, purged, changed = sessions
    await stage.writer.event(grown, timestamp="2001-01-01T00:00:00Z")
    await stage.writer.delete_session(purged)
    await stage.writer.connection.execute("UPDATE sessions SET status = 'failed' WHERE id = $1::uuid", changed)
    async with stage.projector():
        await stage.caught_up()
        assert isinstance(await stage.read(purged), Cold)
        await stage.hot(grown)

        assert (await stage.same(grown)).total == 4
        assert (await stage.same(untouched)).total == 3
        assert (await stage.same(changed)).status == "failed"


async def test_deletes_and_updates_are_looked_at(stage: Bench) -> None:
    """A deleted event, a changed one and a purged session are gone, changed and cold."""
    async with stage.projector():
        session_id = await stage.writer.session()
        doomed, kept = [await stage.writer.event(session_id) for _ in range(2)]
        await stage.hot(session_id)
        await stage.writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", doomed)
        await stage.writer.connection.execute("UPDATE events SET message = 'new' WHERE id = $1::uuid", kept)
        await stage.caught_up()
        await stage.hot(session_id)
        found = await stage.same(session_id)
        assert ids(found) == [kept]
        assert b'"message":"new"' in found.page
        await stage.writer.delete_session(session_id)
        await stage.caught_up()

        assert isinstance(await stage.read(session_id), Cold)


async def test_rolled_back_events_never_show(stage: Bench) -> None:
    """A savepoint that rolls back leaves its events out, the rest of the transaction in."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        async with stage.writer.connection.transaction():
            kept = await stage.writer.event(session_id)
            savepoint = stage.writer.connection.transaction()
            await savepoint.start()
            await stage.writer.event(session_id)
            await savepoint.rollback()

        assert ids(await stage.same(session_id)) == [kept]


async def test_a_bulk_insert_is_loaded(stage: Bench) -> None:
    """Ten thousand events in one statement arrive as a reload, exactly."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await stage.writer.events(session_id, 10_000)
        await stage.caught_up()
        await stage.hot(session_id)

        found = await stage.same(session_id, limit=1000, page=7, types=("step_created",))
        assert found.total == 10_000


async def test_one_bad_session_is_set_aside(stage: Bench) -> None:
    """A timestamp that no double holds exactly sets its session aside; the rest go on."""
    async with stage.projector() as telemetry:
        bad, good = await stage.writer.session(), await stage.writer.session()
        await stage.hot(bad)
        await stage.hot(good)
        await stage.writer.event(bad, timestamp="infinity")
        await stage.writer.event(good)
        await stage.caught_up()

        assert isinstance(await stage.read(bad), Cold)
        assert list(telemetry.set_aside()) == [bad]
        assert (await stage.same(good)).total == 1


async def test_a_flushed_redis_is_filled_again(stage: Bench) -> None:
    """FLUSHALL ends the term; the next one warms what is running."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.writer.event(session_id)
        await stage.hot(session_id)
        await stage.view.redis.flushall()
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 1


async def test_a_standby_takes_over(stage: Bench) -> None:
    """Two projectors: one leads; when it stops the other goes on."""
    async with stage.projector() as first:
        await eventually(lambda: first.state == "live", "the first leads")
        async with stage.projector() as second:
            await eventually(lambda: second.role == "standby", "the second stands by")
            session_id = await stage.writer.session()
            await stage.writer.connection.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND a.datname = current_database()"
            )
            await eventually(lambda: {first.role, second.role} == {"leader", "standby"}, "one of them leads again")
            await eventually(lambda: "live" in (first.state, second.state), "it is live")
            await stage.hot(session_id)

            assert (await stage.same(session_id)).total == 0
