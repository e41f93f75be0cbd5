"""Commands to the master that Sentinel knows: after each failover they go to the new one, whatever the old one says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import pytest

from readmodel.errors import AccessRefused, ViewUnavailable
from readmodel.redis.client import translated
from readmodel.redis.moving import MovingServers
from readmodel.redis.servers import open_servers
from readmodel.view.subscription import heard_all
from tests.support.redis_asking import fields
from tests.support.redis_clusters import Node
from tests.support.sentinels import SERVICE, SentinelSet, watched_redis
from tests.support.waiting import eventually

KEY = "readside:{0}:test"
SLOT = 13_907


@pytest.fixture
async def watched() -> AsyncIterator[SentinelSet]:
    """A master, two replicas and three sentinels."""
    async with watched_redis() as made:
        yield made


@pytest.fixture
async def servers(watched: SentinelSet) -> AsyncIterator[MovingServers]:
    """The service as our clients see it."""
    made: Any = open_servers(watched.url(), name="readside-test", timeout_seconds=1.0)
    yield made
    await made.aclose()


async def sent(servers: MovingServers, *command: object) -> Any:
    """Send a command."""
    redis: Any = servers.client(SLOT)
    with translated(redis):
        return await redis.execute_command(*command)


async def written(servers: MovingServers) -> bool:
    """Whether a write goes through."""
    with suppress(ViewUnavailable):
        await sent(servers, "HSET", KEY, "field", "value")
        return True
    return False


async def written_at(servers: MovingServers, watched: SentinelSet) -> bool:
    """Whether a write goes through, to whom the sentinels take to be the master."""
    return await written(servers) and servers.node(SLOT) == (await watched.master()).place


async def connections(node: Node) -> int:
    """How many connections of ours a server has."""
    redis: Any
    async with node.client() as redis:
        return sum(client["name"] == "readside-test" for client in await redis.client_list())


async def test_the_master_is_found_in_its_database(watched: SentinelSet) -> None:
    """As the URL names it; both spellings of the sentinels are one deployment."""
    master = await watched.master()
    first: Any = open_servers(watched.url(watched.sentinels[0], database="/3"), name="readside-test")
    other: Any = open_servers(watched.url(*watched.sentinels[1:], database="/3"), name="readside-test")

    await sent(first, "HSET", KEY, "field", "value")

    assert (first.database, first.node(SLOT)) == (3, master.place)
    assert (await master.info("keyspace"))["db3"].startswith("keys=1,")
    assert await first.identity() == await other.identity()
    await first.aclose()
    await other.aclose()


async def test_a_failover_by_hand(watched: SentinelSet, servers: MovingServers) -> None:
    """Reads alone notice too, though the old master would go on answering them; its connections are closed."""
    await written(servers)
    old = await watched.master()
    new = await watched.fail_over()

    async def read_at_the_new() -> bool:
        with suppress(ViewUnavailable):
            await sent(servers, "HGET", KEY, "field")
        return servers.node(SLOT) == new.place

    await eventually(read_at_the_new, "reads go to the new master")

    assert await written(servers)
    await eventually(partial(left, old), "nothing of ours is left at the old one")


async def left(node: Node) -> bool:
    """Whether no connection of ours is left."""
    return await connections(node) == 0


async def test_a_master_that_becomes_a_replica_without_a_word(watched: SentinelSet, servers: MovingServers) -> None:
    """It keeps its sockets, and answers READONLY to the first write: the sentinels are asked before the next."""
    await written(servers)
    old = await watched.master()
    servers._check_at = float("inf")  # reads alone would have noticed
    await watched.fail_over()
    await eventually(partial(follows, old), "the old master is a replica")

    with pytest.raises(ViewUnavailable, match="READONLY"):
        await sent(servers, "HSET", KEY, "field", "value")

    await eventually(partial(written_at, servers, watched), "the new master is written")


async def follows(node: Node) -> bool:
    """Whether a server is a replica."""
    return not await node.is_master()


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_a_master_that_is_gone(watched: SentinelSet, servers: MovingServers, how: str) -> None:
    """A replica is promoted within seconds, and is written; the old one gets nothing when it comes back."""
    await written(servers)
    old = await watched.master()
    if how == "paused":
        old.pause()
    else:
        await old.server.kill()
    try:
        with pytest.raises(ViewUnavailable, match="does not answer"):
            await sent(servers, "HSET", KEY, "field", "value")
        await watched.promoted(old)
        await eventually(partial(written_at, servers, watched), "the new master is written")
    finally:
        if how == "paused":
            old.resume()
    if how == "killed":
        await old.server.start()
    await eventually(partial(follows, old), "the old one is a replica")

    # On a busy machine the master may have changed once more.
    await eventually(partial(written_at, servers, watched), "the master is written")
    assert servers.node(SLOT) != old.place


async def test_a_sentinel_that_knows_less_is_not_believed(watched: SentinelSet, servers: MovingServers) -> None:
    """One that slept through the failover names the old master when it wakes; the others know of a later election."""
    await written(servers)
    asleep = watched.sentinels[2]
    node = Node(asleep, "127.0.0.1", 0, 0)
    node.pause()
    try:
        new = await watched.fail_over()
        await eventually(partial(written_at, servers, watched), "the new master is written")
    finally:
        node.resume()

    for _ in range(30):
        servers.ask_soon()
        assert await written(servers)
        assert servers.node(SLOT) == new.place


async def test_the_sentinel_that_leads_a_failover_is_not_believed_before_its_end(
    watched: SentinelSet, servers: MovingServers
) -> None:
    """It names the old master, by the new one's epoch, until every replica follows: one cannot."""
    await written(servers)
    old = await watched.master()
    shut_out = next(node for node in watched.servers if node is not old)
    await shut_out.run("CONFIG SET", "masterauth", "wrong", "replica-priority", "0")

    async def seen() -> bool:
        told = map(fields, await watched.ask(watched.sentinels[0], "SENTINEL SLAVES", SERVICE))
        return any(int(each["port"]) == shut_out.server.port and each["slave-priority"] == "0" for each in told)

    await eventually(seen, "it is not promoted")
    new = await watched.fail_over()
    await eventually(partial(written_at, servers, watched), "the new master is written")

    for _ in range(100):
        servers.ask_soon()
        assert await written(servers)
        assert servers.node(SLOT) == new.place


