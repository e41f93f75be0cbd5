"""Where a stream goes on when memory does not know: in the view's arrival log, or else in Postgres."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from query_api.memory.answers import AsOf, Number, Source
from query_api.memory.staleness import Staleness
from query_api.sources.reader import StoreReads, is_fresh
from query_api.sources.view_reads import ViewAnswer
from readmodel.arrivals import Arrivals, StreamRead
from readmodel.errors import OffsetGone
from readmodel.event_stream import LogArrivals
from readmodel.view import Cold, ViewArrivals

OF_THE_LOG = frozenset(
    {"within a long answer", "not in the arrival log", "a long stream", "no arrival log", "older than the window"}
    | {"of another history", "no origin"}
)
"""Why the view does not continue a stream of a session that may well be hot: it need not be warmed."""


class StoreArrivals(NamedTuple):
    """What a store gave of a stream; `number` is None when it must not be kept."""

    source: Source
    arrivals: Arrivals
    freshness: AsOf
    number: Number | None


class StreamReader(StoreReads[StreamRead, ViewArrivals, LogArrivals]):
    """Reads streams from the stores."""

    async def read(self, question: StreamRead, wanted: Staleness, principal: Hashable = None) -> StoreArrivals:
        """Read on as `fetch` does.

        Of a view that is staler than wanted only news is given, where Postgres cannot answer: nobody can say then that
        there is no more.
        """
        fetched = await self.fetch(question, wanted, principal)
        if isinstance(fetched, ViewAnswer):
            found = fetched.found
            number = Number(found.term, found.n) if found.term else None
            is_all = found.arrivals.up_to_date and is_fresh(fetched.freshness, wanted)
            return StoreArrivals("redis", found.arrivals._replace(up_to_date=is_all), fetched.freshness, number)
        return StoreArrivals("postgres", fetched.logged.arrivals, fetched.freshness, fetched.number)

    def _would_do(self, seen: ViewAnswer[ViewArrivals], wanted: Staleness) -> bool:
        return bool(seen.found.arrivals.events) and super()._would_do(seen, wanted)

    def _ask_for(self, session_id: str, cold: Cold | None) -> None:
        if cold is not None and cold.reason in OF_THE_LOG:
            self._requests.touch(session_id)
        else:
            super()._ask_for(session_id, cold)

    async def _look(
        self, question: StreamRead, wanted: Staleness, principal: Hashable
    ) -> tuple[ViewAnswer[ViewArrivals] | None, Cold | None]:
        """Ask the view. Of which history an offset is, is for Postgres to say: a view may be of before a promotion."""
        try:
            return await super()._look(question, wanted, principal)
        except OffsetGone:
            return None, Cold("of another history")
