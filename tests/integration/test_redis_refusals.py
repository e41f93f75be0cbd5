"""Redis may refuse, repeat or delay anything, and drop who listens: no answer is short and the view comes back."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from readmodel.errors import StoreUnavailable
from tests.support.healing import Record, healed, own_redis, watched
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.waiting import eventually
from tests.support.whole import whole_service

pytestmark = pytest.mark.installed


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Over the shared Redis; the continuous check goes round quickly."""
    async with bench(database_url, redis_url, drift_round_seconds=0.05) as made:
        yield made


async def test_an_older_dump_that_loads_for_a_while(database_url: str, tmp_path: Path, record: Record) -> None:
    """-LOADING: an outage like others."""
    slowly = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    async with (
        own_redis(tmp_path, database_url, *slowly) as (server, stage),
        watched(stage) as watch,
        stage.projector(),
    ):
        session_id = await watch.session()
        await healed(stage)
        await stage.view.redis.mset({f"filler:{n}": secrets.token_bytes(1_000) for n in range(500)})
        await stage.view.redis.save()
        await server.kill()
        starting = asyncio.create_task(server.start())
        await eventually(lambda: answers(stage, "loading"), "Redis is loading")
        await watch.event(session_id)
        await starting
        record("heal_seconds", await healed(stage))


async def answers(stage: Bench, word: str) -> bool:
    """Whether Redis refuses commands with this word."""
    try:
        await stage.view.position()
    except StoreUnavailable as error:
        return word in str(error.__cause__) or word in str(error)
    return False


async def test_a_command_that_executes_late(stage: Bench, record: Record) -> None:
    """A batch held back on a connection that was given up runs after its repetition, and after the next term."""
    async with (
        proxied(stage.config.redis_url) as proxy,
        watched(stage) as watch,
        stage.projector(redis_url=proxy.url(stage.config.redis_url)),
    ):
        session_id, purged = await watch.session(), await watch.session()
        await healed(stage)
        held = proxy.stall(down=False)
        await watch.event(session_id)
        record("heal_seconds", await healed(stage))
        await watch.purge(purged)
        await healed(stage)
        for link in held:
            link.up.open.set()
        await watch.event(session_id)
        await healed(stage)
        again = proxy.stall(down=False)
        await watch.event(session_id)
        await healed(stage)
        await stage.view.redis.flushall()
        await healed(stage)
        for link in again:
            link.up.open.set()
        await watch.event(session_id)
        await healed(stage)


async def test_a_reply_that_is_lost(stage: Bench, record: Record) -> None:
    """The script ran, nobody knows: the same batch again changes nothing, and the term goes on."""
    async with (
        proxied(stage.config.redis_url) as proxy,
        watched(stage) as watch,
        stage.projector(redis_url=proxy.url(stage.config.redis_url)) as telemetry,
    ):
        session_id = await watch.session()
        await healed(stage)
        for lost in range(1, 6):
            proxy.lose_reply_of(session_id.encode())
            await watch.event(session_id)
            await healed(stage)
            assert proxy.lost == lost

        assert telemetry.terms == 1
        assert (await stage.same(session_id)).total == 11


async def test_a_read_only_redis(stage: Bench, record: Record) -> None:
    """-READONLY: as-of stands still and what is read is right at it; writable again, the term goes on."""
    async with watched(stage) as watch, stage.projector() as telemetry:
        session_id = await watch.session()
        await healed(stage)
        await stage.view.redis.replicaof("127.0.0.1", "1")
        try:
            await watch.event(session_id)
            before = await stage.view.position()
            answered = watch.answers
            await eventually(lambda: watch.answers > answered + 5, "reads are answered")
            after = await stage.view.position()
            assert before is not None
            assert after is not None
            assert before.as_of_us == after.as_of_us
        finally:
            await stage.view.redis.replicaof("NO", "ONE")
        record("heal_seconds", await healed(stage))

        assert telemetry.terms == 1


async def test_a_busy_redis(stage: Bench, record: Record) -> None:
    """-BUSY: somebody's script runs for ever, until it is killed."""
    redis = stage.view.redis
    await redis.config_set("busy-reply-threshold", "20")
    async with watched(stage) as watch, stage.projector() as telemetry:
        session_id = await watch.session()
        await healed(stage)
        async with Redis.from_url(stage.config.redis_url) as somebody:
            forever = asyncio.create_task(spin(somebody))
            await eventually(lambda: answers(stage, "BUSY"), "Redis is busy")
            await watch.event(session_id)
            await redis.script_kill()
            await forever
        record("heal_seconds", await healed(stage))

        assert telemetry.terms == 1
    await redis.config_set("busy-reply-threshold", "5000")


async def spin(redis: Redis) -> None:
    """Run a script until it is killed."""
    with suppress(ResponseError):
        await redis.eval("while true do end", 0)


async def test_a_subscription_killed_between_two_messages(database_url: str, redis_url: str) -> None:
    """The API misses a message: no answer from memory outlives what it said."""
    async with whole_service(database_url, redis_url) as whole, Redis.from_url(redis_url) as redis:
        writer = whole.bench.writer
        session_id = await writer.session()
        await writer.event(session_id)
        await whole.served(session_id, "memory")
        for total in range(2, 12):
            await redis.client_kill_filter(_type="pubsub")
            await writer.event(session_id)
            await whole.never_late(session_id, total)
            await whole.served(session_id, "memory")
            filtered = await whole.poll(session_id, "?event_type=step_created")
            assert filtered.json()["total"] == total
