"""Running tasks so that none dies alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

AGAIN_SECONDS = 1.0
"""A task that did not end so long after it was cancelled is cancelled again."""


async def first_to_end(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run these side by side until one returns or raises; cancel the rest, wait for them, and raise what it raised.

    A TaskGroup would wrap the one reason in a group, and its callers decide by the reason.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    for task in done:
        await task


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel these tasks until all are over.

    Once is not enough: redis-py sends with `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes
    in the moment in which the sending ends.
    """
    running, cancelled = {task for task in tasks if not task.done()}, False
    while running:
        for task in running:
            task.cancel()
        try:
            await asyncio.wait(running, timeout=AGAIN_SECONDS)
        except asyncio.CancelledError:
            cancelled = True  # we end all the same, only not before they did
        running = {task for task in running if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen: what others raise while they are ended is no news
    if cancelled:
        raise asyncio.CancelledError
