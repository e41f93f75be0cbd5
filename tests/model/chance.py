"""All that is left to chance in a simulation, from one seed: how long things take, and what fails."""

import asyncio
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

USUAL_SECONDS = 0.004
SLOW = 0.06
"""How many of the calls take 30 times as long as usual."""


@dataclass(eq=False)
class Machine:
    """Where a process runs: it may be frozen, or cut off, which is the same to all others."""

    name: str
    chance: random.Random
    frozen_until: float = 0.0
    frozen_since: float = 0.0

    def freeze(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.frozen_since = asyncio.get_running_loop().time()
        self.frozen_until = self.frozen_since + seconds

    @property
    def frozen(self) -> bool:
        """Whether nothing happens here now."""
        return asyncio.get_running_loop().time() < self.frozen_until

    def frozen_for(self) -> float:
        """Tell since how many seconds."""
        return asyncio.get_running_loop().time() - self.frozen_since if self.frozen else 0.0

    def delay(self) -> float:
        """Draw how long something takes: mostly little, and now and then much."""
        usual = USUAL_SECONDS * (30 if self.chance.random() < SLOW else 1)
        return self.chance.expovariate(1 / usual)

    async def pause(self, seconds: float | None = None) -> None:
        """Take some time, and all the time for which the machine is frozen."""
        await asyncio.sleep(self.delay() if seconds is None else seconds)
        while self.frozen:  # noqa: ASYNC110 (it may be frozen again, for longer)
            await asyncio.sleep(self.frozen_until - asyncio.get_running_loop().time() + self.delay())


@dataclass(eq=False)
class Line(ABC):
    """Brings things to a machine in order, each a while after it was sent."""

    machine: Machine
    open: bool = True
    paused_until: float = 0.0
    _waiting: list[object] = field(default_factory=list)

    def send(self, thing: object) -> None:
        """Put a thing on its way."""
        self._waiting.append(thing)
        asyncio.get_running_loop().call_later(self.machine.delay(), self._arrive)

    def pause(self, seconds: float) -> None:
        """Bring nothing for a while, and then all of it."""
        self.paused_until = asyncio.get_running_loop().time() + seconds

    def cut(self) -> None:
        """Lose what is on its way."""
        self._waiting.clear()

    def _arrive(self) -> None:
        if not self._waiting or not self.open:
            return
        if self.machine.frozen or asyncio.get_running_loop().time() < self.paused_until:
            asyncio.get_running_loop().call_later(self.machine.delay() + 0.01, self._arrive)
        else:
            self.take(self._waiting.pop(0))

    @abstractmethod
    def take(self, thing: object) -> None:
        """Receive a thing."""
