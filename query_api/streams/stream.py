"""GET and HEAD /api/v2/sessions/{session_id}/stream: the read side of the Durable Streams protocol, in JSON."""

from __future__ import annotations

import time
from typing import NamedTuple

from query_api.access.denials import Denial
from query_api.access.gate import Gate
from query_api.http.problems import problem, problem_of_read
from query_api.http.reply import HeaderFields, Reply
from query_api.memory.answers import JSON, PLAIN_LAGS, AsOf, as_of, missing
from query_api.memory.content_coding import GzipForm, GzipForms
from query_api.memory.response_cache import ResponseCache
from query_api.memory.staleness import Staleness
from query_api.memory.stream_page import StreamEnd, StreamFinding, StreamPage, is_no_news, is_whole
from query_api.requests.access_check import AccessCheck
from query_api.requests.as_of_wait import AsOfWait
from query_api.requests.held_polls import HeldPolls
from query_api.requests.session_request import SessionRequest
from query_api.requests.stats import Stats
from query_api.requests.waiter import Conclusion
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.source_answer import SourceAnswer, StreamPart
from query_api.sources.stream_reader import StreamReader
from query_api.streams.cursor import next_cursor
from query_api.streams.request import StreamRequest, parse_stream
from query_api.streams.stats import StreamStats
from query_api.streams.waiter import StreamWaiter
from readmodel.errors import OffsetGone, ServiceError
from readmodel.runtime import tracing
from readmodel.values.arrivals import StreamRead
from readmodel.values.offset import Offset

MOST_PAGES = 20
"""Pages that are looked through for one answer, where types are asked for that come seldom."""
_METHOD_NOT_ALLOWED = problem(
    405, "The stream of a session can be read with GET or HEAD.", headers=[(b"allow", b"GET, HEAD")]
)
_NO_STORE = (b"cache-control", b"no-store")
_EMPTY = b"[]"


class StreamQuestion(SessionRequest):
    """A read of a stream as it came in."""

    __slots__ = ("request",)

    request: StreamRequest

    @property
    def path(self) -> str:
        """What it asks for."""
        return f"/api/v2/sessions/{self.session_id}/stream"

    @property
    def is_live(self) -> bool:
        """Whether it is held while there is no news."""
        return self.request.is_live and self.method == "GET"

    @property
    def asks_for_end(self) -> bool:
        """Whether no event is given, but where the stream ends."""
        return self.request.from_now or self.method == "HEAD"

    @property
    def comes_again(self) -> bool:
        """Whether what is made of it is worth keeping."""
        return self.request.comes_again

    def parse(self, usual: Staleness) -> str:
        """Understand it, and give the session's id; raises InvalidParameter, which names all that is wrong."""
        self.request = self.understood(parse_stream, usual)
        return self.request.session_id


class AskedStream(NamedTuple):
    """A read that needs a store or time, the monotonic second when it came, and the address where it comes from.

    `is_judged` is false where it shows a token whose key may be known in a moment.
    """

    question: StreamQuestion
    at: float
    address: str
    is_judged: bool = True


