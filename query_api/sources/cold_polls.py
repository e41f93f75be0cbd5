"""Who answers a poll that the view cannot: a fit hot standby, or else the primary, within the same poll."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

from query_api.sources.fallback import Fallback, LineFull
from query_api.sources.replicas import Replica, Replicas
from query_api.sources.source_answer import SourceAnswer
from readmodel.errors import AnswerTooLarge, Overload, ServiceError
from readmodel.postgres.event_log import LogPage
from readmodel.values.poll import Poll


class ColdPolls:
    """Answers polls from PostgreSQL. `places` is how many queries each server runs at a time."""

    def __init__(
        self, primary: Fallback, replicas: Replicas, places: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.primary = primary
        self.replicas = replicas
        self._places = places
        self._clock = clock
        self.handed_on = 0
        """Polls that a standby was asked, and the primary had to answer."""
        self.by_primary = 0

    async def answer(
        self, poll: Poll, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0
    ) -> SourceAnswer[LogPage]:
        """Answer a poll as `Fallback.answer` does: by a standby, or by the primary.

        Whoever has just created a session is not told by a standby that there is none. Raises AnswerTooLarge, Overload,
        StoreUnavailable, StoreRefused.
        """
        arrived = self._clock()
        wish = staleness_seconds, not_before_us
        may_ask = self.replicas.all and staleness_seconds > 0 and not self.primary.known_missing(poll, arrived, *wish)
        replica = self.replicas.best(poll, *wish, self.primary, self._places) if may_ask else None
        if replica is not None:
            fetched = await self._tried(replica, poll, arrived, staleness_seconds, principal)
            if fetched is not None and fetched.freshness.meets(*wish, self._clock()):
                replica.answers += 1
                return fetched
            self.handed_on += 1
        fetched = await self.primary.answer(poll, staleness_seconds, principal, not_before_us)
        self.by_primary += 1
        return fetched

    async def _tried(
        self, replica: Replica, poll: Poll, arrived: float, staleness_seconds: float, principal: Hashable
    ) -> SourceAnswer[LogPage] | None:
        """Ask a standby; None where the primary must be asked.

        A page that is too long would be so there as well. Who has waited as long as anybody may is refused here.
        """
        try:
            fetched = await replica.fallback.ask(poll, arrived, staleness_seconds, principal)
        except LineFull:
            return None
        except (AnswerTooLarge, Overload):
            raise
        except ServiceError:
            return None
        return fetched if fetched.found.status is not None else None
