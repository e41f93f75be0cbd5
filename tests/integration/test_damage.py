"""Damage of one session's keys in Redis is that session's alone: cold, loaded anew, named in the log; nobody else's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from readmodel.values.poll import Poll
from readmodel.view.reader import Cold, ViewPage
from tests.support.damage import SERVED, SHOWN_BY_POLLS
from tests.support.projecting import MAX_BYTES, Bench, bench
from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.installed

DAMAGED = "keys of a hot session are damaged in Redis, and it is loaded anew"
FOUND_BY_WRITES = ("header is a string", "events is a string", "index is a list", "count is 'x'", "held is None")
FOUND_BY_READS = ("events is a zset", "an event gone", "newest is too early", "a chunk holds others", "a chunk is gone")


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; the continuous check sleeps, so that others must find the damage."""
    async with bench(database_url, redis_url, drift_round_seconds=3600.0) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Whole]:
    """The same with a projector and an API, for all tests that damage sessions of their own."""
    async with whole_service(lasting_database_url, lasting_redis_url, drift_round_seconds=3600.0) as made:
        yield made


of_whole = pytest.mark.asyncio(loop_scope="module")


async def hot_session(stage: Bench) -> str:
    """Write a session of five events, and wait until it is hot."""
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, 5)
    await stage.hot(session_id)
    await stage.caught_up()
    return session_id


async def damage(stage: Bench, name: str, session_id: str) -> None:
    """Damage a session."""
    await (SERVED | SHOWN_BY_POLLS)[name](stage.view.redis, stage.view.keys, session_id)


async def mended(stage: Bench, session_id: str) -> None:
    """Wait until the view gives what Postgres gives; by type, since other polls do not see all damage."""
    poll = Poll(session_id, types=("step_created",))
    logged = await stage.log.answer(poll, MAX_BYTES)

    async def is_whole() -> bool:
        found = await stage.view.read(poll, MAX_BYTES)
        return isinstance(found, ViewPage) and (found.page, found.total) == (logged.page, 5)

    await eventually(is_whole, "it is as Postgres has it")


def warned(logs: Any) -> set[tuple[str, str]]:
    """What was warned of, and of which session."""
    return {(entry["event"], entry.get("session_id")) for entry in logs if entry["log_level"] == "warning"}


@of_whole
@pytest.mark.parametrize("name", FOUND_BY_WRITES)
async def test_a_write_to_a_damaged_session_reloads_it_alone(whole: Whole, name: str) -> None:
    """The term goes on, the bystander is added to, and the session is named and counted."""
    stage, telemetry = whole.bench, whole.bench.telemetry
    terms, lost = telemetry.terms, telemetry.sessions_lost
    with capture_logs() as logs:
        session_id, bystander = await hot_session(stage), await hot_session(stage)
        await damage(stage, name, session_id)
        assert isinstance(await stage.read(session_id), Cold)
        await stage.writer.event(session_id)
        await stage.writer.event(bystander)
        await eventually(lambda: telemetry.sessions_lost > lost, "it is counted")
        assert (await stage.same(bystander)).total == 6
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 6
        assert (telemetry.terms, telemetry.reason, telemetry.sessions_lost) == (terms, None, lost + 1)
    assert warned(logs) == {(DAMAGED, session_id)}


@of_whole
@pytest.mark.parametrize("name", FOUND_BY_READS)
async def test_a_poll_of_a_damaged_session_has_it_mended(whole: Whole, name: str) -> None:
    """Postgres answers the poll, the projector loads the session anew, and Redis answers again."""
    stage, telemetry = whole.bench, whole.bench.telemetry
    terms, lost = telemetry.terms, telemetry.sessions_lost
    with capture_logs() as logs:
        session_id, bystander = await hot_session(stage), await hot_session(stage)
        await damage(stage, name, session_id)
        answer = await whole.poll(session_id, "?event_type=step_created")
        await eventually(lambda: telemetry.sessions_lost > lost, "it is counted")
        await mended(stage, session_id)

    assert (answer.headers["readside-source"], answer.json()["total"]) == ("postgres", 5)
    assert await stage.is_hot(bystander)
    assert (telemetry.terms, telemetry.reason) == (terms, None)
    assert warned(logs) == {(DAMAGED, session_id)}


@pytest.mark.parametrize("name", [*FOUND_BY_WRITES, "an event gone"])
async def test_a_projector_that_begins_loads_the_damaged_session_anew(stage: Bench, name: str) -> None:
    """It catches up over it: the others are stamped."""
    async with stage.projector():
        session_id, bystander = await hot_session(stage), await hot_session(stage)
    await damage(stage, name, session_id)
    async with stage.projector() as telemetry:
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 5
        assert (await stage.same(bystander)).total == 5
        assert (telemetry.terms, telemetry.loads) == (1, 1)


@of_whole
@pytest.mark.parametrize("name", ["header is a list", "events is a list", "index is a string"])
async def test_a_warm_of_a_damaged_session_loads_it_anew(whole: Whole, name: str) -> None:
    """As it does where keys were evicted; so do the lists of hot sessions go past it."""
    stage = whole.bench
    await stage.alone()
    session_id = await hot_session(stage)
    await damage(stage, name, session_id)
    listed = (await whole.client.get("/api/v2/projection/sessions")).json()
    warmed = await whole.client.post(f"/api/v2/sessions/{session_id}/warm")
    await mended(stage, session_id)

    assert [item["session_id"] for item in listed["items"]] == [session_id]
    assert (warmed.status_code, warmed.json()["state"]) == (202, "warming")
