"""A look at the slices of a real Redis Cluster: each on its node, wherever its slot has gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

from projector.view.shared_trips import SharedTrips, SharingClient
from projector.view.writer import ViewWriter
from readmodel.redis.servers import open_servers
from readmodel.values.messages import ProjectorReply, ProjectorRequest, decode_request, encode_reply
from readmodel.view.projection import read_projection
from readmodel.view.reader import ViewReader
from readmodel.view.slices import slot_of
from readmodel.view.subscription import heard, publish
from readmodel.view.whole import WholeView
from readside.commands.projector_client import ask
from tests.support.redis_clusters import RedisCluster, redis_cluster
from tests.support.viewing import DATABASE, SHAPE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLICES = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[RedisCluster]:
    """Three masters; who has lost a node serves the slots of the others."""
    async with redis_cluster(3, 0, "--cluster-require-full-coverage", "no") as made:
        yield made


@asynccontextmanager
async def opened(cluster: RedisCluster, prefix: str) -> AsyncIterator[WholeView]:
    """The view as somebody sees it who has just come: nothing is known of where its slices are."""
    servers = open_servers(cluster.url(), name="test", timeout_seconds=1.0)
    yield WholeView(servers, prefix, SLICES)
    await servers.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def prefix(cluster: RedisCluster) -> str:
    """A view of eight slices, each with a beat, and a leader's report in each report slice."""
    name = f"test-{uuid4().hex[:8]}"
    async with opened(cluster, name) as view:
        for part in view.parts:
            writer = ViewWriter(part.redis, part.keys, ttl_seconds=60, window_events=100, window_bytes=100_000)
            await writer.begin("t", "", DATABASE, SHAPE)
            await writer.apply("t", 1, [], [], as_of_us=await part.now_us(), round_trip_us=1000)
        for part in view.reporting:
            told = {"id": "a", "role": "leader", "reported_at_us": await part.now_us(), "started_at": "2026-01-01"}
            redis: Any = part.redis
            await redis.hset(part.keys.projectors, "a", orjson.dumps(told))
    return name


async def test_who_has_just_come_sees_each_slice_on_its_node(cluster: RedisCluster, prefix: str) -> None:
    """As `readside status` does, whose first command is this look."""
    async with opened(cluster, prefix) as view:
        projection = await read_projection(view, 60.0)

    assert (projection.status, projection.reason) == ("live", None)
    assert {one.node for one in projection.slices} == {node.place for node in cluster.nodes}


async def test_a_slice_that_has_moved_is_followed_at_once(cluster: RedisCluster, prefix: str) -> None:
    """By who knew it elsewhere."""
    async with opened(cluster, prefix) as view:
        before = await read_projection(view, 60.0)
        slot = slot_of(view.slices.keys[3].tag)
        source = await cluster.master_of(slot)
        to = next(node for node in cluster.nodes if node is not source)
        await cluster.move(slot, to)
        after = await read_projection(view, 60.0)
        await cluster.move(slot, source)

    assert (before.status, after.status, after.reason) == ("live", "live", None)
    assert (before.slices[3].node, after.slices[3].node) == (source.place, to.place)


async def test_slices_are_written_together_on_each_node_wherever_a_slot_has_gone(
    cluster: RedisCluster, prefix: str
) -> None:
    """Batches that share a round trip with one whose slot has moved are applied once, and that one where it is."""
    async with opened(cluster, prefix) as view:
        trips = SharedTrips(view.servers)
        writers = [
            ViewWriter(
                part.redis,
                part.keys,
                ttl_seconds=60,
                window_events=100,
                window_bytes=100_000,
                sender=SharingClient(part.redis, slot_of(part.keys.tag), trips),
            )
            for part in view.parts
        ]
        first = await asyncio.gather(*(writer.apply("t", 2, [], []) for writer in writers))
        slot = slot_of(view.slices.keys[5].tag)
        source = await cluster.master_of(slot)
        to = next(node for node in cluster.nodes if node is not source)
        await cluster.move(slot, to)
        second = await asyncio.gather(*(writer.apply("t", 3, [], []) for writer in writers))
        numbers = [position.n for part in view.parts if (position := await part.position())]
        await cluster.move(slot, source)

    assert not any(result.again for result in (*first, *second))
    assert numbers == [3] * SLICES


async def leading(part: ViewReader, listening: asyncio.Event) -> None:
    """A leader that hears in one slice alone, and says that it is done."""
    async with aclosing(heard(part.redis, part.keys.requests)) as messages:
        async for data in messages:
            listening.set()
            request = decode_request(data) if data else None
            if request is not None:
                reply = encode_reply(ProjectorReply(request.id, "done"))
                await publish(part.redis, part.keys, part.keys.replies(request.id), reply)


async def test_a_node_that_is_away_costs_its_slices_alone(cluster: RedisCluster, prefix: str) -> None:
    """They are named; requests reach the leader by another report slice, and its report is seen there."""
    async with opened(cluster, prefix) as view, opened(cluster, prefix) as elsewhere:
        away = await cluster.master_of(slot_of(view.slices.keys[0].tag))
        gone = [one.slice for one in (await read_projection(view, 60.0)).slices if one.node == away.place]
        heard_at, listening = elsewhere.reporting[1], asyncio.Event()
        task = asyncio.create_task(leading(heard_at, listening))
        await listening.wait()
        await cluster.kill(away)
        projection = await read_projection(view, 60.0)
        replies = [reply.state async for reply in ask(view.reporting, ProjectorRequest("warm", ("s",), reply=True))]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await cluster.restart(away)

    named = ", ".join(map(str, gone))
    assert 0 in gone
    assert str(projection.reason).startswith(f"{len(gone)} of 8 slices are away ({named}): Redis at {away.place}")
    assert [one.slice for one in projection.slices if one.status != "live"] == gone
    assert projection.leader is not None
    assert replies == ["done"]
