"""A Redis that is there (a fake, or a real server), behind a network on which calls are lost, late, or unanswered."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import redis
from redis.asyncio import Redis
from redis.commands.core import CoreCommands
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError

from tests.fakes.redis import spelled_out
from tests.model.chance import Line, Machine
from tests.model.wire import DUMP, Wire

Call = tuple[tuple[Any, ...], dict[str, Any]]
MAX_DUMPS = 12


class Store:
    """The data of one Redis, with the dumps of it that somebody may start it from.

    `clock` names a hash that holds what a real Redis' clock shows, for scripts that read it there.
    """

    def __init__(self, client: "redis.Redis", chance: Random, clock: str = "") -> None:
        self._clock = clock
        self.client = client
        self.chance = chance
        self.failing = self.usually_failing = 0.025
        self.full = False
        self.gone: set[bytes] = set()
        """What the keys of the slots begin with that were moved elsewhere."""
        self.scripts_together = 0
        self.dumps: list[dict[bytes, bytes]] = []
        self.subscriptions: list[Subscription] = []
        client.flushall()
        client.script_flush()
        self._wire = Wire(client) if clock else None
        self._ear: Any = client.pubsub()  # type: ignore[no-untyped-call]
        if not self._wire:
            self._ear.psubscribe("*")
            self._listen()

    def close(self) -> None:
        """Let go of the connections."""
        if self._wire:
            self._wire.close()
        self._ear.close()
        self.client.close()

    def run(self, call: Call) -> Any:
        """Execute one command, and hand over what it published."""
        arguments, options = call
        name = arguments[0]
        if self.gone and any(self._is_gone(word) for word in arguments[1:]):
            raise SlotGone
        if self.full and (name == "ZADD" or (name == "EVALSHA" and arguments[1] in self.growing)):
            raise OutOfMemoryError("command not allowed when used memory > 'maxmemory'")
        if name == "SCRIPT LOAD" and not self._clock:  # no fake knows flags; as a comment they make another script
            arguments = (name, arguments[1].replace("#!", "-- ", 1))
        try:
            if name == "TIME":
                return self._now()
            if self._wire and name in {"EVALSHA", "PUBLISH"}:
                return self._run_by(self._wire, arguments)
            return self.client.execute_command(*spelled_out(arguments), **options)  # type: ignore[no-untyped-call]
        finally:
            if name in {"EVALSHA", "PUBLISH"} and not self._wire:
                self._listen()
            if name == "EVALSHA" and self.chance.random() < 0.1:
                self.dumps = [*self.dumps[1 - MAX_DUMPS :], self.dump()]

    growing: frozenset[str] = frozenset()
    """Scripts that a Redis without memory refuses to run."""

    def _is_gone(self, word: object) -> bool:
        named = word.encode() if isinstance(word, str) else word
        return isinstance(named, bytes) and named.startswith(tuple(self.gone))

    def _run_by(self, wire: Wire, arguments: tuple[Any, ...]) -> Any:
        """Set the clock, and run what may publish."""
        seconds, micros = self._now()
        reply, published = wire.run(("HSET", self._clock, "s", seconds, "us", micros), arguments)
        for channel, data in published:
            self._hand_over(channel, data)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _now(self) -> tuple[int, int]:
        return divmod(int(time.time() * 1_000_000), 1_000_000)

    def dump(self) -> dict[bytes, bytes]:
        """Save everything."""
        if self._wire:
            told = self._wire.run(("EVAL", DUMP, 0)).reply
            return dict(sorted(zip(told[::2], told[1::2], strict=True)))
        names, together = self.names(), self.client.pipeline(transaction=False)
        for key in names:
            together.dump(key)
        return {key: value or b"" for key, value in zip(names, together.execute(), strict=True)}

    def names(self) -> list[bytes]:
        """List all keys, in order."""
        return sorted(self.client.scan_iter("*", count=1_000))

    def restore(self, dump: dict[bytes, bytes]) -> None:
        """Replace everything."""
        self.replace(dump, b"")

    def replace(self, dump: dict[bytes, bytes], beginning: bytes) -> None:
        """Replace all that begins so."""
        if keys := [key for key in self.names() if key.startswith(beginning)]:
            self.client.delete(*keys)
        for key, value in dump.items():
            self.client.restore(key, 0, value)

    def leave(self, beginning: bytes) -> None:
        """Have a slot no more: its calls are refused, and whoever hears its channels is told."""
        self.gone.add(beginning)
        for subscription in list(self.subscriptions):
            subscription.leave(beginning)

    def _listen(self) -> None:
        self._ear.ping()
        while (message := self._ear.get_message(timeout=5)) and message["type"] != "pong":
            if message["type"] == "pmessage":
                self._hand_over(message["channel"], message["data"])

    def _hand_over(self, channel: bytes, data: bytes) -> None:
        for subscription in self.subscriptions:
            subscription.publish(channel, data)


class SlotGone(redis.ConnectionError):
    """The slot of these keys is on another server by now."""


class Subscription(Line):
    """One client's subscription: the methods of redis-py's PubSub that `heard` and `heard_all` call."""

    def __init__(self, store: Store, machine: Machine) -> None:
        super().__init__(machine)
        self._store = store
        self._channels: set[bytes] = set()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._error = False

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message to this one."""
        if channel in self._channels:
            self.send({"type": "message", "channel": channel, "data": data})

    def take(self, thing: object) -> None:
        """Receive a message."""
        self._inbox.put_nowait(thing)  # type: ignore[arg-type]

    def lose(self, *, seen: bool) -> None:
        """Lose what is on its way: the client gets an error, or is subscribed again without a word."""
        self.cut()
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self._error = self._error or seen
        if seen:
            self._channels.clear()
        self.send({"type": "pong", "data": b""})

    def leave(self, beginning: bytes) -> None:
        """Hear channels of a slot no more that was moved away."""
        for channel in sorted(channel for channel in self._channels if channel.startswith(beginning)):
            self._channels.discard(channel)
            self.send({"type": "sunsubscribe", "channel": channel, "data": 0})

    async def subscribe(self, *channels: str) -> None:
        """Subscribe to channels."""
        await self.machine.pause()
        if self not in self._store.subscriptions:
            self._store.subscriptions.append(self)
        for channel in channels:
            self._channels.add(channel.encode())
            self.send({"type": "subscribe", "channel": channel.encode(), "data": 1})

    async def ping(self) -> None:
        """Ask for a sign of life."""
        self.send({"type": "pong", "data": b""})

    async def get_message(self, timeout: float) -> dict[str, Any] | None:
        """Wait for the next message."""
        try:
            async with asyncio.timeout(timeout):
                message = await self._inbox.get()
        except TimeoutError:
            message = None
        if self._error:
            raise redis.ConnectionError("Connection closed by server.")
        return message

    async def aclose(self) -> None:
        """Unsubscribe."""
        self.open = False
        if self in self._store.subscriptions:
            self._store.subscriptions.remove(self)


