"""Whether polls can be answered: one of the two stores is enough, unless Postgres will not be read as it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from readmodel.errors import RightsMissing, SchemaMissing, ServiceError
from readmodel.view.whole import WholeView

KEPT_SECONDS = 1.0
PATIENCE_SECONDS = 1.0
SERVER_SECONDS = 0.8
"""One Redis of several that takes longer is away, and the others are not."""

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


class ViewCheck:
    """Asks all slices of the view; the view answers while any of them does. `database` is the one it must be of."""

    def __init__(self, view: WholeView, database: Callable[[], str]) -> None:
        self._view = view
        self._database = database
        self.down: list[int] = []

    async def __call__(self) -> None:
        """Raise where no slice answers; `down` are those that did not when others did."""
        self.down = []
        if len(self._view.parts) == 1:
            await self._view.parts[0].check(self._database())
            return
        errors = await self._view.check_each(self._database(), SERVER_SECONDS)
        found = [error for error in errors if error is not None]
        if len(found) == len(errors):
            raise found[0]
        self.down = [index for index, error in enumerate(errors) if error is not None]


async def _failure(check: Check) -> Exception | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except (ServiceError, TimeoutError) as error:
        return error
    return None
