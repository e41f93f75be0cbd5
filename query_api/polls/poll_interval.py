"""How often the server would like a client to poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

ACTIVE_SECONDS = 1
TERMINAL_SECONDS = 15
BUSY_FACTOR = 2
BUSY_LATENESS_SECONDS = 0.05
"""An event loop that runs its timers so late has more to do than it can."""
TICK_SECONDS = 0.5


def poll_interval(*, terminal: bool, busy: bool) -> int:
    """Whole seconds between polls of a session; `terminal`: its status says that it is over."""
    seconds = TERMINAL_SECONDS if terminal else ACTIVE_SECONDS
    return seconds * BUSY_FACTOR if busy else seconds


class PollLoad:
    """Whether this process has more to do than it can: its timers fire late, or principals wait for others' queries."""

    def __init__(self, is_crowded: Callable[[], bool]) -> None:
        self._is_crowded = is_crowded
        self.busy = False

    async def run(self) -> None:
        """Measure, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(TICK_SECONDS)
            self.note(loop.time() - before - TICK_SECONDS)

    def note(self, lateness_seconds: float) -> None:
        """Take one measurement."""
        self.busy = lateness_seconds > BUSY_LATENESS_SECONDS or self._is_crowded()
