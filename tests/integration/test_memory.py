"""Remembered answers are never out of date: whatever became of a session in Redis, its changes reach memory."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count

import pytest

from tests.support.waiting import eventually
from tests.support.whole import Whole, whole_service

FILTERED = "?event_type=step_created&limit=2"
Leave = Callable[[Whole, str], Awaitable[None]]
Service = Callable[..., AbstractAsyncContextManager[Whole]]


@pytest.fixture
def service(database_url: str, redis_url: str) -> Service:
    """Everything, live, with the projector's settings that a test names."""
    return partial(whole_service, database_url, redis_url)


async def evicted(whole: Whole, session_id: str) -> None:
    """Redis threw its keys away, and told nobody."""
    keys = whole.bench.view.keys
    await whole.bench.view.redis.delete(*(kind(session_id) for kind in (keys.header, keys.events, keys.index)))


async def expired(whole: Whole, session_id: str) -> None:
    """Nobody polled it for longer than the projector keeps a session."""
    await whole.bench.cold(session_id)


async def set_aside(whole: Whole, session_id: str) -> None:
    """One of its events has changed into what a sorted set cannot hold."""
    limit = count(3)
    one = "SELECT id FROM events WHERE session_id = $1::uuid LIMIT 1"
    await whole.bench.writer.connection.execute(
        f"UPDATE events SET timestamp = 'infinity' WHERE id = ({one})",
        session_id,
    )

    async def asked() -> bool:
        await whole.poll(session_id, f"?limit={next(limit)}")  # which memory does not hold
        return session_id in whole.bench.telemetry.set_aside()

    await eventually(asked, "it is set aside")


async def never_hot(whole: Whole, session_id: str) -> None:
    """There was no room for it."""
    assert not await whole.bench.is_hot(session_id)


@pytest.mark.parametrize(
    ("leave", "settings"),
    [
        (evicted, {}),
        (expired, {"hot_ttl_seconds": 1.0}),
        (set_aside, {}),
        (never_hot, {"max_hot_sessions": 1}),
    ],
)
async def test_a_change_reaches_memory_though_redis_holds_nothing(
    service: Service, leave: Leave, settings: dict[str, object]
) -> None:
    """The answer goes before an as-of later than the change is claimed; a filtered one too."""
    async with service(**settings) as whole:
        writer = whole.bench.writer
        await whole.bench.hot(await writer.session())
        session_id = await writer.session()
        last = await writer.event(session_id)
        for total in (2, 3):
            await whole.never_late(session_id, total - 1)
            await whole.served(session_id, "memory")
            await whole.served(session_id, "memory", FILTERED)
            await leave(whole, session_id)
            last = await writer.event(session_id)
            await whole.never_late(session_id, total)
            await whole.never_late(session_id, total, FILTERED)
        await whole.served(session_id, "memory")
        await leave(whole, session_id)
        await writer.connection.execute("DELETE FROM events WHERE id = $1::uuid", last)
        await whole.never_late(session_id, 2)
        await whole.served(session_id, "memory")
        await writer.delete_session(session_id)
        await whole.never_late(session_id, None)
