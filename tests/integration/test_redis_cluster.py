"""Commands to a Redis Cluster: each goes to the slot's master, whatever happens to the nodes; none is sent twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from readmodel.errors import ViewUnavailable
from readmodel.redis.client import target, translated
from readmodel.redis.moving import MovingServers
from readmodel.redis.servers import open_servers
from readmodel.view.slices import slot_of
from tests.support.redis_clusters import Node, RedisCluster, redis_cluster
from tests.support.waiting import eventually

TAG = "0"
SLOT = slot_of(TAG)
KEY = f"readside:{{{TAG}}}:test"


@pytest.fixture
async def servers(cluster: RedisCluster) -> AsyncIterator[MovingServers]:
    """The cluster as our clients see it, by one node of its URL."""
    made: Any = open_servers(cluster.url(cluster.nodes[0]), name="readside-test", timeout_seconds=1.0)
    yield made
    await made.aclose()


async def write(servers: MovingServers, value: str = "value") -> bool:
    """Write one field."""
    with translated(servers.client(SLOT)):
        return bool(await sent(servers, "HSET", KEY, "field", value))


async def sent(servers: MovingServers, *command: object) -> Any:
    """Send a command to the slot."""
    redis: Any = servers.client(SLOT)
    return await redis.execute_command(*command)


async def written(servers: MovingServers, value: str = "value") -> bool:
    """Whether a write goes through."""
    with suppress(ViewUnavailable):
        await write(servers, value)
        return True
    return False


def free(servers: MovingServers, than: Node) -> Any:
    """A client of a slot that another master has."""
    return servers.client(next(slot for slot in range(0, 16_384, 1_000) if servers.node(slot) != than.place))


async def count(node: Node, command: str) -> int:
    """How often a node ran a command."""
    told = (await node.info("commandstats")).get(f"cmdstat_{command}", "calls=0")
    return int(told.partition(",")[0].removeprefix("calls="))


async def test_each_slot_is_on_its_master(cluster: RedisCluster, servers: MovingServers) -> None:
    """From one node of the URL all are found."""
    for slot in (0, 5_461, 16_383):
        await servers.settle(slot)

        assert servers.node(slot) == (await cluster.master_of(slot)).place


async def test_a_moved_slot_is_followed_at_once(cluster: RedisCluster, servers: MovingServers) -> None:
    """The command was not executed where the slot had been; it is where MOVED says, once."""
    await write(servers)
    source = await cluster.master_of(SLOT)
    to = await cluster.other_master(source)
    await cluster.move(SLOT, to)

    await write(servers, "again")

    assert servers.node(SLOT) == to.place
    assert await count(to, "hset") == 1
    assert target(servers.client(SLOT)) == f"{to.place}/0"


async def test_a_moved_slot_in_a_pipeline_is_noted(cluster: RedisCluster, servers: MovingServers) -> None:
    """Its reply is MOVED, which is told; the next pipeline goes where the slot is."""
    await write(servers)
    to = await cluster.other_master(await cluster.master_of(SLOT))
    await cluster.move(SLOT, to)
    pipeline: Any = servers.client(SLOT).pipeline(transaction=False)

    replies = await pipeline.hget(KEY, "field").execute(raise_on_error=False)
    again = await pipeline.hget(KEY, "field").execute(raise_on_error=False)

    assert [type(reply).__name__ for reply in replies] == ["MovedError"]
    assert again == [b"value"]


async def test_a_slot_that_moves_is_away_until_it_has_moved(cluster: RedisCluster, servers: MovingServers) -> None:
    """ASK is not followed: on the node that gets the slot, a key that is not there yet would look lost."""
    await write(servers)
    to = await cluster.other_master(await cluster.master_of(SLOT))
    source = await cluster.begin_moving(SLOT, to)
    await cluster.move_keys(SLOT, source, to)

    with pytest.raises(ViewUnavailable, match=r"\(ASK .*\): its slot moves to another node"):
        await write(servers, "lost")

    assert await count(to, "hset") == 0
    await cluster.end_moving(SLOT, source, to)
    await eventually(partial(written, servers), "the slot is written where it is")
    assert servers.node(SLOT) == to.place


async def test_keys_on_two_nodes_are_away(cluster: RedisCluster, servers: MovingServers) -> None:
    """TRYAGAIN: one of two keys has moved."""
    await write(servers)
    await sent(servers, "HSET", f"{KEY}2", "field", "value")
    to = await cluster.other_master(await cluster.master_of(SLOT))
    source = await cluster.begin_moving(SLOT, to)
    await cluster.move_keys(SLOT, source, to, lambda key: key == KEY)

    with (
        pytest.raises(ViewUnavailable, match=r"\(TRYAGAIN .*\): its slot moves"),
        translated(servers.client(SLOT)),
    ):
        await sent(servers, "EXISTS", KEY, f"{KEY}2")

    await cluster.end_moving(SLOT, source, to)
    await eventually(partial(written, servers), "the slot is written where it is")


async def test_a_script_that_meets_a_key_that_has_moved_says_so(cluster: RedisCluster, servers: MovingServers) -> None:
    """It is no damage: the slice is away."""
    await write(servers)
    to = await cluster.other_master(await cluster.master_of(SLOT))
    source = await cluster.begin_moving(SLOT, to)
    script = "return redis.call('HSET', KEYS[1] .. '-undeclared', 'field', 'value')"

    with (
        pytest.raises(ViewUnavailable, match=r"non local key.*: its slot moves"),
        translated(servers.client(SLOT)),
    ):
        await sent(servers, "EVAL", script, 1, KEY)

    await cluster.end_moving(SLOT, source, to)


async def test_a_failover_by_hand(cluster: RedisCluster, servers: MovingServers) -> None:
    """The old master says where its slots are, and the first command already goes there."""
    await write(servers)
    new = await cluster.fail_over(SLOT)

    await write(servers, "again")

    assert servers.node(SLOT) == new.place


async def test_a_master_that_is_killed(cluster: RedisCluster, servers: MovingServers) -> None:
    """Its slots are away until its replica is promoted, and no other slot is."""
    await write(servers)
    old = await cluster.master_of(SLOT)
    others = free(servers, old)
    await cluster.kill(old)

    with pytest.raises(ViewUnavailable, match="does not answer"):
        await write(servers)
    assert await others.execute_command("PING")

    await eventually(partial(written, servers), "the replica has taken over")
    assert servers.node(SLOT) != old.place


async def test_a_master_that_is_paused(cluster: RedisCluster, servers: MovingServers) -> None:
    """Its replica takes over; when it goes on it is a replica, and nothing is sent to it."""
    await write(servers)
    old = await cluster.master_of(SLOT)
    old.pause()
    try:
        with pytest.raises(ViewUnavailable, match="Timeout"):
            await write(servers)
        await eventually(partial(written, servers), "the replica has taken over")
        new = servers.node(SLOT)
    finally:
        old.resume()
    await eventually(partial(is_replica, old), "the old master follows the new one")

    await write(servers, "again")

    assert servers.node(SLOT) == new != old.place


async def is_replica(node: Node) -> bool:
    """Whether a node follows another."""
    return not await node.is_master()


async def test_other_slots_never_wait_for_a_paused_master(cluster: RedisCluster, servers: MovingServers) -> None:
    """While one slot is in doubt and asked for, commands to others are answered."""
    old = await cluster.master_of(SLOT)
    await write(servers)
    others = free(servers, old)
    await others.execute_command("PING")
    old.pause()
    doubting = [asyncio.create_task(written(servers)) for _ in range(20)]
    try:
        answered = 0
        while answered < 20 and not any(task.done() for task in doubting):
            await others.execute_command("PING")
            answered += 1
    finally:
        old.resume()
        await asyncio.gather(*doubting)

    assert answered == 20


async def test_a_lost_majority_and_what_it_says(cluster: RedisCluster, servers: MovingServers) -> None:
    """Masters that cannot reach most of the others stop by themselves."""
    await write(servers)
    old = await cluster.master_of(SLOT)
    killed = [node for node in cluster.nodes if node is not old]
    for node in killed:
        await cluster.kill(node)

    await eventually(partial(says, servers, "CLUSTERDOWN"), "the last master stops")
    for node in killed:
        await cluster.restart(node)
    await eventually(partial(written, servers), "the cluster is whole again")


async def says(servers: MovingServers, word: str) -> bool:
    """Whether a write fails with this word."""
    try:
        await write(servers)
    except ViewUnavailable as error:
        return word in str(error) and "the cluster lacks a master" in str(error)
    return False


async def test_a_node_that_is_added_and_one_that_is_taken_away(cluster: RedisCluster, servers: MovingServers) -> None:
    """Slots are followed to the new one; connections to the one that left are closed."""
    await write(servers)
    added = await cluster.add()
    old = await cluster.master_of(SLOT)
    await cluster.move(SLOT, added)
    assert await written(servers)
    assert servers.node(SLOT) == added.place

    await cluster.move(SLOT, old)
    await cluster.remove(added)

    await eventually(partial(written, servers, "back"), "the slot is written where it was")
    assert servers.node(SLOT) == old.place
    await eventually(partial(forgotten, servers, added), "its connections are closed")


async def forgotten(servers: MovingServers, node: Node) -> bool:
    """Whether nothing is kept of a node; commands have the topology read."""
    servers.ask_soon()
    await written(servers)
    return (node.host, node.server.port) not in servers._pools


async def test_a_replica_that_is_asked_says_where_the_master_is(cluster: RedisCluster) -> None:
    """A URL may name replicas alone."""
    replicas = [node for node in cluster.nodes if not await node.is_master()]
    made: Any = open_servers(cluster.url(*replicas), name="readside-test")

    assert await written(made)

    assert made.node(SLOT) == (await cluster.master_of(SLOT)).place
    await made.aclose()


async def test_two_spellings_of_a_cluster_have_one_identity(cluster: RedisCluster) -> None:
    """Before and after a failover."""
    one: Any = open_servers(cluster.url(cluster.nodes[0]), name="readside-test")
    other: Any = open_servers(cluster.url(*cluster.nodes[1:]), name="readside-test")
    before = await one.identity()
    await cluster.fail_over(SLOT)

    assert before == await one.identity() == await other.identity()
    await one.aclose()
    await other.aclose()


async def test_a_cluster_url_to_a_plain_server(redis_url: str) -> None:
    """It says which URL leads there, and sends nothing."""
    made: Any = open_servers(redis_url.replace("redis://", "redis+cluster://"), name="readside-test")

    with pytest.raises(
        ViewUnavailable, match="a server by itself: begin READSIDE_REDIS_URL with redis:// or rediss://"
    ):
        await write(made)

    await made.aclose()
    async with Redis.from_url(redis_url) as redis:
        assert await redis.dbsize() == 0


async def test_a_plain_url_to_a_node(cluster: RedisCluster) -> None:
    """It says which URL leads there."""
    node = await cluster.other_master(await cluster.master_of(SLOT))
    made: Any = open_servers(f"redis://:{cluster.password}@{node.place}/0", name="readside-test")

    with pytest.raises(ViewUnavailable, match=r"MOVED .*begin READSIDE_REDIS_URL with redis\+cluster://"):
        await write(made)

    await made.aclose()


async def test_nobody_who_answers(cluster: RedisCluster) -> None:
    """It names the cluster as the URL does, without secrets."""
    made: Any = open_servers("redis+cluster://:hunter2@127.0.0.1:1,127.0.0.1:2", name="readside-test")

    with pytest.raises(
        ViewUnavailable,
        match=r"^Redis at the cluster of 127.0.0.1:1, 127.0.0.1:2 does not answer: Connection refused\.$",
    ):
        await write(made)

    await made.aclose()


async def test_a_master_that_is_cut_off_from_the_others() -> None:
    """It goes on for its time-out, then stops; whoever knows of the election is believed, and not it."""
    async with redis_cluster(cuttable=True) as cluster:
        old = await cluster.master_of(SLOT)
        servers: Any = open_servers(cluster.url(old), name="readside-test")
        await write(servers)
        cluster.cut(old)

        await eventually(partial(written_elsewhere, servers, old), "the promoted replica is written")

        for _ in range(20):
            servers.doubt(SLOT, None)
            await write(servers)
            assert servers.node(SLOT) != old.place
        await servers.aclose()


async def written_elsewhere(servers: MovingServers, old: Node) -> bool:
    """Whether a write goes to another node."""
    return await written(servers) and servers.node(SLOT) != old.place
