"""Where the keys of a view are: one Redis, or several that share the hash slots."""

from __future__ import annotations

from typing import Protocol

from redis.asyncio import Redis

from readmodel.redis_client import connect, target


class RedisServers(Protocol):
    """The Redis servers behind one URL."""

    @property
    def name(self) -> str:
        """Name them for people, without secrets."""

    @property
    def database(self) -> int:
        """The numbered database that our keys are in."""

    @property
    def sharded(self) -> bool:
        """Whether channels are those of a Redis Cluster's shards."""

    def client(self, slot: int) -> Redis:
        """Give a client of the server that has a hash slot, whichever that is when a command is sent."""

    def node(self, slot: int) -> str:
        """Name the server that a slot is taken to be on now: slots on the same one may share a round trip."""

    async def aclose(self) -> None:
        """Close all connections."""


class OneServer:
    """A single Redis, which holds every key."""

    sharded = False

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.name = target(redis)
        self.database = int(redis.connection_pool.connection_kwargs.get("db") or 0)

    def client(self, slot: int) -> Redis:  # noqa: ARG002 (it has them all)
        """Give the client."""
        return self._redis

    def node(self, slot: int) -> str:  # noqa: ARG002 (it has them all)
        """Name the server."""
        return self.name

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


def open_servers(url: str, *, name: str, timeout_seconds: float = 2.0, max_connections: int = 64) -> RedisServers:
    """Make clients of bounded pools for READSIDE_REDIS_URL; nothing is sent before their first command.

    `name` is the connections' CLIENT SETNAME. Raises ConfigurationError when the URL cannot be read.
    """
    return OneServer(connect(url, name=name, timeout_seconds=timeout_seconds, max_connections=max_connections))
