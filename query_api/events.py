"""GET and HEAD /api/v2/sessions/{session_id}/events: memory, or else the reader; headers, 304 and problems."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

import structlog

from query_api.answers import TERMINAL, Answer, AsOf, Source, as_of, found, lag, missing
from query_api.auth import Gate
from query_api.conditional import matches
from query_api.poll_interval import PollLoad, poll_interval
from query_api.problems import problem, problem_of
from query_api.projector_requests import ProjectorRequests
from query_api.reader import Reader, StoreAnswer
from query_api.reply import Reply
from query_api.request_id import current
from query_api.response_cache import ResponseCache
from query_api.staleness import Staleness, parse_staleness
from query_api.stats import Stats
from readmodel import tracing
from readmodel.errors import AnswerTooLarge, ServiceError
from readmodel.poll import Poll, parse_poll, render

WRAPPER_BYTES = 500
"""What `render` puts around a page, rounded up: stores are told that much less than the bound on an answer."""

REMEMBERED_POLLS, REMEMBERED_BYTES = 16_384, 256
"""Query strings up to this length whose meaning is remembered: the same few are sent again and again."""

_log = structlog.get_logger(__name__)
_parsed = lru_cache(maxsize=REMEMBERED_POLLS)(parse_poll)
_METHODS = frozenset({"GET", "HEAD"})
_METHOD_NOT_ALLOWED = problem(
    405, "The events of a session can be read with GET or HEAD.", headers=[(b"allow", b"GET, HEAD")]
)
_INTERVALS = {
    (terminal, busy): poll_interval(terminal=terminal, busy=busy)
    for terminal in (False, True)
    for busy in (False, True)
}

Given = dict[bytes, bytes]
"""The request headers that matter here, by their lower-case names."""


class Question:
    """A poll as it came in, `session_id` and `query_string` as they stand in its target. What is made of it is kept.

    Asked again it is not checked and parsed again, as long as the gate lets in whom it let in then.
    """

    __slots__ = ("edition", "given", "method", "poll", "query_string", "session_id", "wanted")

    poll: Poll
    wanted: Staleness

    def __init__(self, method: str, session_id: str, query_string: bytes, given: Given) -> None:
        self.method = method
        self.session_id = session_id
        self.query_string = query_string
        self.given = given
        self.edition: object = None


class EventsRequest(NamedTuple):
    """A valid poll that memory has no answer to, how fresh it wants one, and the monotonic second when it came."""

    poll: Poll
    wanted: Staleness
    at: float


class Events:
    """The endpoint. It is no route of FastAPI's, which alone would cost more than the whole answer from memory."""

    def __init__(
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        reader: Reader,
        requests: ProjectorRequests,
        stats: Stats,
        load: PollLoad,
        max_staleness_seconds: float,
        max_answer_bytes: int,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._reader = reader
        self._requests = requests
        self._stats = stats
        self._load = load
        self._wanted = Staleness(max_staleness_seconds, explicit=False)
        self._max_answer_bytes = max_answer_bytes

    def at_once(self, question: Question) -> Reply | EventsRequest:
        """Answer what needs no store: what memory has, and what is refused. Else give what a store must be asked.

        Raises nothing that a caller could cause.
        """
        started = time.monotonic()
        if question.edition is not self._gate.edition:
            refusal = self._refusal(question)
            if refusal is not None:
                if refusal is not _METHOD_NOT_ALLOWED:
                    self._stats.poll("none", refusal.status, time.monotonic() - started)
                return refusal
        poll, wanted = question.poll, question.wanted
        kept = self._kept(poll, wanted.seconds, started)
        if kept is None:
            return EventsRequest(poll, wanted, started)
        answer, freshness = kept
        reply = self._reply(poll, answer, freshness, "memory", question.given, started)
        self._stats.poll("memory", reply.status, time.monotonic() - started)
        return reply

    def _refusal(self, question: Question) -> Reply | None:
        """Check and parse a question; None where it may be answered."""
        if question.method not in _METHODS:
            return _METHOD_NOT_ALLOWED
        given, edition = question.given, self._gate.edition
        refusal = self._gate.refusal(given.get(b"x-api-key"), given.get(b"authorization"), "read")
        if refusal is not None:
            return refusal
        stated, query_string = given.get(b"readside-max-staleness"), question.query_string
        try:
            question.wanted = self._wanted if stated is None else parse_staleness(stated)
            parse = _parsed if len(query_string) <= REMEMBERED_BYTES else parse_poll
            question.poll = parse(question.session_id, query_string)
        except ServiceError as error:
            return problem_of(error)
        question.edition = edition
        return None

    async def from_stores(self, asked: EventsRequest, given: Given) -> Reply:
        """Answer what memory has not."""
        source = "none"
        with tracing.span(
            "poll", given.get(b"traceparent"), session_id=asked.poll.session_id, request_id=current()
        ) as span:
            try:
                source, reply = await self._read(asked.poll, asked.wanted, given)
            except ServiceError as error:
                reply = problem_of(error)
                span.note(error=type(error).__name__)
                if reply.status == 500:
                    _log.error("a poll failed", session_id=asked.poll.session_id, error=str(error))
            span.note(source=source, status=reply.status)
        self._stats.poll(source, reply.status, time.monotonic() - asked.at)
        return reply

    def _kept(self, poll: Poll, staleness_seconds: float, now: float) -> tuple[Answer, AsOf] | None:
        if poll.since_us is not None:
            known = self._cache.newest(poll.session_id, now, staleness_seconds)
            if known is not None and (answer := known[0].answer(poll)) is not None:
                return answer, known[1]
        kept = self._cache.get(poll, now, staleness_seconds)
        return kept or self._cache.get(poll.session_id, now, staleness_seconds)  # the 404 of any poll of it

    async def _read(self, poll: Poll, wanted: Staleness, given: Given) -> tuple[Source, Reply]:
        try:
            reading = await self._reader.read(poll, wanted)
        except AnswerTooLarge as error:
            raise AnswerTooLarge(error.fitting_limit, self._max_answer_bytes) from error
        answer = _finish(poll, reading)
        self._keep(poll, answer, reading)
        now = time.monotonic()
        return reading.source, self._reply(poll, answer, reading.freshness, reading.source, given, now)

    def _keep(self, poll: Poll, answer: Answer, reading: StoreAnswer) -> None:
        newest = reading.newest
        if newest is not None:
            self._cache.store_newest(newest, reading.freshness, reading.number)
            if newest.answer(poll) is not None:
                return  # that answers this poll, and every later one
        self._cache.store(poll.session_id if answer.status == 404 else poll, answer, reading.freshness, reading.number)

    def _reply(self, poll: Poll, answer: Answer, freshness: AsOf, source: Source, given: Given, now: float) -> Reply:
        dated, lag_ms = as_of(source, freshness.as_of_us), int((now - freshness.since) * 1000)
        if answer.status == 404:
            return Reply(404, (answer.fields, dated, lag(lag_ms)), answer.body)
        if source != "postgres":
            self._requests.touch(poll.session_id)
        live = lag(lag_ms, _INTERVALS[answer.terminal, self._load.busy])
        if_none_match = given.get(b"if-none-match")
        if if_none_match is not None and matches(if_none_match, answer.etag):
            return Reply(304, (answer.unmodified, dated, live), b"")
        return Reply(200, (answer.fields, dated, live), answer.body)


def _finish(poll: Poll, reading: StoreAnswer) -> Answer:
    if reading.status is None:
        return missing(poll.session_id)
    terminal = reading.status in TERMINAL
    return found(poll.session_id, render(reading.page, reading.total, poll), terminal=terminal)
