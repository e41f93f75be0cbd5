"""Faults of Redis: what it loses, refuses, forgets or is told by others."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from readmodel.keys import Keys
from tests.oracle.histories import Edit
from tests.oracle.site import Fault, Site
from tests.oracle.writers import now_us
from tests.support.damage import WRONG_TYPES, make

DUMP, OLD_DUMP = "dump.rdb", "old.rdb"
LOOK_SECONDS = 0.05
EDIT = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('ZADD', KEYS[1], score, ARGV[2])
end
"""


@dataclass
class RedisFaults:
    """What can be done to Redis."""

    site: Site
    keys: Keys = field(default_factory=lambda: Keys("readside"))
    edited: tuple[Edit, str, bytes] | None = None
    """An edit that is not mended yet: the key, and the member that is in it."""

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("FLUSHALL", self.flush, 2),
            Fault("key deleted", self.delete_key, 6),
            Fault("key of a wrong type", self.mistype_key, 4),
            Fault("member edited", self.edit_member, 4),
            Fault("position deleted", self.delete_position, 2),
            Fault("hot index deleted", self.delete_index, 1),
            Fault("Redis restart, empty", self.redis_empty, 2),
            Fault("Redis restart, older dump", self.redis_older, 3),
            Fault("subscriptions killed", self.kill_subscriptions, 3),
            Fault("Redis connections killed", self.kill_clients, 1),
            Fault("Redis full, noeviction", self.fill_redis, 1),
            Fault("Redis full, evicting", self.evict, 2),
        ]

    async def flush(self) -> None:
        """All of Redis at once."""
        async with self.site.service.redis_client() as redis:
            await redis.flushall()

    async def delete_key(self) -> None:
        """Any key of ours."""
        async with self.site.service.redis_client() as redis:
            keys = await self._keys(redis, "readside:*")
            if keys:
                await redis.delete(self.site.random.choice(keys))

    async def mistype_key(self) -> None:
        """Any key of a session is something else of a sudden."""
        async with self.site.service.redis_client() as redis:
            keys = await self._keys(redis, f"{glob(self.keys.base)}[sei]:*")
            if keys:
                await make(redis, self.site.random.choice(keys), self.site.random.choice(WRONG_TYPES))

    async def edit_member(self) -> None:
        """An event is served with other content, which nothing contradicts, until it is compared with Postgres."""
        if self.edited is not None:
            return
        async with self.site.service.redis_client() as redis:
            keys = await self._keys(redis, glob(self.keys.events("*")), "zset")
            if not keys:
                return
            key = self.site.random.choice(keys)
            known: Any = await redis.zrandmember(key)
            if not known:
                return
            member: bytes = known.replace(b'"message":', b'"message":"edited","message_was":')
            edit = Edit(key.rpartition(":")[2], now_us())
            self.site.ledger.edits.append(edit)
            await redis.eval(EDIT, 1, key, known, member)
            self.edited = edit, key, member

    async def watch_edit(self) -> None:
        """See edits mended, for ever: what is served as of a later instant must be right."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RedisError):
                await self._look_at_edit()

    async def _keys(self, redis: Redis, pattern: str, kind: str | None = None) -> list[str]:
        """Keys by a pattern, without those of an edited session: memory would keep the edit after they are gone."""
        edited = self.edited[0].session_id if self.edited else None
        found = [key.decode() async for key in redis.scan_iter(pattern, count=1000, _type=kind)]
        return sorted(key for key in found if edited is None or not key.endswith(edited))

    async def _look_at_edit(self) -> None:
        if self.edited is None:
            return
        edit, key, member = self.edited
        async with self.site.service.redis_client() as redis:
            if await redis.type(key) != b"zset" or await redis.zscore(key, member) is None:
                edit.over, self.edited = now_us(), None
                self.site.report.mended(edit.over - edit.began)

    async def delete_position(self) -> None:
        """The one key that holds term, number and as-of."""
        async with self.site.service.redis_client() as redis:
            await redis.delete(self.keys.position)

    async def delete_index(self) -> None:
        """The list of hot sessions."""
        async with self.site.service.redis_client() as redis:
            await redis.delete(self.keys.hot)

    async def redis_empty(self) -> None:
        """Nothing is left."""
        await self._restart_redis(None)

    async def redis_older(self) -> None:
        """With a dump of an earlier moment; this moment's is kept for the next time."""
        if self.edited is not None:  # a dump with an edit in it would bring it back for ever
            await self.redis_empty()
            return
        async with self.site.service.redis_client() as redis:
            await redis.save()
        directory = self.site.service.redis.directory
        shutil.copy(directory / DUMP, directory / "new.rdb")
        if not (directory / OLD_DUMP).exists():
            shutil.copy(directory / DUMP, directory / OLD_DUMP)
            await self.site.pause(3)
        await self._restart_redis(OLD_DUMP)
        shutil.move(directory / "new.rdb", directory / OLD_DUMP)

    async def kill_subscriptions(self) -> None:
        """redis-py subscribes again without a word."""
        async with self.site.service.redis_client() as redis:
            await redis.client_kill_filter(_type="pubsub")

    async def kill_clients(self) -> None:
        """Every other connection of everybody."""
        async with self.site.service.redis_client() as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)

    async def fill_redis(self) -> None:
        """Writes are refused for a while."""
        await self._squeeze("noeviction", 0.0)

    async def evict(self) -> None:
        """Keys go, any of them."""
        if self.edited is not None:  # as above
            await self.flush()
            return
        await self._squeeze("allkeys-random", 0.9)

    async def _restart_redis(self, dump: str | None) -> None:
        server = self.site.service.redis
        await server.kill()
        (server.directory / DUMP).unlink(missing_ok=True)
        if dump is not None:
            shutil.copy(server.directory / dump, server.directory / DUMP)
        await self.site.pause(1)
        await server.start()
        (server.directory / DUMP).unlink(missing_ok=True)

    async def _squeeze(self, policy: str, share: float) -> None:
        async with self.site.service.redis_client() as redis:
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory-policy", policy)
            await redis.config_set("maxmemory", max(1, int(used * share)))
            await self.site.pause(2)
            await redis.config_set("maxmemory", 0)


def glob(text: str) -> str:
    """A pattern for SCAN that means this very text, but for stars."""
    return text.replace("{", "[{]").replace("}", "[}]")
