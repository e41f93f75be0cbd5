"""Whether polls can be answered: one of the two stores is enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from readmodel.errors import ServiceError

KEPT_SECONDS = 1.0
PATIENCE_SECONDS = 1.0

Check = Callable[[], Awaitable[object]]


class Readiness:
    """Asks the stores (each check raises a ReadsideError where it fails), at most once a second."""

    def __init__(self, checks: dict[str, Check], clock: Callable[[], float] = time.monotonic) -> None:
        self._checks = checks
        self._clock = clock
        self._lock = asyncio.Lock()
        self._asked_at = float("-inf")
        self._state: dict[str, bool] = {}

    async def state(self) -> dict[str, bool]:
        """Tell which stores answer."""
        async with self._lock:
            if self._clock() - self._asked_at >= KEPT_SECONDS:
                outcomes = await asyncio.gather(*(_answers(check) for check in self._checks.values()))
                self._state = dict(zip(self._checks, outcomes, strict=True))
                self._asked_at = self._clock()
            return self._state


async def _answers(check: Check) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except (ServiceError, TimeoutError):
        return False
    return True
