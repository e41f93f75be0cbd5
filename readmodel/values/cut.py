"""Which transactions a snapshot of Postgres shows, and so what a reader of it has seen.

A load and a comparison each hold a session as one snapshot has it. A letter of a transaction that this snapshot shows
tells nothing new: to add its event again, in another version, would have the view hold it twice. A stream's offset is
such a cut too: all that it shows was given.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Cut(NamedTuple):
    """The ids of top-level transactions, as `pg_current_snapshot()` tells them and letters bear them.

    Shown are those below `xmax`, but for the ones that were `running`. Of two snapshots of one server one covers the
    other.
    """

    xmax: int
    running: frozenset[int]

    def shows(self, txid: int) -> bool:
        """Tell whether the snapshot shows what a transaction did."""
        return txid < self.xmax and txid not in self.running

    def covers(self, other: Cut) -> bool:
        """Tell whether the snapshot shows all that another shows."""
        return other.xmax <= self.xmax and not any(map(other.shows, self.running))

    @property
    def xmin(self) -> int:
        """The first id that is not shown; all below it are."""
        return min(self.running, default=self.xmax)

    @property
    def snapshot(self) -> str:
        """Its text, `xmin:xmax:xip,…`, as Postgres reads it."""
        return f"{max(1, self.xmin)}:{max(1, self.xmax)}:{','.join(map(str, sorted(self.running)))}"


START = Cut(0, frozenset())
"""It shows nothing."""


@lru_cache(maxsize=256)
def cut_of(snapshot: str) -> Cut:
    """Read a snapshot's text, `xmin:xmax:xip,…`; an empty one shows nothing."""
    if not snapshot:
        return START
    _, xmax, running = snapshot.split(":")
    return Cut(int(xmax), frozenset(map(int, filter(None, running.split(",")))))
