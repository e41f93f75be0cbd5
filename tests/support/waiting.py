"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

STEP_SECONDS, LONGEST_STEP_SECONDS = 0.01, 0.04
"""A condition may cost milliseconds: who has waited for long asks less often."""
PATIENCE_SECONDS = 60.0
"""What takes a second here takes ten on a slow machine that others use; who waits for a state loses nothing by it."""


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str, timeout_seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once `condition()` (awaited where it gives an awaitable) is true; fail with `what` after the deadline."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        waited = loop.time() - since
        if waited > timeout_seconds:
            raise AssertionError(f"Not within {timeout_seconds} s: {what} (last: {result!r})")
        await asyncio.sleep(min(max(STEP_SECONDS, waited / 10), LONGEST_STEP_SECONDS))
