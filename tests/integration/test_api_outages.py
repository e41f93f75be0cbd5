"""Stores that are away, hang, or have too much to do: what polls get meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count
from uuid import uuid4

import pytest

from readmodel.errors import ServerInRecovery
from readmodel.postgres.event_log import EventLog
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.builders import api, api_config
from tests.support.stands import Stand, real_stand, rows
from tests.support.waiting import eventually

NOWHERE_POSTGRES = "postgresql://u:p@127.0.0.1:1/nowhere"
NOWHERE_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
async def stand(database_url: str, redis_url: str) -> AsyncIterator[Stand]:
    """An API over servers of which each test takes one away."""
    async with real_stand(database_url, redis_url, fallback_concurrency=2) as made:
        yield made


@pytest.fixture
async def hot(stand: Stand) -> str:
    """A hot session."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 5))
    await stand.heat(session_id)
    await stand.poll_from("redis", session_id)
    return session_id


@pytest.fixture
async def cold(stand: Stand) -> str:
    """A cold session."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 5))
    return session_id


async def test_without_postgres_hot_sessions_are_served(
    stand: Stand, hot: str, cold: str, postgres_server: EmbeddedPostgres
) -> None:
    """With their true as-of; cold ones get 503, unknown ones are not called unknown."""
    as_of = (await stand.poll(hot)).headers["readside-as-of"]
    await postgres_server.stop()

    for query in ("", "?limit=1", "?limit=2"):
        answer = await stand.poll(hot, query)
        assert answer.status_code == 200
        assert answer.headers["readside-as-of"] >= as_of
    for session_id in (cold, str(uuid4())):
        refused = await stand.poll(session_id)
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
        assert int(refused.headers["retry-after"]) >= 1
        assert "127.0.0.1" not in refused.text
    assert (await stand.poll(hot, readside_max_staleness="0")).status_code == 503
    assert (await stand.client.get("/health/ready")).json()["stores"] == {"redis": "up", "postgres": "down"}

    await postgres_server.start()
    assert (await stand.poll_from("postgres", cold)).status_code == 200


async def test_without_postgres_a_stale_view_is_served(
    database_url: str, redis_url: str, postgres_server: EmbeddedPostgres
) -> None:
    """To who named no bound; who named one is refused."""
    async with real_stand(database_url, redis_url, max_staleness_seconds=0.01) as stand:
        session_id = str(uuid4())
        await stand.write(session_id, rows(session_id, 5))
        await stand.heat(session_id)
        assert (await stand.poll_from("postgres", session_id)).status_code == 200
        await postgres_server.stop()

        stale = await stand.poll_from("redis", session_id)
        refused = await stand.poll(session_id, readside_max_staleness="0.001")

    assert int(stale.headers["readside-lag-ms"]) >= 10
    assert stale.json()["total"] == 5
    assert refused.status_code == 503


async def test_without_redis_postgres_answers(stand: Stand, hot: str, redis_server: EmbeddedRedis) -> None:
    """And Redis is taken up again when it is back."""
    before = await stand.poll(hot)
    await redis_server.kill()

    answer = await stand.poll(hot, "?limit=3")
    projection = await stand.client.get("/api/v2/projection")

    assert (answer.status_code, answer.headers["readside-source"]) == (200, "postgres")
    assert answer.json()["items"] == before.json()["items"][:3]
    assert (projection.status_code, projection.json()["status"]) == (200, "down")
    assert (await stand.client.get("/api/v2/projection/sessions")).status_code == 503
    assert (await stand.client.post(f"/api/v2/sessions/{hot}/warm")).status_code == 503
    await redis_server.start()
    await stand.stage.redis.connection_pool.disconnect()  # the test's own connections
    await stand.begin()
    await stand.heat(hot)
    limits = count(10)

    async def redis_answers() -> bool:
        await stand.beat()
        poll = await stand.poll(hot, f"?limit={next(limits)}")  # one that memory does not hold
        return bool(poll.headers["readside-source"] == "redis")

    await eventually(redis_answers, "Redis answers again")


async def test_without_any_store_everything_is_503(
    stand: Stand, hot: str, redis_server: EmbeddedRedis, postgres_server: EmbeddedPostgres
) -> None:
    """And neither healthy nor dead."""
    await redis_server.kill()
    await postgres_server.stop()

    answer = await stand.poll(hot, "?limit=1")

    assert answer.status_code == 503
    assert (await stand.client.get("/health/live")).status_code == 200
    await eventually(lambda: not_ready(stand), "the API is not ready")


async def not_ready(stand: Stand) -> bool:
    """Whether no poll can be answered."""
    return bool((await stand.client.get("/health/ready")).status_code == 503)


async def test_the_api_starts_without_stores() -> None:
    """And answers at once that it cannot."""
    async with api(api_config(NOWHERE_POSTGRES, NOWHERE_REDIS)) as client:
        started = time.monotonic()
        answer = await client.get(f"/api/v2/sessions/{uuid4()}/events")

        assert answer.status_code == 503
        assert time.monotonic() - started < 30
        assert (await client.get("/api/v2/projection")).json()["status"] == "down"


async def test_a_storm_on_one_cold_session_is_one_query(stand: Stand, cold: str) -> None:
    """A hundred callers at the same moment."""
    before = await queries(stand)
    answers = await asyncio.gather(*(stand.poll(cold) for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert await queries(stand) - before == 1


async def test_an_unknown_session_is_one_query(stand: Stand) -> None:
    """Whatever is asked of it: `since` changes with every poll."""
    unknown, before = str(uuid4()), await queries(stand)
    for second in range(20):
        assert (await stand.poll(unknown, f"?since=2026-01-13T14:30:{second:02}Z")).status_code == 404

    assert await queries(stand) - before == 1


async def queries(stand: Stand) -> float:
    """How many queries the API has sent to Postgres."""
    for line in (await stand.client.get("/metrics")).text.splitlines():
        if line.startswith("readside_fallback_queries_total "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


async def test_a_standby_is_refused_by_name(
    stand: Stand, cold: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the truth; the log says so, the answer does not."""

    async def refuse(*_: object) -> None:
        raise ServerInRecovery("PostgreSQL at somewhere is in recovery (a standby).")

    monkeypatch.setattr(EventLog, "answer", refuse)
    answer = await stand.poll(cold)

    assert answer.status_code == 503
    assert "recovery" not in answer.text
    assert "in recovery" in capsys.readouterr().out
