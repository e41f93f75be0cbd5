"""An API process under attack: the memory that it gains, and how another client's polls fare meanwhile."""

import asyncio
import sys
from dataclasses import dataclass

import orjson

from bench.attack import Outcome, Prey
from bench.bystander import Bystander
from bench.stack import ROOT, output_of
from bench.table import BenchError
from bench.watching import forget_peak, peak_mb, resident_mb

SETTLE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Damage:
    """What an attack did: megabytes of the process before, at its largest and after it, another client's polls."""

    before_mb: float
    peak_mb: float
    after_mb: float
    bystander: Bystander
    outcome: Outcome

    @property
    def gained_mb(self) -> float:
        """What the process had more, at its largest."""
        return self.peak_mb - self.before_mb

    @property
    def left_mb(self) -> float:
        """What it still had more, some time after."""
        return self.after_mb - self.before_mb

    @property
    def slowest_seconds(self) -> float:
        """The slowest poll of the other client."""
        return max(self.bystander.seconds)


async def attacked(process: int, prey: Prey, target: str, attack: str, seconds: float, settle_seconds: float) -> Damage:
    """Attack a process while another client polls `target`. Raises BenchError when the attack itself fails."""
    before = resident_mb(process)
    forget_peak(process)
    async with Bystander.polling(prey.port, target, prey.key) as bystander:
        outcome = await _outcome(prey, attack, seconds)
    peak = peak_mb(process)
    await asyncio.sleep(settle_seconds)
    return Damage(before, peak, resident_mb(process), bystander, outcome)


async def _outcome(prey: Prey, attack: str, seconds: float) -> Outcome:
    arguments = attack, str(prey.port), prey.path, prey.key, str(seconds)
    output = await output_of(sys.executable, str(ROOT / "bench" / "attack.py"), *arguments)
    try:
        return Outcome(**orjson.loads(output))
    except orjson.JSONDecodeError:
        raise BenchError(f"The attack {attack} did not end well:\n{output}") from None
