"""The faults that strike a run, of every kind."""

from __future__ import annotations

from tests.oracle.letter_faults import LetterFaults
from tests.oracle.migrations import Migrations
from tests.oracle.postgres_faults import PostgresFaults
from tests.oracle.process_faults import ProcessFaults
from tests.oracle.redis_faults import RedisFaults
from tests.oracle.site import Fault, Site


class Faults:
    """Everything that can be done to a service."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.of_redis = RedisFaults(site)
        self._others = (ProcessFaults(site), PostgresFaults(site), LetterFaults(site), Migrations(site))

    def all(self) -> list[Fault]:
        """Each of them."""
        return [*self.of_redis.all(), *(fault for kind in self._others for fault in kind.all())]

    def mend(self) -> None:
        """Mend what faults have left."""
        for mend in self.site.mends:
            mend()
        self.site.mends.clear()
