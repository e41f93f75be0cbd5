"""What `readside demo --chaos` does to the parts, as plain values: one seed, one series."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

FaultKind = Literal["kill", "freeze", "flush", "cut"]
PAUSE_SECONDS = (4.0, 10.0)
FREEZE_SECONDS = (1.0, 7.0)  # as-of may be five seconds old before PostgreSQL is asked instead
_CHOICES: tuple[tuple[FaultKind, str, int], ...] = (
    ("kill", "PostgreSQL", 2),
    ("kill", "Redis", 2),
    ("kill", "the projector", 3),
    ("kill", "the API", 2),
    ("freeze", "Redis", 1),
    ("freeze", "the projector", 2),
    ("freeze", "the API", 1),
    ("flush", "Redis", 2),
    ("cut", "PostgreSQL", 1),
)


@dataclass(frozen=True, slots=True)
class DemoFault:
    """One fault, `after_seconds` of peace; a freeze lasts `frozen_seconds`, others 0."""

    kind: FaultKind
    part: str
    after_seconds: float
    frozen_seconds: float = 0.0


def faults(chance: Random) -> Iterator[DemoFault]:
    """Draw faults for ever. The writer is spared: it stands for applications, which are nobody's to mend here."""
    weights = [weight for _, _, weight in _CHOICES]
    while True:
        [(kind, part, _)] = chance.choices(_CHOICES, weights)
        after, frozen = chance.uniform(*PAUSE_SECONDS), chance.uniform(*FREEZE_SECONDS)
        yield DemoFault(kind, part, after, frozen if kind == "freeze" else 0.0)
