"""The API beside a real projector: what an application commits is what its dashboards poll."""

import time
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import uuid4

import pytest

from tests.support.builders import api, api_config
from tests.support.projecting import bench
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.installed


@pytest.fixture
async def whole(database_url: str, redis_url: str) -> AsyncIterator[Whole]:
    """Everything, live."""
    async with whole_service(database_url, redis_url) as made:
        yield made


async def test_a_new_session_is_hot_within_a_heartbeat(whole: Whole) -> None:
    """An empty list, without any poll before."""
    session_id = await whole.bench.writer.session()
    await whole.bench.hot(session_id)

    answer = await whole.poll(session_id)

    assert (answer.status_code, answer.json()["total"]) == (200, 0)
    assert answer.headers["readside-source"] in {"redis", "memory"}


async def test_a_cold_session_is_hot_soon_after_its_first_poll(database_url: str, redis_url: str) -> None:
    """The API asks for it."""
    async with bench(database_url, redis_url, installed=True) as made:
        session_id = await made.writer.session("completed")
        await made.writer.events(session_id, 3)
        async with made.projector(warm_limit=0), api(api_config(database_url, redis_url)) as client:
            await made.caught_up()
            whole = Whole(made, client)
            assert (await whole.poll(session_id)).headers["readside-source"] == "postgres"

            await made.hot(session_id)
            answer = await whole.served(session_id, "redis")

    assert answer.json()["total"] == 3


async def test_a_committed_event_is_seen_and_a_rolled_back_one_is_not(whole: Whole) -> None:
    """In polls answered from memory and Redis."""
    session_id = await whole.bench.writer.session()
    await whole.bench.hot(session_id)
    await whole.bench.writer.connection.execute("BEGIN")
    await whole.bench.writer.event(session_id)
    await whole.bench.writer.connection.execute("ROLLBACK")
    await whole.bench.writer.event(session_id)
    await whole.total(session_id, 1)
    await whole.bench.caught_up()

    assert (await whole.poll(session_id)).json()["total"] == 1


async def test_no_answer_lacks_what_was_committed_before_its_as_of(whole: Whole) -> None:
    """Whatever the source; polls run while a writer writes."""
    session_id = await whole.bench.writer.session()
    committed: list[str] = []
    for _ in range(100):
        await whole.bench.writer.event(session_id)
        committed.append(await whole.bench.writer.connection.fetchval("SELECT clock_timestamp()::text"))
        answer = await whole.poll(session_id, "?limit=1")
        seen, as_of = answer.json()["total"], answer.headers["readside-as-of"]
        known = await whole.bench.writer.connection.fetchval(
            "SELECT count(*) FROM unnest($1::text[]) AS at WHERE at::timestamptz < $2::text::timestamptz",
            committed,
            as_of,
        )

        assert known <= seen <= len(committed)


async def test_a_purged_session_becomes_404(whole: Whole) -> None:
    """And nothing of it is served afterwards."""
    session_id = await whole.bench.writer.session()
    await whole.bench.writer.events(session_id, 3)
    await whole.total(session_id, 3)
    await whole.bench.writer.delete_session(session_id)

    async def gone() -> bool:
        return (await whole.poll(session_id)).status_code == 404

    await eventually(gone, "404")
    assert (await whole.poll(session_id, readside_max_staleness="0")).status_code == 404


async def test_a_session_just_created_is_not_404_past_the_lag(whole: Whole) -> None:
    """Though it was asked for before."""
    session_id = str(uuid4())
    assert (await whole.poll(session_id)).status_code == 404
    await whole.bench.writer.connection.execute(
        """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
           VALUES ($1::uuid, 'workflow', 'pending', 'auto', '/p', '{}', now(), now())""",
        session_id,
    )
    await whole.bench.caught_up()

    async def found() -> bool:
        return (await whole.poll(session_id)).status_code == 200

    await eventually(found, "200")


async def test_a_status_that_ends_a_session_slows_its_polls(whole: Whole) -> None:
    """The row's change reaches what is kept in memory."""
    session_id = await whole.bench.writer.session()
    await whole.served(session_id, "memory")
    await whole.bench.writer.connection.execute(
        "UPDATE sessions SET status = 'completed' WHERE id = $1::uuid", session_id
    )

    async def slow() -> bool:
        return int((await whole.poll(session_id)).headers["x-poll-interval"]) >= 15

    await eventually(slow, "a longer interval")


async def test_polls_keep_a_session_hot(database_url: str, redis_url: str) -> None:
    """Those that memory answers too; a silent one leaves."""
    config = api_config(database_url, redis_url, hot_ttl_seconds=3.0)
    async with bench(database_url, redis_url) as made, made.projector(hot_ttl_seconds=3.0), api(config) as client:
        whole = Whole(made, client)
        polled, silent = await made.writer.session(), await made.writer.session()
        await made.hot(polled)
        await made.hot(silent)

        async def silent_is_cold() -> bool:
            await whole.poll(polled)
            return not await made.is_hot(silent)

        await eventually(silent_is_cold, "the silent one is cold")
        assert await made.is_hot(polled)


async def test_the_projection_is_live(whole: Whole) -> None:
    """Lag and state for operators."""

    async def live() -> bool:
        return bool((await whole.client.get("/api/v2/projection")).json()["status"] == "live")

    await eventually(live, "the projection is live")
    state = (await whole.client.get("/api/v2/projection")).json()

    assert state["reason"] is None
    assert 0 <= state["lag_ms"] < 5000
    assert state["leader"]["role"] == "leader"


async def test_when_beats_stop_memory_steps_aside(database_url: str, redis_url: str) -> None:
    """Postgres answers then, and the lag that is told stays true."""
    async with (
        bench(database_url, redis_url) as made,
        api(api_config(database_url, redis_url, max_staleness_seconds=0.3)) as client,
    ):
        whole = Whole(made, client)
        async with made.projector():
            session_id = await made.writer.session()
            await whole.served(session_id, "memory")
        patient = {"readside_max_staleness": "60"}
        answer = await whole.served(session_id, "postgres")
        asked = time.time()
        kept = await whole.poll(session_id, **patient)
        left = time.time()
    as_of = datetime.fromisoformat(kept.headers["readside-as-of"]).timestamp()

    assert answer.status_code == 200
    assert (asked - as_of) * 1000 - 50 <= int(kept.headers["readside-lag-ms"]) <= (left - as_of + 10) * 1000
