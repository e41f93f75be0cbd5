"""Whether polls can be answered: one of the two stores is enough, unless Postgres will not be read as it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from readmodel.errors import RightsMissing, SchemaMissing, ServiceError

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
        self._failures: dict[str, Exception | None] = {}

    @property
    def refusal(self) -> ServiceError | None:
        """What somebody must mend before sessions that are not hot are answered, as far as `state` last found."""
        return next(
            (error for error in self._failures.values() if isinstance(error, SchemaMissing | RightsMissing)), None
        )

    async def state(self) -> dict[str, bool]:
        """Tell which stores answer."""
        async with self._lock:
            if self._clock() - self._asked_at >= KEPT_SECONDS:
                failures = await asyncio.gather(*(_failure(check) for check in self._checks.values()))
                self._failures = dict(zip(self._checks, failures, strict=True))
                self._asked_at = self._clock()
            return {store: failure is None for store, failure in self._failures.items()}


async def _failure(check: Check) -> Exception | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except (ServiceError, TimeoutError) as error:
        return error
    return None
