"""Several Redis servers that share the hash slots, each a client of its own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from readmodel.redis.client import connect
from readmodel.view.slices import SLOTS
from readmodel.view.whole import WholeView


class SeveralServers:
    """Servers that share the slots evenly, named `server 0` and on; `moved` says where the slots of one are now."""

    name, database, sharded = "several", 0, False

    def __init__(self, clients: Sequence[Redis]) -> None:
        self.clients = clients
        self.moved: dict[int, int] = {}

    def client(self, slot: int) -> Redis:
        """The client of a slot's first server."""
        return self.clients[self.place(slot)]

    def node(self, slot: int) -> str:
        """Name a slot's server."""
        first = self.place(slot)
        return f"server {self.moved.get(first, first)}"

    async def settle(self, slot: int) -> None:
        """Nothing moves by itself."""

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Nothing moves by itself."""

    async def identity(self) -> str:
        """Name them."""
        return self.name

    async def aclose(self) -> None:
        """Close all."""
        for client in self.clients:
            await client.aclose()

    def place(self, slot: int) -> int:
        """Which server a slot was on first."""
        return slot * len(self.clients) // SLOTS


def servers_at(*urls: str, name: str = "test") -> SeveralServers:
    """Those at these URLs; `name` is what our connections call themselves."""
    return SeveralServers([connect(url, name=name) for url in urls])


@asynccontextmanager
async def sliced(*urls: str, slices: int, prefix: str = "readside") -> AsyncIterator[WholeView]:
    """A view over servers, closed in the end."""
    servers = servers_at(*urls)
    try:
        yield WholeView(servers, prefix, slices)
    finally:
        await servers.aclose()
