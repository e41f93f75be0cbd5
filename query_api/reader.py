"""Where an answer comes from when memory has none: Redis, or else Postgres."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple, Protocol

from query_api.answers import TERMINAL, AsOf, Number, Source
from query_api.cold_polls import ColdPolls
from query_api.fallback import FallbackAnswer, LineFull
from query_api.newest import Newest
from query_api.projector_requests import ProjectorRequests
from query_api.staleness import Staleness
from query_api.view_reads import ViewAnswer
from readmodel import tracing
from readmodel.errors import BadEvents, Overload, StoreRefused, StoreUnavailable
from readmodel.poll import Poll
from readmodel.view import Cold

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


class ViewSource(Protocol):
    """What answers polls from the view."""

    async def read(self, poll: Poll, principal: Hashable = None) -> ViewAnswer | Cold:
        """Answer a poll of `principal`'s; raises AnswerTooLarge, StoreUnavailable or StoreRefused."""


class Reader:
    """Answers polls from the stores."""

    def __init__(self, view: ViewSource, cold: ColdPolls, requests: ProjectorRequests) -> None:
        self._view = view
        self._cold = cold
        self._requests = requests
        self.fallbacks = Counter(cold=0, stale=0, asked=0, redis_away=0)

    async def read(self, poll: Poll, wanted: Staleness, principal: Hashable = None) -> StoreAnswer:
        """Answer a poll as fresh as `wanted`; raises AnswerTooLarge, BadEvents, Overload, StoreUnavailable or
        StoreRefused.

        `principal` is who asks: the stores are shared fairly. A wish that nobody spoke out gives way when Postgres
        cannot answer: then the view does, with its true as-of.
        """
        seen, cold = await self._look(poll, wanted, principal)
        if seen and _is_fresh(seen, wanted):
            return _from_view(poll.session_id, seen)
        reason = _reason(seen, cold, wanted)
        self.fallbacks[reason] += 1
        try:
            with tracing.span("postgres", reason=reason):
                patience = PATIENCE_SECONDS if _would_do(seen, wanted) else None
                async with asyncio.timeout(patience):
                    fetched = await self._cold.answer(poll, wanted.seconds, principal, wanted.not_before_us)
        except BadEvents:
            if cold:
                self._ask_for(poll.session_id, cold)  # the projector sets it aside, with the reason
            raise
        except (TimeoutError, Overload, StoreUnavailable, StoreRefused) as error:
            if seen and _would_do(seen, wanted):
                return _from_view(poll.session_id, seen)
            if isinstance(error, LineFull):
                await asyncio.sleep(REFUSED_SECONDS)
            raise
        # What is too old and bears the previous term's stamp may be what no term compares any more: the index of hot
        # sessions can lose it. Warming one that is still to be compared does no harm.
        if (cold or (seen and not seen.found.term)) and fetched.logged.status is not None:
            self._ask_for(poll.session_id, cold)
        return _from_log(fetched)

    def _ask_for(self, session_id: str, cold: Cold | None) -> None:
        if cold and cold.damaged:
            self._requests.mend(session_id)
        else:
            self._requests.warm(session_id)

    async def _look(self, poll: Poll, wanted: Staleness, principal: Hashable) -> tuple[ViewAnswer | None, Cold | None]:
        """Ask the view: what it holds, or else that the session is cold, if it said so."""
        if wanted.seconds <= 0:
            return None, None
        with tracing.span("redis") as span:
            try:
                answer = await self._view.read(poll, principal)
            except (StoreUnavailable, StoreRefused):
                span.note(found="away")
                return None, None  # the circuit has told the log
            span.note(found="cold" if isinstance(answer, Cold) else "hot")
        return (None, answer) if isinstance(answer, Cold) else (answer, None)


def _reason(seen: ViewAnswer | None, cold: Cold | None, wanted: Staleness) -> str:
    """Say why the view does not answer, in the metrics' words."""
    if seen:
        return "stale"
    if cold:
        return "cold"
    return "asked" if wanted.seconds <= 0 else "redis_away"


def _is_fresh(seen: ViewAnswer, wanted: Staleness) -> bool:
    freshness = seen.freshness
    return freshness.lag_seconds(time.monotonic()) <= wanted.seconds and freshness.as_of_us >= wanted.not_before_us


def _would_do(seen: ViewAnswer | None, wanted: Staleness) -> bool:
    """Whether what the view has is given where Postgres cannot answer."""
    return seen is not None and not wanted.explicit and seen.freshness.as_of_us >= wanted.not_before_us


def _from_view(session_id: str, seen: ViewAnswer) -> StoreAnswer:
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


def _from_log(fetched: FallbackAnswer) -> StoreAnswer:
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
