"""The cluster as docker-compose.yml sets it up: its script makes one of six nodes, whose users suffice."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, NoPermissionError

from readside.demo.processes import LOOPBACK
from tests.support.servers import embedded_redis, server_directory
from tests.support.waiting import eventually

DEVELOPMENT = Path(__file__).parents[2] / "deploy" / "development"
MISSING = "The cluster is made by redis-cli: `make install-tools` (Debian: apt-get install redis-tools)."


def options(directory: Path) -> list[str]:
    """The nodes' own configuration as a command line, with what differs on one machine."""
    lines = (DEVELOPMENT / "redis-cluster.conf").read_text().splitlines()
    given = [line.split(" ", 1) for line in lines if line and not line.startswith(("#", "aclfile"))]
    words = [word for name, value in given for word in (f"--{name}", value.strip('"'))]
    return [*words, "--aclfile", str(DEVELOPMENT / "redis-cluster-users.acl"), "--dir", str(directory)]


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[int]]:
    """The ports of nodes that know nothing of one another."""
    async with AsyncExitStack() as stack:
        directories = [stack.enter_context(server_directory()) for _ in range(count)]
        servers = [embedded_redis(directory, *options(directory)) for directory in directories]
        await asyncio.gather(*(stack.enter_async_context(server) for server in servers))
        yield [server.port for server in servers]


def create(ports: list[int]) -> str:
    """Run the script of the compose file."""
    if shutil.which("redis-cli") is None:
        pytest.fail(MISSING, pytrace=False)
    script = ["sh", str(DEVELOPMENT / "create-cluster.sh"), *(f"{LOOPBACK}:{port}" for port in ports)]
    ended = subprocess.run(script, capture_output=True, check=False, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def connected(port: int, user: str) -> Redis:
    """A client of one node, as one of the development's users."""
    return Redis(host=LOOPBACK, port=port, username=f"readside-{user}", password=f"development-{user}")


async def test_the_script_makes_a_cluster_whose_replicas_follow_their_masters() -> None:
    """Three of each; a second run finds it, and does nothing."""

    async def follows(admin: Redis) -> bool:
        told = await admin.info("replication")
        return bool(told["role"] == "master" or told["master_link_status"] == "up")

    roles = []
    async with nodes(6) as ports:
        assert "16384 slots covered" in await asyncio.to_thread(create, ports)
        assert await asyncio.to_thread(create, ports) == ""
        for port in ports:
            async with connected(port, "admin") as admin:
                await eventually(partial(follows, admin), f"the node on port {port} follows its master")
                roles.append((await admin.info("replication"))["role"])

    assert sorted(roles) == ["master"] * 3 + ["slave"] * 3


async def test_a_master_that_fails_takes_no_other_slots_with_it() -> None:
    """Redis' own default has all nodes refuse every command."""
    admin: Any
    async with nodes(1) as (port,), connected(port, "admin") as admin:
        await admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8_191)

        async def serves() -> bool:
            return bool((await admin.execute_command("CLUSTER INFO"))["cluster_state"] == "ok")

        await eventually(serves, "it serves the slots that it has")


async def test_a_slices_keys_are_the_projectors_alone_to_write() -> None:
    """Under any hash tag; keys of others are nobody's."""
    async with nodes(1) as (port,), connected(port, "projector") as projector, connected(port, "api") as api:
        with pytest.raises(ClusterDownError):  # allowed; the node has no slots yet
            await projector.hset("readside:{17}:position", "term", "1")
        for client, key in ((projector, "others:{17}:position"), (api, "readside:{17}:position")):
            with pytest.raises(NoPermissionError):
                await client.hset(key, "term", "1")
