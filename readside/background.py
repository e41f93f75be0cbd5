"""Background tasks of a process: one that fails takes the process down, with the reason in its log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)
_failures: list[BaseException] = []


def has_failed() -> bool:
    """Tell whether a part has taken this process down, which should not end as if it had been told to."""
    return bool(_failures)


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run this beside everything else."""
    task = asyncio.create_task(work)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[None]) -> None:
    """Take the process down with a background task that failed: without it answers would grow stale unseen."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _failures.append(error)
        _log.critical("the API stops: a part of it failed", exc_info=error)
        signal.raise_signal(signal.SIGTERM)
