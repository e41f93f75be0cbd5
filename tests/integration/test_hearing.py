"""Hearing many channels: of one server, on one connection."""

import asyncio
from contextlib import aclosing

from redis.asyncio import Redis

from readmodel.redis.servers import open_servers
from readmodel.view.subscription import heard_all

CHANNELS = {"readside:{0}:changes:0": 13_907, "readside:{7}:changes:0": 6_833}


async def test_one_server_is_heard_on_one_connection(redis_url: str) -> None:
    """Each channel says that it is heard, then what it is told."""
    servers = open_servers(redis_url, name="readside-test")
    async with aclosing(heard_all(servers, CHANNELS)) as messages, Redis.from_url(redis_url) as other:
        assert {await anext(messages) for _ in CHANNELS} == {(channel, None) for channel in CHANNELS}
        for number, channel in enumerate(CHANNELS):
            await other.publish(channel, str(number))
            assert await anext(messages) == (channel, str(number).encode())

        clients = await other.client_list(_type="pubsub")

        assert [client["sub"] for client in clients] == ["2"]
    await servers.aclose()


async def test_a_lost_connection_is_told_and_all_are_heard_anew(redis_url: str) -> None:
    """Whoever hears knows that messages may be missing."""
    lost: list[set[str]] = []
    servers = open_servers(redis_url, name="readside-test")
    hearing = heard_all(servers, CHANNELS, lambda channels, _error: lost.append(set(channels)))
    async with aclosing(hearing) as messages, Redis.from_url(redis_url) as other, asyncio.timeout(20):
        assert {await anext(messages) for _ in CHANNELS} == {(channel, None) for channel in CHANNELS}

        await other.client_kill_filter(_type="pubsub")

        assert {await anext(messages) for _ in CHANNELS} == {(channel, None) for channel in CHANNELS}
        assert lost == [set(CHANNELS)]
    await servers.aclose()
