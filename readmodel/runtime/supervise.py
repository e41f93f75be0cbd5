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
        await end(tasks)
    for task in done:
        await task


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel these tasks until all are over.

    Once may not be enough: a library that awaits through `asyncio.wait_for` loses a cancellation now and then before
    Python 3.12 (python/cpython#86296), and a task that goes on for ever would keep the process from ending.
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
        seen(task)  # what others raise while they are ended is no news
    if cancelled:
        raise asyncio.CancelledError


def seen(task: asyncio.Future[Any]) -> None:
    """Have the loop not complain of an error that nobody fetches from a task that is over."""
    if not task.cancelled():
        task.exception()


def raise_if_cancelled(exc: BaseException) -> None:
    """Raise CancelledError in the place of a library's error when the task is being cancelled.

    A connection that breaks at that very moment makes the library raise its own error instead: caught as an outage,
    it would have the task wait for a server that it should no longer wait for.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return  # no loop runs here
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from exc
