"""Where an answer comes from when memory has none: Redis, or else Postgres."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar, get_args

from query_api.memory.staleness import Staleness
from query_api.sources.fallback import LineFull
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.source_answer import EventsPage, FallbackReason, Found, SourceAnswer
from readmodel.errors import BadEvents, Overload, StoreRefused, StoreUnavailable
from readmodel.runtime import tracing
from readmodel.values.arrivals import StreamRead
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold

PATIENCE_SECONDS = 1.0
"""Who holds an answer that is merely older than usual waits so long for a fresher one."""
REFUSED_SECONDS = 0.5
"""Who finds its line full hears of it so much later: whoever asks again at once then does so twice a second."""

Asked = TypeVar("Asked", bound=Poll | StreamRead, contravariant=True)  # noqa: PLC0105 (a name, not a grammar)


class ViewSource(Protocol[Asked, Found]):
    """What answers from the view."""

    async def read(self, question: Asked, principal: Hashable = None) -> SourceAnswer[Found] | Cold:
        """Answer a question of `principal`'s; raises AnswerTooLarge, OffsetGone, StoreUnavailable or StoreRefused."""


class LogSource(Protocol[Asked, Found]):
    """What answers from Postgres."""

    async def answer(
        self, question: Asked, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0, /
    ) -> SourceAnswer[Found]:
        """Answer as `Fallback.answer` does."""


class Reader(Generic[Asked, Found]):
    """Answers questions of one kind: by the view, or else by Postgres."""

    def __init__(
        self, view: ViewSource[Asked, Found], log: LogSource[Asked, Found], requests: ProjectorRequests
    ) -> None:
        self._view = view
        self._log = log
        self._requests = requests
        self.fallbacks: Counter[FallbackReason] = Counter(dict.fromkeys(get_args(FallbackReason), 0))

    async def read(self, question: Asked, wanted: Staleness, principal: Hashable = None) -> SourceAnswer[Found]:
        """Answer as fresh as `wanted`; raises AnswerTooLarge, BadEvents, OffsetGone, Overload, StoreUnavailable or
        StoreRefused.

        `principal` is who asks: the stores are shared fairly. A wish that nobody spoke out gives way when Postgres
        cannot answer: then the view does, with its true as-of.
        """
        seen, cold = await self._look(question, wanted, principal)
        if seen and is_fresh(seen, wanted):
            return seen
        reason = _reason(seen, cold, wanted)
        self.fallbacks[reason] += 1
        would_do = seen is not None and self._would_do(seen, wanted)
        try:
            with tracing.span("postgres", reason=reason):
                async with asyncio.timeout(PATIENCE_SECONDS if would_do else None):
                    answer = await self._log.answer(question, wanted.seconds, principal, wanted.not_before_us)
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
        if (cold or (seen and seen.number is None)) and answer.found.status is not None:
            self._ask_for(question.session_id, cold)
        return answer._replace(reason=reason)

    def _would_do(self, seen: SourceAnswer[Found], wanted: Staleness) -> bool:
        """Whether what the view has is given where Postgres cannot answer."""
        return not wanted.explicit and seen.freshness.as_of_us >= wanted.not_before_us

    def _ask_for(self, session_id: str, cold: Cold | None) -> None:
        if cold and cold.damaged:
            self._requests.mend(session_id)
        else:
            self._requests.warm(session_id)

    async def _look(
        self, question: Asked, wanted: Staleness, principal: Hashable
    ) -> tuple[SourceAnswer[Found] | None, Cold | None]:
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


EventsReader = Reader[Poll, EventsPage]


def is_fresh(answer: SourceAnswer[Found], wanted: Staleness) -> bool:
    """Tell whether an answer is as fresh as it is wanted."""
    return answer.freshness.meets(wanted.seconds, wanted.not_before_us, time.monotonic())


def _reason(seen: object | None, cold: Cold | None, wanted: Staleness) -> FallbackReason:
    """Say why the view does not answer."""
    if seen:
        return "stale"
    if cold:
        return "cold"
    return "asked" if wanted.seconds <= 0 else "redis_away"
