"""What can be wrong with a session's keys in Redis, each by its name."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from readmodel.view.keys import Keys
from readmodel.view.type_index import ENTRY_BYTES

Damage = Callable[[Redis, Keys, str], Awaitable[object]]
WRONG_TYPES = ("string", "list", "hash", "zset", "set", "stream")


async def make(client: Redis, key: str, kind: str) -> None:
    """Put something of this type in the place of a key, at once: a projector may be writing it."""
    redis: Any
    async with client.pipeline(transaction=True) as redis:
        redis.delete(key)
        match kind:
            case "string":
                redis.set(key, "x")
            case "list":
                redis.rpush(key, "x")
            case "hash":
                redis.hset(key, "x", "y")
            case "zset":
                redis.zadd(key, {"x": 1})
            case "set":
                redis.sadd(key, "x")
            case "stream":
                redis.xadd(key, {"x": "y"})
        await redis.execute()


def _of_type(key: str, kind: str) -> Damage:
    async def damage(redis: Redis, keys: Keys, session_id: str) -> None:
        await make(redis, getattr(keys, key)(session_id), kind)

    return damage


def _field(key: str, name: str, value: str | bytes | None) -> Damage:
    async def damage(client: Redis, keys: Keys, session_id: str) -> None:
        redis: Any = client
        where = getattr(keys, key)(session_id)
        await (redis.hdel(where, name) if value is None else redis.hset(where, name, value))

    return damage


async def _member_added(redis: Redis, keys: Keys, session_id: str) -> None:
    await redis.zadd(keys.events(session_id), {"no event": 5})


async def _member_gone(redis: Redis, keys: Keys, session_id: str) -> None:
    await redis.zpopmin(keys.events(session_id))


NO_NUMBERS = (None, "", "x", "1.5", "1e3", "nan", "0x10", " 5")
OF_TYPE = {f"{key} is a {kind}": _of_type(key, kind) for key in ("header", "events", "index") for kind in WRONG_TYPES}
NUMBERS = {
    f"{name} is {value!r}": _field("header", name, value)
    for name in ("count", "held", "newest")
    for value in (*NO_NUMBERS, *(("-1", "3", "99999999999999999999999") if name != "newest" else ()))
}
UNSERVED_NUMBERS = {
    f"{name} is {value!r}": _field("header", name, value) for name in ("bytes", "hi", "lo") for value in NO_NUMBERS
}
"""Fields that are no part of an answer."""
HEADERS = {
    "status is gone": _field("header", "status", None),
    "term is another": _field("header", "term", "x"),
    "term is gone": _field("header", "term", None),
    "version is another": _field("header", "version", "0"),
    "version is gone": _field("header", "version", None),
    "floor in a session that is all there": _field("header", "floor", "5"),
    "floor is no number": _field("header", "floor", "x"),
    "the index's size is gone": _field("index", "#", None),
    "the index's size is no number": _field("index", "#", "x"),
    "an event too many": _member_added,
    "an event gone": _member_gone,
}
SHOWN_BY_POLLS = {
    "newest is too early": _field("header", "newest", "3"),
    "a type's count is no number": _field("header", "t:step_created", "x"),
    "a type's count is gone": _field("header", "t:step_created", None),
    "a type's count is another": _field("header", "t:step_created", "9"),
    "a type's count in the index is no number": _field("index", "step_created", "x"),
    "a type's count in the index is gone": _field("index", "step_created", None),
    "a chunk is gone": _field("index", "step_created/0", None),
    "a chunk is too short": _field("index", "step_created/0", "x"),
    "a chunk holds others": _field("index", "step_created/0", b"\xff" * 24 * 5),
}
"""What only a poll by type is sure to find: the header looks whole."""
SERVED = OF_TYPE | NUMBERS | HEADERS
"""What every poll finds."""


async def lose_oldest(client: Redis, keys: Keys, session_id: str) -> None:
    """Take an event of type step_created away with all its traces, in one step: nothing contradicts itself."""
    redis: Any = client
    listed = await redis.hget(keys.index(session_id), "step_created/0")
    pipeline: Any = redis.pipeline(transaction=True)
    pipeline.zremrangebyrank(keys.events(session_id), 0, 0)
    pipeline.hset(keys.index(session_id), "step_created/0", listed[ENTRY_BYTES:])
    for name in ("#", "step_created"):
        pipeline.hincrby(keys.index(session_id), name, -1)
    for name in ("count", "held", "t:step_created"):
        pipeline.hincrby(keys.header(session_id), name, -1)
    await pipeline.execute()
