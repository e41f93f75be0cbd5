"""fakeredis behind a connection that packs commands as readside's own does."""

from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
from fakeredis import FakeAsyncRedis, FakeServer
from fakeredis.aioredis import FakeAsyncRedisConnection
from redis.asyncio import Redis

from readmodel.redis_overrides import PackedWords, pack


class _Connection(FakeAsyncRedisConnection):
    def pack_command(self, *args: Any) -> list[bytes]:
        return pack(args)

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [piece for command in commands for piece in pack(command)]


def fake_redis(server: FakeServer | None = None) -> Redis:
    """Make a client of an empty Redis in this process, or of this one: it is away while it is not `connected`."""
    return FakeAsyncRedis(server=server, connection_class=_Connection)


def unpacked(packed: PackedWords) -> list[bytes]:
    """Packed words one by one."""
    reader = hiredis.Reader()
    reader.feed(b"*%d\r\n" % packed.count + b"".join(packed.pieces))
    words: list[bytes] = reader.gets()
    assert not reader.has_data()
    return words


def spelled_out(arguments: Sequence[Any]) -> list[Any]:
    """A command's arguments without packed ones."""
    return [word for one in arguments for word in (unpacked(one) if isinstance(one, PackedWords) else [one])]
