"""Who may have committed without a letter, and so whether the view must be compared before as-of moves."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

PREPARED = "prepared "
"""How the name of a prepared transaction begins; others are virtual transactions."""


@dataclass(slots=True)
class Skips:
    """The counter of skipped letters as last seen, and the transactions under way that may have skipped one.

    Truth rests on these two; lease and clocks are economy. The holders must be listed by a later statement than the one
    that read the counter: who counts after that is seen at the next beat.
    """

    count: str = ""
    holders: set[str] = field(default_factory=set)

    def in_doubt(self, count: str) -> bool:
        """Tell whether the holders must be listed at this beat."""
        return count != self.count or bool(self.holders)

    def note(self, count: str, held: AbstractSet[str]) -> bool:
        """Take in a beat's counter and who holds its mark now; tell whether the view must be compared once more."""
        moved, ended = count != self.count, bool(self.holders - held)
        self.holders &= held
        # Not only where the counter moved: whoever holds the mark now may commit what it skipped, by whatever name.
        self.holders |= {holder for holder in held if not holder.startswith(PREPARED)}
        self.count = count
        return moved or ended
