"""A master, its replicas and their sentinels for tests, on the loopback, and what may happen to them."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from readside.demo.embedded_redis import EmbeddedRedis
from readside.demo.processes import LOOPBACK
from tests.support.redis_asking import asked, fields
from tests.support.redis_clusters import Node
from tests.support.servers import embedded_redis, program_from_environment, server_directory
from tests.support.waiting import eventually

SERVICE = "readside"
DOWN_AFTER_MS = 500
PERIODS = ("INFO-PERIOD", 300, "PUBLISH-PERIOD", 250)
"""So often, ms, a sentinel asks the servers how they are, and tells of itself: by default every 10 s and 2 s.

After four times the latter a master that comes back is made a replica.
"""
QUORUM = 2


class EmbeddedSentinel(EmbeddedRedis):
    """One sentinel; what it has learnt stays in its file."""

    name = "Sentinel"

    def __init__(self, directory: Path, master: EmbeddedRedis, password: str) -> None:
        program = program_from_environment("READSIDE_TEST_REDIS_SERVER")
        super().__init__(directory, options=["--sentinel"], program=program)
        self.password = password
        self._master = master

    async def _prepare(self) -> None:
        if self._configuration.exists():
            return
        self._configuration.touch(mode=0o600)
        lines = [
            f"bind {LOOPBACK}",
            f"requirepass {self.password}",
            f"sentinel sentinel-pass {self.password}",
            f"sentinel monitor {SERVICE} {LOOPBACK} {self._master.port} {QUORUM}",
            f"sentinel auth-pass {SERVICE} {self._master.password}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]
        self._configuration.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def _ready(self, log: str) -> bool:
        return "Sentinel ID is" in log


@dataclass(eq=False)
class SentinelSet:
    """The servers, and the sentinels that watch them."""

    servers: list[Node] = field(default_factory=list)
    sentinels: list[EmbeddedSentinel] = field(default_factory=list)

    def url(self, *sentinels: EmbeddedSentinel, database: str = "/0", login: str = "") -> str:
        """The URL that names these sentinels, or all."""
        places = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in sentinels or self.sentinels)
        password, theirs = self.servers[0].server.password, self.sentinels[0].password
        login = login or f":{password}"
        return f"redis+sentinel://{login}@{places}/{SERVICE}{database}?sentinel_password={theirs}"

    async def master(self) -> Node:
        """Whom the sentinels take to be the master."""
        for sentinel in self.sentinels:
            with suppress(RedisError):
                _, port = await self.ask(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
                return next(node for node in self.servers if node.server.port == int(port))
        raise AssertionError("no sentinel answers")

    async def ask(self, sentinel: EmbeddedSentinel, *command: object) -> Any:
        """Send a sentinel one command; its reply, strings as bytes."""
        words = [*str(command[0]).split(), *command[1:]]
        (reply,) = await asked(LOOPBACK, sentinel.port, sentinel.password, words)
        return reply

    async def fail_over(self) -> Node:
        """Have the sentinels promote a replica; gives the new master."""
        old = await self.master()
        await self.ask(self.sentinels[0], "SENTINEL FAILOVER", SERVICE)
        await self.promoted(old)
        return await self.master()

    async def promoted(self, old: Node) -> None:
        """Wait until the sentinels have promoted another."""
        await eventually(partial(self._is_another, old), "another master is promoted")

    async def _is_another(self, old: Node) -> bool:
        master = await self.master()
        return master is not old and await master.is_master()

    async def _know_each_other(self) -> bool:
        for sentinel in self.sentinels:
            told = fields(await self.ask(sentinel, "SENTINEL MASTER", SERVICE))
            known = int(told["num-slaves"]), int(told["num-other-sentinels"])
            if known != (len(self.servers) - 1, len(self.sentinels) - 1) or "master" not in told["flags"]:
                return False
        return True


@asynccontextmanager
async def watched_redis(replicas: int = 2, sentinels: int = 3) -> AsyncIterator[SentinelSet]:
    """All of them for as long as the block lasts."""
    with server_directory() as directory:
        watched, password = SentinelSet(), secrets.token_hex(12)
        try:
            for number in range(1 + replicas):
                options = ["--masterauth", password, "--repl-diskless-sync-delay", "0"]
                server = embedded_redis(directory / f"server-{number}", *options)
                server.password = password
                await server.start()
                watched.servers.append(Node(server, LOOPBACK, 0, 0))
            # By order, not by an option: once promoted it comes back as a master, as its rewritten file would have it.
            for replica in watched.servers[1:]:
                await replica.run("REPLICAOF", LOOPBACK, watched.servers[0].server.port)
            theirs = secrets.token_hex(12)
            for number in range(sentinels):
                sentinel = EmbeddedSentinel(directory / f"sentinel-{number}", watched.servers[0].server, theirs)
                watched.sentinels.append(sentinel)
                await sentinel.start()
                await watched.ask(sentinel, "SENTINEL DEBUG", *PERIODS)
            await eventually(watched._know_each_other, "the sentinels know each other and the replicas")
            yield watched
        finally:
            for server in (*watched.sentinels, *(node.server for node in watched.servers)):
                await server.kill()
