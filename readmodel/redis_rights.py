"""What each program may do in Redis, and no more: the rules of an access list (ACL) that suffices.

`readside doctor` and the tests take the rules from here, and a test holds README's to them. There are two users: the
projector's, which the commands use too, and the API's. Neither reads or writes a key, or hears a channel, outside
READSIDE_REDIS_PREFIX, and neither does anything to the server or to other clients.

A command inside a script needs the same right as one sent by itself: the API, whose only writes are in a selector of
their own, cannot change the view by a script either.
"""

from __future__ import annotations

from typing import Literal

Program = Literal["projector", "api"]

_CONNECTION = ("ping", "select", "client|setname", "client|setinfo", "time", "subscribe")
_SCRIPTS = ("evalsha", "script|load")
_READS = ("hget", "hmget", "hgetall", "zcard", "zcount", "zrevrange", "zrangebyscore")
_LOOKS = ("hlen", "zrange", "zscore", "zscan", "type", "pttl", "multi", "exec")
_CHANGES = ("hset", "hdel", "hincrby", "zadd", "zrem", "expire", "rename", "unlink", "del", "publish")

PROJECTOR = (*_CONNECTION, *_SCRIPTS, *_READS, *_LOOKS, *_CHANGES)
API = (*_CONNECTION, *_SCRIPTS, *_READS)


def base(prefix: str) -> str:
    """What every key and channel of ours begins with."""
    return f"{prefix}:{{0}}:"


def rules(program: Program, prefix: str) -> tuple[str, ...]:
    """Give what follows `ACL SETUSER name on >password`, word by word; one in brackets is a selector (Redis 7)."""
    ours = base(prefix)
    reset = ("resetkeys", "resetchannels", "nocommands")
    if program == "projector":
        return (*reset, f"~{ours}*", f"&{ours}*", *_plus(PROJECTOR))
    own_reports = f"(~{ours}apis +hset +hdel)"
    requests = f"(&{ours}requests:* +publish)"
    return (*reset, f"~{ours}*", f"&{ours}changes:*", *_plus(API), own_reports, requests)


def _plus(commands: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"+{command}" for command in commands)
