"""Hearing the channels of many slots of a Redis Cluster: one connection to each master, and anew where a slot goes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from readmodel.errors import ServiceError, StoreUnavailable
from readmodel.redis.moving import MovingServers
from readmodel.redis.servers import open_servers
from readmodel.view.keys import Keys
from readmodel.view.slices import slot_of, tags
from readmodel.view.subscription import heard, heard_all, publish
from tests.support.redis_clusters import Node, RedisCluster
from tests.support.waiting import eventually

COUNT = 9
KEYS = [Keys("readside", 0, tag, COUNT, sharded=True) for tag in tags(COUNT)]
CHANNELS = {keys.changes: slot_of(keys.tag) for keys in KEYS}
FIRST = KEYS[0]
SLOT = CHANNELS[FIRST.changes]


@dataclass
class Hearer:
    """What was heard, in order."""

    servers: MovingServers
    heard: list[tuple[str, bytes | None]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    async def listen(self) -> None:
        """Hear, for ever."""
        messages: AsyncGenerator[tuple[str, bytes | None], None] = heard_all(self.servers, CHANNELS, self.lose)
        async with aclosing(messages):
            async for message in messages:
                self.heard.append(message)

    def lose(self, channels: Collection[str], _error: ServiceError) -> None:
        """Note which were lost."""
        self.lost += channels

    def subscribed(self, channel: str) -> int:
        """How often a channel was subscribed to."""
        return self.heard.count((channel, None))

    async def is_heard(self, keys: Keys, data: bytes) -> bool:
        """Say something, and tell whether it was heard at least once."""
        with suppress(StoreUnavailable):
            await publish(self.servers.client(slot_of(keys.tag)), keys, keys.changes, data)
        await asyncio.sleep(0)
        return (keys.changes, data) in self.heard


@pytest.fixture
async def ear(cluster: RedisCluster) -> AsyncIterator[Hearer]:
    """Somebody who hears all channels."""
    servers: Any = open_servers(cluster.url(), name="readside-test", timeout_seconds=1.0)
    made = Hearer(servers)
    listening = asyncio.create_task(made.listen())
    await eventually(lambda: all(made.subscribed(channel) for channel in CHANNELS), "all are heard")
    yield made
    assert not listening.done()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await servers.aclose()


async def subscribers(node: Node) -> list[int]:
    """How many channels each subscribed connection to a node hears."""
    redis: Any
    async with node.client() as redis:
        return [int(client["ssub"]) for client in await redis.client_list(_type="pubsub")]


async def test_each_message_is_heard_once(ear: Hearer) -> None:
    """Of every channel, in order."""
    said = [(keys.changes, b"%d" % number) for number in range(20) for keys in KEYS]
    for (channel, data), keys in zip(said, KEYS * 20, strict=True):
        assert await publish(ear.servers.client(CHANNELS[channel]), keys, channel, data) == 1

    await eventually(lambda: len(ear.heard) == len(said) + COUNT, "all are heard")
    for channel in CHANNELS:
        assert [one for one in ear.heard if one[0] == channel][1:] == [one for one in said if one[0] == channel]


async def test_there_is_one_connection_to_each_master(ear: Hearer, cluster: RedisCluster) -> None:
    """However many channels it has."""
    found = [await subscribers(node) for node in cluster.nodes if await node.is_master()]

    assert [len(each) for each in found] == [1, 1, 1]
    assert sum(map(sum, found)) == COUNT


async def test_a_slot_that_moves_is_heard_where_it_goes(ear: Hearer, cluster: RedisCluster) -> None:
    """On the connection that is there already; nobody else's channel is disturbed."""
    source = await cluster.master_of(SLOT)
    to = await cluster.other_master(source)
    await cluster.move(SLOT, to)

    await eventually(lambda: ear.subscribed(FIRST.changes) == 2, "its channel is subscribed to anew")
    await eventually(lambda: ear.is_heard(FIRST, b"moved"), "it is heard")

    assert [ear.subscribed(keys.changes) for keys in KEYS[1:]] == [1] * (COUNT - 1)
    assert ear.lost == []
    assert [len(await subscribers(node)) for node in (source, to)] == [1, 1]


async def test_a_killed_master_is_heard_again_as_its_replica(ear: Hearer, cluster: RedisCluster) -> None:
    """Its channels are told to be lost and then heard anew; those of other masters are not."""
    old = await cluster.master_of(SLOT)
    its = {channel for channel, slot in CHANNELS.items() if ear.servers.node(slot) == old.place}
    await cluster.kill(old)

    await eventually(lambda: all(ear.subscribed(channel) == 2 for channel in its), "its channels are heard anew")
    await eventually(lambda: ear.is_heard(FIRST, b"again"), "a message is heard")

    assert set(ear.lost) == its
    assert [ear.subscribed(channel) for channel in CHANNELS if channel not in its] == [1] * (COUNT - len(its))


async def test_after_a_failover_by_hand_the_new_master_is_heard(ear: Hearer, cluster: RedisCluster) -> None:
    """The old one would go on to pass messages on, as a replica: until it cannot, and says nothing."""
    old = await cluster.master_of(SLOT)
    new = await cluster.fail_over(SLOT)

    async def heard_there() -> bool:
        return await subscribers(old) == [] and len(await subscribers(new)) == 1

    await eventually(heard_there, "all are heard at the new master")
    await eventually(lambda: ear.is_heard(FIRST, b"there"), "a message is heard")


async def test_one_channel_is_heard_where_its_slot_is(cluster: RedisCluster) -> None:
    """As requests and replies are."""
    servers: Any = open_servers(cluster.url(), name="readside-test")
    redis = servers.client(SLOT)
    messages = heard(redis, FIRST.requests)
    async with aclosing(messages):
        assert await anext(messages) is None
        assert await publish(redis, FIRST, FIRST.requests, b"request") == 1

        assert await anext(messages) == b"request"
    await servers.aclose()
