"""Faults of what Redis holds: what it loses, forgets or is told by others, in any slice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from readmodel.view.keys import Keys
from readmodel.view.slices import slot_of
from tests.oracle.histories import Edit
from tests.oracle.site import Fault, Site
from tests.oracle.writers import now_us
from tests.support.damage import WRONG_TYPES, make

LOOK_SECONDS = 0.05
EDIT = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('ZADD', KEYS[1], score, ARGV[2])
end
"""


@dataclass
class DataFaults:
    """What can be done to what Redis holds."""

    site: Site

    def all(self) -> list[Fault]:
        """Each of them."""
        faults = [
            Fault("FLUSHALL", self.flush, 2),
            Fault("key deleted", self.delete_key, 6),
            Fault("key of a wrong type", self.mistype_key, 4),
            Fault("position deleted", self.delete_position, 2),
            Fault("hot index deleted", self.delete_index, 1),
            Fault("subscriptions killed", self.kill_subscriptions, 3),
            Fault("Redis connections killed", self.kill_clients, 1),
        ]
        if self.site.service.installation.has_one_redis:  # a copy would bring an edit back
            faults.append(Fault("member edited", self.edit_member, 4))
        return faults

    async def flush(self) -> None:
        """All of a Redis at once."""
        async with self._slice() as (redis, _):
            await redis.flushall()

    async def delete_key(self) -> None:
        """Any key of ours."""
        async with self._slice() as (redis, _):
            keys = await self._keys(redis, "readside:*")
            if keys:
                await redis.delete(self.site.random.choice(keys))

    async def mistype_key(self) -> None:
        """Any key of a session is something else of a sudden."""
        async with self._slice() as (redis, _):
            keys = await self._keys(redis, "readside:[{]*[}]:[seil]:*")
            if keys:
                await make(redis, self.site.random.choice(keys), self.site.random.choice(WRONG_TYPES))

    async def edit_member(self) -> None:
        """An event is served with other content, which nothing contradicts, until it is compared with Postgres."""
        if self.site.edited is not None:
            return
        async with self._slice() as (redis, _):
            keys = await self._keys(redis, "readside:[{]*[}]:e:*", "zset")
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
            self.site.edited = edit, key, member

    async def watch_edit(self) -> None:
        """See edits mended, for ever: what is served as of a later instant must be right."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RedisError):
                await self._look_at_edit()

    async def _keys(self, redis: Redis, pattern: str, kind: str | None = None) -> list[str]:
        """Keys by a pattern, without those of an edited session: memory would keep the edit after they are gone."""
        edited = self.site.edited[0].session_id if self.site.edited else None
        found = [key.decode() async for key in redis.scan_iter(pattern, count=1000, _type=kind)]
        return sorted(key for key in found if edited is None or not key.endswith(edited))

    async def _look_at_edit(self) -> None:
        if self.site.edited is None:
            return
        edit, key, member = self.site.edited
        async with self._slice() as (redis, _):
            if await redis.type(key) != b"zset" or await redis.zscore(key, member) is None:
                edit.over, self.site.edited = now_us(), None
                self.site.report.mended(edit.over - edit.began)

    async def delete_position(self) -> None:
        """The one key that holds a slice's term, number and as-of."""
        async with self._slice() as (redis, keys):
            await redis.delete(keys.position)

    async def delete_index(self) -> None:
        """The list of a slice's hot sessions."""
        async with self._slice() as (redis, keys):
            await redis.delete(keys.hot)

    async def kill_subscriptions(self) -> None:
        """redis-py subscribes again without a word."""
        async with self._slice() as (redis, _):
            await redis.client_kill_filter(_type="pubsub")

    async def kill_clients(self) -> None:
        """Every other connection of everybody."""
        async with self._slice() as (redis, _):
            await redis.client_kill_filter(_type="normal", skipme=True)

    @asynccontextmanager
    async def _slice(self) -> AsyncIterator[tuple[Redis, Keys]]:
        """A random slice: a client of the Redis that has it, and its keys."""
        keys = self.site.random.choice(self.site.service.installation.view.keys)
        async with self.site.service.redis_client(slot_of(keys.tag)) as redis:
            yield redis, keys
