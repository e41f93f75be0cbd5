"""Where faults strike: the service of a run, what its writers know, and what is left to mend later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import asyncpg
from redis.exceptions import RedisError

from tests.oracle.histories import Edit
from tests.oracle.ledger import Ledger
from tests.oracle.report import Report
from tests.oracle.service import Service
from tests.oracle.writers import LOST, Writer, wait
from tests.support.waiting import eventually

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

Mend = Callable[[], Awaitable[None]]


class Hindrance(Exception):
    """The servers do not do what a fault needs of them, such as an election: that is no failure of ours."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can be done to a service. `strike` returns when the outage is over, after `seconds` at least."""

    name: str
    strike: Callable[[], Awaitable[None]]
    weight: int
    seconds: float = 0.0


@dataclass
class Site:
    """What can be struck, and by what chance."""

    service: Service
    ledger: Ledger
    report: Report
    random: random.Random
    stop: asyncio.Event
    kept: frozenset[str]
    hurry: asyncio.Event
    """Set while writers must keep no transaction open."""
    mends: list[Mend] = field(default_factory=list)
    edited: tuple[Edit, str, bytes] | None = None
    """What somebody edited in Redis and nobody has mended yet: the key, and the member that is in it."""

    async def pause(self, seconds: float) -> None:
        """Wait for a random part of so long, or until the end."""
        await wait(self.stop, self.random.uniform(0, seconds))

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, seconds: float) -> None:
        """Wait for what servers do. They are asked ten times a second at most: pollers share this process."""

        async def holds() -> bool:
            await asyncio.sleep(0.1)
            with suppress(RedisError, *LOST):  # one that is away, or loads what its master holds
                return await condition()
            return False

        try:
            await eventually(holds, what, seconds)
        except AssertionError as error:
            raise Hindrance(str(error)) from error

    async def leader(self) -> int:
        """Which projector leads; any, where nobody knows."""
        place = await self.service.leader()
        return self.random.randrange(2) if place is None else place

    @asynccontextmanager
    async def postgres(self, url: str | None = None) -> AsyncIterator[Connection]:
        """A superuser's connection, or another's."""
        connection = await asyncpg.connect(url or self.service.database_url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        """A writer of the fault's own; what goes wrong with its transaction is no failure, and is found out about."""
        writer = Writer(self.service.database_url, self.ledger, self.random, self.stop, self.kept)
        try:
            yield writer
        except LOST:
            await writer.mend()
        finally:
            if writer.connection is not None:
                await writer.connection.close(timeout=5)
