"""The continuous check of what is served: whatever byte is another, it is found, loaded anew and counted; only then."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from projector import served_check
from readmodel.view.type_index import ENTRY_BYTES
from tests.support.projecting import Bench, bench
from tests.support.waiting import STEP_SECONDS, eventually

pytestmark = pytest.mark.installed

ROUND_SECONDS = 0.02
Edit = Callable[[Bench, str, str], Awaitable[object]]


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; rounds follow each other closely."""
    async with bench(database_url, redis_url, drift_round_seconds=ROUND_SECONDS) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Bench]:
    """One with a projector, for all tests that leave its settings as they are."""
    made = bench(lasting_database_url, lasting_redis_url, drift_round_seconds=ROUND_SECONDS)
    async with made as stage, stage.projector():
        yield stage


@pytest_asyncio.fixture(loop_scope="module")
async def live(lasting: Bench) -> Bench:
    """The same without a session: what others wrote is compared no more."""
    await lasting.alone()
    return lasting


of_live = pytest.mark.asyncio(loop_scope="module")


async def oldest(stage: Bench, session_id: str, place: int = 0) -> tuple[bytes, float]:
    """A member and its score, by rank."""
    redis: Any = stage.view.redis
    [(member, score)] = await redis.zrange(stage.view.keys.events(session_id), place, place, withscores=True)
    return member, score


async def replace(stage: Bench, session_id: str, old: bytes, new: bytes, score: float) -> None:
    """Put one member in another's place, in one step."""
    pipeline: Any = stage.view.redis.pipeline(transaction=True)
    key = stage.view.keys.events(session_id)
    pipeline.zrem(key, old)
    pipeline.zadd(key, {new: score})
    await pipeline.execute()


