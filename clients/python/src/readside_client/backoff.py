"""How long to wait after a failure: exponential, capped, with full jitter, and never less than the server asks."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from `first_seconds` to `cap_seconds`; each wait is a random part of that, so that clients spread."""

    def __init__(
        self, chance: random.Random | None = None, *, first_seconds: float = 0.5, cap_seconds: float = 30.0
    ) -> None:
        self._chance = chance or random.Random()
        self._first_seconds = first_seconds
        self._cap_seconds = cap_seconds
        self._most_seconds = first_seconds

    def next_seconds(self, retry_after_seconds: float | None = None) -> float:
        """The seconds to wait: Retry-After, if there is one, and the jitter on top of it."""
        jitter = self._chance.uniform(0, self._most_seconds)
        self._most_seconds = min(self._cap_seconds, self._most_seconds * 2)
        return (retry_after_seconds or 0.0) + jitter

    def reset(self) -> None:
        """Begin again, after a success."""
        self._most_seconds = self._first_seconds
