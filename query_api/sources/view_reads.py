"""Reads of the view, so that a Redis that hangs holds nobody for long: short timeouts, a bound, a circuit."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, overload
from weakref import WeakValueDictionary

from query_api.http.request_id import nobodys
from query_api.memory.answers import AsOf, Number
from query_api.sources.circuit import Circuit
from query_api.sources.source_answer import SourceAnswer
from readmodel.errors import ServiceError, StoreRefused, StoreUnavailable, ViewUnavailable
from readmodel.runtime.histogram import Histogram
from readmodel.runtime.patience import patience
from readmodel.runtime.supervise import end
from readmodel.values.arrivals import StreamRead
from readmodel.values.poll import Poll
from readmodel.view.reader import LONG_PAGE, Cold, Question, ViewArrivals, ViewPage

READ_SECONDS = 0.5
"""A script answers within milliseconds; one that a load's big call holds up, within a few tens of them."""
LONG_BYTES = 1_000_000
"""A longer page takes a round trip of its own, so that no other poll waits for it."""
LONG_READ_SECONDS = 2.0
"""A page of 32 MB takes a third of a second on a busy machine. What takes longer is left to Postgres."""
WALKED_EVENTS = 2_000
"""Events that Redis looks at, at most, for a poll of steps (`read.lua`)."""
MAX_TOGETHER = 16
"""Polls that share a round trip."""
EVENTS_TOGETHER = 1_600
"""Events that they may ask for in all, unless a single poll does: what others ask meanwhile waits for them."""
CONTINUED_EVENTS = 50
"""The same of a stream that goes on from an offset: as a rule a few have come since."""
MAX_ROUND_TRIPS = 4
"""Round trips under way: Redis runs one script at a time, so more would only wait there, and not share."""
TRIPS_OF_ONE = 2
"""Round trips under way that hold polls of one principal: the next one is another's, who then waits for none."""


