"""Which transactions a snapshot of Postgres shows.

A load and a comparison each hold a session as one snapshot has it. A letter of a transaction that this snapshot shows
tells nothing new: to add its event again, in another version, would have the view hold it twice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Visibility(NamedTuple):
    """The ids of top-level transactions, as `pg_current_snapshot()` tells them and letters bear them.

    Shown are those below `xmax`, but for the ones that were `running`.
    """

    xmax: int
    running: frozenset[int]

    def shows(self, txid: int) -> bool:
        """Tell whether the snapshot shows what a transaction did."""
        return txid < self.xmax and txid not in self.running

    def covers(self, other: Visibility) -> bool:
        """Tell whether the snapshot shows all that another shows."""
        return other.xmax <= self.xmax and not any(map(other.shows, self.running))


@lru_cache(maxsize=256)
def visibility(snapshot: str) -> Visibility:
    """Read a snapshot's text, `xmin:xmax:xip,…`; an empty one shows nothing."""
    if not snapshot:
        return Visibility(0, frozenset())
    _, xmax, running = snapshot.split(":")
    return Visibility(int(xmax), frozenset(map(int, filter(None, running.split(",")))))
