"""Stores that hang or have too much to do: polls wait for nobody, and hot ones are unharmed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from query_api.sources import circuit
from query_api.sources.circuit import Circuit
from readmodel.errors import ServiceError
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.servers import connected
from tests.support.stands import Stand, real_stand, rows
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query may take longer than a test, and a store that is away is not tried again: who waits does so in vain."""
    monkeypatch.setattr("readside.api.QUERY_SECONDS", 600.0)
    monkeypatch.setattr(circuit, "RETRY_SECONDS", 600.0)


@pytest.fixture
async def stand(database_url: str, redis_url: str) -> AsyncIterator[Stand]:
    """An API over servers of which each test takes one away."""
    async with real_stand(database_url, redis_url, fallback_concurrency=4) as made:
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
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Circuit]:
    """Whose call failed, for each that did: so many have waited in vain."""
    told: list[Circuit] = []
    really = Circuit.failed

    def failed(one: Circuit, error: ServiceError, called_at: float) -> None:
        told.append(one)
        really(one, error, called_at)

    monkeypatch.setattr(Circuit, "failed", failed)
    return told


async def test_a_redis_that_hangs_holds_nobody_for_long(
    stand: Stand, hot: str, redis_server: EmbeddedRedis, failures: list[Circuit]
) -> None:
    """The first poll waits for it, the next ones not at all."""
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        answers = [await stand.poll(hot, f"?limit={limit}") for limit in range(1, 5)]
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)

    assert {answer.headers["readside-source"] for answer in answers} == {"postgres"}
    assert len(failures) == 1


async def test_past_the_bound_cold_polls_are_refused_and_hot_ones_go_on(
    stand: Stand, hot: str, database_url: str
) -> None:
    """503 with Retry-After, while a lock holds every query up: one key has half of four places."""
    sessions = [str(uuid4()) for _ in range(40)]
    for session_id in sessions:
        await stand.write(session_id)
    async with connected(database_url) as blocker:
        await blocker.execute("BEGIN")
        await blocker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        polls = [asyncio.create_task(stand.poll(session_id)) for session_id in sessions]
        await eventually(lambda: sum(poll.done() for poll in polls) >= len(polls) - 2, "all but two are refused")
        refused = [poll.result() for poll in polls if poll.done()]
        hot_polls = [await stand.poll(hot) for _ in range(20)]
        await blocker.execute("ROLLBACK")
    answers = await asyncio.gather(*polls)

    assert len(refused) == 38
    assert {answer.status_code for answer in refused} == {503}
    assert all("retry-after" in answer.headers for answer in refused)
    assert {answer.status_code for answer in hot_polls} == {200}
    assert sum(answer.status_code == 200 for answer in answers) == 2


async def test_past_the_bound_a_stale_view_is_served(database_url: str, redis_url: str) -> None:
    """Every poll of a hot session wants Postgres, which a lock holds up: the view answers, with its true as-of."""
    async with (
        real_stand(database_url, redis_url, fallback_concurrency=4, max_staleness_seconds=0.01) as stand,
        connected(database_url) as blocker,
    ):
        session_id = str(uuid4())
        await stand.write(session_id, rows(session_id, 5))
        await stand.heat(session_id)
        as_of = (await stand.poll(session_id, readside_max_staleness="60")).headers["readside-as-of"]
        await blocker.execute("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        answers = await asyncio.gather(*(stand.poll(session_id, f"?limit={limit}") for limit in range(1, 41)))
        waiting = await blocker.fetchval(
            "SELECT count(*) FROM pg_locks WHERE relation = 'events'::regclass AND NOT granted"
        )
        await blocker.execute("ROLLBACK")

    assert {(answer.status_code, answer.headers["readside-source"]) for answer in answers} == {(200, "redis")}
    assert {answer.headers["readside-as-of"] for answer in answers} == {as_of}
    assert waiting <= 2


async def test_a_query_that_takes_too_long_is_no_outage(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asked for it gets 503; the next poll is answered at once, by Postgres."""
    monkeypatch.setattr("readside.api.QUERY_SECONDS", 1.5)
    async with real_stand(database_url, redis_url) as stand, connected(database_url) as blocker:
        cold = str(uuid4())
        await stand.write(cold, rows(cold, 5))
        await blocker.execute("BEGIN")
        await blocker.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        refused = await stand.poll(cold)
        await blocker.execute("ROLLBACK")
        answer = await stand.poll(cold, "?limit=1")

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "too long" in refused.json()["detail"]
        assert answer.status_code == 200


async def test_a_postgres_that_hangs_harms_no_hot_poll(
    database_url: str, redis_url: str, postgres_server: EmbeddedPostgres, failures: list[Circuit]
) -> None:
    """Cold polls are refused in time (long before a query may take), and answered when it goes on."""
    async with real_stand(database_url, redis_url, fallback_concurrency=4) as stand, connected(database_url) as watcher:
        hot, cold = str(uuid4()), str(uuid4())
        await stand.write(hot, rows(hot, 5))
        await stand.write(cold, rows(cold, 5))
        await stand.heat(hot)
        assert (await stand.poll(cold)).status_code == 200
        found = await watcher.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = 'readside-api'")
        frozen = [postgres_server.pid, *(row["pid"] for row in found)]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            hung = asyncio.create_task(stand.poll(cold, "?limit=1"))
            hot_polls = [await stand.poll(hot, f"?limit={limit}") for limit in range(1, 20)]
            refused = await hung
            waited = len(failures)
            again = await stand.poll(cold, "?limit=2")
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        await stand.beat()

        assert {answer.status_code for answer in hot_polls} == {200}
        assert (refused.status_code, again.status_code) == (503, 503)
        assert (waited, len(failures)) == (1, 1)
        failures[0]._retry_at = 0.0
        await eventually(lambda: is_answered(stand, cold), "cold polls are answered again")


async def is_answered(stand: Stand, session_id: str) -> bool:
    """Whether Postgres answers again."""
    return bool((await stand.poll(session_id, readside_max_staleness="0")).status_code == 200)
