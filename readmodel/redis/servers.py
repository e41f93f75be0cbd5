"""Where the keys of a view are: one Redis, or several that share the hash slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

from readmodel.errors import ConfigurationError
from readmodel.redis.client import connect, open_pool, target
from readmodel.redis.cluster import ClusterServers
from readmodel.redis.moving import MovingServers
from readmodel.redis.overrides import NodePool, OwnClient, OwnPool
from readmodel.redis.sentinel import SentinelServers
from readmodel.redis.url import Address, RedisUrl, several

SENTINEL_SECONDS = 0.5
"""A sentinel that takes so long is done without: it has nothing to look up."""


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
        """A client of the server that has a hash slot, whichever that is when a command is sent."""

    def node(self, slot: int) -> str:
        """Name the server that a slot is taken to be on now: slots on the same one may share a round trip."""

    async def settle(self, slot: int) -> None:
        """Ask anew where a slot is, if that is in doubt; raises what redis-py does where nobody could ever be asked."""

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Note that a slot may have moved, as this error says."""

    async def identity(self) -> str:
        """Name the deployment's Redis for the lead's lock: the same name from whoever is connected to the same one."""

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
        """The client of the one server."""
        return self._redis

    def node(self, slot: int) -> str:  # noqa: ARG002 (it has them all)
        """Name the server."""
        return self.name

    async def settle(self, slot: int) -> None:
        """Nothing moves."""

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Nothing moves."""

    async def identity(self) -> str:
        """Its name: two spellings of one server are two deployments."""
        return self.name

    async def aclose(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


def open_servers(url: str, *, name: str, timeout_seconds: float = 2.0, max_connections: int = 64) -> RedisServers:
    """Make clients of bounded pools for READSIDE_REDIS_URL; nothing is sent before their first command.

    `name` is the connections' CLIENT SETNAME. Raises ConfigurationError when the URL cannot be read.
    """
    try:
        found = several(url)
    except ValueError as exc:
        raise ConfigurationError(f"READSIDE_REDIS_URL cannot be read: {exc}.") from exc

    if found is None:
        return OneServer(connect(url, name=name, timeout_seconds=timeout_seconds, max_connections=max_connections))
    named = found

    def open_node(address: Address) -> NodePool:
        return open_pool(
            NodePool, named.of(address), name=name, timeout_seconds=timeout_seconds, max_connections=max_connections
        )

    open_node(named.nodes[0])  # options that there are not are refused here
    if named.kind == "cluster":
        return ClusterServers(named, open_node)
    return SentinelServers(named, open_node, _sentinels(named, name))


async def masters_of(servers: RedisServers) -> Sequence[Redis]:
    """A client of each server that holds keys; raises ViewUnavailable, AccessRefused."""
    return await servers.masters() if isinstance(servers, MovingServers) else [servers.client(0)]


def _sentinels(url: RedisUrl, name: str) -> Sentinel:
    """Make redis-py's Sentinel, with clients of ours: they log in with the URL's sentinel_username and _password."""
    sentinels: Sentinel = Sentinel(())  # type: ignore[no-untyped-call]
    login = "".join(
        (
            quote(url.sentinel_login.get("username", ""), safe=""),
            ":",
            quote(url.sentinel_login["password"], safe=""),
            "@",
        )
        if "password" in url.sentinel_login
        else ()
    )
    asked = replace(url, login=login, database=0)
    sentinels.sentinels = [
        OwnClient.from_pool(
            open_pool(OwnPool, asked.of(node), name=name, timeout_seconds=SENTINEL_SECONDS, max_connections=4)
        )
        for node in url.nodes
    ]
    return sentinels
