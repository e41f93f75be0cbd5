"""Redis goes back to an older state of itself, with its connections cut (seen) or not (unseen)."""

from typing import Any

import pytest
from redis.asyncio import Redis

from projector.view.writer import ViewWriter
from tests.support.barriers import Ear, before
from tests.support.racing import NEVER_SECONDS, check, hot_session, third_event
from tests.support.whole import whole_service

Dump = dict[Any, Any]


async def dumped(redis: Redis) -> Dump:
    """All keys as they are."""
    return {key: await redis.dump(key) for key in await redis.keys()}


async def put_back(redis: Redis, dump: Dump) -> None:
    """Put an old state in the place of the present one, in one transaction."""
    pipeline: Any = redis.pipeline(transaction=True)
    pipeline.flushdb()
    for key, value in dump.items():
        pipeline.restore(key, 0, value)
    await pipeline.execute()


@pytest.mark.parametrize("is_seen", [True, False], ids=["seen", "unseen"])
async def test_race_an_old_dump(
    database_url: str, redis_url: str, patch: pytest.MonkeyPatch, changes: Ear, is_seen: bool
) -> None:
    """Between two batches Redis goes back to before an event that the API told of: no answer claims more than it holds.

    The next batch is refused, and the next term brings the event back.
    """
    batches = before(patch, ViewWriter, "apply")
    async with whole_service(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as whole:
        stage = whole.bench
        session_id = await hot_session(whole)
        batches.close()
        await batches.reached()
        old = await dumped(stage.view.redis)
        batches.open()
        committed_us = await third_event(whole, session_id, changes)
        kept = await whole.served(session_id, "memory")
        assert kept.json()["total"] == 3
        batches.close()
        await batches.reached()
        await put_back(stage.view.redis, old)
        if is_seen:
            await stage.view.redis.client_kill_filter(_type="normal", skipme=True)
            await stage.view.redis.client_kill_filter(_type="pubsub")
        answers = [await whole.poll(session_id, query) for query in ("?limit=9", "?limit=9", "")]
        for answer in answers:
            check(answer, committed_us)
        if not is_seen:
            sources = [answer.headers["readside-source"] for answer in answers]
            assert sources == ["redis", "redis", "memory"]
        batches.open()
        await stage.caught_up()  # until then the old term's view may answer, as of then
        await stage.hot(session_id)

        assert (await stage.same(session_id)).total == 3
        assert stage.telemetry.terms == 2 or is_seen  # who also loses a connection may need another one
        assert [(await whole.poll(session_id, query)).json()["total"] for query in ("?limit=9", "")] == [3, 3]
