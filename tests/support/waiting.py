"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

STEP_SECONDS = 0.01


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str, timeout_seconds: float = 30
) -> None:
    """Return once `condition()` (awaited where it gives an awaitable) is true; fail with `what` after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        if loop.time() > deadline:
            raise AssertionError(f"Not within {timeout_seconds} s: {what} (last: {result!r})")
        await asyncio.sleep(STEP_SECONDS)
