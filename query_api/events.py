"""GET and HEAD /api/v2/sessions/{session_id}/events: memory, or else the reader; headers, 304 and problems."""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import NamedTuple

import structlog

from query_api.answers import TERMINAL, Answer, AsOf, Source, as_of, found, lag, missing
from query_api.auth import Gate
from query_api.conditional import matches
from query_api.content_coding import Compressor, accepts_gzip
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

    __slots__ = ("edition", "given", "gzip", "method", "poll", "query_string", "session_id", "wanted")

    poll: Poll
    wanted: Staleness
    gzip: bool
    """Whether its client would rather have the answer compressed."""

    def __init__(self, method: str, session_id: str, query_string: bytes, given: Given) -> None:
        self.method = method
        self.session_id = session_id
        self.query_string = query_string
        self.given = given
        self.edition: object = None


class EventsRequest(NamedTuple):
    """A valid poll that memory has no answer to, and the monotonic second when it came.

    `kept` is memory's answer where it lacks but the compressed form that the poll asks for.
    """

    question: Question
    at: float
    kept: Answer | None = None


class Events:
    """The endpoint. It is no route of FastAPI's, which alone would cost more than the whole answer from memory."""

    def __init__(  # noqa: PLR0913 (what an answer needs, all by name)
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        compressor: Compressor,
        reader: Reader,
        requests: ProjectorRequests,
        stats: Stats,
        load: PollLoad,
        max_staleness_seconds: float,
        max_answer_bytes: int,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._compressor = compressor
        self._reader = reader
        self._requests = requests
        self._stats = stats
        self._load = load
        self._wanted = Staleness(max_staleness_seconds, explicit=False)
        self._max_answer_bytes = max_answer_bytes

    def at_once(self, question: Question) -> Reply | EventsRequest:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for.

        Raises nothing that a caller could cause.
        """
        started = time.monotonic()
        if question.edition is not self._gate.edition:
            refusal = self._refusal(question)
            if refusal is not None:
                if refusal is not _METHOD_NOT_ALLOWED:
                    self._stats.poll("none", refusal.status, time.monotonic() - started)
                return refusal
        kept = self._kept(question.poll, question.wanted.seconds, started)
        if kept is None:
            return EventsRequest(question, started)
        answer, freshness = kept
        if question.gzip and _lacks_gzip(answer, question):
            return EventsRequest(question, started, answer)
        reply = self._reply(question, answer, freshness, "memory", started)
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
        question.gzip = accepts_gzip(given.get(b"accept-encoding", b""))
        question.edition = edition
        return None

    async def from_stores(self, asked: EventsRequest) -> Reply:
        """Answer what memory has not, or not in the form that is asked for."""
        source, session_id = "none", asked.question.poll.session_id
        with tracing.span(
            "poll", asked.question.given.get(b"traceparent"), session_id=session_id, request_id=current()
        ) as span:
            try:
                source, reply = await self._answer(asked)
            except ServiceError as error:
                reply = problem_of(error)
                span.note(error=type(error).__name__)
                if reply.status == 500:
                    _log.error("a poll failed", session_id=session_id, error=str(error))
            span.note(source=source, status=reply.status)
        self._stats.poll(source, reply.status, time.monotonic() - asked.at)
        return reply

    def _kept(self, poll: Poll, staleness_seconds: float, now: float) -> tuple[Answer, AsOf] | None:
        if poll.since_us is not None:
            known = self._cache.newest(poll.session_id, now, staleness_seconds)
            if known is not None:
                newest, freshness = known
                size = newest.size
                answer = newest.answer(poll)
                if newest.size != size:  # the answer is new there, and another one may have left
                    self._cache.weigh(poll)
                if answer is not None:
                    return answer, freshness
        kept = self._cache.get(poll, now, staleness_seconds)
        return kept or self._cache.get(poll.session_id, now, staleness_seconds)  # the 404 of any poll of it

    async def _answer(self, asked: EventsRequest) -> tuple[Source, Reply]:
        """Wait for a compressed form once at most: what is another answer by then leaves as it is."""
        question, waiting = asked.question, asked.kept
        poll = question.poll
        if waiting is not None:
            await self._compressor.compress(poll, waiting)
            now = time.monotonic()
            kept = self._kept(poll, question.wanted.seconds, now)  # a message may have come meanwhile
            if kept is not None:
                self._share(poll, waiting, kept[0])
                return "memory", self._reply(question, *kept, "memory", now)
        answer, reading = await self._read(question)
        if waiting is not None:
            self._share(poll, waiting, answer)
        elif question.gzip and _lacks_gzip(answer, question):
            was_fresh = _is_fresh(reading, asked)
            await self._compressor.compress(poll, answer)
            if was_fresh and not _is_fresh(reading, asked):
                waiting = answer
                answer, reading = await self._read(question)
                self._share(poll, waiting, answer)
        return reading.source, self._reply(question, answer, reading.freshness, reading.source, time.monotonic())

    def _share(self, poll: Poll, compressed: Answer, answer: Answer) -> None:
        """Give an answer the compressed form of another one of the same bytes, if that has been made."""
        if answer is not compressed and answer.etag == compressed.etag and not _is_unmade(compressed):
            answer.gzip = compressed.gzip
            self._cache.weigh(poll)

    async def _read(self, question: Question) -> tuple[Answer, StoreAnswer]:
        poll = question.poll
        try:
            reading = await self._reader.read(poll, question.wanted)
        except AnswerTooLarge as error:
            raise AnswerTooLarge(error.fitting_limit, self._max_answer_bytes) from error
        known = self._kept(poll, math.inf, time.monotonic()) if question.gzip else None
        answer = self._keep(poll, _finish(poll, reading), reading)
        if known is not None:  # it is replaced, maybe by the same bytes
            self._share(poll, known[0], answer)
        return answer, reading

    def _keep(self, poll: Poll, answer: Answer, reading: StoreAnswer) -> Answer:
        """Keep an answer by the rules; gives the one that is kept, which will get what is made of it."""
        newest = reading.newest
        if newest is not None:
            later = newest.answer(poll)
            self._cache.store_newest(newest, reading.freshness, reading.number)
            if later is not None:
                return later  # that answers this poll, and every later one
        self._cache.store(poll.session_id if answer.status == 404 else poll, answer, reading.freshness, reading.number)
        return answer

    def _reply(self, question: Question, answer: Answer, freshness: AsOf, source: Source, now: float) -> Reply:
        dated, lag_ms = as_of(source, freshness.as_of_us), int((now - freshness.since) * 1000)
        if answer.status == 404:
            return Reply(404, (answer.fields, dated, lag(lag_ms)), answer.body)
        if source != "postgres":
            self._requests.touch(question.poll.session_id)
        live = lag(lag_ms, _INTERVALS[answer.terminal, self._load.busy])
        gzip = answer.gzip if question.gzip else None
        if_none_match = question.given.get(b"if-none-match")
        if if_none_match is not None and (if_none_match == answer.etag or _is_held(answer, if_none_match)):
            return Reply(304, ((gzip or answer).unmodified, dated, live), b"")
        if gzip is None or not gzip.body:
            return Reply(200, (answer.fields, dated, live), answer.body)
        if question.method == "GET":
            self._stats.compressed(len(answer.body) - len(gzip.body))
        return Reply(200, (gzip.fields, dated, live), gzip.body)


def _is_unmade(answer: Answer) -> bool:
    return answer.gzip is not None and not answer.gzip.body


def _lacks_gzip(answer: Answer, question: Question) -> bool:
    """Tell, for who asks for gzip, whether it is to be made first: it is not there, and a 304 does not do."""
    if not _is_unmade(answer):
        return False
    if_none_match = question.given.get(b"if-none-match")
    return if_none_match is None or not _is_held(answer, if_none_match)


def _is_held(answer: Answer, if_none_match: bytes) -> bool:
    """Tell whether the client holds this answer, in either form."""
    return matches(if_none_match, answer.etag, answer.gzip.etag if answer.gzip else b"")


def _is_fresh(reading: StoreAnswer, asked: EventsRequest) -> bool:
    """Tell whether an answer may leave now: its as-of is as late as is wanted, or later than the request."""
    freshness = reading.freshness
    wanted_seconds = asked.question.wanted.seconds
    return freshness.since >= asked.at or freshness.lag_seconds(time.monotonic()) <= wanted_seconds


def _finish(poll: Poll, reading: StoreAnswer) -> Answer:
    if reading.status is None:
        return missing(poll.session_id)
    terminal = reading.status in TERMINAL
    return found(poll.session_id, render(reading.page, reading.total, poll), terminal=terminal)