async def test_all_channels_are_heard_at_the_new_master(watched: SentinelSet, servers: MovingServers) -> None:
    """On one connection, as of a single server."""
    channels = {"readside:{0}:changes:0/2": SLOT, "readside:{1}:changes:0/2": 9_842}
    messages = heard_all(servers, channels)
    async with aclosing(messages), asyncio.timeout(30):
        assert {await anext(messages) for _ in channels} == {(channel, None) for channel in channels}
        new = await watched.fail_over()

        assert {await anext(messages) for _ in channels} == {(channel, None) for channel in channels}
        await new.run("PUBLISH", "readside:{1}:changes:0/2", "there")
        assert await anext(messages) == ("readside:{1}:changes:0/2", b"there")


async def test_a_service_that_the_sentinels_do_not_know(watched: SentinelSet) -> None:
    """It is named."""
    made: Any = open_servers(watched.url().replace(f"/{SERVICE}/", "/nobody/"), name="readside-test")

    with pytest.raises(ViewUnavailable, match="the sentinels know no master of nobody that is up"):
        await sent(made, "HGET", KEY, "field")

    await made.aclose()


@pytest.mark.parametrize("query", ["?sentinel_password=hunter2", ""], ids=["a wrong one", "none"])
async def test_sentinels_with_another_password(watched: SentinelSet, query: str) -> None:
    """It is refused by them, and says that it was they, without it."""
    made: Any = open_servers(watched.url().partition("?")[0] + query, name="readside-test")

    with pytest.raises(AccessRefused, match=r"a sentinel says .*; its login is sentinel_username") as caught:
        await sent(made, "PING")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(AccessRefused, match="a sentinel says "):
        await made.identity()
    await made.aclose()


async def test_a_server_by_itself_is_no_sentinel(watched: SentinelSet) -> None:
    """The sentence says how the URL of one Redis begins."""
    server = watched.servers[0].server
    url = f"redis+sentinel://:{server.password}@127.0.0.1:{server.port}/main?sentinel_password={server.password}"
    made: Any = open_servers(url, name="readside-test")

    with pytest.raises(ViewUnavailable, match="as a sentinel is none: begin it with redis://"):
        await sent(made, "PING")
    await made.aclose()
