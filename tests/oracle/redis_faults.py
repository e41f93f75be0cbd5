"""Faults of a Redis that is alone: what it loses when it restarts, and what it refuses when it is full."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from readside.demo.embedded_redis import EmbeddedRedis
from tests.oracle.site import Fault, Site

DUMP, OLD_DUMP = "dump.rdb", "old.rdb"


@dataclass
class RedisFaults:
    """What can be done to the one Redis."""

    site: Site
    server: EmbeddedRedis

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("Redis restart, empty", self.redis_empty, 2),
            Fault("Redis restart, older dump", self.redis_older, 3),
            Fault("Redis full, noeviction", self.fill_redis, 1),
            Fault("Redis full, evicting", self.evict, 2),
        ]

    async def redis_empty(self) -> None:
        """Nothing is left."""
        await self._restart_redis(None)

    async def redis_older(self) -> None:
        """With a dump of an earlier moment; this moment's is kept for the next time."""
        if self.site.edited is not None:  # a dump with an edit in it would bring it back for ever
            await self.redis_empty()
            return
        async with self.site.service.redis_client(0) as redis:
            await redis.save()
        directory = self.server.directory
        shutil.copy(directory / DUMP, directory / "new.rdb")
        if not (directory / OLD_DUMP).exists():
            shutil.copy(directory / DUMP, directory / OLD_DUMP)
            await self.site.pause(3)
        await self._restart_redis(OLD_DUMP)
        shutil.move(directory / "new.rdb", directory / OLD_DUMP)

    async def fill_redis(self) -> None:
        """Writes are refused for a while."""
        await self._squeeze("noeviction", 0.0)

    async def evict(self) -> None:
        """Keys go, any of them."""
        if self.site.edited is not None:  # as above
            await self.redis_empty()
            return
        await self._squeeze("allkeys-random", 0.9)

    async def _restart_redis(self, dump: str | None) -> None:
        server = self.server
        await server.kill()
        (server.directory / DUMP).unlink(missing_ok=True)
        if dump is not None:
            shutil.copy(server.directory / dump, server.directory / DUMP)
        await self.site.pause(1)
        await server.start()
        (server.directory / DUMP).unlink(missing_ok=True)

    async def _squeeze(self, policy: str, share: float) -> None:
        async with self.site.service.redis_client(0) as redis:
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory-policy", policy)
            await redis.config_set("maxmemory", max(1, int(used * share)))
            await self.site.pause(2)
            await redis.config_set("maxmemory", 0)
