"""GET and HEAD /api/v2/sessions/{session_id}/events: memory, or else the reader; headers, 304 and problems."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

import structlog

from query_api.access.denials import Denial
from query_api.access.gate import Gate
from query_api.access.principals import Principal
from query_api.answers import LAGS_OF_MISSING, TERMINAL, Answer, AsOf, Lags, Source, as_of, found, missing, nothing
from query_api.conditional import matches
from query_api.content_coding import GzipForm, GzipForms, accepts_gzip
from query_api.instants import Instants
from query_api.newest import newest_key
from query_api.poll_interval import PollLoad, poll_interval
from query_api.problems import problem, problem_of
from query_api.projector_requests import ProjectorRequests
from query_api.reader import Reader, StoreAnswer
from query_api.reply import NO_FIELDS, HeaderFields, Reply
from query_api.request_fields import RequestFields
from query_api.request_id import current
from query_api.response_cache import ResponseCache
from query_api.staleness import NOT_BEFORE, Staleness, parse_not_before, parse_staleness
from query_api.stats import Stats
from readmodel import tracing
from readmodel.errors import AnswerTooLarge, BadEvents, InvalidParameter, Overload, ServiceError
from readmodel.poll import Poll, render
from readmodel.poll_query import parse_poll

WRAPPER_BYTES = 500
"""What `render` puts around a page, rounded up: stores are told that much less than the bound on an answer."""

AHEAD_SECONDS = 1.0
"""Clocks and lags are known so well: an instant that lies further ahead of now was never given as an as-of."""
SLACK_SECONDS = 0.25
"""A beat that is awaited may come so much late."""
STALENESS_FIELD, NOT_BEFORE_FIELD = b"readside-max-staleness", b"readside-not-before"

REMEMBERED_POLLS, REMEMBERED_BYTES = 16_384, 256
"""Query strings up to this length whose meaning is remembered: the same few are sent again and again."""

_log = structlog.get_logger(__name__)
_parsed = lru_cache(maxsize=REMEMBERED_POLLS)(parse_poll)
_METHODS = frozenset({"GET", "HEAD"})
_METHOD_NOT_ALLOWED = problem(
    405, "The events of a session can be read with GET or HEAD.", headers=[(b"allow", b"GET, HEAD")]
)
_LAGS = [[Lags(poll_interval(terminal=terminal, busy=busy)) for terminal in (False, True)] for busy in (False, True)]


class Question:
    """A poll as it came in, `session_id` and `query_string` as they stand in its target. What is made of it is kept.

    Asked again it is not checked and parsed again, as long as the gate lets in whom it let in then. `name` is the id
    that its caller gave it, None where there is none; `common` are the fields that all answers to its page bear.
    """

    __slots__ = (
        "common",
        "edition",
        "fields",
        "if_none_match",
        "is_long",
        "is_particular",
        "method",
        "name",
        "newest_key",
        "not_before_us",
        "nothing",
        "poll",
        "principal",
        "query_string",
        "seconds",
        "session_id",
        "since_us",
        "takes_gzip",
        "until",
        "wanted",
    )

    poll: Poll
    principal: Principal
    wanted: Staleness
    newest_key: str
    nothing: tuple[Answer, Answer]
    """What is answered while nothing matches: of a session that goes on, and of one that is over."""
    seconds: float
    since_us: int | None
    not_before_us: int
    """No answer may be as of an earlier instant."""

    def __init__(
        self,
        method: str,
        session_id: str,
        query_string: bytes,
        fields: RequestFields,
        name: bytes | None = None,
        common: HeaderFields = NO_FIELDS,
    ) -> None:
        self.method = method
        self.session_id = session_id
        self.query_string = query_string
        self.fields = fields
        self.name = name
        self.common = common
        self.if_none_match = fields.get(b"if-none-match")
        self.takes_gzip = b"accept-encoding" in fields and accepts_gzip(fields[b"accept-encoding"])
        self.is_particular = self.takes_gzip or NOT_BEFORE_FIELD in fields
        """Whether memory's answer may have to wait."""
        self.edition: object = None
        self.is_long = False
        """Whether an answer to it was long."""
        self.until = 0.0
        """The monotonic second when its token ends."""

    def understand(self, poll: Poll, wanted: Staleness, principal: Principal) -> None:
        """Have at hand what each answer needs."""
        self.poll, self.wanted, self.principal = poll, wanted, principal
        self.newest_key = newest_key(poll.session_id)
        self.nothing = nothing(poll.limit, poll.page, False), nothing(poll.limit, poll.page, True)
        self.seconds, self.not_before_us = wanted.seconds, wanted.not_before_us
        self.since_us = poll.since_us


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
    """The endpoint. It is no route of FastAPI's, which alone would cost more than the whole answer from memory."""

    def __init__(  # noqa: PLR0913 (what an answer needs, all by name)
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        forms: GzipForms,
        instants: Instants,
        reader: Reader,
        requests: ProjectorRequests,
        stats: Stats,
        load: PollLoad,
        max_staleness_seconds: float,
        heartbeat_seconds: float,
        max_answer_bytes: int,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._forms = forms
        self._instants = instants
        self._index_of = cache.index_of
        self._heartbeat_seconds = heartbeat_seconds
        self._reader = reader
        self._requests = requests
        self._stats = stats
        self._of_memory = stats.of["memory"]
        self._load = load
        self._wanted = Staleness(max_staleness_seconds, explicit=False)
        self._max_answer_bytes = max_answer_bytes
        self._freshness: AsOf | None = None
        self._dated = NO_FIELDS
        """What was last said of memory's freshness: hot polls share the as-of of the last beat."""

    def at_once(self, question: Question, address: str, *, waits: bool = True) -> Reply | EventsRequest:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for.

        `address` is where the request comes from; `waits`: a token whose key is not known may be waited for. Raises
        nothing that a caller could cause.
        """
        started = time.monotonic()
        if question.edition is not self._gate.edition or started >= question.until:
            refusal = self._check(question, started)
            if refusal is not None:
                if waits and isinstance(refusal, Denial) and refusal.waits:
                    return EventsRequest(question, started, unjudged=address)
                return self._refused(refusal, address, started)
        elif not question.principal.takes(started):
            return self._refused(self._gate.slow_down(question.principal), address, started)
        kept = self._kept(question, started)
        if kept is None:
            return EventsRequest(question, started)
        answer, freshness = kept
        if question.is_particular:
            is_early = freshness.as_of_us < question.not_before_us
            if is_early or (question.takes_gzip and self._lacks_form(question, answer)):
                return EventsRequest(question, started, None if is_early else answer)
        reply = self._reply(question, answer, freshness, "memory", started)
        self._of_memory.poll(reply.status, time.monotonic() - started)
        return reply

    def _refused(self, refusal: Reply | Denial, address: str, started: float) -> Reply:
        reply = self._gate.denied(refusal, address) if isinstance(refusal, Denial) else refusal
        if reply is not _METHOD_NOT_ALLOWED:
            self._stats.of["none"].poll(reply.status, time.monotonic() - started)
        return reply

    def _check(self, question: Question, now: float) -> Reply | Denial | None:
        """Let a question in, and parse it; None where it may be answered."""
        if question.method not in _METHODS:
            return _METHOD_NOT_ALLOWED
        edition = self._gate.edition
        credential = self._gate.credential(question.fields, now)
        if isinstance(credential, Denial):
            return credential
        principal = credential.principal
        if not principal.takes(now):
            return self._gate.slow_down(principal)
        denial = credential.lacks("read")
        if denial is not None:
            return denial
        try:
            poll, wanted = _parse(question, self._wanted)
        except InvalidParameter as error:
            return problem_of(error)
        denial = credential.denies(poll.session_id, wanted)
        if denial is None:
            question.understand(poll, wanted, principal)
            question.edition, question.until = edition, credential.until
        return denial

    def denied(self, denial: Denial, address: str) -> Reply:
        """Take down a request that is refused before anybody asks who sent it."""
        return self._gate.denied(denial, address)

    async def from_stores(self, asked: EventsRequest) -> Reply:
        """Answer what memory has not, or not in the form that is asked for."""
        if asked.unjudged is not None:
            await self._gate.settled()
            judged = self.at_once(asked.question, asked.unjudged, waits=False)
            if isinstance(judged, Reply):
                return judged
            asked = judged
        poll, fields, source = asked.question.poll, asked.question.fields, "none"
        with tracing.span("poll", fields.get(b"traceparent"), session_id=poll.session_id, request_id=current()) as span:
            try:
                source, reply = await self._answer(asked)
            except ServiceError as error:
                reply = problem_of(error)
                span.note(error=type(error).__name__)
                if reply.status == 500 and not isinstance(error, BadEvents):  # whoever found that has told the log
                    _log.error("a poll failed", session_id=poll.session_id, error=str(error))
            span.note(source=source, status=reply.status)
        self._stats.of[source].poll(reply.status, time.monotonic() - asked.at)
        return reply

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
        self._instants.leave(task)

    async def _hold(self, question: Question) -> None:
        """Wait until the as-of that is heard has passed the instant that is wished for, for a beat at most.

        Not where that is of no use: nothing is heard, or the beats have stopped, or Postgres is asked anyhow. Raises
        InvalidParameter for an instant that lies in the future.
        """
        beat, instant_us = self._cache.beat_of(question.poll.session_id), question.not_before_us
        if beat is None or beat.as_of_us >= instant_us:
            return
        lag = beat.lag_seconds(time.monotonic())
        ahead = _seconds_ahead(instant_us, beat.as_of_us, lag)
        if question.seconds > 0 and lag <= self._wanted.seconds:
            seconds = max(0.0, ahead) + self._heartbeat_seconds + SLACK_SECONDS
            await self._instants.wait(self._index_of(question.poll.session_id), instant_us, seconds)

    def _kept_late_enough(self, question: Question) -> tuple[Answer, AsOf] | None:
        kept = self._kept(question, time.monotonic())
        return kept if kept is not None and kept[1].as_of_us >= question.not_before_us else None

    async def _answer(self, asked: EventsRequest) -> tuple[Source, Reply]:
        """Wait for a compressed form once at most: what is another answer by then leaves as it is."""
        question = asked.question
        if question.not_before_us and asked.kept is None:
            await self._hold(question)
            found = self._kept_late_enough(question)
            asked = asked._replace(kept=found and found[0])
        if asked.kept is not None:
            is_lacking = question.takes_gzip and self._lacks_form(question, asked.kept)
            form = await self._forms.make(asked.kept) if is_lacking else None
            now = time.monotonic()
            kept = self._kept_late_enough(question)  # a message may have come meanwhile
            if kept is not None:
                is_its = kept[0].etag == asked.kept.etag
                return "memory", self._reply(question, *kept, "memory", now, form if is_its else None)
        answer, reading = await self._read(question)
        form = None
        if asked.kept is None and question.takes_gzip and self._lacks_form(question, answer):
            made, was_fresh = answer, _is_fresh(reading, asked)
            form = await self._forms.make(answer)
            if was_fresh and not _is_fresh(reading, asked):
                answer, reading = await self._read(question)
                form = form if answer.etag == made.etag else None
        return reading.source, self._reply(question, answer, reading.freshness, reading.source, time.monotonic(), form)

    async def _read(self, question: Question) -> tuple[Answer, StoreAnswer]:
        poll = question.poll
        try:
            reading = await self._reader.read(poll, question.wanted, question.principal)
        except AnswerTooLarge as error:
            raise AnswerTooLarge(error.fitting_limit, self._max_answer_bytes) from error
        answer = _finish(poll, reading)
        self._keep(poll, answer, reading)
        if reading.freshness.as_of_us < question.not_before_us:
            self._too_early(question, reading.freshness)
        return answer, reading

    def _too_early(self, question: Question, freshness: AsOf) -> NoReturn:
        """Refuse what the primary itself dates earlier than is wished for."""
        if self._cache.beat_of(question.poll.session_id) is None:
            _seconds_ahead(question.not_before_us, freshness.as_of_us, freshness.lag_seconds(time.monotonic()))
        raise Overload("No store has come as far as Readside-Not-Before says; try again in a second.")

    def _keep(self, poll: Poll, answer: Answer, reading: StoreAnswer) -> None:
        newest = reading.newest
        if newest is not None:
            self._cache.store_newest(newest, reading.freshness, reading.number)
            if newest.answer(poll) is not None:
                return  # that answers this poll, and every later one
        self._cache.store(poll.session_id if answer.status == 404 else poll, answer, reading.freshness, reading.number)

    def _lacks_form(self, question: Question, answer: Answer) -> bool:
        """Tell whether the compressed form must be made before this answer leaves."""
        if answer.gzip is None or self._forms.known(answer) is not None:
            return False
        return question.if_none_match is None or not _is_held(answer, question.if_none_match)

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
            return Reply(404, (answer.fields, dated, LAGS_OF_MISSING[lag_ms]), answer.body)
        if source != "postgres":
            self._requests.touch(question.poll.session_id)
        live = _LAGS[self._load.busy][answer.terminal][lag_ms]
        gzip = answer.gzip if question.takes_gzip else None
        if_none_match = question.if_none_match
        if if_none_match is not None and _is_held(answer, if_none_match):
            return Reply(304, ((gzip or answer).unmodified, dated, live), b"")
        if gzip is not None:
            form = form or self._forms.known(answer)
            if form is not None and form.body:
                if question.method == "GET":
                    self._stats.compressed(len(answer.body) - len(form.body))
                return Reply(200, (form.fields, dated, live), form.body)
        return Reply(200, (answer.fields, dated, live), answer.body)


def _seconds_ahead(instant_us: int, as_of_us: int, lag_seconds: float) -> float:
    """Tell how far an instant lies ahead of now, by an as-of that is so old; raises InvalidParameter if too far."""
    ahead = (instant_us - as_of_us) / 1_000_000 - lag_seconds
    if ahead > AHEAD_SECONDS:
        raise InvalidParameter(NOT_BEFORE, f"{NOT_BEFORE} lies in the future: send back a Readside-As-Of as it came.")
    return ahead


def _parse(question: Question, usual: Staleness) -> tuple[Poll, Staleness]:
    """Parse what a question asks; raises InvalidParameter, which names all that is wrong."""
    fields = question.fields
    query_string, stated, not_before = question.query_string, fields.get(STALENESS_FIELD), fields.get(NOT_BEFORE_FIELD)
    parse = _parsed if len(query_string) <= REMEMBERED_BYTES else parse_poll
    wanted, wrong = usual, []
    if stated is not None:
        try:
            wanted = parse_staleness(stated)
        except InvalidParameter as error:
            wrong.append(error)
    if not_before is not None:
        try:
            wanted = wanted._replace(not_before_us=parse_not_before(not_before))
        except InvalidParameter as error:
            wrong.append(error)
    try:
        poll = parse(question.session_id, query_string)
    except InvalidParameter as error:
        raise InvalidParameter.all_of([error, *error.others, *wrong]) from None
    if wrong:
        raise InvalidParameter.all_of(wrong)
    return poll, wanted


def _is_held(answer: Answer, if_none_match: bytes) -> bool:
    """Tell whether the client holds this answer, in either form."""
    return matches(if_none_match, answer.etag, answer.gzip.etag if answer.gzip else b"")


def _is_fresh(reading: StoreAnswer, asked: EventsRequest) -> bool:
    """Tell whether an answer may leave now: its as-of is as late as is wanted, or later than the request."""
    freshness = reading.freshness
    return freshness.since >= asked.at or freshness.lag_seconds(time.monotonic()) <= asked.question.wanted.seconds


def _finish(poll: Poll, reading: StoreAnswer) -> Answer:
    if reading.status is None:
        return missing(poll.session_id)
    if reading.shortened_to is not None:
        poll = poll._replace(limit=reading.shortened_to)
    terminal = reading.status in TERMINAL
    return found(poll.session_id, render(reading.page, reading.total, poll), terminal=terminal)
