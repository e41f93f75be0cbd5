"""Queries of Postgres: bounded, shared by those who ask the same, fair between principals, refused if too many wait."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, overload

from query_api.http.request_id import nobodys
from query_api.memory.answers import AsOf, Number
from query_api.sources.fair_line import FairLine
from query_api.sources.source_answer import SourceAnswer
from query_api.sources.watch import PATIENCE_SECONDS, Probe, QueryWatch
from readmodel.errors import (
    Overload,
    QueryTooSlow,
    ServerInRecovery,
    ServiceError,
    StoreRefused,
    StoreUnavailable,
    StreamRightsMissing,
)
from readmodel.postgres.event_log import LogPage
from readmodel.postgres.event_stream import LogArrivals
from readmodel.runtime.histogram import Histogram
from readmodel.runtime.supervise import end
from readmodel.values.arrivals import StreamRead
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof

LINE_SECONDS = 1.0
"""A query that could not be sent for so long is refused; the contract allows 2 s."""
LINE_PER_SLOT = 8
"""Queries of one principal that may wait for each one that may run."""
LINES = 8
"""All principals together may have so many times as many waiting: past it the longest line loses its last."""
CHEAPEST_OF = 12
"""Queries that found nothing, of which the fastest tells how far away the server is: those of a minute."""
MISSING_SECONDS = 1.0
"""An unknown session is looked up at most so often."""
MAX_MISSING = 10_000
_NO_SESSION = Poll("00000000-0000-0000-0000-000000000000", limit=1)
Question = Poll | StreamRead
"""What Postgres is asked of a session."""


class Log(Protocol):
    """What answers polls from Postgres."""

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll; raises AnswerTooLarge, StoreUnavailable, StoreRefused."""


class Streams(Protocol):
    """What gives streams from Postgres."""

    async def answer(self, question: StreamRead, max_bytes: int) -> LogArrivals:
        """Read on in a stream; raises OffsetGone, AnswerTooLarge, StoreUnavailable, StoreRefused."""


class Admission(Protocol):
    """What is known of a store: whether calls go through."""

    def admit(self) -> None:
        """Let a call through; raises an error where the store is taken to be away."""

    def succeeded(self) -> None:
        """Note that the store answered."""

    def failed(self, error: ServiceError, called_at: float) -> None:
        """Note that a call failed which began at `called_at`."""


class LineFull(Overload):
    """Too many queries wait already. It is known at once, so whoever hears it at once may ask again at once."""


@dataclass(eq=False, slots=True)
class _Query:
    """A question of one principal's, and the answer that all who joined it wait for.

    `timer` refuses it unless it is sent in time; `task` is the query under way.
    """

    question: Question
    principal: Hashable
    answer: asyncio.Future[SourceAnswer[Any]]
    timer: asyncio.TimerHandle | None = None
    sent_at: float | None = None
    is_overtaken: bool = False
    task: asyncio.Task[SourceAnswer[Any]] = field(init=False)


async def _nothing() -> None:
    return None


def _the_only(_session_id: str) -> int:
    return 0


def _the_same(_identity: str, _sent_at: float, _now: float) -> bool:
    return False


