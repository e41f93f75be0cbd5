"""Hearing what changed in the view, for ever: feeds the response cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog

from readmodel.backoff import delays
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.messages import Change, decode_change

_log = structlog.get_logger(__name__)


class Subscription:
    """Takes the messages of `subscribe()` (None once it listens), and subscribes again whenever it breaks.

    What was missed meanwhile needs no care here: the numbers of the messages tell the cache.
    """

    def __init__(
        self, subscribe: Callable[[], AsyncGenerator[bytes | None, None]], hear: Callable[[Change, float], None]
    ) -> None:
        self._subscribe = subscribe
        self._hear = hear
        self._listening: bool | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        pauses = delays()
        while True:
            try:
                async with aclosing(self._subscribe()) as messages:
                    async for data in messages:
                        pauses = delays()
                        self._take(data)
            except (StoreUnavailable, StoreRefused) as error:
                self._lost(error)
            await asyncio.sleep(next(pauses))

    def _take(self, data: bytes | None) -> None:
        if data is None:
            if not self._listening:
                _log.info("changes are heard")
            self._listening = True
            return
        change = decode_change(data)
        if change is not None:
            self._hear(change, time.monotonic())

    def _lost(self, error: StoreUnavailable | StoreRefused) -> None:
        if self._listening is not False:
            _log.warning("changes are not heard", error=str(error))
        self._listening = False
