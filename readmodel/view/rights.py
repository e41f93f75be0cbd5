"""What each program may do in Redis, and no more: the rules of an access list (ACL) that suffices.

`readside doctor` and the tests take the rules from here, and a test holds those of specs/operate/redis.md to them.
There are two users: the projector's, which the commands use too, and the API's. Neither reads or writes a key, or hears
a channel, outside READSIDE_REDIS_PREFIX, and neither does anything to the server or to other clients.

A view of several slices has as many hash tags. In a Redis Cluster each node has an access list of its own, the same on
all; channels are those of a shard, and the nodes are asked which slot is where. Behind Sentinel a server's list is that
of a single one.

A command inside a script needs the same right as one sent by itself: the API, whose only writes are in a selector of
their own, cannot change the view by a script either.
"""

from __future__ import annotations

from typing import Literal

from readmodel.view.keys import Keys

Program = Literal["projector", "api"]

_CONNECTION = ("ping", "select", "client|setname", "time", "subscribe")
_SCRIPTS = ("evalsha", "script|load")
_READS = ("hget", "hmget", "hgetall", "zcard", "zcount", "zrevrange", "zrangebyscore", "llen", "lrange")
_LOOKS = ("hlen", "zrange", "zscore", "zscan", "type", "pttl", "exec")
_DOCTOR = ("info", "multi", "discard")
_CHANGES = ("hset", "hdel", "hincrby", "zadd", "zrem", "expire", "rename", "unlink", "del", "rpush", "lpop", "publish")

_OF_SHARDS = ("publish", "subscribe")
"""In a cluster their sharded forms take their place: SPUBLISH, SSUBSCRIBE."""
_ASKS = ("cluster|info", "cluster|slots")

PROJECTOR = (*_CONNECTION, *_DOCTOR, *_SCRIPTS, *_READS, *_LOOKS, *_CHANGES)
API = (*_CONNECTION, *_DOCTOR, *_SCRIPTS, *_READS)
OLDEST_REDIS = 7
"""The first that knows selectors, and rules for parts of commands."""


def base(prefix: str, slices: int = 1) -> str:
    """What every key and channel of ours begins with, as a pattern where a view has several hash tags."""
    return f"{prefix}:{{0}}:" if slices == 1 else f"{prefix}:{{*}}:"


def commands(program: Program, *, clustered: bool = False) -> tuple[str, ...]:
    """The commands that a program may send with any key and channel of ours."""
    found = PROJECTOR if program == "projector" else API
    if not clustered:
        return found
    asks = (*_ASKS, "cluster|nodes") if program == "projector" else _ASKS
    return (*(f"s{name}" if name in _OF_SHARDS else name for name in found if name != "select"), *asks)


def rules(program: Program, prefix: str, *, slices: int = 1, clustered: bool = False) -> tuple[str, ...]:
    """What follows `ACL SETUSER name on >password`, word by word; one in brackets is a selector (Redis 7)."""
    ours, plus = base(prefix, slices), _plus(commands(program, clustered=clustered))
    reset = ("resetkeys", "resetchannels", "nocommands")
    if program == "projector":
        return (*reset, f"~{ours}*", f"&{ours}*", *plus)
    own_reports = f"(~{ours}apis +hset +hdel)"
    requests = f"(&{ours}requests:* +{'s' * clustered}publish)"
    return (*reset, f"~{ours}*", f"&{ours}changes:*", *plus, own_reports, requests)


def trials(program: Program, keys: Keys) -> dict[str, tuple[str, ...]]:
    """One use of each right that a program needs, by a name to tell people; to be queued and thrown away."""
    found = {command: _trial(command, keys.position, keys.changes) for command in _needed(program, keys.sharded)}
    if program == "projector":
        subscribe = "ssubscribe" if keys.sharded else "subscribe"
        return {**found, subscribe: (subscribe.upper(), keys.requests)}
    own = {"hset": ("HSET", keys.apis, "", ""), "hdel": ("HDEL", keys.apis, "")}
    return {**found, **own, keys.publish.lower(): (keys.publish, keys.requests, "")}


def _needed(program: Program, clustered: bool) -> tuple[str, ...]:
    of_transactions = {"multi", "discard", "exec"}  # within a transaction they cannot be queued
    return tuple(command for command in commands(program, clustered=clustered) if command not in of_transactions)


def _trial(command: str, key: str, channel: str) -> tuple[str, ...]:
    words = tuple(command.upper().split("|"))
    if command in _ARGUMENTS_ALONE:
        return (*words, *_ARGUMENTS_ALONE[command])
    if command.removeprefix("s") in _OF_SHARDS or command in _OF_SHARDS:
        return (*words, channel, *(("",) if command.endswith("publish") else ()))
    if command == "rename":
        return (*words, key, key)
    return (*words, key, *_ARGUMENTS.get(command, ()))


_ARGUMENTS_ALONE: dict[str, tuple[str, ...]] = {
    "ping": (),
    "time": (),
    "info": ("memory",),
    "select": ("0",),
    "client|setname": ("readside-cli",),
    "evalsha": ("0" * 40, "0"),
    "script|load": ("return 1",),
    "cluster|info": (),
    "cluster|slots": (),
    "cluster|nodes": (),
}
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("hget", "hmget", "hdel", "zscore", "zrem"), ("",)),
    **dict.fromkeys(("zcount", "zrange", "zrevrange", "zrangebyscore"), ("0", "0")),
    **dict.fromkeys(("zscan",), ("0",)),
    **dict.fromkeys(("expire",), ("60",)),
    **dict.fromkeys(("hset", "zadd"), ("0", "")),
    "hincrby": ("", "0"),
}


def _plus(commands: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"+{command}" for command in commands)
