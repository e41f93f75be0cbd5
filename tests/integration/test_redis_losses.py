"""Redis may lose anything: whatever it forgets, no answer is short and the view comes back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from readmodel.values.messages import ProjectorRequest, encode_request
from tests.support.healing import Record, healed, own_redis, watched
from tests.support.projecting import Bench, bench
from tests.support.proxy import proxied
from tests.support.servers import embedded_redis
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

DUMP = "dump.rdb"


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Over the shared Redis; the continuous check goes round quickly."""
    async with bench(database_url, redis_url, drift_round_seconds=0.05) as made:
        yield made


async def test_a_flush(stage: Bench, record: Record) -> None:
    """FLUSHALL, with a commit right after it."""
    async with watched(stage) as watch, stage.projector():
        session_id = await watch.session()
        await healed(stage)
        await stage.view.redis.flushall()
        await watch.event(session_id)
        record("heal_seconds", await healed(stage))


@pytest.mark.parametrize("kind", ["position", "hot", "header", "events", "index"])
async def test_a_single_key_that_is_gone(stage: Bench, kind: str, record: Record) -> None:
    """Deleted or evicted, of a session or of the view: cold, then loaded anew without a poll."""
    async with watched(stage) as watch, stage.projector():
        session_id, _ = await watch.session(), await watch.session()
        await healed(stage)
        key = getattr(stage.view.keys, kind)
        await stage.view.redis.delete(key if isinstance(key, str) else key(session_id))
        await watch.event(session_id)
        record("heal_seconds", await healed(stage))


async def test_a_restart_that_begins_empty(database_url: str, tmp_path: Path, record: Record) -> None:
    """Everything is gone, and so are all connections."""
    async with own_redis(tmp_path, database_url) as (server, stage), watched(stage) as watch, stage.projector():
        session_id = await watch.session()
        await healed(stage)
        await server.restart()
        await watch.event(session_id)
        record("heal_seconds", await healed(stage))


async def test_a_restart_from_an_older_dump(database_url: str, tmp_path: Path, record: Record) -> None:
    """The same term at an earlier number: refused by its number, and right at the as-of that it claims."""
    async with own_redis(tmp_path, database_url) as (server, stage), watched(stage) as watch, stage.projector():
        session_id, purged = await watch.session(), await watch.session()
        await healed(stage)
        await stage.view.redis.save()
        await watch.event(session_id)
        await watch.purge(purged)
        await healed(stage)
        terms = stage.telemetry.terms
        await server.kill()
        assert (tmp_path / DUMP).exists()
        await server.start()
        record("heal_seconds", await healed(stage))

        assert stage.telemetry.terms > terms


async def test_a_lagging_replica_that_is_promoted(database_url: str, tmp_path: Path, record: Record) -> None:
    """Another server behind the same address, which has missed the last batches."""
    async with (
        own_redis(tmp_path / "primary", database_url) as (server, _),
        embedded_redis(tmp_path / "replica", "--masterauth", server.password) as replica,
        proxied(server.url()) as proxy,
    ):
        shared = proxy.url(server.url())
        async with bench(database_url, shared) as stage, watched(stage) as watch, stage.projector():
            session_id, purged = await watch.session(), await watch.session()
            await healed(stage)
            async with Redis.from_url(replica.url()) as promoted:
                await promoted.replicaof("127.0.0.1", str(server.port))
                await eventually(lambda: linked(promoted), "the replica is in step")
                await promoted.replicaof("NO", "ONE")
                await promoted.config_set("requirepass", server.password)
            await watch.event(session_id)
            await watch.purge(purged)
            await healed(stage)
            terms = stage.telemetry.terms
            proxy.upstream = ("127.0.0.1", replica.port)
            proxy.cut()
            record("heal_seconds", await healed(stage))

            assert stage.telemetry.terms > terms


async def linked(replica: Redis) -> bool:
    """Whether a replica has all that its primary has."""
    return bool((await replica.info("replication"))["master_link_status"] == "up")


async def test_evictions(database_url: str, tmp_path: Path) -> None:
    """Under allkeys-lru any key may go at any time, position included: cold, never short."""
    async with (
        own_redis(tmp_path, database_url, "--maxmemory-policy", "allkeys-lru") as (_, stage),
        watched(stage) as watch,
        stage.projector(drift_round_seconds=0.05),
    ):
        sessions = [await watch.session(20) for _ in range(20)]
        await healed(stage)
        redis = stage.view.redis
        used = int((await redis.info("memory"))["used_memory"])
        await redis.config_set("maxmemory", str(used - 200_000))

        async def evicted() -> bool:
            for session_id in sessions[:3]:
                await watch.event(session_id)
            return bool((await redis.info("stats"))["evicted_keys"] > 50)

        async def asked_for() -> bool:
            cold = tuple([session_id for session_id in sessions if not await stage.is_hot(session_id)])
            if cold:
                await redis.publish(stage.view.keys.requests, encode_request(ProjectorRequest("warm", cold)))
            return not cold

        await eventually(evicted, "keys are evicted")
        await redis.config_set("maxmemory", "0")
        # What a load began while keys went may have failed: the next poll asks for it again.
        await eventually(asked_for, "all sessions are hot once they are polled")
        await healed(stage)
