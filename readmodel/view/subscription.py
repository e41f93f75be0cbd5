"""Speaking and hearing on Redis channels, and noticing when nothing can be heard any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import MovedError

from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.redis.client import is_clustered, target, translated
from readmodel.redis.servers import RedisServers
from readmodel.runtime.backoff import delays
from readmodel.runtime.supervise import end
from readmodel.view.keys import Keys

PING_SECONDS = 2.0
"""After so much silence a ping goes out; a second such silence ends the subscription."""
PLACES_SECONDS = 1.0
"""So often we look whether our channels are still where we hear them: a server that lost them need not say so."""
MAX_UNREAD = 1_000
"""Messages that wait to be taken; past it the servers' connections are read no further."""

Lost = Callable[[Collection[str], ServiceError], None]


async def publish(redis: Redis, keys: Keys, channel: str, data: bytes) -> int:
    """Send a message on a channel of ours, and tell how many heard it; raises ViewUnavailable or AccessRefused."""
    sender: Any = redis  # redis-py types its plain commands not at all
    with translated(redis):
        return int(await sender.execute_command(keys.publish, channel, data))


async def heard(redis: Redis, channel: str) -> AsyncGenerator[bytes | None, None]:
    """Subscribe, yield None, then each message's data; use it under `aclosing`.

    Ends by raising ViewUnavailable, AccessRefused or ForeignView, and only so: who wants to go on subscribes again, and
    knows by the None that messages may have been missed.
    """
    async with aclosing(_Ear(redis, is_clustered(redis), [channel]).messages()) as messages:
        async for message in messages:
            if message["type"] in {"subscribe", "ssubscribe"}:
                yield None
            elif message["type"] in {"message", "smessage"}:
                yield message["data"]
            elif message["type"] == "sunsubscribe":
                raise ViewUnavailable(f"Redis at {target(redis)} has given the slot of a subscription away.")
            elif message["type"] == "moved":
                with translated(redis):
                    raise message["data"]


async def heard_all(
    servers: RedisServers, channels: Mapping[str, int], lost: Lost = lambda _channels, _error: None
) -> AsyncGenerator[tuple[str, bytes | None], None]:
    """Hear many channels, each of which is in a slot, over one connection to each server; use it under `aclosing`.

    Yields (channel, None) whenever a channel is heard, at first or anew, since messages before it may have been missed,
    and (channel, data) for each message. It never ends by itself: channels that cannot be heard are subscribed anew,
    with backoff, on whichever server has them then. Meanwhile `lost` is told, with each try, which and why.
    """
    hearing = _Hearing(servers, channels, lost)
    task = asyncio.create_task(hearing.run())
    try:
        while True:
            message = await hearing.heard.get()
            if isinstance(message, Exception):
                raise message
            yield message
    finally:
        await end([task])


class _Ear:
    """One connection to one server, and the channels that are heard on it."""

    def __init__(self, redis: Redis, sharded: bool, channels: Collection[str]) -> None:
        self.channels = set(channels)
        self.task: asyncio.Task[None] | None = None
        self._redis = redis
        self._sharded = sharded
        self._pubsub: Any = redis.pubsub()

    async def subscribe(self, channels: Collection[str]) -> None:
        """Ask for channels: all in one command, but for a cluster's, of which one command takes those of one slot."""
        self.channels.update(channels)
        with translated(self._redis):
            if not self._sharded:
                await self._pubsub.subscribe(*channels)
                return
            for channel in channels:
                await self._pubsub.ssubscribe(channel)

    async def messages(self) -> AsyncGenerator[Any, None]:
        """Subscribe, and yield what comes on the connection, a MOVED as a message too; ends as `heard` does."""
        async with aclosing(self._pubsub):
            await self.subscribe(tuple(self.channels))
            silences = 0
            while True:
                try:
                    with translated(self._redis):
                        message = await self._pubsub.get_message(timeout=PING_SECONDS)
                        if message is None:
                            silences += 1
                            if silences > 1:
                                raise ViewUnavailable(f"Redis at {target(self._redis)} is silent on a subscription.")
                            await self._pubsub.ping()
                            continue
                except ViewUnavailable as error:
                    if not isinstance(error.__cause__, MovedError):
                        raise
                    message = {"type": "moved", "data": error.__cause__}
                silences = 0
                yield message


