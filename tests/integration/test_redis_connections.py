"""A connection that a pool lends can be used, and its next reply belongs to the next command."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import MaxConnectionsError, ResponseError

from readmodel.redis.client import connect
from readside.demo.embedded_redis import EmbeddedRedis
from tests.support.waiting import eventually


@pytest.fixture
async def client(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client as all of ours are."""
    made = connect(redis_server.url(), name="test", timeout_seconds=2.0)
    yield made
    await made.aclose()


async def test_a_reply_that_nobody_read_answers_no_other_command(client: Any) -> None:
    """Looked for before it is lent: redis-py alone would not, as it is set up by default."""
    pool: Any = client.connection_pool
    connection = await pool.get_connection()
    await connection.send_command("ECHO", "of the one before")
    await eventually(connection.can_read, "the reply lies there")
    await pool.release(connection)

    assert await client.execute_command("ECHO", "mine") == b"mine"


async def test_connections_that_the_server_closed_fail_no_command(client: Any, redis_server: EmbeddedRedis) -> None:
    """Each of eight would have failed one, and polls would have gone to Postgres."""
    await asyncio.gather(*(client.ping() for _ in range(8)))
    other: Any = connect(redis_server.url(), name="other")
    await other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await other.aclose()

    for _ in range(12):
        await client.ping()


@pytest.mark.parametrize("turns", range(12))
async def test_a_command_cancelled_at_any_turn_leaves_no_reply_behind(client: Any, turns: int) -> None:
    """The first connects as well; the second finds a connection that works."""
    for _ in range(2):
        task = asyncio.ensure_future(client.execute_command("ECHO", "cancelled"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await client.execute_command("ECHO", "mine") == b"mine"


async def test_a_refusal_keeps_the_connection(client: Any) -> None:
    """Its reply was read whole."""
    await client.ping()
    with pytest.raises(ResponseError):
        await client.execute_command("HGET", "one word too few")
    assert await client.execute_command("CLIENT", "ID") == await client.execute_command("CLIENT", "ID")


async def test_who_finds_all_connections_lent_waits_for_one(redis_server: EmbeddedRedis) -> None:
    """More slices than connections begin at one moment."""
    client: Any = connect(redis_server.url(), name="test", max_connections=2)
    try:
        said = await asyncio.gather(*(client.execute_command("ECHO", str(number)) for number in range(20)))
    finally:
        await client.aclose()

    assert said == [str(number).encode() for number in range(20)]


async def test_nobody_waits_longer_for_a_connection_than_for_a_reply(redis_server: EmbeddedRedis) -> None:
    """Who holds it may never give it back; and who waited in vain took nobody's place."""
    client: Any = connect(redis_server.url(), name="test", timeout_seconds=1.0, max_connections=1)
    try:
        held = await client.connection_pool.get_connection()
        with pytest.raises(MaxConnectionsError):
            await client.ping()
        await client.connection_pool.release(held)

        assert await client.ping()
    finally:
        await client.aclose()
