"""A hot standby of the simulated Postgres, as an API reads it: the project's rules, over what it has replayed."""

from __future__ import annotations

from readmodel.errors import AnswerTooLarge, EventLogUnavailable
from readmodel.postgres.event_log import LogPage
from readmodel.postgres.standby_log import Choose, StandbyServer, another_cluster
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof
from tests.model.chance import Machine
from tests.model.postgres import Postgres
from tests.support.viewing import expected

LEAST_LAG_SECONDS = 0.05
"""It never has what a crash of the primary loses: that was not written out yet."""


class Standby:
    """The server. How far the log has come is told in microseconds since 1970: an instant of the primary's clock."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.lag_seconds = LEAST_LAG_SECONDS
        self._replayed = 0

    def replayed(self) -> int:
        """Tell how far it has replayed: it never goes back."""
        self._replayed = max(self._replayed, self.postgres.now_us() - int(self.lag_seconds * 1_000_000))
        return self._replayed

    def database(self) -> str:
        """Name the database: it was another one before a backup was restored."""
        older = self.postgres.restored_us > self.replayed()
        return f"cluster-{self.postgres.cluster - older}"


class StandbyLog:
    """What an API process reads of it: the methods of `readmodel.postgres.standby_log.StandbyLog`."""

    def __init__(self, machine: Machine, standby: Standby, choose: Choose) -> None:
        self._machine = machine
        self._standby = standby
        self._choose = choose

    async def look(self) -> StandbyServer:
        """Ask how far it is."""
        await self._pause()
        return StandbyServer(180_000, True, self._standby.replayed(), True, 1, self._standby.database())

    async def leave(self) -> None:
        """There are no connections to leave."""

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll: how far it has replayed is asked first, and the snapshot is taken later."""
        await self._pause()
        replayed = self._standby.replayed()
        await self._pause()
        proof = self._choose(poll.session_id, replayed)
        if proof is None:
            raise EventLogUnavailable("The standby has not replayed what it must.")
        return self._page(poll, max_bytes, proof)

    def _page(self, poll: Poll, max_bytes: int, proof: Proof) -> LogPage:
        database, state = self._standby.database(), None
        if database != proof.database:
            raise another_cluster("standby", database, proof.database)
        for version in self._standby.postgres.history.get(poll.session_id, ()):
            if version.since_us <= self._standby.replayed():
                state = version.state
        page, total = expected(state.events.values() if state else (), poll)
        if len(page) > max_bytes:
            raise AnswerTooLarge(1, max_bytes)
        return LogPage(state.status if state else None, page, total, proof.as_of_us, database, proof=proof)

    async def _pause(self) -> None:
        await self._machine.pause()
        if self._machine.chance.random() < self._standby.postgres.failing:
            raise EventLogUnavailable("The standby does not answer.")
