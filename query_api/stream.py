"""GET and HEAD /api/v2/sessions/{session_id}/stream: the read side of the Durable Streams protocol, in JSON."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import structlog

from query_api.access.denials import Denial
from query_api.access.gate import Gate
from query_api.answers import JSON, LAGS_OF_MISSING, Answer, AsOf, Source, as_of, missing
from query_api.conditional import matches
from query_api.content_coding import GzipForm, GzipForms
from query_api.held_polls import HeldPolls
from query_api.problems import problem, problem_of
from query_api.projector_requests import ProjectorRequests
from query_api.reply import HeaderFields, Reply
from query_api.request_id import current
from query_api.response_cache import ResponseCache
from query_api.session_request import SessionRequest
from query_api.staleness import Staleness, wishes
from query_api.stats import Stats
from query_api.stream_cursor import next_cursor
from query_api.stream_page import StreamFinding, StreamPage, Tail
from query_api.stream_reader import StoreArrivals, StreamReader
from query_api.stream_request import StreamRequest, parse_stream
from query_api.waiter import Ended, Waiter
from readmodel import tracing
from readmodel.arrivals import StreamRead
from readmodel.errors import BadEvents, InvalidParameter, ServiceError
from readmodel.offset import Offset

HOLD_SECONDS = 20.0
"""A long poll ends after so long: programs that follow streams give requests 30 s."""
MOST_PAGES = 20
"""Pages that are looked through for one answer, where types are asked for that come seldom."""
METHODS = frozenset({"GET", "HEAD"})
METHOD_NOT_ALLOWED = problem(
    405, "The stream of a session can be read with GET or HEAD.", headers=[(b"allow", b"GET, HEAD")]
)
_NO_STORE = (b"cache-control", b"no-store")
_EMPTY = b"[]"

_log = structlog.get_logger(__name__)


class StreamQuestion(SessionRequest):
    """A read of a stream as it came in."""

    __slots__ = ("request",)

    request: StreamRequest

    @property
    def path(self) -> str:
        """What it asks for."""
        return f"/api/v2/sessions/{self.session_id}/stream"

    @property
    def comes_again(self) -> bool:
        """Whether what is made of it is worth keeping."""
        return self.request.comes_again

    def parse(self, usual: Staleness) -> str:
        """Understand it, and give the session's id; raises InvalidParameter, which names all that is wrong."""
        wanted, wrong = wishes(self.fields, usual)
        try:
            request = parse_stream(self.session_id, self.query_string)
        except InvalidParameter as error:
            raise InvalidParameter.all_of([error, *error.others, *wrong]) from None
        if wrong:
            raise InvalidParameter.all_of(wrong)
        self.request, self.wanted = request, wanted
        return request.session_id


class AskedStream(NamedTuple):
    """A read that needs a store or time, and the monotonic second when it came.

    `seen` is what memory has, where the read is held since that is no news. `unjudged` is the address of who shows a
    token whose key may be known in a moment.
    """

    question: StreamQuestion
    at: float
    seen: StreamFinding | None = None
    unjudged: str | None = None


