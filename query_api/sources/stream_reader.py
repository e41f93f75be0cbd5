"""Where a stream goes on when memory does not know: in the view's arrival log, or else in Postgres."""

from __future__ import annotations

from collections.abc import Hashable

from query_api.memory.staleness import Staleness
from query_api.sources.reader import Reader, is_fresh
from query_api.sources.source_answer import SourceAnswer, StreamPart
from readmodel.errors import OffsetGone
from readmodel.values.arrivals import StreamRead
from readmodel.view.reader import Cold

OF_THE_LOG = frozenset(
    {"within a long answer", "not in the arrival log", "a long stream", "no arrival log", "older than the window"}
    | {"of another history", "no origin"}
)
"""Why the view does not continue a stream of a session that may well be hot: it need not be warmed."""


class StreamReader(Reader[StreamRead, StreamPart]):
    """Reads streams from the stores."""

    async def read(
        self, question: StreamRead, wanted: Staleness, principal: Hashable = None
    ) -> SourceAnswer[StreamPart]:
        """Read on as `Reader.read` does.

        Of a view that is staler than wanted only news is given, where Postgres cannot answer: nobody can say then that
        there is no more.
        """
        answer = await super().read(question, wanted, principal)
        if answer.source == "postgres" or is_fresh(answer, wanted):
            return answer
        arrivals = answer.found.arrivals._replace(up_to_date=False)
        return answer._replace(found=answer.found._replace(arrivals=arrivals))

    def _would_do(self, seen: SourceAnswer[StreamPart], wanted: Staleness) -> bool:
        return bool(seen.found.arrivals.events) and super()._would_do(seen, wanted)

    def _ask_for(self, session_id: str, cold: Cold | None) -> None:
        if cold is not None and cold.reason in OF_THE_LOG:
            self._requests.touch(session_id)
        else:
            super()._ask_for(session_id, cold)

    async def _look(
        self, question: StreamRead, wanted: Staleness, principal: Hashable
    ) -> tuple[SourceAnswer[StreamPart] | None, Cold | None]:
        """Ask the view. Of which history an offset is, is for Postgres to say: a view may be of before a promotion."""
        try:
            return await super()._look(question, wanted, principal)
        except OffsetGone:
            return None, Cold("of another history")