class View(Protocol):
    """What answers polls, and reads of streams, from Redis."""

    async def read_all(
        self, questions: Sequence[Question], max_bytes: int, database: str, reply_bytes: int
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        """Answer them in one round trip; raises ViewUnavailable or AccessRefused.

        LONG_PAGE stands in the place of a page that is longer than `reply_bytes`; of a stream less is given.

        In a question's place may stand AnswerTooLarge, what Redis refused, or ForeignView, where the view is of another
        database than `database` ("" takes any).
        """


@dataclass(slots=True)
class RoundTrips:
    """How long round trips took, and how many polls shared another's read."""

    durations: Histogram = field(default_factory=Histogram)
    shared: int = 0


class ViewReads:
    """Reads of the view. Who asks the same at the same time shares one; those of one turn of the loop a round trip.

    `database` gives the identity of the one that the view must be of, "" while it is not known.
    """

    def __init__(
        self,
        view: View,
        circuit: Circuit,
        max_bytes: int,
        database: Callable[[], str],
        round_trips: RoundTrips | None = None,
    ) -> None:
        self._view = view
        self.circuit = circuit
        self._max_bytes = max_bytes
        self._database = database
        self._lines: dict[Hashable, OrderedDict[Question, None]] = {}
        self._turns: OrderedDict[Hashable, None] = OrderedDict()  # who is next stands first, who must wait nowhere
        self._waiting: dict[Question, list[asyncio.Future[Any]]] = {}
        self._askers: dict[Question, list[Hashable]] = {}  # of what is not sent yet: in whose lines it stands
        self._round_trips: set[asyncio.Task[None]] = set()
        self._long_reads: set[asyncio.Task[None]] = set()
        self._one_long_read = asyncio.Lock()
        self._long_read_of: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._trips_of: Counter[Hashable] = Counter()
        self._is_due = False
        self.counted = round_trips or RoundTrips()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._waiting

    @overload
    async def read(self, question: Poll, principal: Hashable = None) -> SourceAnswer[ViewPage] | Cold: ...

    @overload
    async def read(self, question: StreamRead, principal: Hashable = None) -> SourceAnswer[ViewArrivals] | Cold: ...

    async def read(self, question: Question, principal: Hashable = None) -> Any:
        """Answer a poll, or read a stream; `principal` is who asks.

        Raises AnswerTooLarge, OffsetGone, StoreUnavailable or StoreRefused.
        """
        loop = asyncio.get_running_loop()
        mine: asyncio.Future[Any] = loop.create_future()  # who leaves takes the answer from nobody else
        waiting = self._waiting.get(question)
        if waiting is not None:
            self.counted.shared += 1
            waiting.append(mine)
            if question in self._askers and principal not in self._askers[question]:
                self._want(question, principal)  # whose turn comes first
        else:
            self.circuit.admit()
            self._waiting[question], self._askers[question] = [mine], []
            self._want(question, principal)
        return await mine

    async def close(self) -> None:
        """Cancel what is under way."""
        self._lines.clear()
        self._turns.clear()
        await end(self._round_trips | self._long_reads)
        for waiting in self._waiting.values():
            for caller in waiting:
                caller.cancel()

    def _want(self, question: Question, principal: Hashable) -> None:
        self._askers[question].append(principal)
        self._lines.setdefault(principal, OrderedDict())[question] = None
        self._turns.setdefault(principal)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send, context=nobodys())

    def _send(self) -> None:
        self._is_due = False
        while len(self._round_trips) < MAX_ROUND_TRIPS and (load := self._load()):
            principals = {principal for _, principal in load}
            self._trips_of.update(principals)
            self._round_trips.add(task := asyncio.create_task(self._round_trip(load), context=nobodys()))
            task.add_done_callback(partial(self._returned, principals))

    def _returned(self, principals: set[Hashable], task: asyncio.Task[None]) -> None:
        self._round_trips.discard(task)
        for principal in principals:
            self._trips_of[principal] -= 1
            if not self._trips_of[principal]:
                del self._trips_of[principal]
            if principal in self._lines and principal not in self._turns:
                self._turns[principal] = None
                self._turns.move_to_end(principal, last=False)
        self._send()

    def _load(self) -> list[tuple[Question, Hashable]]:
        """Take what the next round trip asks, and for whom: a poll of each principal's in turn, as many as fit."""
        load: list[tuple[Question, Hashable]] = []
        events = 0
        while self._turns and len(load) < MAX_TOGETHER:
            principal = next(iter(self._turns))
            if self._trips_of[principal] >= TRIPS_OF_ONE:
                del self._turns[principal]
                continue
            question = next(iter(self._lines[principal]))
            events += _events_of(question)
            if load and events > EVENTS_TOGETHER:
                break
            load.append((question, principal))
            self._turns.move_to_end(principal)
            self._taken(question)
        return load

    def _taken(self, question: Question) -> None:
        """Take a poll out of all lines that it stands in."""
        for principal in self._askers.pop(question):
            line = self._lines[principal]
            del line[question]
            if not line:
                del self._lines[principal]
                self._turns.pop(principal, None)

    async def _round_trip(self, load: list[tuple[Question, Hashable]]) -> None:
        answers: Sequence[SourceAnswer[Any] | Cold | Exception]
        questions = [question for question, _ in load]
        started = time.monotonic()
        try:
            answers = await self._read(questions)
        except Exception as error:  # noqa: BLE001 (each of the callers raises it)
            answers = [error] * len(questions)
        self.counted.durations.observe(time.monotonic() - started)
        for (question, principal), answer in zip(load, answers, strict=True):
            if answer == LONG_PAGE:
                long_read = self._long_read(question, principal)
                self._long_reads.add(task := asyncio.create_task(long_read, context=nobodys()))
                task.add_done_callback(self._long_reads.discard)
            else:
                self._settle(question, answer)

    def _settle(self, question: Question, answer: SourceAnswer[Any] | Cold | Exception) -> None:
        for caller in self._waiting.pop(question):
            if caller.cancelled():
                continue
            if isinstance(answer, Exception):
                caller.set_exception(answer)
                caller.exception()  # seen, even if the caller has just left
            else:
                caller.set_result(answer)

    async def _long_read(self, question: Question, principal: Hashable) -> None:
        """Read a long page: one at a time, of each principal in turn, none for long. It says nothing of Redis."""
        answer: SourceAnswer[Any] | Cold | Exception
        of_principal = self._long_read_of.setdefault(principal, asyncio.Lock())
        try:
            async with patience(LONG_READ_SECONDS), of_principal, self._one_long_read:
                (answer,) = await self._read_all([question], self._max_bytes)
        except TimeoutError:
            answer = LONG_PAGE
        except Exception as error:  # noqa: BLE001 (each of the callers raises it)
            answer = error
        self._settle(question, answer)

    async def _read(self, questions: list[Question]) -> Sequence[SourceAnswer[Any] | Cold | ServiceError]:
        called_at, beside_long = time.monotonic(), self._one_long_read.locked()
        try:
            async with patience(READ_SECONDS):
                return await self._read_all(questions, LONG_BYTES)
        except TimeoutError as exc:
            error = ViewUnavailable(f"Redis did not answer within {READ_SECONDS} s.")
            if not (beside_long or self._one_long_read.locked()):  # else it may be at work for us, and is not away
                self.circuit.failed(error, called_at)
            raise error from exc

    async def _read_all(
        self, questions: list[Question], reply_bytes: int
    ) -> Sequence[SourceAnswer[Any] | Cold | ServiceError]:
        called_at, database = time.monotonic(), self._database()
        try:
            answers = await self._view.read_all(questions, self._max_bytes, database, reply_bytes)
        except (StoreUnavailable, StoreRefused) as error:
            self.circuit.failed(error, called_at)
            raise
        failed = next((answer for answer in answers if isinstance(answer, StoreUnavailable | StoreRefused)), None)
        if failed:
            self.circuit.failed(failed, called_at)
        else:
            self.circuit.succeeded()
        if self._database() != database:
            return [Cold("read before it was known of which database the view must be")] * len(questions)
        return [
            _dated(answer, called_at) if isinstance(answer, ViewPage | ViewArrivals) else answer for answer in answers
        ]


def _dated(found: ViewPage | ViewArrivals, called_at: float) -> SourceAnswer[Any]:
    """Say how fresh an answer is. Redis answered after `called_at`, so the as-of is at most this old."""
    number = Number(found.term, found.n) if found.term else None
    return SourceAnswer("redis", found, AsOf(found.as_of_us, called_at - found.lag_us / 1_000_000), number)


def _events_of(question: Question) -> int:
    """Tell how many events a question is taken to ask for."""
    if isinstance(question, StreamRead):
        return question.limit if question.offset is None else CONTINUED_EVENTS
    return WALKED_EVENTS if question.steps else question.limit