class Fallback:
    """Answers polls from Postgres, and reads streams on.

    Each principal's queries wait in a line of their own. One that is sent answers all who ask the same, in any line.
    `streams` are what is read on here: the primary's alone (`event_stream` says why), so a standby has none.
    `number` gives the last number heard of a session's slice, which `index_of` gives; `reconnect` leaves the present
    connections; `probe` raises StoreUnavailable where Postgres takes no new one; `learn` is told which database
    answered, and tells whether it is another now.
    """

    def __init__(  # noqa: PLR0913 (each a part of its own, and named)
        self,
        log: Log,
        *,
        concurrency: int,
        streams: Streams | None = None,
        circuit: Admission,
        number: Callable[[str], Number | None],
        index_of: Callable[[str], int] = _the_only,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        reconnect: Callable[[], Awaitable[None]] = _nothing,
        probe: Probe = _nothing,
        learn: Callable[[str, float, float], bool] = _the_same,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._log = log
        self._streams = streams
        self._circuit = circuit
        self._number = number
        self._index_of = index_of
        self._max_bytes = max_bytes
        self._clock = clock
        self._reconnect = reconnect
        self._learn = learn
        self._watch = QueryWatch(probe, patience_seconds)
        most_each = concurrency * LINE_PER_SLOT
        self._line = FairLine[_Query](concurrency, most_each=most_each, most=LINES * most_each, clock=clock)
        self._cheapest: deque[float] = deque(maxlen=CHEAPEST_OF)
        self._waiting: dict[Question, dict[Hashable, _Query]] = {}
        self._running: dict[Question, _Query] = {}
        self._sent: set[_Query] = set()
        self._missing: OrderedDict[tuple[type[Question], str], SourceAnswer[Any]] = OrderedDict()  # in order of age
        self._missing_of: defaultdict[int, set[str]] = defaultdict(set)  # by slice
        self._databases = 0  # how often another one answered
        self.sent = self.shared = self.remembered = 0
        self.refused = Counter(line_full=0, waited=0, slow=0)
        self.durations = Histogram()

    @property
    def running(self) -> int:
        """How many queries Postgres works on."""
        return len(self._sent)

    @property
    def waiting(self) -> int:
        """How many queries wait for others to end."""
        return self._line.waiting

    @property
    def principals_waiting(self) -> int:
        """How many principals they are of."""
        return self._line.principals_waiting

    @property
    def crowded(self) -> bool:
        """Whether some wait for others' queries to end, and not only for their own principal's."""
        return self._line.crowded

    def has(self, question: Question) -> bool:
        """Whether a query for this runs or waits."""
        return question in self._running or question in self._waiting

    @overload
    async def answer(
        self, question: Poll, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0
    ) -> SourceAnswer[LogPage]: ...

    @overload
    async def answer(
        self, question: StreamRead, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0
    ) -> SourceAnswer[LogArrivals]: ...

    async def answer(
        self, question: Question, staleness_seconds: float, principal: Hashable = None, not_before_us: int = 0
    ) -> SourceAnswer[Any]:
        """Answer with a lag of at most `staleness_seconds`, as of `not_before_us` at least; or by a query that is sent
        after this call.

        `principal` is who asks. Raises AnswerTooLarge, Overload, StoreUnavailable, StoreRefused, and of a stream
        OffsetGone.
        """
        arrived = self._clock()
        missing = self.known_missing(question, arrived, staleness_seconds, not_before_us)
        if missing:
            self.remembered += 1
            return missing
        fetched = await self._share(question, arrived, staleness_seconds, principal)
        if fetched.freshness.since < arrived and not fetched.freshness.meets(
            staleness_seconds, not_before_us, self._clock()
        ):
            fetched = await self._share(question, arrived, 0, principal)  # the query that was joined was sent too early
        return fetched

    def known_missing(
        self, question: Question, now: float, staleness_seconds: float, not_before_us: int
    ) -> SourceAnswer[Any] | None:
        """A recent answer that there is no such session, if it is as fresh as is wanted."""
        missing = self._missing.get((type(question), question.session_id))
        if missing is None or missing.freshness.as_of_us < not_before_us:
            return None
        return missing if missing.freshness.lag_seconds(now) < min(staleness_seconds, MISSING_SECONDS) else None

    async def identify(self) -> None:
        """Learn which database answers, beside all polls; raises StoreUnavailable, StoreRefused."""
        self._circuit.admit()
        began = self._clock()
        await self._ask(_NO_SESSION, began)
        self._cheapest.append(self._clock() - began)
        self._line.cheapest_seconds = min(self._cheapest)

    def changed(self, session_id: str) -> None:
        """Look a session up again when it is asked for: something happened to it.

        What a query under way finds missing is not remembered then: it may have been sent before.
        """
        for query in self._sent:
            query.is_overtaken |= query.question.session_id == session_id
        self._forget_one(session_id)

    def broken(self, index: int) -> None:
        """Do so with every session of a slice."""
        for query in self._sent:
            query.is_overtaken |= self._index_of(query.question.session_id) == index
        for session_id in tuple(self._missing_of[index]):
            self._forget_one(session_id)

    async def close(self) -> None:
        """Cancel what is under way, and leave nobody waiting."""
        for query in [query for same in self._waiting.values() for query in same.values()]:
            self._forget(query)
            query.answer.cancel()
        await end([query.task for query in self._sent])
        await self._watch.close()

    async def ask(
        self, poll: Poll, arrived: float, staleness_seconds: float, principal: Hashable
    ) -> SourceAnswer[LogPage]:
        """Answer a poll by a query of its own, or by one that was sent since so long before it arrived."""
        return await self._share(poll, arrived, staleness_seconds, principal)

    async def _share(
        self, question: Question, arrived: float, staleness_seconds: float, principal: Hashable
    ) -> SourceAnswer[Any]:
        query = self._joinable(question, arrived, staleness_seconds, principal) or self._queue(question, principal)
        return await asyncio.shield(query.answer)

    def _joinable(
        self, question: Question, arrived: float, staleness_seconds: float, principal: Hashable
    ) -> _Query | None:
        """The query under way, if it is late enough, or the principal's own that waits.

        Not another principal's that waits: that one's line may be long. Whichever is sent first answers both.
        """
        running = self._running.get(question)
        if running and running.sent_at is not None and running.sent_at <= arrived - staleness_seconds:
            running = None
        query = running or self._waiting.get(question, {}).get(principal)
        self.shared += query is not None
        return query

    def _queue(self, question: Question, principal: Hashable) -> _Query:
        self._circuit.admit()
        loop = asyncio.get_running_loop()
        query = _Query(question, principal, loop.create_future())
        self._line.asked(principal)
        left = self._line.join(principal, query)
        if left is query:
            raise self._line_full()
        self._waiting.setdefault(question, {})[principal] = query
        if left is not None:
            self._refuse(left, self._line_full())
        self._send_next()
        if question in self._waiting:
            query.timer = loop.call_later(LINE_SECONDS, self._late, query, context=nobodys())
        return query

    def _line_full(self) -> LineFull:
        self.refused["line_full"] += 1
        return LineFull("Too many polls wait for PostgreSQL; try again in a second.")

    def _late(self, query: _Query) -> None:
        self.refused["waited"] += 1
        self._refuse(query, Overload("PostgreSQL is too busy to answer polls; try again in a second."))

    def _refuse(self, query: _Query, refusal: Overload) -> None:
        self._forget(query)
        query.answer.set_exception(refusal)
        query.answer.exception()  # seen, even if every caller has left

    def _forget(self, query: _Query) -> None:
        """Have a query wait no longer."""
        if query.timer is not None:
            query.timer.cancel()
        self._line.leave(query.principal, query)
        same = self._waiting[query.question]
        del same[query.principal]
        if not same:
            del self._waiting[query.question]

    def _send_next(self) -> None:
        """Send what there are places for. One query answers all who wait for the same: it is yet to be sent."""
        while (taken := self._line.take()) is not None:
            _, query = taken
            same = list(self._waiting[query.question].values())
            for one in same:
                self._forget(one)
            self.shared += len(same) - 1
            self._running[query.question] = query
            self._sent.add(query)
            query.task = asyncio.create_task(self._send(query), context=nobodys())
            # A callback, since a task that is cancelled before it begins runs nothing, and would keep its place.
            query.task.add_done_callback(partial(self._ended, query, same, self._clock()))

    def _ended(
        self, query: _Query, same: Sequence[_Query], began: float, task: asyncio.Task[SourceAnswer[Any]]
    ) -> None:
        self._sent.discard(query)
        if self._running.get(query.question) is query:
            del self._running[query.question]
        self._line.give_back(query.principal, self._clock() - began)
        for one in same:
            _tell(one.answer, task)
        self._send_next()

    async def _send(self, query: _Query) -> SourceAnswer[Any]:
        # Before the query: a message heard from now on may be about what it does not see.
        number = self._number(query.question.session_id)
        query.sent_at = sent_at = self._clock()
        self.sent += 1
        databases = self._databases
        try:
            try:
                logged = await self._ask(query.question, sent_at)
            finally:
                self.durations.observe(self._clock() - sent_at)
        except QueryTooSlow as exc:
            self.refused["slow"] += 1
            raise Overload("PostgreSQL took too long to answer this poll; try again in a second.") from exc
        if logged.proof is not None:
            return _as_of_a_beat(logged, logged.proof)
        if number is not None and number.database != logged.database:
            number = None
        # Its now() is later than sent_at, so the as-of is at most this old.
        fetched = SourceAnswer("postgres", logged, AsOf(logged.as_of_us, sent_at), number)
        if logged.status is None and databases == self._databases and not query.is_overtaken:
            self._remember_missing(query.question, fetched)
        return fetched

    async def _ask(self, question: Question, sent_at: float) -> LogPage | LogArrivals:
        try:
            logged = await self._watch.result(self._asked(question))
        except QueryTooSlow:
            raise  # not away: the watch found it there meanwhile
        except StreamRightsMissing:
            self._circuit.succeeded()  # polls are answered
            raise
        except (StoreUnavailable, StoreRefused) as error:
            self._circuit.failed(error, sent_at)
            if isinstance(error, ServerInRecovery):
                await self._reconnect()
            raise
        self._circuit.succeeded()
        if self._learn(logged.database, sent_at, self._clock()):
            self._databases += 1
            self._missing.clear()
            self._missing_of.clear()
            await self._reconnect()  # connections of before may lead to the database of before
        return logged

    def _asked(self, question: Question) -> Coroutine[Any, Any, LogPage | LogArrivals]:
        if isinstance(question, Poll):
            return self._log.answer(question, self._max_bytes)
        if self._streams is None:
            raise TypeError("no streams are read on here")
        return self._streams.answer(question, self._max_bytes)

    def _remember_missing(self, question: Question, fetched: SourceAnswer[Any]) -> None:
        key = type(question), question.session_id
        self._missing.pop(key, None)
        self._missing[key] = fetched
        self._missing_of[self._index_of(question.session_id)].add(question.session_id)
        if len(self._missing) > MAX_MISSING:
            self._forget_one(next(iter(self._missing))[1])

    def _forget_one(self, session_id: str) -> None:
        found = [self._missing.pop((kind, session_id), None) for kind in (Poll, StreamRead)]
        if any(found):
            self._missing_of[self._index_of(session_id)].discard(session_id)


def _as_of_a_beat(logged: LogPage | LogArrivals, proof: Proof) -> SourceAnswer[Any]:
    """Date a hot standby's answer."""
    number = Number(proof.term, proof.n, proof.database)
    return SourceAnswer("postgres", logged, AsOf(proof.as_of_us, proof.since), number)


def _tell(answer: asyncio.Future[SourceAnswer[Any]], task: asyncio.Task[SourceAnswer[Any]]) -> None:
    """Hand on what became of a query."""
    if task.cancelled():
        answer.cancel()
    elif error := task.exception():
        answer.set_exception(error)
        answer.exception()  # seen, even if every caller has left
    else:
        answer.set_result(task.result())
