"""Telling a store that is slow from one that hangs: past its patience a query is given up as soon as a probe fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from readmodel.errors import ServiceError
from readmodel.postgres.client import connect
from readmodel.runtime.single_flight import SingleFlight
from readmodel.runtime.supervise import end, seen

PATIENCE_SECONDS = 1.0
"""So long nobody asks whether the store is still there, nor again after it was."""

T = TypeVar("T")
Probe = Callable[[], Coroutine[Any, Any, object]]


class QueryWatch:
    """Runs queries. `probe` raises where the store does not answer; long queries share one probe at a time.

    A query that is given up is cancelled and not waited for: a driver may wait for the store to confirm it.
    """

    def __init__(self, probe: Probe, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._probe = SingleFlight(probe)
        self._patience_seconds = patience_seconds
        self._left: set[asyncio.Task[Any]] = set()

    async def result(self, query: Coroutine[Any, Any, T]) -> T:
        """What the query gives; raises its errors and the probe's."""
        task = asyncio.create_task(query)
        try:
            while not (await asyncio.wait({task}, timeout=self._patience_seconds))[0]:
                probing = self._probe.join()
                await asyncio.wait({task, probing}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    probing.result()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                self._left.add(task)
                task.add_done_callback(self._forget)

    async def close(self) -> None:
        """Cancel what is left."""
        try:
            await end([*self._left])
        finally:
            await self._probe.close()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        seen(task)


async def take_connection(url: str, timeout_seconds: float) -> None:
    """Raise StoreUnavailable where Postgres takes no connection; one that it refuses shows that it is there."""
    try:
        connection = await connect(url, application_name="readside-api", timeout_seconds=timeout_seconds)
    except ServiceError as error:
        if isinstance(error.__cause__, OSError | TimeoutError):
            raise
    else:
        connection.terminate()