class Stream:
    """The endpoint. Like that of events it is no route of a framework's."""

    def __init__(  # noqa: PLR0913 (what an answer needs, all by name)
        self,
        *,
        gate: Gate,
        cache: ResponseCache,
        forms: GzipForms,
        reader: StreamReader,
        as_of_wait: AsOfWait,
        held: HeldPolls,
        requests: ProjectorRequests,
        stats: Stats,
        streams: StreamStats,
        max_staleness_seconds: float,
    ) -> None:
        self._gate = gate
        self._cache = cache
        self._forms = forms
        self._reader = reader
        self._as_of_wait = as_of_wait
        self.held = held
        self._requests = requests
        self._stats = stats
        self._streams = streams
        self.usual = Staleness(max_staleness_seconds, explicit=False)
        self._access = AccessCheck(gate, self.usual, _METHOD_NOT_ALLOWED, streams.of["none"])

    def at_once(
        self, question: StreamQuestion, address: str, *, waits: bool = True
    ) -> Reply | AskedStream | StreamWaiter:
        """Answer what needs no wait: what memory has, and what is refused. Else give what is to be waited for, or held.

        `address` is where the request comes from; `waits`: a token whose key is not known may be waited for. Raises
        nothing that a caller could cause.
        """
        started = time.monotonic()
        refusal = self._access.refusal(question, started)
        if refusal is not None:
            if waits and isinstance(refusal, Denial) and refusal.waits:
                return AskedStream(question, started, address, is_judged=False)
            return self._access.refused(refusal, address, started)
        request = question.request
        found = self.kept(question, request.offset, started, from_now=question.asks_for_end)
        if question.is_live:
            if found is None and request.from_now:
                return AskedStream(question, started, address)
            if found is None or is_no_news(found, request.types):
                return StreamWaiter(self, question, found, started, address)
        is_all = found is not None and (question.asks_for_end or is_whole(found, request.types))
        if found is None or not is_all or (question.takes_gzip and self._lacks_form(question, found)):
            return AskedStream(question, started, address)
        return self._counted(question, found, found.freshness, started, started)

    async def from_stores(self, asked: AskedStream) -> Reply | StreamWaiter:
        """Answer what memory has not; or give what is to be held."""
        if not asked.is_judged:
            await self._gate.settled()
            judged = self.at_once(asked.question, asked.address, waits=False)
            if not isinstance(judged, AskedStream):
                return judged
            asked = judged
        question, request = asked.question, asked.question.request
        traceparent = question.fields.get(b"traceparent")
        with tracing.span("stream", traceparent, session_id=request.session_id) as span:
            try:
                found = await self.read(question, request.offset, from_now=question.asks_for_end)
            except ServiceError as error:
                span.note(error=type(error).__name__)
                return self.failed(error, request.session_id, asked.at)
            span.note(source=found.source)
        if question.is_live and is_no_news(found, request.types):
            return StreamWaiter(self, question, found, asked.at, asked.address)
        form = None
        if question.takes_gzip and found.page is not None and self._lacks_form(question, found):
            form = await self._forms.make(found.page.answer(request.types))
        return self._counted(question, found, found.freshness, asked.at, time.monotonic(), form)

    def failed(self, error: ServiceError, session_id: str, since: float) -> Reply:
        """Answer that no store could be read, or not from there."""
        reply = problem_of_read(error, session_id)
        self._streams.gone += isinstance(error, OffsetGone)
        self._streams.of["none"].poll(reply.status, max(0.0, time.monotonic() - since))
        return reply

    # What is held.

    def hold(self, waiter: StreamWaiter) -> Reply | None:
        """Hold a long poll; gives its refusal where no place is free."""
        refusal = self.held.hold(waiter)
        if refusal is not None:
            self._streams.of["none"].poll(refusal.status, time.monotonic() - waiter.came)
        return refusal

    def refusal_of_held(self, question: StreamQuestion, now: float, address: str) -> Conclusion | None:
        """Refuse a read that was let in, if its token has ended or its key may no longer ask."""
        return self._access.again(question, now, address)

    def held_reply(
        self, question: StreamQuestion, found: StreamFinding, freshness: AsOf, now: float, woken: float
    ) -> Reply:
        """Finish the answer of a long poll that was held; what it took counts from when its reason came up."""
        if freshness is not found.freshness:
            found = found._replace(source="memory")
        return self._counted(question, found, freshness, woken, now)

    # What is found, in memory and in the stores.

    def kept(
        self, question: StreamQuestion, offset: Offset | None, now: float, *, from_now: bool = False
    ) -> StreamFinding | None:
        """Look into memory for what comes behind an offset."""
        session_id, wanted, cache = question.request.session_id, question.wanted, self._cache
        page: StreamPage | None = None
        tail = cache.end_of(session_id, now, wanted.seconds)
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
        """Read on behind an offset until there is something of the types that are asked for, or nothing more.

        Who began at the start, or at the end, has no offset that could be gone: what we read on from alone may be of an
        older history, and then it begins there again. Raises ServiceError.
        """
        try:
            return await self._read_on(question, offset, from_now=from_now)
        except OffsetGone:
            if question.request.offset is not None:
                raise
            if question.request.from_now:  # not by memory, which may not have heard of the new history
                return await self._read_one(question, None, from_now=True)
            return await self._read_on(question, None)

    async def _read_on(
        self, question: StreamQuestion, offset: Offset | None, *, from_now: bool = False
    ) -> StreamFinding:
        found = self.kept(question, offset, time.monotonic(), from_now=from_now)
        if found is None and question.wanted.not_before_us:
            await self._as_of_wait.until(question.request.session_id, question.wanted)
            found = self.kept(question, offset, time.monotonic(), from_now=from_now)  # the beat may be all it lacked
        found = found or await self._read_one(question, offset, from_now=from_now)
        for _ in range(MOST_PAGES):
            page = found.page
            if page is None or is_whole(found, question.request.types):
                break
            found = self.kept(question, page.next, time.monotonic()) or await self._read_one(question, page.next)
        return found

    async def _read_one(
        self, question: StreamQuestion, offset: Offset | None, *, from_now: bool = False
    ) -> StreamFinding:
        session_id = question.request.session_id
        read = StreamRead(session_id, None, 0) if from_now else StreamRead(session_id, offset)
        got = await self._reader.read(read, question.wanted, question.principal)
        arrivals = got.found.arrivals
        if arrivals.status is None:
            page = None
            self._cache.store(session_id, missing(session_id), got.freshness, got.number)
        else:
            page = StreamPage(session_id, arrivals.events, arrivals.next, up_to_date=arrivals.up_to_date)
            self._keep(read, page, got)
        self._as_of_wait.check(session_id, question.wanted, got.freshness)
        return StreamFinding(got.source, page, got.freshness, self._cache.follows(session_id, got.number))

    def _keep(self, read: StreamRead, page: StreamPage, got: SourceAnswer[StreamPart]) -> None:
        """Keep a page, and where the stream ends."""
        cache = self._cache
        if page.events or not page.up_to_date:
            cache.store_arrivals(read, page, got.freshness, got.number)
        if not page.up_to_date:
            return
        end = page.next
        if not page.events and read.offset is not None and read.offset.within is None:
            end = read.offset  # the less an end shows, the more offsets are behind it
        known = cache.end_of(read.session_id, time.monotonic(), self.usual.seconds)
        if got.source == "redis" or known is None or not known[0].is_behind(end):
            cache.store_end(StreamEnd(read.session_id, end), got.freshness, got.number)

    def _lacks_form(self, question: StreamQuestion, found: StreamFinding) -> bool:
        """Tell whether the compressed form must be made before this answer leaves."""
        if found.page is None or not found.page.events or question.request.from_now or question.method == "HEAD":
            return False
        return self._forms.lacks(found.page.answer(question.request.types), question.if_none_match)

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
        self._streams.of[found.source].poll(reply.status, max(0.0, time.monotonic() - since))
        if question.request.offset is not None:
            self._streams.continued(found.source)
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
        lag = PLAIN_LAGS[int((now - freshness.since) * 1000)]
        if page is None:
            answer = missing(request.session_id)
            return Reply(404, (answer.fields, dated, lag), answer.body)
        if found.source != "postgres":
            self._requests.touch(request.session_id)
        if question.method == "HEAD":
            return Reply(200, (HeaderFields([JSON, _NO_STORE, page.told.pairs[0]]), dated, lag), b"")
        live = (dated, lag)
        if question.is_live:
            live = (*live, HeaderFields([(b"stream-cursor", b"%d" % next_cursor(request.cursor))]))  # type: ignore[assignment]
            if is_no_news(found, request.types):
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
        if question.if_none_match is not None and answer.is_held(question.if_none_match):
            return Reply(304, ((gzip or answer).unmodified, *live), b"")
        if gzip is not None:
            form = form or self._forms.known(answer)
            if form is not None and form.body:
                self._stats.compressed(len(answer.body) - len(form.body))
                return Reply(200, (form.fields, *live), form.body)
        return Reply(200, (answer.fields, *live), answer.body)
