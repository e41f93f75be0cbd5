"""Where an answer comes from when memory has none: Redis, or else Postgres."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable
from typing import Generic, NamedTuple, Protocol, TypeVar

from query_api.memory.answers import TERMINAL, AsOf, Number, Source
from query_api.memory.newest import Newest
from query_api.memory.staleness import Staleness
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import FallbackAnswer, LineFull, Said
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.view_reads import ViewAnswer
from readmodel import tracing
from readmodel.arrivals import StreamRead
from readmodel.errors import BadEvents, Overload, StoreRefused, StoreUnavailable
from readmodel.event_log import LogPage
from readmodel.poll import Poll
from readmodel.view import Cold, ViewArrivals, ViewPage

PATIENCE_SECONDS = 1.0
"""Who holds an answer that is merely older than usual waits so long for a fresher one."""
REFUSED_SECONDS = 0.5
"""Who finds its line full hears of it so much later: whoever asks again at once then does so twice a second."""


class StoreAnswer(NamedTuple):
    """What a store gave: `status` is None when there is no such session.

    `page` is the events' JSON joined by commas; `number` is None when the answer must not be kept. `newest` is
    what the store told beside of the session's newest events. `shortened_to` is how long pages are where that is less
    than the poll's limit.
    """

    source: Source
    page: bytes
    total: int
    status: str | None
    freshness: AsOf
    number: Number | None
    newest: Newest | None = None
    shortened_to: int | None = None


Asked = TypeVar("Asked", bound=Poll | StreamRead)
AskedOf = TypeVar("AskedOf", bound=Poll | StreamRead, contravariant=True)  # noqa: PLC0105 (a name, not a grammar)
Seen = TypeVar("Seen", bound=ViewPage | ViewArrivals)


class ViewSource(Protocol[AskedOf, Seen]):
    """What answers from the view."""

    async def read(self, question: AskedOf, principal: Hashable = None) -> ViewAnswer[Seen] | Cold:
        """Answer a question of `principal`'s; raises AnswerTooLarge, OffsetGone, StoreUnavailable or StoreRefused."""


class LogSource(Protocol[AskedOf, Said]):
    """What answers from Postgres."""

    async def answer(
        self, question: AskedOf, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0, /
    ) -> FallbackAnswer[Said]:
        """Answer as `Fallback.answer` does."""


class StoreReads(Generic[Asked, Seen, Said]):
    """Reads of the view, or else of Postgres."""

    def __init__(self, view: ViewSource[Asked, Seen], log: LogSource[Asked, Said], requests: ProjectorRequests) -> None:
        self._view = view
        self._log = log
        self._requests = requests
        self.fallbacks = Counter(cold=0, stale=0, asked=0, redis_away=0)

    async def fetch(
        self, question: Asked, wanted: Staleness, principal: Hashable = None
    ) -> ViewAnswer[Seen] | FallbackAnswer[Said]:
        """Answer as fresh as `wanted`; raises AnswerTooLarge, BadEvents, OffsetGone, Overload, StoreUnavailable or
        StoreRefused.

        `principal` is who asks: the stores are shared fairly. A wish that nobody spoke out gives way when Postgres
        cannot answer: then the view does, with its true as-of.
        """
        seen, cold = await self._look(question, wanted, principal)
        if seen and is_fresh(seen.freshness, wanted):
            return seen
        reason = _reason(seen, cold, wanted)
        self.fallbacks[reason] += 1
        would_do = seen is not None and self._would_do(seen, wanted)
        try:
            with tracing.span("postgres", reason=reason):
                async with asyncio.timeout(PATIENCE_SECONDS if would_do else None):
                    fetched = await self._log.answer(question, wanted.seconds, principal, wanted.not_before_us)
        except BadEvents:
            if cold:
                self._ask_for(question.session_id, cold)  # the projector sets it aside, with the reason
            raise
        except (TimeoutError, Overload, StoreUnavailable, StoreRefused) as error:
            if seen and would_do:
                return seen
            if isinstance(error, LineFull):
                await asyncio.sleep(REFUSED_SECONDS)
            raise
        # What is too old and bears the previous term's stamp may be what no term compares any more: the index of hot
        # sessions can lose it. Warming one that is still to be compared does no harm.
        if (cold or (seen and not seen.found.term)) and fetched.logged.status is not None:
            self._ask_for(question.session_id, cold)
        return fetched

    def _would_do(self, seen: ViewAnswer[Seen], wanted: Staleness) -> bool:
        """Whether what the view has is given where Postgres cannot answer."""
        return not wanted.explicit and seen.freshness.as_of_us >= wanted.not_before_us

    def _ask_for(self, session_id: str, cold: Cold | None) -> None:
        if cold and cold.damaged:
            self._requests.mend(session_id)
        else:
            self._requests.warm(session_id)

    async def _look(
        self, question: Asked, wanted: Staleness, principal: Hashable
    ) -> tuple[ViewAnswer[Seen] | None, Cold | None]:
        """Ask the view: what it holds, or else that the session is cold, if it said so."""
        if wanted.seconds <= 0:
            return None, None
        with tracing.span("redis") as span:
            try:
                answer = await self._view.read(question, principal)
            except (StoreUnavailable, StoreRefused):
                span.note(found="away")
                return None, None  # the circuit has told the log
            span.note(found="cold" if isinstance(answer, Cold) else "hot")
        return (None, answer) if isinstance(answer, Cold) else (answer, None)


class Reader(StoreReads[Poll, ViewPage, LogPage]):
    """Answers polls from the stores."""

    def __init__(self, view: ViewSource[Poll, ViewPage], cold: ColdPolls, requests: ProjectorRequests) -> None:
        super().__init__(view, cold, requests)

    async def read(self, poll: Poll, wanted: Staleness, principal: Hashable = None) -> StoreAnswer:
        """Answer a poll as `fetch` does."""
        fetched = await self.fetch(poll, wanted, principal)
        if isinstance(fetched, ViewAnswer):
            return _from_view(poll.session_id, fetched)
        return _from_log(fetched)


def is_fresh(freshness: AsOf, wanted: Staleness) -> bool:
    """Tell whether an answer is as fresh as it is wanted."""
    return freshness.lag_seconds(time.monotonic()) <= wanted.seconds and freshness.as_of_us >= wanted.not_before_us


def _reason(seen: ViewAnswer[Seen] | None, cold: Cold | None, wanted: Staleness) -> str:
    """Say why the view does not answer, in the metrics' words."""
    if seen:
        return "stale"
    if cold:
        return "cold"
    return "asked" if wanted.seconds <= 0 else "redis_away"


def _from_view(session_id: str, seen: ViewAnswer[ViewPage]) -> StoreAnswer:
    found = seen.found
    number = Number(found.term, found.n) if found.term else None
    newest = Newest(
        session_id,
        found.newest_us,
        found.status in TERMINAL,
        found.newest_scores,
        found.newest_members,
        whole=found.newest_is_all,
    )
    return StoreAnswer(
        "redis", found.page, found.total, found.status, seen.freshness, number, newest, found.shortened_to
    )


def _from_log(fetched: FallbackAnswer[LogPage]) -> StoreAnswer:
    logged = fetched.logged
    shortened_to = logged.shortened_to
    return StoreAnswer(
        "postgres",
        logged.page,
        logged.total,
        logged.status,
        fetched.freshness,
        fetched.number,
        shortened_to=shortened_to,
    )
