"""How many connections one process has, and why it ended some."""

from __future__ import annotations

from collections import Counter
from typing import Literal

Reason = Literal["full", "head_too_long", "head_too_slow", "idle", "untaken", "body_too_long", "malformed", "waiting"]


class Census:
    """Counts connections."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.open = 0
        self.ended: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Whether no further connection is served."""
        return self.open >= self.bound

    def opened(self) -> None:
        """Count one more."""
        self.open += 1

    def closed(self) -> None:
        """Count one less."""
        self.open -= 1

    def refused(self, reason: Reason) -> None:
        """Count one that was ended by us."""
        self.ended[reason] += 1
