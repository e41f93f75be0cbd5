"""A Redis Cluster on the loopback: masters that share the slots evenly, alone or with a replica each."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from bench.stack import redis_at, until
from readmodel.view.slices import SLOTS
from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK, free_port

NODE_TIMEOUT_MS = 1_500
"""So long a master is silent before the others call it failed."""


@asynccontextmanager
async def running_cluster(
    directory: Path, masters: int = 3, *, replicas: bool = False
) -> AsyncIterator[tuple[str, list[EmbeddedRedis]]]:
    """Run a cluster for as long as the block lasts; gives its URL and the servers, first the masters."""
    password, count = secrets.token_urlsafe(24), masters * (2 if replicas else 1)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(_node(directory / f"node-{n}", password)) for n in range(count)]
        for number, server in enumerate(servers):
            await run(server, "CLUSTER SET-CONFIG-EPOCH", number + 1)
            if number < masters:
                first, past = (SLOTS * place // masters for place in (number, number + 1))
                await run(server, "CLUSTER ADDSLOTSRANGE", first, past - 1)
        await _meet(servers)
        for number, server in enumerate(servers[masters:]):
            await run(server, "CLUSTER REPLICATE", await run(servers[number], "CLUSTER MYID"))
        await whole(servers)
        yield f"redis+cluster://:{password}@{','.join(f'{LOOPBACK}:{server.port}' for server in servers)}", servers


@asynccontextmanager
async def _node(directory: Path, password: str) -> AsyncIterator[EmbeddedRedis]:
    bus = str(free_port())
    options = [
        *("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", str(NODE_TIMEOUT_MS)),
        *("--cluster-require-full-coverage", "no"),  # else one that is killed stops them all, as operate/redis.md says
        *("--masterauth", password, "--repl-diskless-sync-delay", "0"),
    ]
    server = EmbeddedRedis(directory, options=options)
    server.password = password
    async with server:
        yield server


async def _meet(servers: Sequence[EmbeddedRedis]) -> None:
    """Introduce each to each."""
    for server in servers:
        for other in servers:
            if other is not server:
                bus = int((await run(other, "CONFIG GET", "cluster-port"))["cluster-port"])
                await run(server, "CLUSTER MEET", LOOPBACK, other.port, bus)
    await whole(servers)


async def whole(servers: Sequence[EmbeddedRedis]) -> None:
    """Return when all servers take the cluster to be whole, and replicas follow their masters."""

    async def is_whole() -> bool:
        with suppress(RedisError):  # one that loads what its master holds refuses to answer
            return all([await _sees_all(server, len(servers)) for server in servers])
        return False

    await until(is_whole, "the cluster is whole")


async def _sees_all(server: EmbeddedRedis, count: int) -> bool:
    told = await run(server, "CLUSTER INFO")
    followed = await run(server, "INFO", "replication")
    is_whole = told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) == count
    return is_whole and followed.get("master_link_status", "up") == "up"


async def run(server: EmbeddedRedis, *command: object) -> Any:
    """Send a server one command."""
    async with redis_at(server.url()) as redis:
        asked: Any = redis
        return await asked.execute_command(*command)
