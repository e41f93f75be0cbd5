"""Starts parts again that have ended, and says so; a part that cannot stay up ends the demo."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from readmodel.errors import DemoError
from readmodel.runtime.backoff import delays
from readmodel.runtime.supervise import first_to_end
from readside.demo.announcer import Announcer, sentence
from readside.demo.processes import ending, first_true, last_words

if TYPE_CHECKING:
    from readside.demo.heal_meter import HealMeter
    from readside.demo.parts import DemoPart

STARTS = 5
"""So many starts in a row may fail, and so many ends of one part may come within `WITHIN_SECONDS`."""
WITHIN_SECONDS = 60.0
PAUSE_SECONDS = 0.1, 2.0


class Keeper:
    """Watches over parts, each in a task of its own. `meter` measures how long each takes to heal, where it can.

    `pauses` are the seconds before the first start, and at most.
    """

    def __init__(self, announcer: Announcer, meter: HealMeter, pauses: tuple[float, float] = PAUSE_SECONDS) -> None:
        self._announcer = announcer
        self._meter = meter
        self._pause_seconds = pauses
        self._healed: dict[str, asyncio.Event] = {}
        self._struck: set[str] = set()

    async def keep(self, part: DemoPart) -> NoReturn:
        """Start the part again whenever it has ended. Raises DemoError when it does not stay up, or does not heal.

        An end by `kill` says nothing of whether it stays up, and is not counted.
        """
        ends: deque[float] = deque(maxlen=STARTS)
        pauses = self._pauses()
        while True:
            await first_true(partial(_has_ended, part))
            since = time.monotonic()
            if part.name in self._struck:
                self._struck.remove(part.name)
                await self._mend(part, since, self._pauses())
                continue
            if len(ends) == STARTS and since - ends[0] < WITHIN_SECONDS:
                raise _given_up(part)
            if ends and since - ends[-1] > WITHIN_SECONDS:
                pauses = self._pauses()
            ends.append(since)
            await self._mend(part, since, pauses)

    async def kill(self, part: DemoPart) -> None:
        """Kill the process of a part that is kept, and return once it has healed."""
        healed = self._healed[part.name] = asyncio.Event()
        if part.child.running:
            self._struck.add(part.name)
            part.child.process.kill()
        await healed.wait()

    def _pauses(self) -> Iterator[float]:
        return delays(*self._pause_seconds)

    async def _mend(self, part: DemoPart, since: float, pauses: Iterator[float]) -> None:
        """Start it, and measure how it heals unless it ends again before it has."""
        how = ending(part.child.process.returncode)
        self._announcer.news(f"{part.name} has ended ({how}). It is started again.", "yellow")
        await self._start(part, pauses)
        if self._meter.able:
            await first_to_end(self._measure(part, how, since), _until_ended(part))

    async def _start(self, part: DemoPart, pauses: Iterator[float]) -> None:
        for attempt in range(1, STARTS + 1):
            await asyncio.sleep(next(pauses))
            try:
                return await part.start()
            except DemoError:
                if attempt == STARTS:
                    raise
        raise AssertionError("the last failure is raised")

    async def _measure(self, part: DemoPart, how: str, since: float) -> None:
        await self._meter.measure(f"{part.name} had ended ({how})", since)
        if healed := self._healed.pop(part.name, None):
            healed.set()


def _given_up(part: DemoPart) -> DemoError:
    child = part.child
    return DemoError(
        f"{sentence(part.name)} does not stay up: it ended {STARTS + 1} times within {WITHIN_SECONDS:.0f} s "
        f"({ending(child.process.returncode)}).{last_words(child.log)}"
    )


async def _has_ended(part: DemoPart) -> bool:
    return not part.child.running


async def _until_ended(part: DemoPart) -> None:
    await first_true(partial(_has_ended, part))
