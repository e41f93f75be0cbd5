"""GET and HEAD /api/v2/sessions/{session_id}/events: memory, or else the reader; headers, 304 and problems."""

from __future__ import annotations

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
from query_api.reply import HeaderFields, Reply
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


class EventsRequest(NamedTuple):
    """A valid poll that memory has no answer to, how fresh it wants one, and the monotonic second when it came.

    `kept` is memory's answer where it lacks but the compressed form that the poll asks for.
    """

    poll: Poll
    wanted: Staleness
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

    def at_once(self, method: str, session_id: str, query_string: bytes, given: Given) -> Reply | EventsRequest:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for.

        `session_id` is as the path has it. Raises nothing that a caller could cause.
        """
        started = time.monotonic()
        if method != "GET" and method != "HEAD":  # noqa: PLR1714 (each poll comes past here)
            return _METHOD_NOT_ALLOWED
        source = "none"
        try:
            reply = self._gate.refusal(given.get(b"x-api-key"), given.get(b"authorization"), "read")
            if reply is None:
                stated = given.get(b"readside-max-staleness")
                wanted = self._wanted if stated is None else parse_staleness(stated)
                poll = (_parsed if len(query_string) <= REMEMBERED_BYTES else parse_poll)(session_id, query_string)
                kept = self._kept(poll, wanted.seconds, started)
                if kept is None:
                    return EventsRequest(poll, wanted, started)
                gzip = kept[0].gzip
                if gzip is not None and not gzip.body and b"accept-encoding" in given and _lacks_gzip(kept[0], given):
                    return EventsRequest(poll, wanted, started, kept[0])
                source, reply = "memory", self._reply(poll, *kept, "memory", given)
        except ServiceError as error:
            reply = problem_of(error)
        self._stats.poll(source, reply.status, time.monotonic() - started)
        return reply

    async def from_stores(self, asked: EventsRequest, given: Given) -> Reply:
        """Answer what memory has not, or not in the form that is asked for."""
        source = "none"
        with tracing.span(
            "poll", given.get(b"traceparent"), session_id=asked.poll.session_id, request_id=current()
        ) as span:
            try:
                source, reply = await self._answer(asked, given)
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

    async def _answer(self, asked: EventsRequest, given: Given) -> tuple[Source, Reply]:
        poll, waiting = asked.poll, asked.kept
        if waiting is not None:
            await self._compressor.compress(poll, waiting)
            kept = self._kept(poll, asked.wanted.seconds, time.monotonic())  # a message may have come meanwhile
            if kept is not None and kept[0].etag == waiting.etag:
                self._share(poll, waiting, kept[0])
                return "memory", self._reply(poll, *kept, "memory", given)
        answer, reading = await self._read(asked)
        if waiting is not None:
            self._share(poll, waiting, answer)
        if _lacks_gzip(answer, given):
            waiting, was_fresh = answer, _is_fresh(reading, asked)
            await self._compressor.compress(poll, waiting)
            if was_fresh and not _is_fresh(reading, asked):
                answer, reading = await self._read(asked)
                self._share(poll, waiting, answer)  # if it is another one it leaves as it is: once is enough
        return reading.source, self._reply(poll, answer, reading.freshness, reading.source, given)

    def _share(self, poll: Poll, compressed: Answer, answer: Answer) -> None:
        """Give an answer the compressed form of another one of the same bytes, if that has been made."""
        if answer is not compressed and answer.etag == compressed.etag and not _is_unmade(compressed):
            answer.gzip = compressed.gzip
            self._cache.weigh(poll)

    async def _read(self, asked: EventsRequest) -> tuple[Answer, StoreAnswer]:
        try:
            reading = await self._reader.read(asked.poll, asked.wanted)
        except AnswerTooLarge as error:
            raise AnswerTooLarge(error.fitting_limit, self._max_answer_bytes) from error
        return self._keep(asked.poll, _finish(asked.poll, reading), reading), reading

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

    def _reply(self, poll: Poll, answer: Answer, freshness: AsOf, source: Source, given: Given) -> Reply:
        dated, lag_ms = as_of(source, freshness.as_of_us), int((time.monotonic() - freshness.since) * 1000)
        if answer.status == 404:
            return Reply(404, (answer.fields, dated, lag(lag_ms)), answer.body)
        if source != "postgres":
            self._requests.touch(poll.session_id)
        live = lag(lag_ms, _INTERVALS[answer.terminal, self._load.busy])
        if_none_match = given.get(b"if-none-match")
        if if_none_match is not None and (unmodified := _unmodified(answer, if_none_match, given)) is not None:
            return Reply(304, (unmodified, dated, live), b"")
        gzip = answer.gzip
        if gzip is not None and gzip.body and b"accept-encoding" in given and accepts_gzip(given[b"accept-encoding"]):
            return Reply(200, (gzip.fields, dated, live), gzip.body)
        return Reply(200, (answer.fields, dated, live), answer.body)


def _is_unmade(answer: Answer) -> bool:
    return answer.gzip is not None and not answer.gzip.body


def _lacks_gzip(answer: Answer, given: Given) -> bool:
    """Tell whether a compressed form is to be made first: it is not there, and a 304 does not do."""
    if not _is_unmade(answer) or not accepts_gzip(given.get(b"accept-encoding", b"")):
        return False
    if_none_match = given.get(b"if-none-match")
    return if_none_match is None or _unmodified(answer, if_none_match, given) is None


def _unmodified(answer: Answer, if_none_match: bytes, given: Given) -> HeaderFields | None:
    """Give the fields of a 304, if the client holds either form: those of the form whose tag it names.

    Where it names both, or `*`, it is the form that a 200 would have now.
    """
    gzip = answer.gzip
    if if_none_match == answer.etag or gzip is None:
        return answer.unmodified if matches(if_none_match, answer.etag) else None
    forms = (gzip, answer) if gzip.body and accepts_gzip(given.get(b"accept-encoding", b"")) else (answer, gzip)
    return next((form.unmodified for form in forms if matches(if_none_match, form.etag)), None)


def _is_fresh(reading: StoreAnswer, asked: EventsRequest) -> bool:
    """Tell whether an answer may leave now: its as-of is as late as is wanted, or later than the request."""
    freshness = reading.freshness
    return freshness.since >= asked.at or freshness.lag_seconds(time.monotonic()) <= asked.wanted.seconds


def _finish(poll: Poll, reading: StoreAnswer) -> Answer:
    if reading.status is None:
        return missing(poll.session_id)
    terminal = reading.status in TERMINAL
    return found(poll.session_id, render(reading.page, reading.total, poll), terminal=terminal)
