"""Delays between tries: exponential, capped, with jitter; the caller resets by starting a new iterator."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(
    first_seconds: float = 0.1, cap_seconds: float = 5.0, chance: random.Random | None = None
) -> Iterator[float]:
    """Yield seconds to wait, for ever: doubling from `first_seconds` to `cap_seconds`, each × a random 0.5–1.0.

    Half of each delay is fixed so that a retry never follows at once; the random half spreads many clients.
    """
    chance = chance or random.Random()
    delay = first_seconds
    while True:
        yield delay * (0.5 + chance.random() / 2)
        delay = min(cap_seconds, delay * 2)