class Client(Redis):
    """A client of a store: every command may be lost, run late, or run without its reply arriving.

    `place` tells which store that is now; `moved` is called where a command finds that it is another.
    """

    def __init__(self, place: Callable[[], Store], machine: Machine, moved: Callable[[], None]) -> None:
        super().__init__(driver_info=None)  # else it looks through what is installed for redis-py's version
        self._place = place
        self._moved = moved
        self.machine = machine

    @property
    def store(self) -> Store:
        """The store that has its slot, as far as its process knows."""
        return self._place()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command."""
        store = self.store
        return await self.call(store, lambda: store.run((args, options)))

    async def call(self, store: Store, run: Callable[[], Any]) -> Any:
        """Have something run by Redis, if all goes well."""
        try:
            return await self._call(store, run)
        except SlotGone:
            self._moved()
            raise

    async def _call(self, store: Store, run: Callable[[], Any]) -> Any:
        dice, wait = self.machine.chance.random() / max(store.failing, 1e-9), self.machine.delay()
        late = self.machine.delay() * (100 if dice * 100 % 1 < 0.5 else 1)
        try:
            await self.machine.pause(wait)
        except asyncio.CancelledError:
            if late > 0.005:
                self._run_later(run, late)  # it had been sent
            raise
        if dice < 0.25:
            raise (redis.ConnectionError, ReadOnlyError, BusyLoadingError)[int(dice * 100) % 3]("not now")
        if dice < 0.5:
            self._run_later(run, late)
            raise redis.TimeoutError("Timeout reading from socket")
        result = run()
        await self.machine.pause()
        if dice < 1:
            raise redis.ConnectionError("Connection closed by server.")
        return result

    def _run_later(self, run: Callable[[], Any], delay: float) -> None:
        def unheard() -> None:
            with suppress(redis.RedisError):  # nobody hears what it answers
                run()

        asyncio.get_running_loop().call_later(delay, unheard)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """Collect commands."""
        return Pipeline(self, transaction=transaction)  # type: ignore[abstract]

    def pubsub(self, **_: Any) -> Any:
        """Make a subscription."""
        return Subscription(self.store, self.machine)


class Pipeline(CoreCommands):
    """Commands that are sent together; outside of a transaction others may run between them."""

    def __init__(self, client: Client, *, transaction: bool) -> None:
        self._client = client
        self._transaction = transaction
        self._calls: list[Call] = []

    def execute_command(self, *args: Any, **options: Any) -> "Pipeline":
        """Note a command."""
        self._calls.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the commands; a refused one does not keep the others from being run."""
        store = self._client.store
        store.scripts_together += len(self._calls) > 1 and self._calls[0][0][0] == "EVALSHA"
        replies: list[Any] = []
        for part in [self._calls] if self._transaction else self._parts():
            replies += await self._client.call(store, partial(_run_all, store, part))
        refused = [reply for reply in replies if isinstance(reply, redis.ResponseError)]
        if raise_on_error and refused:
            raise refused[0]
        return replies

    def _parts(self) -> Iterable[list[Call]]:
        chance, start = self._client.machine.chance, 0
        while start < len(self._calls):
            length = chance.choice((1, 2, 100))
            yield self._calls[start : start + length]
            start += length


def _run_all(store: Store, calls: list[Call]) -> list[Any]:
    replies: list[Any] = []
    for call in calls:
        try:
            replies.append(store.run(call))
        except redis.ResponseError as error:
            replies.append(error)
    return replies