class _Hearing:
    """Keeps every channel on the server that has it."""

    def __init__(self, servers: RedisServers, channels: Mapping[str, int], lost: Lost) -> None:
        self.heard: asyncio.Queue[tuple[str, bytes | None] | Exception] = asyncio.Queue(MAX_UNREAD)
        self._servers = servers
        self._slots = dict(channels)
        self._names = {channel.encode(): channel for channel in channels}
        self._lost = lost
        self._ears: dict[str, _Ear] = {}
        self._unheard = set(channels)
        self._changed = asyncio.Event()
        self._tries: dict[str, tuple[Iterator[float], float]] = {}  # by server: pauses, and when the next try is due

    async def run(self) -> None:
        """Listen until cancelled; what nobody foresaw is given to whoever hears."""
        try:
            while True:
                self._changed.clear()
                await self._place()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._until_next()):
                        await self._changed.wait()
                await self._leave_the_moved()
        except Exception as error:  # noqa: BLE001 (else it would die alone)
            await self.heard.put(error)
        finally:
            await end([ear.task for ear in self._ears.values() if ear.task])

    def _until_next(self) -> float:
        due = [at - time.monotonic() for _, at in self._tries.values()] if self._unheard else []
        return max(0.0, min([PLACES_SECONDS, *due]))

    async def _place(self) -> None:
        """Subscribe to what is not heard, where it is now."""
        by_node: dict[str, list[str]] = {}
        for channel in sorted(self._unheard):
            if await self._settled(channel):
                by_node.setdefault(self._servers.node(self._slots[channel]), []).append(channel)
        now = time.monotonic()
        for node, channels in by_node.items():
            if node in self._tries and self._tries[node][1] > now:
                continue
            self._unheard.difference_update(channels)
            ear = self._ears.get(node)
            if ear is None:
                ear = _Ear(self._servers.client(self._slots[channels[0]]), self._servers.sharded, channels)
                self._ears[node] = ear
                ear.task = asyncio.create_task(self._listen(node, ear))
            else:
                await self._join(ear, channels)

    async def _settled(self, channel: str) -> bool:
        slot = self._slots[channel]
        try:
            with translated(self._servers.client(slot)):
                await self._servers.settle(slot)
        except (StoreUnavailable, StoreRefused) as error:
            self._lost([channel], error)
            self._pause("")
            return False
        return True

    async def _join(self, ear: _Ear, channels: Collection[str]) -> None:
        """Hear more on a connection; where that fails, all of it begins anew."""
        try:
            await ear.subscribe(channels)
        except (StoreUnavailable, StoreRefused):
            if ear.task:
                ear.task.cancel()

    async def _leave_the_moved(self) -> None:
        for node, ear in list(self._ears.items()):
            for channel in sorted(ear.channels):
                if await self._settled(channel) and self._servers.node(self._slots[channel]) != node and ear.task:
                    await end([ear.task])
                    break

    async def _listen(self, node: str, ear: _Ear) -> None:
        try:
            await self._take(node, ear)
        except (StoreUnavailable, StoreRefused) as error:
            for channel in ear.channels:
                self._servers.doubt(self._slots[channel], error)
            self._lost(tuple(ear.channels), error)
            self._pause(node)
        except Exception as error:  # noqa: BLE001 (else it would die alone)
            await self.heard.put(error)
        finally:
            if self._ears.get(node) is ear:
                del self._ears[node]
            self._unheard |= ear.channels
            self._changed.set()

    async def _take(self, node: str, ear: _Ear) -> None:
        async with aclosing(ear.messages()) as messages:
            async for message in messages:
                kind = message["type"]
                if kind in {"message", "smessage"}:
                    await self.heard.put((self._names[message["channel"]], message["data"]))
                elif kind in {"subscribe", "ssubscribe"}:
                    self._tries.pop(node, None)
                    self._tries.pop("", None)
                    await self.heard.put((self._names[message["channel"]], None))
                elif kind == "sunsubscribe":  # its slot has moved
                    self._move(ear, {self._names[message["channel"]]})
                elif kind == "moved":
                    moved = message["data"]
                    self._servers.doubt(moved.slot_id, moved)
                    self._move(ear, {channel for channel in ear.channels if self._slots[channel] == moved.slot_id})

    def _move(self, ear: _Ear, channels: Collection[str]) -> None:
        for channel in channels:
            self._servers.doubt(self._slots[channel], None)
        ear.channels.difference_update(channels)
        self._unheard.update(channels)
        self._changed.set()

    def _pause(self, node: str) -> None:
        pauses = self._tries[node][0] if node in self._tries else delays()
        self._tries[node] = pauses, time.monotonic() + next(pauses)
