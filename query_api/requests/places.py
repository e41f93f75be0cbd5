"""How many polls one process holds at a time, of whatever kind."""

from __future__ import annotations

from query_api.http.problems import problem_of
from readmodel.errors import NoPlaceFree

NO_PLACE = problem_of(NoPlaceFree())


class WaitingPlaces:
    """Counts held polls, those that wait for news and those that wait for an instant alike; `most` is the bound."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = self.refused = 0

    def take(self) -> bool:
        """Take a place; False where all are taken."""
        if self.taken >= self.most:
            self.refused += 1
            return False
        self.taken += 1
        return True

    def free(self) -> None:
        """Free a place that was taken."""
        self.taken -= 1
