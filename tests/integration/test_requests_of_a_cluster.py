"""Requests to a leader whose view is on a Redis Cluster: they reach it wherever their slots have gone."""

import pytest

from readmodel.redis.servers import open_servers
from readmodel.values.messages import ProjectorReply, ProjectorRequest
from readmodel.view.slices import slot_of
from readmodel.view.whole import WholeView
from readside.commands.projector_client import ask
from tests.support.projecting import Bench, bench
from tests.support.redis_clusters import RedisCluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

SLICES = 8


async def answered(view: WholeView, request: ProjectorRequest) -> list[ProjectorReply]:
    """What the leader says to a request."""
    return [reply async for reply in ask(view.reporting, request)]


async def live(made: Bench) -> None:
    """Wait until all slices are."""
    await eventually(
        lambda: all(one.state == "live" for one in made.telemetry.slices or [made.telemetry]), "it is live"
    )


async def listeners(cluster: RedisCluster, view: WholeView) -> list[int]:
    """How many hear requests, at the master of each slot that they may come by."""
    counts = []
    for part in view.reporting:
        master = await cluster.master_of(slot_of(part.keys.tag))
        counts.append(int((await master.run("PUBSUB", "SHARDNUMSUB", part.keys.requests))[1]))
    return counts


async def test_the_leader_is_reached_after_every_master_was_changed_by_hand(
    database_url: str, redis_url: str, cluster: RedisCluster
) -> None:
    """As in an upgrade of the nodes: the old masters stay, as replicas, and would take its subscriptions."""
    servers = open_servers(cluster.url(), name="test")
    view = WholeView(servers, "readside", SLICES)
    async with bench(database_url, redis_url) as made:
        session_id = await made.writer.session()
        leaders = open_servers(cluster.url(), name="readside-projector")
        async with made.projector(leaders, slices=SLICES, heartbeat_seconds=0.5):
            await live(made)
            for part in view.reporting:
                await cluster.fail_over(slot_of(part.keys.tag))

            async def heard_there() -> bool:
                return await listeners(cluster, view) == [1, 1, 1]

            await eventually(heard_there, "requests are heard at the new masters")
            replies = await answered(view, ProjectorRequest("warm", (session_id,), reply=True))
    await servers.aclose()

    assert replies[-1].state == "done"
    assert replies[-1].sessions == {session_id: "hot"}
