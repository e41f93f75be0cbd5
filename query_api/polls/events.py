"""GET and HEAD /api/v2/sessions/{session_id}/events: memory, or else the reader; headers, 304 and problems.

A poll with `wait` that has no news yet becomes an EventsWaiter, which the registry of held polls holds.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any, NamedTuple

import structlog

from query_api.access.denials import Denial
from query_api.access.gate import Gate
from query_api.http.prefer import FIELD as PREFER_FIELD
from query_api.http.prefer import preferred_wait
from query_api.http.problems import problem, problem_of_read
from query_api.http.reply import NO_FIELDS, HeaderFields, Reply
from query_api.http.request_fields import RequestFields
from query_api.memory.answers import PLAIN_LAGS, TERMINAL, Answer, AsOf, Lags, Source, as_of, found, missing, nothing
from query_api.memory.content_coding import GzipForm, GzipForms
from query_api.memory.newest import newest_key, newest_of
from query_api.memory.response_cache import ResponseCache
from query_api.memory.staleness import NOT_BEFORE_FIELD, Staleness
from query_api.polls.held_events import EventsFinding, EventsWaiter
from query_api.polls.poll_interval import PollLoad, poll_interval
from query_api.requests.access_check import AccessCheck
from query_api.requests.as_of_wait import AsOfWait
from query_api.requests.held_polls import HeldPolls
from query_api.requests.session_request import SessionRequest
from query_api.requests.stats import Stats
from query_api.requests.waiter import Conclusion
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.reader import EventsReader
from query_api.sources.source_answer import EventsPage, SourceAnswer
from readmodel.errors import AnswerTooLarge, ServiceError
from readmodel.runtime import tracing
from readmodel.values.poll import Poll, render
from readmodel.values.poll_query import parse_poll
from readmodel.view.reader import ViewPage

WRAPPER_BYTES = 500
"""What `render` puts around a page, rounded up: stores are told that much less than the bound on an answer."""

REMEMBERED_POLLS, REMEMBERED_BYTES = 16_384, 256
"""Query strings up to this length whose meaning is remembered: the same few are sent again and again."""

_NO_ITEMS = b'{"items":[],'

_log = structlog.get_logger(__name__)
_parsed = lru_cache(maxsize=REMEMBERED_POLLS)(parse_poll)
_METHOD_NOT_ALLOWED = problem(
    405, "The events of a session can be read with GET or HEAD.", headers=[(b"allow", b"GET, HEAD")]
)
_LAGS = [[Lags(poll_interval(terminal=terminal, busy=busy)) for terminal in (False, True)] for busy in (False, True)]


class Question(SessionRequest):
    """A poll as it came in."""

    __slots__ = (
        "applied",
        "is_particular",
        "newest_key",
        "not_before_us",
        "nothing",
        "poll",
        "seconds",
        "since_us",
        "wait_seconds",
    )

    poll: Poll
    newest_key: str
    nothing: tuple[Answer, Answer]
    """What is answered while nothing matches: of a session that goes on, and of one that is over."""
    seconds: float
    since_us: int | None
    not_before_us: int
    """No answer may be as of an earlier instant."""
    wait_seconds: float
    """So long an answer may be held that brings no news."""
    applied: HeaderFields | None
    """Says that Prefer was heeded, where it was."""

    def __init__(
        self,
        method: str,
        session_id: str,
        query_string: bytes,
        fields: RequestFields,
        name: bytes | None = None,
        common: HeaderFields = NO_FIELDS,
    ) -> None:
        super().__init__(method, session_id, query_string, fields, name, common)
        self.is_particular = self.takes_gzip or NOT_BEFORE_FIELD in fields
        """Whether memory's answer may have to wait, or bears a field of its own."""

    @property
    def path(self) -> str:
        """What it asks for."""
        return events_path(self.session_id)

    @property
    def comes_again(self) -> bool:
        """Whether what is made of it is worth keeping: who names an instant names another one next."""
        return NOT_BEFORE_FIELD not in self.fields

    def parse(self, usual: Staleness) -> str:
        """Understand it, and have at hand what each answer needs; give the session's id.

        Raises InvalidParameter, which names all that is wrong.
        """
        is_short = len(self.query_string) <= REMEMBERED_BYTES
        poll, wait_seconds = self.understood(_parsed if is_short else parse_poll, usual)
        self._understand_wait(wait_seconds)
        self.poll, wanted = poll, self.wanted
        self.newest_key = newest_key(poll.session_id)
        self.nothing = nothing(poll.limit, poll.page, False), nothing(poll.limit, poll.page, True)
        self.seconds, self.not_before_us = wanted.seconds, wanted.not_before_us
        self.since_us = poll.since_us
        return poll.session_id

    def _understand_wait(self, seconds: float | None) -> None:
        """What the URL says counts, and else what the client prefers."""
        self.applied = None
        preferred = self.fields.get(PREFER_FIELD)
        if seconds is None and preferred is not None and (understood := preferred_wait(preferred)) is not None:
            seconds, self.applied = understood
        self.wait_seconds = seconds or 0.0
        if self.wait_seconds or self.applied is not None:
            self.is_particular = True

    def is_news(self, answer: Answer) -> bool:
        """Whether an answer is what a poll with `wait` waits for: another one than its client holds, or an item."""
        if self.if_none_match is not None:
            return not answer.is_held(self.if_none_match)
        return not answer.body.startswith(_NO_ITEMS)


