"""Polls of the view, so that a Redis that hangs holds nobody for long: short timeouts, a bound, a circuit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from query_api.answers import Freshness
from query_api.circuit import Circuit
from readmodel.errors import StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.poll import Poll
from readmodel.supervise import end
from readmodel.view import Cold, Found

READ_SECONDS = 0.5
"""A script answers within milliseconds; one that a load's big call holds up, within a few tens of them."""
MAX_READS = 48
"""Reads under way; fewer than the client has connections, so that a poll waits instead of failing."""


class View(Protocol):
    """What answers polls from Redis."""

    async def read(self, poll: Poll, max_bytes: int, database: str) -> Found | Cold:
        """Answer a poll; raises AnswerTooLarge, ViewUnavailable, AccessRefused, ForeignView.

        ForeignView too where the view is of another database than `database`; "" takes any.
        """


class Seen(NamedTuple):
    """A page from the view, and how fresh it is by this process' clock."""

    found: Found
    freshness: Freshness


class ViewReads:
    """Reads of the view. Callers who ask the same at the same time share one read.

    `database` gives the identity of the one that the view must be of, "" while it is not known.
    """

    def __init__(self, view: View, circuit: Circuit, max_bytes: int, database: Callable[[], str]) -> None:
        self._view = view
        self._circuit = circuit
        self._max_bytes = max_bytes
        self._database = database
        self._slots = asyncio.Semaphore(MAX_READS)
        self._running: dict[Poll, asyncio.Task[Seen | Cold]] = {}

    async def read(self, poll: Poll) -> Seen | Cold:
        """Answer a poll; raises AnswerTooLarge, StoreUnavailable or StoreRefused."""
        running = self._running.get(poll)
        if running is None:
            self._circuit.admit()
            running = asyncio.create_task(self._read(poll))
            self._running[poll] = running
            running.add_done_callback(lambda task: self._finished(poll, task))
        return await asyncio.shield(running)  # a caller who leaves must not take the answer from the others

    async def close(self) -> None:
        """Cancel what is under way."""
        await end(list(self._running.values()))

    def _finished(self, poll: Poll, task: asyncio.Task[Seen | Cold]) -> None:
        del self._running[poll]
        if not task.cancelled():
            task.exception()  # seen, even if every caller has left

    async def _read(self, poll: Poll) -> Seen | Cold:
        async with self._slots:
            called_at, database = time.monotonic(), self._database()
            try:
                async with asyncio.timeout(READ_SECONDS):
                    found = await self._view.read(poll, self._max_bytes, database)
            except TimeoutError as exc:
                error = ViewUnavailable(f"Redis did not answer within {READ_SECONDS} s.")
                self._circuit.failed(error, called_at)
                raise error from exc
            except (StoreUnavailable, StoreRefused) as error:
                self._circuit.failed(error, called_at)
                raise
            self._circuit.succeeded()
        if isinstance(found, Cold):
            return found
        if self._database() != database:
            return Cold("read before it was known of which database the view must be")
        # Redis answered after called_at, so the as-of is at most this old.
        return Seen(found, Freshness(found.as_of_us, called_at - found.lag_us / 1_000_000))
