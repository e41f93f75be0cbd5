"""Redis servers among which our keys move: clients that always send to the one that has them now."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from readmodel.redis.client import AWAY_IN_A_SCRIPT, translated
from readmodel.redis.overrides import BoundClient, NodePool
from readmodel.redis.url import Address, shown
from readmodel.runtime.single_flight import SingleFlight
from readmodel.runtime.supervise import end

READING_SECONDS = 1.0
"""Who does not tell in this time where the keys are is done without."""
AGAIN_SECONDS = 0.2
"""Nobody is asked more often."""
GRACE_SECONDS = 0.03
"""So long the slower half is waited for when the faster one has told: who is cut short must connect anew."""

Said = TypeVar("Said")


class MovingServers(ABC):
    """Knows where each slot is, doubts it as errors say, and asks anew.

    A command to a slot in doubt waits until those who know have been asked; no other does. Commands are never sent
    again, but for one that a cluster's node did not execute because its slot is elsewhere: once, to where it says.
    """

    clustered = False
    sharded: bool
    database: int
    check_seconds: float
    """While commands are sent, those who know are asked so often in the background: errors may never come."""

    def __init__(self, open_node: Callable[[Address], NodePool]) -> None:
        self._open_node = open_node
        self._pools: dict[Address, NodePool] = {}
        self._clients: dict[int, BoundClient] = {}
        self._doubts: set[int | Address] = set()
        self._reading = SingleFlight(self._read)
        self._not_before = self._check_at = 0.0
        self._why: Exception = RedisConnectionError("nobody was asked yet")
        self.known = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Name them all for people, without secrets."""

    @abstractmethod
    def address(self, slot: int) -> Address:
        """Tell where a slot is taken to be."""

    @abstractmethod
    async def read(self) -> None:
        """Ask those who know where the slots are; raises what redis-py does."""

    @abstractmethod
    def in_use(self) -> Iterable[Address]:
        """Tell which servers are to be kept."""

    @abstractmethod
    async def identify(self) -> str:
        """What stays of them when masters and replicas change places; raises what redis-py does."""

    @abstractmethod
    def first_slots(self) -> Iterable[int]:
        """A slot of each master."""

    async def masters(self) -> Sequence[Redis]:
        """A client of each server that holds keys; raises ViewUnavailable, AccessRefused."""
        with translated(self.client(0)):
            await self.settle(0)
        return [self.client(slot) for slot in self.first_slots()]

    async def identity(self) -> str:
        """Name them for the lead's lock; raises ViewUnavailable, AccessRefused."""
        with translated(self.client(0)):
            return await self.identify()

    def follow(self, moved: MovedError) -> bool:  # noqa: ARG002 (a cluster's)
        """Note where a slot is by a reply that says so; tells whether the command may be sent there."""
        return False

    def client(self, slot: int) -> Redis:
        """A client of the server that has a slot, whichever that is when a command is sent."""
        if slot not in self._clients:
            self._clients[slot] = BoundClient(self, slot)
        return self._clients[slot]

    def node(self, slot: int) -> str:
        """Name the server that a slot is taken to be on."""
        return shown(self.address(slot))

    def pool(self, slot: int) -> NodePool:
        """The connections to the server that a slot is taken to be on."""
        return self.pool_of(self.address(slot))

    def pool_of(self, address: Address) -> NodePool:
        """The connections to a server."""
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._open_node(address)
        return pool

    async def settle(self, slot: int) -> None:
        """Ask anew where a slot is, if that is in doubt; raises what redis-py does where it was never known."""
        now = monotonic()
        if self.known and (not self._doubts or not self._doubted(slot)):
            if now > self._check_at:
                self._begin(now)
            return
        if now > self._not_before:
            self._begin(now)
        await self._reading.settled()
        if not self.known:
            raise self._why

    def _doubted(self, slot: int) -> bool:
        return slot in self._doubts or self.address(slot) in self._doubts

    def doubt(self, slot: int, error: BaseException | None) -> None:
        """Note by what a command ended (None: by something else) that a slot, or its server, is not where it was."""
        if isinstance(error, MovedError):
            self.follow(error)
        elif error is None or isinstance(error, AskError | TryAgainError) or str(error).startswith(AWAY_IN_A_SCRIPT):
            self._doubts.add(slot)
        elif not isinstance(error, ResponseError) or isinstance(error, ReadOnlyError | ClusterDownError):
            self._doubts.add(self.address(slot))

    def note(self, slot: int, replies: Iterable[Any]) -> None:
        """Note what the replies to a pipeline say."""
        for reply in replies:
            if isinstance(reply, ResponseError | BusyLoadingError):
                self.doubt(getattr(reply, "slot_id", slot), reply)

    def ask_soon(self) -> None:
        """Have the next command ask, in the background."""
        self._check_at = 0.0

    def _begin(self, now: float) -> None:
        if self._reading.begin():
            self._not_before, self._check_at = now + AGAIN_SECONDS, now + self.check_seconds

    async def _read(self) -> None:
        asked = set(self._doubts)
        try:
            async with asyncio.timeout(READING_SECONDS):
                await self.read()
        except Exception as error:  # noqa: BLE001 (whatever it is: the next command asks again, and is told)
            self._why = error
        else:
            self.known = True
            self._doubts -= asked
            await self._retire()

    async def _retire(self) -> None:
        kept = set(self.in_use())
        for address in [address for address in self._pools if address not in kept]:
            with suppress(RedisError, OSError):  # a connection that broke while it was closed
                await self._pools[address].retire()
            del self._pools[address]

    async def aclose(self) -> None:
        """Close all connections."""
        await self._reading.close()
        for pool in self._pools.values():
            await pool.aclose()


async def answers(questions: Iterable[Coroutine[Any, Any, Said]]) -> tuple[list[Said], list[Exception]]:
    """Ask all, and wait for no more than the greater half of them, and a little for the rest.

    Gives what they said, and what went wrong.
    """
    tasks = {asyncio.ensure_future(question) for question in questions}
    said: list[Said] = []
    wrong: list[Exception] = []
    waiting = set(tasks)
    try:
        while waiting:
            seconds = READING_SECONDS / 2 if 2 * len(said) <= len(tasks) else GRACE_SECONDS
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
            if not done:
                break
            for task in done:
                error = task.exception()
                if error is None:
                    said.append(task.result())
                elif isinstance(error, Exception):
                    wrong.append(error)
    finally:
        await end(tasks)
    return said, wrong


def why_nobody(wrong: Iterable[Exception]) -> Exception:
    """Choose which error tells the most: what a server refused, before one that did not answer."""
    errors = [*wrong, RedisConnectionError("nobody answers in time")]
    refused = (ResponseError, AuthenticationError, BusyLoadingError)
    return next((error for error in errors if isinstance(error, refused)), errors[0])
