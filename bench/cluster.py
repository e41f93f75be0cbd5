"""A Redis Cluster on the loopback: masters alone, which share the slots evenly."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.stack import redis_at, until
from readmodel.slices import SLOTS
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK, free_port


@asynccontextmanager
async def running_cluster(directory: Path, masters: int = 3) -> AsyncIterator[tuple[str, list[EmbeddedRedis]]]:
    """Run a cluster for as long as the block lasts; gives its URL, and the servers."""
    password = secrets.token_urlsafe(24)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(_node(directory / f"node-{n}", password)) for n in range(masters)]
        for number, server in enumerate(servers):
            first, past = (SLOTS * place // masters for place in (number, number + 1))
            await _run(server, "CLUSTER ADDSLOTSRANGE", first, past - 1)
            await _run(server, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        await _meet(servers)
        yield f"redis+cluster://:{password}@{','.join(f'{LOOPBACK}:{server.port}' for server in servers)}", servers


@asynccontextmanager
async def _node(directory: Path, password: str) -> AsyncIterator[EmbeddedRedis]:
    bus = str(free_port())
    server = EmbeddedRedis(directory, options=["--cluster-enabled", "yes", "--cluster-port", bus])
    server.password = password
    async with server:
        yield server


async def _meet(servers: Sequence[EmbeddedRedis]) -> None:
    """Introduce each to each, and wait until all take the cluster to be whole."""
    for server in servers:
        for other in servers:
            if other is not server:
                bus = int((await _run(other, "CONFIG GET", "cluster-port"))["cluster-port"])
                await _run(server, "CLUSTER MEET", LOOPBACK, other.port, bus)

    async def whole() -> bool:
        told = [await _run(server, "CLUSTER INFO") for server in servers]
        return all(one["cluster_state"] == "ok" and int(one["cluster_known_nodes"]) == len(servers) for one in told)

    await until(whole, "the cluster is whole")


async def _run(server: EmbeddedRedis, *command: object) -> Any:
    async with redis_at(server.url()) as redis:
        asked: Any = redis
        return await asked.execute_command(*command)
