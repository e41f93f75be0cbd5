"""A poll of events that waits for news: what it is shown, what is news to it, and what it is answered."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from query_api.http.reply import Reply
from query_api.memory.answers import Answer, AsOf, Source
from query_api.memory.content_coding import GzipForm
from query_api.requests.waiter import Conclusion, Ending, Waiter, read_in_span
from readmodel.errors import ServiceError

if TYPE_CHECKING:
    from query_api.polls.events import Events, Question

LEAN_BYTES = 1_000
"""A held poll keeps no longer body of what it was shown."""


class EventsFinding(NamedTuple):
    """What memory or a store answers a poll, and its compressed form where that has just been made."""

    answer: Answer
    freshness: AsOf
    source: Source
    is_followed: bool
    form: GzipForm | None = None

    def lean(self) -> EventsFinding:
        """Leave a long body out: who is held on has it already."""
        answer = self.answer
        if self.form is None and len(answer.body) <= LEAN_BYTES:
            return self
        short = answer if len(answer.body) <= LEAN_BYTES else replace(answer, body=b"")
        return self._replace(answer=short, form=None)


class EventsWaiter(Waiter[EventsFinding]):
    """A poll with `wait`. `address` is where it comes from, and `name` its request's id."""

    __slots__ = ("_events", "_woken", "address", "question", "time_over_at")

    def __init__(self, events: Events, question: Question, came: float, address: str) -> None:
        super().__init__(came)
        self._events = events
        self.question = question
        self.address = address
        self.time_over_at = came + question.wait_seconds

    @property
    def session_id(self) -> str:  # type: ignore[override]
        """The session that is polled."""
        return self.question.poll.session_id

    @property
    def key(self) -> Hashable:  # type: ignore[override]
        """What one finding depends on."""
        question = self.question
        return question.poll, question.wanted, question.takes_gzip

    @property
    def staleness_seconds(self) -> float:  # type: ignore[override]
        """As the request wants it."""
        return self.question.seconds

    @property
    def hold_staleness_seconds(self) -> float:  # type: ignore[override]
        """As usual, or longer where the request says so: a shorter one counts when the answer leaves."""
        return max(self.question.seconds, self._events.usual.seconds)

    @property
    def fills_memory(self) -> bool:  # type: ignore[override]
        """Not where Postgres is asked anyhow, or a beat is awaited first."""
        return self.question.seconds > 0 and not self.question.not_before_us

    @property
    def ends_at(self) -> float:
        """The end of its time, or of its token."""
        return min(self.time_over_at, self.question.until)

    def kept(self, now: float) -> EventsFinding | None:
        """Look into memory."""
        return self._events.kept_for(self.question, now)

    async def read(self) -> EventsFinding:
        """Read a store; raises ServiceError."""
        question = self.question
        reading = self._events.find(question, self.came)
        return await read_in_span("poll", question, question.poll.session_id, self.name, reading)

    def refused(self, now: float) -> Conclusion | None:
        """Refuse whose token has ended or whose key was withdrawn."""
        return self._events.refusal(self.question, now, self.address)

    def answer(
        self, found: EventsFinding, freshness: AsOf, now: float, *, is_last: bool, woken: float
    ) -> Conclusion | None:
        """Answer with news, with a 404, or when its time is over."""
        events, question, answer = self._events, self.question, found.answer
        ending: Ending
        if answer.status == 404:
            ending = "not_found"
        elif question.is_news(answer):
            ending = "news"
        elif is_last:
            ending = "time_over"
        else:
            return None
        source = found.source if freshness is found.freshness else "memory"
        return Conclusion(
            ending, events.held_reply(question, found._replace(freshness=freshness, source=source), now, woken)
        )

    def failed(self, error: ServiceError, now: float, *, woken: float) -> Reply:
        """Answer that no store could be read."""
        return self._events.failure(error, self.question.poll.session_id, now - woken)
