"""A time limit that counts only while the event loop runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SLICES = 5


@asynccontextmanager
async def patience(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError in the block once it took so long, by a loop that had its turns meanwhile.

    A loop that stands still for a second, for lack of processor time, has not listened for that long: what it waits for
    may have come. So the time is counted in slices, and a stall, however long, costs one of them.
    """
    async with asyncio.timeout(None) as limit:
        slices = _Slices(limit, seconds / SLICES)
        try:
            yield
        finally:
            slices.timer.cancel()


class _Slices:
    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._left = SLICES
        self._loop = asyncio.get_running_loop()
        self.timer = self._loop.call_later(seconds, self._passed)

    def _passed(self) -> None:
        self._left -= 1
        if self._left:
            self.timer = self._loop.call_later(self._seconds, self._passed)
        else:
            self._limit.reschedule(self._loop.time())
