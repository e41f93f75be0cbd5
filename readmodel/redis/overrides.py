"""What overrides redis-py's insides, all of it, and why. It holds for redis 8.1, which pyproject.toml bounds.

Whoever raises that bound reads this file beside the new version, and runs the tests of Redis' connections, of the
cluster and of Sentinel in tests/integration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import hiredis
from redis.asyncio import Connection, ConnectionPool, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import MaxConnectionsError, MovedError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


@dataclass(frozen=True, slots=True, repr=False)
class PackedWords:
    """The last `count` words of a command, which come packed: as Redis' protocol has them, in any number of pieces."""

    count: int
    pieces: Sequence[bytes]


def pack(command: Iterable[Any]) -> list[bytes]:
    """Pack a command's name and words, of which the last may be Packed."""
    name, *words = command
    packed = words.pop() if words and isinstance(words[-1], PackedWords) else PackedWords(0, ())
    start = hiredis.pack_command((*name.split(), *words))  # a name may be two words: SCRIPT LOAD
    if not packed.count:
        return [start]
    count, _, rest = start.partition(b"\r\n")
    return [b"*%d\r\n" % (int(count[1:]) + packed.count), rest, *packed.pieces]


class _Own(AbstractConnection):
    """A connection whose commands are packed by hiredis, and can always be cancelled.

    redis-py packs word by word in Python where it is asynchronous: half of a rebuild's time, and of an apply's.

    redis-py sends under `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that arrives just as the
    command has been sent (python/cpython#86296): a task that is told to stop would go on for ever.
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        return pack(args)

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [piece for command in commands for piece in pack(command)]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        seconds, self.socket_timeout = self.socket_timeout, None  # so that it awaits plainly
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(command, check_health)
        except TimeoutError as exc:
            raise RedisTimeoutError("Timeout writing to socket") from exc
        finally:
            self.socket_timeout = seconds


class _Tcp(_Own, Connection):
    pass


class _Tls(_Own, SSLConnection):
    pass


class _Unix(_Own, UnixDomainSocketConnection):
    pass


class OwnPool(ConnectionPool):
    """A pool that lends and takes back without redis-py's lock, events and metrics, of which we use none.

    `ensure_connection` connects, and connects anew what the server closed or where a reply lies that nobody waits for.
    Where all are lent, who wants one waits, as long as for a reply: with many slices hundreds begin at one moment.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._free = asyncio.Semaphore(self.max_connections)

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()
        try:
            connection: Any = self.get_available_connection()  # type: ignore[no-untyped-call]
        except BaseException:
            self._free.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.connection_kwargs.get("socket_timeout")):
                await self._free.acquire()
        except TimeoutError as exc:
            raise MaxConnectionsError("no connection of ours became free in time") from exc

    async def release(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        self._free.release()


class OwnClient(Redis):
    """A client that sends a command and reads its reply: what redis-py does around it takes as long again.

    A connection whose reply was not read whole, for whatever reason, is closed: the next command would be given it.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        pool: Any = self.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_command(*args)
            return await self.parse_response(connection, args[0], **options)
        except ResponseError:
            raise
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)


OWN_CONNECTIONS = {Connection: _Tcp, SSLConnection: _Tls, UnixDomainSocketConnection: _Unix}


class NodePool(OwnPool):
    """A pool whose server may leave: then its connections are closed as they come back."""

    retired = False

    async def release(self, connection: Any) -> None:
        await super().release(connection)
        if self.retired:
            await connection.disconnect(nowait=True)

    async def retire(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self.retired = True
        await self.disconnect(inuse_connections=False)


class SlotServers(Protocol):
    """Servers among which slots move (`readmodel.redis.moving.MovingServers`)."""

    clustered: bool
    known: bool

    @property
    def name(self) -> str:
        """Name them all for people, without secrets."""

    def pool(self, slot: int) -> NodePool:
        """The connections to the server that a slot is taken to be on."""

    async def settle(self, slot: int) -> None:
        """Ask anew where a slot is, if that is in doubt."""

    def follow(self, moved: MovedError) -> bool:
        """Note where a slot is by a reply that says so; tells whether the command may be sent there."""

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Note by what a command ended that a slot may not be where it was."""

    def note(self, slot: int, replies: Iterable[Any]) -> None:
        """Note what the replies to a pipeline say."""


class BoundClient(OwnClient):
    """A client of whichever server has its slot."""

    def __init__(self, servers: SlotServers, slot: int) -> None:
        self.servers = servers
        self.slot = slot
        self.clustered = servers.clustered
        super().__init__(connection_pool=servers.pool(slot))

    @property
    def connection_pool(self) -> Any:
        """The connections to that server."""
        return self.servers.pool(self.slot)

    @connection_pool.setter
    def connection_pool(self, pool: Any) -> None:
        """Redis' own: which it is, is not for it to say."""

    @property
    def place(self) -> str | None:
        """Name for people whom it talks to."""
        return None if self.servers.known else self.servers.name

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        await self.servers.settle(self.slot)
        try:
            return await super().execute_command(*args, **options)
        except MovedError as moved:  # so it was not executed
            if not self.servers.follow(moved):
                raise
        except BaseException as error:
            self.servers.doubt(self.slot, error)
            raise
        try:
            return await super().execute_command(*args, **options)
        except BaseException as error:
            self.servers.doubt(self.slot, error)
            raise

    def pubsub(self, **options: Any) -> PubSub:
        """Subscribe at that server."""
        return _BoundSubscription(self, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Queue commands for that server."""
        return _BoundPipeline(self, transaction, shard_hint)


class _BoundPipeline(Pipeline):
    """Commands that go to whichever server has its client's slot when they are sent."""

    def __init__(self, client: BoundClient, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        servers, slot = self._client.servers, self._client.slot
        await servers.settle(slot)
        self.connection_pool = servers.pool(slot)
        try:
            replies: list[Any] = await super().execute(raise_on_error)
        except BaseException as error:
            servers.doubt(slot, error)
            raise
        servers.note(slot, replies)
        return replies


class _BoundSubscription(PubSub):
    """A subscription at whichever server has its client's slot when it connects."""

    def __init__(self, client: BoundClient, **options: Any) -> None:
        super().__init__(client.connection_pool, **options)
        self._client = client

    async def connect(self) -> None:
        servers, slot = self._client.servers, self._client.slot
        if self.connection is None:
            await servers.settle(slot)
            self.connection_pool = servers.pool(slot)
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            servers.doubt(slot, error)
            raise

    async def parse_response(self, block: bool = True, timeout: float = 0) -> Any:
        try:
            return await super().parse_response(block, timeout)
        except Exception as error:
            self._client.servers.doubt(self._client.slot, error)
            raise