class Stream:
    """The endpoint. Like that of events it is no route of FastAPI's."""

    def __init__(  # noqa: PLR0913 (what an answer needs, all by name)
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        forms: GzipForms,
        reader: StreamReader,
        held: HeldPolls,
        requests: ProjectorRequests,
        stats: Stats,
        max_staleness_seconds: float,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._forms = forms
        self._reader = reader
        self._held = held
        self._requests = requests
        self._stats = stats
        self.usual = Staleness(max_staleness_seconds, explicit=False)
        self._holding: set[asyncio.Task[Any]] = set()

    def at_once(self, question: StreamQuestion, address: str, *, waits: bool = True) -> Reply | AskedStream:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for.

        `address` is where the request comes from; `waits`: a token whose key is not known may be waited for. Raises
        nothing that a caller could cause.
        """
        started = time.monotonic()
        refusal = self._refusal(question, started)
        if refusal is not None:
            if waits and isinstance(refusal, Denial) and refusal.waits:
                return AskedStream(question, started, unjudged=address)
            reply = self._gate.denied(refusal, address) if isinstance(refusal, Denial) else refusal
            if reply is not METHOD_NOT_ALLOWED:
                self._stats.of["none"].poll(reply.status, time.monotonic() - started)
            return reply
        request = question.request
        from_now = request.from_now or question.method == "HEAD"
        found = self.kept(question, request.offset, started, from_now=from_now)
        if found is None:
            return AskedStream(question, started)
        if request.is_live and question.method == "GET" and _is_no_news(found, request.types):
            return AskedStream(question, started, seen=found)
        if question.takes_gzip and self._lacks_form(question, found):
            return AskedStream(question, started)
        return self._counted(question, found, found.freshness, started, started)

    def _refusal(self, question: StreamQuestion, now: float) -> Reply | Denial | None:
        if question.edition is self._gate.edition and now < question.until:
            return None if question.principal.takes(now) else self._gate.slow_down(question.principal)
        return self.check(question, now)

    def check(self, question: StreamQuestion, now: float, *, counts: bool = True) -> Reply | Denial | None:
        """Let a question in, and parse it; None where it may be answered. `counts`: it takes of what its key may ask."""
        if question.method not in METHODS:
            return METHOD_NOT_ALLOWED
        edition = self._gate.edition
        credential = self._gate.credential(question.fields, now)
        if isinstance(credential, Denial):
            return credential
        principal = credential.principal
        if counts and not principal.takes(now):
            return self._gate.slow_down(principal)
        denial = credential.lacks("read")
        if denial is not None:
            return denial
        try:
            session_id = question.parse(self.usual)
        except InvalidParameter as error:
            return problem_of(error)
        denial = credential.denies(session_id, question.wanted)
        if denial is None:
            question.principal = principal
            question.edition, question.until = edition, credential.until
        return denial

    async def from_stores(self, asked: AskedStream) -> Reply:
        """Answer what memory has not, or when there is news."""
        if asked.unjudged is not None:
            await self._gate.settled()
            judged = self.at_once(asked.question, asked.unjudged, waits=False)
            if isinstance(judged, Reply):
                return judged
            asked = judged
        question = asked.question
        session_id, traceparent = question.request.session_id, question.fields.get(b"traceparent")
        with tracing.span("stream", traceparent, session_id=session_id, request_id=current()) as span:
            try:
                reply = await self._answer(asked)
            except ServiceError as error:
                reply = self.failed(error, session_id, asked.at)
                span.note(error=type(error).__name__)
            span.note(status=reply.status)
        return reply

    def failed(self, error: ServiceError, session_id: str, since: float) -> Reply:
        """Answer that no store could be read, or not from there."""
        reply = problem_of(error)
        if reply.status == 500 and not isinstance(error, BadEvents):  # whoever found that has told the log
            _log.error("a stream could not be read", session_id=session_id, error=str(error))
        self._stats.of["none"].poll(reply.status, time.monotonic() - since)
        return reply

    async def _answer(self, asked: AskedStream) -> Reply:
        question, request, found = asked.question, asked.question.request, asked.seen
        from_now = request.from_now or question.method == "HEAD"
        if request.is_live and question.method == "GET":
            if request.from_now and found is None:
                found = await self.read(question, None, from_now=True)
            if found is None or found.page is not None:
                offset = request.offset if found is None or found.page is None else found.page.next
                return await self._hold(StreamWaiter(self, question, offset, asked.at), found)
        found = found or await self.read(question, request.offset, from_now=from_now)
        form = None
        if found.page is not None and question.takes_gzip and self._lacks_form(question, found):
            form = await self._forms.make(found.page.answer(request.types))
        return self._counted(question, found, found.freshness, asked.at, time.monotonic(), form)

    def refusal_of_held(self, question: StreamQuestion, now: float, address: str = "") -> Reply | None:
        """Refuse whom the gate lets in no longer, though it did when the request came."""
        if question.edition is self._gate.edition and now < question.until:
            return None
        refusal = self.check(question, now, counts=False)
        return self._gate.denied(refusal, address) if isinstance(refusal, Denial) else refusal

    def held_reply(
        self, question: StreamQuestion, found: StreamFinding, freshness: AsOf, now: float, woken: float
    ) -> Reply:
        """Finish the answer of a read that was held, and count it from what woke it on."""
        return self._counted(question, found, freshness, woken, now)

    async def _hold(self, waiter: StreamWaiter, found: StreamFinding | None) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiter.deliver = lambda reply: None if future.done() else future.set_result(reply)
        waiter.seen = found
        task = asyncio.current_task()
        assert task is not None
        self._holding.add(task)
        try:
            return self._held.hold(waiter, found) or await future
        except asyncio.CancelledError:
            self._held.leave(waiter)
            raise
        finally:
            self._holding.discard(task)

    def gone(self, task: asyncio.Task[Any]) -> None:
        """Let go of a read that is held, since its client has left; `task` is the one that answers it."""
        if task in self._holding:
            task.cancel()

    # What is found, in memory and in the stores.

    def kept(
        self, question: StreamQuestion, offset: Offset | None, now: float, *, from_now: bool = False
    ) -> StreamFinding | None:
        """Look into memory for what comes behind an offset."""
        session_id, wanted, cache = question.request.session_id, question.wanted, self._cache
        page: StreamPage | None = None
        tail = cache.tail(session_id, now, wanted.seconds)
        freshness: AsOf | None = None
        if tail is not None and (from_now or (offset is not None and tail[0].is_behind(offset))):
            end = tail[0].offset if from_now or offset is None else offset
            page, freshness = StreamPage(session_id, (), end, up_to_date=True), tail[1]
        elif not from_now:
            kept = cache.arrivals(StreamRead(session_id, offset), now, wanted.seconds)
            page, freshness = kept or (None, None)
        if freshness is None:
            missing = cache.get(session_id, now, wanted.seconds)
            freshness = missing and missing[1]
        if freshness is None or freshness.as_of_us < wanted.not_before_us:
            return None
        return StreamFinding("memory", page, freshness, is_followed=True)

    async def read(self, question: StreamQuestion, offset: Offset | None, *, from_now: bool = False) -> StreamFinding:
        """Read on behind an offset until there is something of the types that are asked for, or nothing more."""
        found = await self._read_one(question, offset, from_now=from_now)
        for _ in range(MOST_PAGES):
            page = found.page
            if page is None or page.up_to_date or page.matching(question.request.types):
                break
            found = self.kept(question, page.next, time.monotonic()) or await self._read_one(question, page.next)
        return found

    async def _read_one(
        self, question: StreamQuestion, offset: Offset | None, *, from_now: bool = False
    ) -> StreamFinding:
        session_id = question.request.session_id
        read = StreamRead(session_id, None, 0) if from_now else StreamRead(session_id, offset)
        got = await self._reader.read(read, question.wanted, question.principal)
        if got.arrivals.status is None:
            answer = missing(session_id)
            is_kept = self._cache.store(session_id, answer, got.freshness, got.number)
            return StreamFinding(got.source, None, got.freshness, is_kept)
        arrivals = got.arrivals
        page = StreamPage(session_id, arrivals.events, arrivals.next, up_to_date=arrivals.up_to_date)
        return StreamFinding(got.source, page, got.freshness, self._keep(read, page, got))

    def _keep(self, read: StreamRead, page: StreamPage, got: StoreArrivals) -> bool:
        """Keep a page, and where the stream ends; tell whether messages tell when that is so no longer."""
        if not page.up_to_date:
            return self._cache.store_arrivals(read, page, got.freshness, got.number)
        end = page.next
        if not page.events and read.offset is not None and read.offset.within is None:
            end = read.offset  # the less an end shows, the more offsets cover it
        tail = Tail(read.session_id, end)
        known = self._cache.tail(read.session_id, time.monotonic(), self.usual.seconds)
        if got.source == "redis" or known is None or not known[0].is_behind(end):
            is_kept = self._cache.store_tail(tail, got.freshness, got.number)
        else:
            is_kept = True
        if page.events:
            self._cache.store_arrivals(read, page, got.freshness, got.number)
        return is_kept

    def _lacks_form(self, question: StreamQuestion, found: StreamFinding) -> bool:
        """Tell whether the compressed form must be made before this answer leaves."""
        if found.page is None or not found.page.events or question.request.from_now or question.method == "HEAD":
            return False
        answer = found.page.answer(question.request.types)
        if answer.gzip is None or self._forms.known(answer) is not None:
            return False
        return question.if_none_match is None or not _is_held(answer, question.if_none_match)

    # What is answered.

    def _counted(
        self,
        question: StreamQuestion,
        found: StreamFinding,
        freshness: AsOf,
        since: float,
        now: float,
        form: GzipForm | None = None,
    ) -> Reply:
        reply = self.reply(question, found, freshness, now, form)
        self._stats.of[found.source].poll(reply.status, time.monotonic() - since)
        return reply

    def reply(
        self,
        question: StreamQuestion,
        found: StreamFinding,
        freshness: AsOf,
        now: float,
        form: GzipForm | None = None,
    ) -> Reply:
        """Finish an answer; `form` is its compressed one where that has just been made."""
        request, page = question.request, found.page
        dated = as_of(found.source, freshness.as_of_us)
        lag = LAGS_OF_MISSING[int((now - freshness.since) * 1000)]
        if page is None:
            answer = missing(request.session_id)
            return Reply(404, (answer.fields, dated, lag), answer.body)
        if found.source != "postgres":
            self._requests.touch(request.session_id)
        if question.method == "HEAD":
            return Reply(200, (HeaderFields([JSON, _NO_STORE, page.told.pairs[0]]), dated, lag), b"")
        live = (dated, lag)
        if request.is_live:
            live = (*live, HeaderFields([(b"stream-cursor", b"%d" % next_cursor(request.cursor))]))  # type: ignore[assignment]
            if _is_no_news(found, request.types):
                return Reply(204, (HeaderFields([JSON, _NO_STORE]), page.told, *live), b"")
        elif request.from_now:
            length = (b"content-length", b"%d" % len(_EMPTY))
            return Reply(200, (HeaderFields([JSON, length, _NO_STORE]), page.told, *live), _EMPTY)
        return self._page(question, page, live, form)

    def _page(
        self, question: StreamQuestion, page: StreamPage, live: tuple[HeaderFields, ...], form: GzipForm | None
    ) -> Reply:
        answer = page.answer(question.request.types)
        gzip = answer.gzip if question.takes_gzip else None
        if question.if_none_match is not None and _is_held(answer, question.if_none_match):
            return Reply(304, ((gzip or answer).unmodified, *live), b"")
        if gzip is not None:
            form = form or self._forms.known(answer)
            if form is not None and form.body:
                self._stats.compressed(len(answer.body) - len(form.body))
                return Reply(200, (form.fields, *live), form.body)
        return Reply(200, (answer.fields, *live), answer.body)


class StreamWaiter(Waiter[StreamFinding]):
    """A long poll that is held."""

    __slots__ = ("_began_at", "_question", "_stream", "hold_staleness_seconds", "key", "session_id", "staleness_seconds")

    fills_memory = False

    def __init__(self, stream: Stream, question: StreamQuestion, offset: Offset | None, came: float) -> None:
        super().__init__(came)
        self._stream = stream
        self._question = question
        self._began_at = offset
        request, wanted = question.request, question.wanted
        self.session_id = request.session_id
        self.key = ("stream", offset, request.types, wanted)
        self.staleness_seconds = wanted.seconds
        self.hold_staleness_seconds = wanted.seconds or stream.usual.seconds

    @property
    def ends_at(self) -> float:
        """The monotonic second when its time is over, or its token ends."""
        return min(self.came + HOLD_SECONDS, self._question.until)

    @property
    def _offset(self) -> Offset | None:
        """Where it is: what was not of its types is behind it."""
        seen = self.seen
        return self._began_at if seen is None or seen.page is None else seen.page.next

    def kept(self, now: float) -> StreamFinding | None:
        """Look into memory."""
        return self._stream.kept(self._question, self._offset, now)

    async def read(self) -> StreamFinding:
        """Read a store."""
        return await self._stream.read(self._question, self._offset)

    def refused(self, now: float) -> Ended | None:
        """Refuse whose token has ended or whose key was withdrawn."""
        question = self._question
        has_ended = now >= question.until
        refusal = self._stream.refusal_of_held(question, now)
        return None if refusal is None else Ended("token_ended" if has_ended else "withdrawn", refusal)

    def answer(
        self, found: StreamFinding, freshness: AsOf, now: float, *, is_last: bool, woken: float
    ) -> Ended | None:
        """Answer with what was found, unless that is no news."""
        if found.page is None:
            return Ended("not_found", self._stream.held_reply(self._question, found, freshness, now, woken))
        if not _is_no_news(found, self._question.request.types):
            return Ended("news", self._stream.held_reply(self._question, found, freshness, now, woken))
        if is_last:
            return Ended("time_over", self._stream.held_reply(self._question, found, freshness, now, woken))
        return None

    def failed(self, error: ServiceError, now: float, *, woken: float) -> Reply:
        """Answer that no store could be read."""
        return self._stream.failed(error, self.session_id, woken)


def _is_no_news(found: StreamFinding, types: tuple[str, ...]) -> bool:
    """Whether a long poll goes on waiting: all that there is was given, and nothing of these types is among it."""
    return found.page is not None and found.page.up_to_date and not found.page.matching(types)


def _is_held(answer: Answer, if_none_match: bytes) -> bool:
    """Tell whether the client holds this answer, in either form."""
    return matches(if_none_match, answer.etag, answer.gzip.etag if answer.gzip else b"")
