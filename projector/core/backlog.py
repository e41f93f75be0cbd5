"""What was read of one slice's letters and is not applied yet: it collapses in place, and is bounded."""

from __future__ import annotations

from typing import NamedTuple

from projector.core.letters import Beat, Letters

MAX_WAITING = 5_000
"""Events and sessions that one slice's letters name while its Redis takes no batch; past it the slice is compared.

To read so many events takes a tenth of a second, for which the steps of other slices wait. The term goes on: a slice
that catches up while much is written would else begin anew before it has caught up, again and again.
"""


class Delivery(NamedTuple):
    """What a slice takes at once: letters, the last beat that they came with, and by what name rows read from now on.

    `shape` is None where that is as before.
    """

    letters: Letters
    beat: Beat | None = None
    shape: str | None = None


class Backlog:
    """Gathers deliveries until they are taken: several are as good as one reading that told them all."""

    def __init__(self) -> None:
        self._waiting: Delivery | None = None

    def __bool__(self) -> bool:
        """Tell whether there is something to take."""
        return self._waiting is not None

    def put(self, later: Delivery) -> None:
        """Add a delivery. Past the bound the letters are forgotten, and say that any session may have changed."""
        before = self._waiting
        if before is None:
            self._waiting = later
            return
        letters = before.letters
        letters.merge(later.letters)
        if _size(letters) > MAX_WAITING:
            letters = letters.none()
            letters.incomplete = True
        self._waiting = Delivery(letters, later.beat or before.beat, later.shape or before.shape)

    def take(self) -> Delivery:
        """Hand over what was gathered."""
        taken, self._waiting = self._waiting or Delivery(Letters()), None
        return taken


def _size(letters: Letters) -> int:
    return letters.events + len(letters.looks) + len(letters.rows) + len(letters.created)
