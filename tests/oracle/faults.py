"""The faults that strike a run, of every kind."""

from __future__ import annotations

from tests.oracle.data_faults import DataFaults
from tests.oracle.letter_faults import LetterFaults
from tests.oracle.migrations import Migrations
from tests.oracle.postgres_faults import PostgresFaults
from tests.oracle.process_faults import ProcessFaults
from tests.oracle.site import Fault, Site


class Faults:
    """Everything that can be done to a service."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.of_data = DataFaults(site)
        everywhere = (self.of_data, ProcessFaults(site), PostgresFaults(site), LetterFaults(site), Migrations(site))
        self._kinds = (*site.service.installation.faults(site), *everywhere)

    def all(self) -> list[Fault]:
        """Each of them."""
        return [fault for kind in self._kinds for fault in kind.all()]

    async def mend(self) -> None:
        """Mend what faults have left."""
        while self.site.mends:
            await self.site.mends.pop(0)()
