"""Another client, that polls while something else goes on: over a connection that it keeps, and over new ones."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Self

from bench.load import HEADERS
from bench.polling_client import PollingClient
from readside.demo.processes import LOOPBACK

POLL_SECONDS = 10.0
"""A poll that is not answered by then has failed."""
PAUSE_SECONDS = 0.02


class Bystander:
    """Polls both ways at once; `seconds` is what each poll took, `failed` how many were not answered by 200.

    One that failed counts as long as one may take: who is refused at once has to wait all the same.
    """

    def __init__(self, port: int, target: str) -> None:
        self._port = port
        self._target = target
        self.seconds: list[float] = []
        self.failed = 0

    @classmethod
    @asynccontextmanager
    async def polling(cls, port: int, target: str) -> AsyncIterator[Self]:
        """Poll for as long as the block lasts."""
        bystander = cls(port, target)
        polls = asyncio.gather(bystander._over_connections(sys.maxsize), bystander._over_connections(1))
        try:
            yield bystander
        finally:
            polls.cancel()
            with suppress(asyncio.CancelledError):
                await polls

    def words(self) -> str:
        """How many polls there were, and how many failed."""
        return f"{len(self.seconds):,} polls, {self.failed:,} failed"

    async def _over_connections(self, polls_each: int) -> None:
        """Poll over one connection after the other: for so many polls, or until one fails."""
        while True:
            async with AsyncExitStack() as stack:
                client: PollingClient | None = None
                for _ in range(polls_each):
                    began, answered = time.perf_counter(), False
                    with suppress(OSError):
                        async with asyncio.timeout(POLL_SECONDS):
                            if client is None:
                                client = await stack.enter_async_context(PollingClient.open(LOOPBACK, self._port))
                            answered = (await client.get(self._target, HEADERS)).status == 200
                    self._count(time.perf_counter() - began, answered=answered)
                    await asyncio.sleep(PAUSE_SECONDS)
                    if not answered:
                        break

    def _count(self, seconds: float, *, answered: bool) -> None:
        self.seconds.append(seconds if answered else POLL_SECONDS)
        self.failed += not answered
