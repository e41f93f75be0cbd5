"""Catching up: what changed while no projector ran is compared row by row, and only what differs is loaded anew."""

from collections.abc import AsyncIterator

import pytest

from tests.support.projecting import INSERT_EVENT, Bench, bench

pytestmark = pytest.mark.installed

AT = "2026-01-13T14:30:00+00:00"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers."""
    async with bench(database_url, redis_url) as made:
        yield made


async def _hot_session(stage: Bench) -> tuple[str, str]:
    """A session of ten events and one that is told apart, hot and then without a projector."""
    async with stage.projector():
        session_id = await stage.writer.session()
        await stage.writer.events(session_id, 10)
        event_id = await stage.writer.event(session_id, timestamp=AT, data={"said": "before"})
        await stage.hot(session_id)
        await stage.caught_up()
    return session_id, event_id


async def test_an_event_that_came_back_with_other_content_while_down(stage: Bench) -> None:
    """Deleted and inserted again under the same id: as many events, the same ids, another answer."""
    session_id, event_id = await _hot_session(stage)
    async with stage.writer.connection.transaction():
        await stage.writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", event_id)
        await stage.writer.connection.execute(
            INSERT_EVENT, event_id, session_id, "step_created", '{"said": "after"}', None, AT
        )

    async with stage.projector():
        await stage.caught_up()
        await stage.hot(session_id)
        assert b'"after"' in (await stage.same(session_id)).page


async def test_an_event_updated_while_down(stage: Bench) -> None:
    """No letter told of it, and neither count nor id changed."""
    session_id, event_id = await _hot_session(stage)
    await stage.writer.connection.execute(
        """UPDATE events SET event_data = '{"said": "after"}' WHERE id = $1::uuid""", event_id
    )

    async with stage.projector():
        await stage.caught_up()
        await stage.hot(session_id)
        assert b'"after"' in (await stage.same(session_id)).page


async def test_what_did_not_change_is_not_loaded(stage: Bench) -> None:
    """Vacuuming, freezing, indexing, analysing and locking rows change no row: its sessions are stamped."""
    session_id, event_id = await _hot_session(stage)
    for statement in ("VACUUM (FREEZE) events", "ANALYZE events", "CREATE INDEX ON events (message)"):
        await stage.writer.connection.execute(statement)
    await stage.writer.connection.execute("SELECT 1 FROM events WHERE id = $1::uuid FOR UPDATE", event_id)

    await stage.view.redis.hset(stage.view.keys.header(session_id), "loaded", "before")
    async with stage.projector():
        await stage.caught_up()
        await stage.same(session_id)
        assert await stage.view.redis.hget(stage.view.keys.header(session_id), "loaded") == b"before"


@pytest.mark.parametrize("rewrite", ["VACUUM FULL events", "CLUSTER events USING ix_events_session_id"])
async def test_a_table_that_was_rewritten_is_loaded_anew(stage: Bench, rewrite: str) -> None:
    """Whether values were computed anew on the way cannot be seen from outside."""
    session_id, _ = await _hot_session(stage)
    await stage.writer.connection.execute(rewrite)

    await stage.view.redis.hset(stage.view.keys.header(session_id), "loaded", "before")
    async with stage.projector() as telemetry:
        await stage.caught_up()
        await stage.hot(session_id)  # it is live before the session is loaded anew
        await stage.same(session_id)
        assert await stage.view.redis.hget(stage.view.keys.header(session_id), "loaded") != b"before"
        assert (telemetry.sessions_reloaded, telemetry.drift) == (1, 0)
