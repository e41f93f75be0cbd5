"""Starts parts again that have ended, and says so; a part that cannot stay up ends the demo."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from functools import partial
from random import Random
from typing import NoReturn

from readmodel.backoff import delays
from readmodel.errors import DemoError
from readside.demo.announcer import Announcer, sentence
from readside.demo.heal_meter import HealMeter
from readside.demo.parts import DemoPart
from readside.demo.processes import ending, first_true, last_words

STARTS = 5
"""So many tries in a row may fail, and so many ends of one part may come within `WITHIN_SECONDS`."""
WITHIN_SECONDS = 60.0


class Keeper:
    """Watches over parts, each in a task of its own. `meter` measures how long each takes to heal, where it can."""

    def __init__(self, announcer: Announcer, meter: HealMeter, chance: Random | None = None) -> None:
        self._announcer = announcer
        self._meter = meter
        self._chance = chance
        self._healed: dict[str, asyncio.Event] = {}

    async def keep(self, part: DemoPart) -> NoReturn:
        """Start the part again whenever it has ended. Raises DemoError when it does not stay up, or does not heal."""
        ends: deque[float] = deque(maxlen=STARTS)
        loop = asyncio.get_running_loop()
        while True:
            await first_true(partial(_has_ended, part))
            if len(ends) == STARTS and loop.time() - ends[0] < WITHIN_SECONDS:
                raise self._given_up(part)
            ends.append(loop.time())
            await self._mend(part)

    async def kill(self, part: DemoPart) -> None:
        """Kill a part's process that is kept, and return once it has healed."""
        healed = self._healed[part.name] = asyncio.Event()
        with suppress(ProcessLookupError):
            part.child.process.kill()
        await healed.wait()

    async def _mend(self, part: DemoPart) -> None:
        since, how = time.monotonic(), ending(part.child.process.returncode)
        self._announcer.news(f"{part.name} has ended ({how}). It is started again.", "yellow")
        await self._start(part)
        if self._meter.able:
            await self._meter.measure(f"{part.name} had ended ({how})", since)
        if healed := self._healed.pop(part.name, None):
            healed.set()

    async def _start(self, part: DemoPart) -> None:
        pauses = delays(first_seconds=0.2, cap_seconds=2.0, chance=self._chance)
        for _ in range(STARTS - 1):
            try:
                await part.start()
            except DemoError:
                await asyncio.sleep(next(pauses))
            else:
                return
        await part.start()

    def _given_up(self, part: DemoPart) -> DemoError:
        child = part.child
        return DemoError(
            f"{sentence(part.name)} does not stay up: it ended {STARTS + 1} times within {WITHIN_SECONDS:.0f} s "
            f"({ending(child.process.returncode)}).{last_words(child.log)}"
        )


async def _has_ended(part: DemoPart) -> bool:
    return not part.child.running
