"""Which table of letters is in use, and which are emptied: decided by their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TURN_BYTES = 4_000_000
"""A table of letters that is larger hands over to an empty one: about 50,000 letters."""


@dataclass(frozen=True, slots=True)
class Household:
    """What to do: the table that is in use from now on, those to be emptied, and whether letters are written at all."""

    turn: int
    emptying: tuple[int, ...]
    open: bool


def keep_house(turn: int, heaps: Sequence[int], sizes: Sequence[int], max_bytes: int) -> Household:
    """Decide by the bytes of each table's heap, and of each with its index.

    We turn only onto an empty table, and empty only those that are not in use. Past `max_bytes` letters are no longer
    written: writers count that they skipped one, and the view is compared instead. A small bound turns sooner: a table
    that closed the box while in use would never be emptied.
    """
    others = [place for place in range(len(heaps)) if place != turn]
    empty = next((place for place in others if heaps[place] == 0), turn)
    emptying = tuple(place for place in others if heaps[place] > 0)  # the one that is left now: at the next beat
    is_full = heaps[turn] > min(TURN_BYTES, max_bytes // 8)
    return Household(empty if is_full else turn, emptying, open=sum(sizes) <= max_bytes)