class EventsRequest(NamedTuple):
    """A poll that needs a store or time, and the monotonic second when it came.

    `kept` is memory's answer where only the compressed form that the poll asks for is missing. `unjudged` is the
    address of who shows a token whose key may be known in a moment.
    """

    question: Question
    at: float
    kept: Answer | None = None
    unjudged: str | None = None


class Events:
    """The endpoint. It is no route of a framework's, which alone would cost more than the whole answer from memory."""

    def __init__(  # noqa: PLR0913 (what an answer needs, all by name)
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        forms: GzipForms,
        as_of_wait: AsOfWait,
        held: HeldPolls,
        reader: EventsReader,
        requests: ProjectorRequests,
        stats: Stats,
        load: PollLoad,
        max_staleness_seconds: float,
        max_answer_bytes: int,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._forms = forms
        self._as_of_wait = as_of_wait
        self.held = held
        self._reader = reader
        self._requests = requests
        self._stats = stats
        self._of_memory = stats.of["memory"]
        self._load = load
        self.usual = Staleness(max_staleness_seconds, explicit=False)
        self._access = AccessCheck(gate, self.usual, _METHOD_NOT_ALLOWED, stats.of["none"])
        self._max_answer_bytes = max_answer_bytes
        self._freshness: AsOf | None = None
        self._dated = NO_FIELDS
        """What was last said of memory's freshness: hot polls share the as-of of the last beat."""

    def at_once(self, question: Question, address: str, *, waits: bool = True) -> Reply | EventsRequest | EventsWaiter:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for, or held.

        `address` is where the request comes from; `waits`: a token whose key is not known may be waited for. Raises
        nothing that a caller could cause.
        """
        started = time.monotonic()
        refusal = self._access.refusal(question, started)
        if refusal is not None:
            if waits and isinstance(refusal, Denial) and refusal.waits:
                return EventsRequest(question, started, unjudged=address)
            return self._access.refused(refusal, address, started)
        kept = self._kept(question, started)
        if kept is None:
            is_held = question.wait_seconds > 0
            return EventsWaiter(self, question, started, address) if is_held else EventsRequest(question, started)
        answer, freshness = kept
        if question.is_particular:
            later = self._later(question, answer, freshness, started, address)
            if later is not None:
                return later
            reply = self._reply_of(question, EventsFinding(answer, freshness, "memory", is_followed=True), started)
        else:
            reply = self._reply(question, answer, freshness, "memory", started)
        self._of_memory.poll(reply.status, time.monotonic() - started)
        return reply

    def _later(
        self, question: Question, answer: Answer, freshness: AsOf, started: float, address: str
    ) -> EventsRequest | EventsWaiter | None:
        """Tell what memory's answer has to wait for; None where it can leave."""
        is_early = freshness.as_of_us < question.not_before_us
        if question.wait_seconds and (is_early or (answer.status == 200 and not question.is_news(answer))):
            waiter = EventsWaiter(self, question, started, address)
            waiter.seen = None if is_early else EventsFinding(answer, freshness, "memory", is_followed=True)
            return waiter
        if is_early or (question.takes_gzip and self._forms.lacks(answer, question.if_none_match)):
            return EventsRequest(question, started, None if is_early else answer)
        return None

    def denied(self, denial: Denial, address: str) -> Reply:
        """Take down a request that is refused before anybody asks who sent it."""
        return self._gate.denied(denial, address)

    async def from_stores(self, asked: EventsRequest) -> Reply | EventsWaiter:
        """Answer what memory has not, or not in the form that is asked for; or give what is to be held, after all."""
        if asked.unjudged is not None:
            await self._gate.settled()
            judged = self.at_once(asked.question, asked.unjudged, waits=False)
            if not isinstance(judged, EventsRequest):
                return judged
            asked = judged
        poll, fields, source = asked.question.poll, asked.question.fields, "none"
        with tracing.span("poll", fields.get(b"traceparent"), session_id=poll.session_id) as span:
            try:
                found = await self.find(asked.question, asked.at, asked.kept)
                source, reply = found.source, self._reply_of(asked.question, found, time.monotonic())
            except ServiceError as error:
                reply = problem_of_read(error, poll.session_id)
                span.note(error=type(error).__name__)
            span.note(source=source, status=reply.status)
        self._stats.of[source].poll(reply.status, time.monotonic() - asked.at)
        return reply

    # What held polls ask.

    def hold(self, waiter: EventsWaiter) -> Reply | None:
        """Hold a poll; gives its refusal where no place is free."""
        refusal = self.held.hold(waiter)
        if refusal is not None:
            self._stats.of["none"].poll(refusal.status, time.monotonic() - waiter.came)
        return refusal

    def kept_for(self, question: Question, now: float) -> EventsFinding | None:
        """Find in memory what can leave as it is, were it news; None: `find` is needed."""
        kept = self._kept_late_enough(question, now)
        if kept is None or (question.takes_gzip and self._forms.lacks(kept[0], question.if_none_match)):
            return None
        return EventsFinding(*kept, "memory", is_followed=True)

    def refusal(self, question: Question, now: float, address: str) -> Conclusion | None:
        """Refuse a poll that was let in, if its token has ended or its key may no longer ask."""
        return self._access.again(question, now, address)

    def held_reply(self, question: Question, found: EventsFinding, now: float, woken: float) -> Reply:
        """Finish the answer to a held poll; what it took counts from when its reason came up."""
        reply = self._reply_of(question, found, now)
        self._stats.of[found.source].poll(reply.status, max(0.0, now - woken))
        return reply

    def failure(self, error: ServiceError, session_id: str, seconds: float) -> Reply:
        """Answer a held poll that no store could be read."""
        reply = problem_of_read(error, session_id)
        self._stats.of["none"].poll(reply.status, max(0.0, seconds))
        return reply

    # How answers are found, and finished.

    def _kept(self, question: Question, now: float) -> tuple[Answer, AsOf] | None:
        cache, seconds, since_us = self._cache, question.seconds, question.since_us
        if since_us is not None:
            known = cache.newest(question.newest_key, now, seconds)
            if known is not None:
                newest, freshness = known
                if since_us >= newest.latest_us:
                    return question.nothing[newest.terminal], freshness
                answer = newest.answer(question.poll)
                if answer is not None:
                    return answer, freshness
        poll = question.poll
        kept = cache.get(poll, now, seconds)
        return kept or cache.get(poll.session_id, now, seconds)  # the 404 of any poll of it

    def gone(self, task: asyncio.Task[Any]) -> None:
        """Let go of a poll that is held, since its client has left; `task` is the one that answers it."""
        self._as_of_wait.instants.leave(task)

    def _kept_late_enough(self, question: Question, now: float) -> tuple[Answer, AsOf] | None:
        kept = self._kept(question, now)
        return kept if kept is not None and kept[1].as_of_us >= question.not_before_us else None

    async def find(self, question: Question, at: float, kept: Answer | None = None) -> EventsFinding:
        """Find the answer to a poll that came `at` (monotonic seconds); `kept` is memory's that only lacks its form.

        Waits for a compressed form once at most: what is another answer by then leaves as it is. Raises ServiceError.
        """
        if kept is None and (question.not_before_us or question.wait_seconds):
            if question.not_before_us:
                await self._as_of_wait.until(question.poll.session_id, question.wanted)
            known = self._kept_late_enough(question, time.monotonic())
            kept = known and known[0]
        if kept is not None:
            is_lacking = question.takes_gzip and self._forms.lacks(kept, question.if_none_match)
            form = await self._forms.make(kept) if is_lacking else None
            known = self._kept_late_enough(question, time.monotonic())  # a message may have come meanwhile
            if known is not None:
                return EventsFinding(*known, "memory", True, form if known[0].etag == kept.etag else None)
        answer, reading = await self._read(question)
        form = None
        if kept is None and question.takes_gzip and self._forms.lacks(answer, question.if_none_match):
            made, was_fresh = answer, _is_fresh(reading, question, at)
            form = await self._forms.make(answer)
            if was_fresh and not _is_fresh(reading, question, at):
                answer, reading = await self._read(question)
                form = form if answer.etag == made.etag else None
        is_followed = self._cache.follows(question.poll.session_id, reading.number)
        return EventsFinding(answer, reading.freshness, reading.source, is_followed, form)

    async def _read(self, question: Question) -> tuple[Answer, SourceAnswer[EventsPage]]:
        poll = question.poll
        try:
            reading = await self._reader.read(poll, question.wanted, question.principal)
        except AnswerTooLarge as error:
            raise AnswerTooLarge(error.fitting_limit, self._max_answer_bytes) from error
        answer = _finish(poll, reading.found)
        self._keep(poll, answer, reading)
        self._as_of_wait.check(poll.session_id, question.wanted, reading.freshness)
        return answer, reading

    def _keep(self, poll: Poll, answer: Answer, reading: SourceAnswer[EventsPage]) -> None:
        if isinstance(reading.found, ViewPage):
            newest = newest_of(poll.session_id, reading.found)
            self._cache.store_newest(newest, reading.freshness, reading.number)
            if newest.answer(poll) is not None:
                return  # that answers this poll, and every later one
        self._cache.store(poll.session_id if answer.status == 404 else poll, answer, reading.freshness, reading.number)

    def _reply_of(self, question: Question, found: EventsFinding, now: float) -> Reply:
        reply = self._reply(question, found.answer, found.freshness, found.source, now, found.form)
        if question.applied is not None:
            reply.fields = (*reply.fields, question.applied)
        return reply

    def _reply(
        self,
        question: Question,
        answer: Answer,
        freshness: AsOf,
        source: Source,
        now: float,
        form: GzipForm | None = None,
    ) -> Reply:
        """Finish an answer; `form` is its compressed one where that has just been made."""
        if source != "memory":
            dated = as_of(source, freshness.as_of_us)
        elif freshness is self._freshness:
            dated = self._dated
        else:
            self._freshness, self._dated = freshness, (dated := as_of(source, freshness.as_of_us))
        lag_ms = int((now - freshness.since) * 1000)
        if answer.status == 404:
            return Reply(404, (answer.fields, dated, PLAIN_LAGS[lag_ms]), answer.body)
        if source != "postgres":
            self._requests.touch(question.poll.session_id)
        live = _LAGS[self._load.busy][answer.terminal][lag_ms]
        gzip = answer.gzip if question.takes_gzip else None
        if_none_match = question.if_none_match
        if if_none_match is not None and answer.is_held(if_none_match):
            return Reply(304, ((gzip or answer).unmodified, dated, live), b"")
        if gzip is not None:
            form = form or self._forms.known(answer)
            if form is not None and form.body:
                if question.method == "GET":
                    self._stats.compressed(len(answer.body) - len(form.body))
                return Reply(200, (form.fields, dated, live), form.body)
        return Reply(200, (answer.fields, dated, live), answer.body)


def events_path(session_id: str) -> str:
    """The path of a session's events."""
    return f"/api/v2/sessions/{session_id}/events"


def _is_fresh(reading: SourceAnswer[EventsPage], question: Question, at: float) -> bool:
    """Tell whether an answer may leave now: its as-of is as late as is wanted, or later than the request."""
    freshness = reading.freshness
    return freshness.since >= at or freshness.lag_seconds(time.monotonic()) <= question.wanted.seconds


def _finish(poll: Poll, page: EventsPage) -> Answer:
    if page.status is None:
        return missing(poll.session_id)
    if page.shortened_to is not None:
        poll = poll._replace(limit=page.shortened_to)
    terminal = page.status in TERMINAL
    return found(poll.session_id, render(page.page, page.total, poll), terminal=terminal)
