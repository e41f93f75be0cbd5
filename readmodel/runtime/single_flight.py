"""Single flight: whoever asks for a thing while an attempt at it is under way shares that attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

from readmodel.runtime.supervise import end, seen

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Makes one attempt at a time. Whoever asks after its end begins the next.

    An attempt belongs to none of its callers: it goes on when all have left, and its log lines are about no request.
    """

    def __init__(self, attempt: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._attempt = attempt
        self._task: asyncio.Task[T] | None = None

    @property
    def in_flight(self) -> bool:
        """Whether an attempt is under way."""
        return self._task is not None and not self._task.done()

    def begin(self) -> bool:
        """Begin an attempt, unless one is under way; tells whether it did."""
        if self.in_flight:
            return False
        self._task = self._new()
        return True

    def join(self) -> asyncio.Task[T]:
        """The attempt under way, or a new one. Wait for it by `asyncio.wait`: an `await` hands cancellations on."""
        if self._task is None or self._task.done():
            self._task = self._new()
        return self._task

    def _new(self) -> asyncio.Task[T]:
        task = asyncio.create_task(self._attempt(), context=Context())
        task.add_done_callback(seen)  # those who shared an error have it, or have left
        return task

    async def settled(self, timeout_seconds: float | None = None) -> None:
        """Wait until the attempt under way has ended, but no longer than this; raises nothing of its own."""
        if self.in_flight:
            await asyncio.wait({self.join()}, timeout=timeout_seconds)

    async def close(self) -> None:
        """Cancel the attempt under way, and wait for its end."""
        if self._task is not None:
            await end([self._task])