async def a_byte(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: a letter of an event's data is another."""
    member, score = await oldest(stage, session_id)
    await replace(stage, session_id, member, member.replace(b'"n": 1', b'"n": 2'), score)


async def a_score(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: an event stands between two others."""
    member, score = await oldest(stage, session_id)
    await replace(stage, session_id, member, member, score + 1_500)


async def two_members_exchanged(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: two events stand in each other's place."""
    (one, first), (two, second) = await oldest(stage, session_id, 0), await oldest(stage, session_id, 1)
    await stage.view.redis.zadd(stage.view.keys.events(session_id), {one: second, two: first})


async def anothers_member(stage: Bench, session_id: str, other: str) -> None:
    """Edit: an event of another session stands in the place of one of this."""
    member, score = await oldest(stage, session_id)
    foreign, _ = await oldest(stage, other)
    await replace(stage, session_id, member, foreign, score)


async def no_event(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: what is no event stands in the place of one."""
    member, score = await oldest(stage, session_id)
    await replace(stage, session_id, member, b"none of ours", score)


async def two_types_exchanged(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: two events are listed under each other's type."""
    redis: Any = stage.view.redis
    index = stage.view.keys.index(session_id)
    one, two = await redis.hmget(index, "step_created/0", "step_failed/0")
    await redis.hset(index, mapping={"step_created/0": two, "step_failed/0": one})


async def an_entry_twice(stage: Bench, session_id: str, _other: str) -> None:
    """Edit: an event is listed twice, and another not at all."""
    redis: Any = stage.view.redis
    index = stage.view.keys.index(session_id)
    listed = await redis.hget(index, "step_created/0")
    await redis.hset(index, "step_created/0", listed[:ENTRY_BYTES] + listed[:-ENTRY_BYTES])


WRONG = (a_byte, a_score, two_members_exchanged, anothers_member, no_event, two_types_exchanged)


async def hot_session(stage: Bench, events: int = 5) -> str:
    """Write a session of two types, and wait until it is hot."""
    session_id = await stage.writer.session()
    for kind in ("step_created", "step_failed"):
        await stage.writer.events(session_id, events, kind)
    await stage.hot(session_id)
    await stage.caught_up()
    return session_id


@of_live
@pytest.mark.parametrize("edit", WRONG)
async def test_what_is_served_wrongly_is_found_reloaded_and_counted(live: Bench, edit: Edit) -> None:
    """Once, by name; nobody else is touched, and the term goes on."""
    telemetry = live.telemetry
    with capture_logs() as logs:
        session_id, bystander = await hot_session(live), await hot_session(live)
        drift, loads, terms = telemetry.drift, telemetry.loads, telemetry.terms
        await edit(live, session_id, bystander)
        await eventually(lambda: telemetry.drift > drift and telemetry.loads > loads, "it is found and loaded")
        for types in ((), ("step_created",), ("step_failed",)):
            await live.same(session_id, types=types)
            await live.same(bystander, types=types)

        assert (telemetry.drift, telemetry.loads, telemetry.terms) == (drift + 1, loads + 1, terms)
    assert [entry["session_id"] for entry in logs if entry["log_level"] == "warning"] == [session_id]


@of_live
async def test_an_index_that_contradicts_itself_is_damage(live: Bench) -> None:
    """It is known for certain at once."""
    telemetry = live.telemetry
    session_id, bystander = await hot_session(live), await hot_session(live)
    drift, lost, loads, terms = telemetry.drift, telemetry.sessions_lost, telemetry.loads, telemetry.terms
    await an_entry_twice(live, session_id, bystander)
    await eventually(lambda: telemetry.sessions_lost > lost and telemetry.loads > loads, "it is found and loaded")
    await live.same(session_id, types=("step_created",))

    assert (telemetry.drift, telemetry.terms) == (drift, terms)


async def test_a_large_session_is_compared_to_its_end(stage: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part by part, each within its bounds."""
    monkeypatch.setattr(served_check, "EVENTS_A_ROUND", 20)
    asked: list[int] = []
    async with stage.projector(window_events=150) as telemetry:
        session_id = await hot_session(stage, 100)
        really = served_check.ServedCheck._rows

        async def noted(self: Any, parts: Any) -> Any:
            asked.append(sum(len(part.members) for part in parts))
            return await really(self, parts)

        monkeypatch.setattr(served_check.ServedCheck, "_rows", noted)
        member, score = await oldest(stage, session_id, 149)
        await replace(stage, session_id, member, member.replace(b'"n": 1', b'"n": 2'), score)
        await eventually(lambda: telemetry.drift, "it is found")
        await stage.hot(session_id)
        await stage.same(session_id)

    assert max(asked) <= 20


@of_live
async def test_writers_raise_no_false_alarm(live: Bench) -> None:
    """Sessions that are written to, changed in place and purged while what they serve is compared.

    The first has nine writes of ten, without a pause: it changes between what Redis and what Postgres tell of it. The
    others pause, else they would all change before they are judged.
    """
    telemetry = live.telemetry
    with capture_logs() as logs:
        sessions = [await hot_session(live) for _ in range(6)]
        alarms = telemetry.drift, telemetry.sessions_lost, telemetry.terms
        connection, rounds, before = live.writer.connection, 0, telemetry.compared
        async with asyncio.timeout(30):
            while telemetry.compared < before + 120:
                rounds += 1
                place = 0 if rounds % 10 else 1 + rounds // 10 % 5
                session_id = sessions[place]
                await live.writer.event(session_id, event_type="step_failed")
                await connection.execute(
                    "UPDATE events SET message = 'again' WHERE id IN "
                    "(SELECT id FROM events WHERE session_id = $1::uuid ORDER BY random() LIMIT 1)",
                    session_id,
                )
                if rounds % 41 == 0:
                    await live.writer.delete_session(session_id)
                    sessions[place] = await live.writer.session()
                await asyncio.sleep(STEP_SECONDS if place else 0)

        assert (telemetry.drift, telemetry.sessions_lost, telemetry.terms) == alarms
    assert not [entry for entry in logs if entry["log_level"] == "warning"]
