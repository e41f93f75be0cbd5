"""A view of several slices that share two Redis servers, so that one half of them can be away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from readmodel.redis_client import connect, target
from readmodel.slices import SLOTS
from readmodel.whole_view import WholeView


class TwoServers:
    """The lower half of the hash slots is on one Redis, the upper half on another."""

    sharded = False
    database = 0

    def __init__(self, *urls: str, name: str) -> None:
        self._clients = [connect(url, name=name) for url in urls]
        self.name = " and ".join(map(target, self._clients))

    def client(self, slot: int) -> Redis:
        """Give the client of a slot's server."""
        return self._clients[slot * len(self._clients) // SLOTS]

    def node(self, slot: int) -> str:
        """Name a slot's server."""
        return target(self.client(slot))

    async def settle(self, slot: int) -> None:
        """Nothing moves."""

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Nothing moves."""

    async def identity(self) -> str:
        """Give the name."""
        return self.name

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def sliced(*urls: str, slices: int, prefix: str = "readside") -> AsyncIterator[WholeView]:
    """A view over servers, closed in the end."""
    servers = TwoServers(*urls, name="test")
    try:
        yield WholeView(servers, prefix, slices)
    finally:
        await servers.aclose()
