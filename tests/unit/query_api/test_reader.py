"""Where an answer comes from, and what is asked of the projector on the way."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from query_api.memory.answers import Number
from query_api.memory.staleness import Staleness
from query_api.sources import reader as module
from query_api.sources import view_reads
from query_api.sources.circuit import Circuit
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import Fallback, LineFull
from query_api.sources.projector_requests import ProjectorRequests
from query_api.sources.reader import EventsReader
from query_api.sources.replicas import Replicas
from query_api.sources.view_reads import LONG_BYTES, ViewReads
from readmodel.errors import AnswerTooLarge, BadEvents, EventLogUnavailable, ForeignView, ServiceError, ViewUnavailable
from readmodel.values.poll import Poll
from readmodel.view.reader import LONG_PAGE, Cold, Question, ViewArrivals, ViewPage
from tests.fakes.event_log import FakeEventLog, Row
from tests.fakes.projector_line import FakeLine
from tests.support.viewing import DATABASE
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
POLL = Poll(SID)
MAX_BYTES = 2 * LONG_BYTES
USUAL = Staleness(5.0, explicit=False)
AWAY = EventLogUnavailable("PostgreSQL does not answer.")


@dataclass
class FakeView:
    """A view that says what it is told."""

    answer: ViewPage | Cold = field(default_factory=lambda: Cold("not hot"))
    error: ServiceError | None = None
    refused: dict[str, ServiceError] = field(default_factory=dict)
    polls: list[Poll] = field(default_factory=list)
    round_trips: list[int] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    long: set[str] = field(default_factory=set)
    long_gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def read_all(
        self, questions: Sequence[Question], max_bytes: int, database: str, reply_bytes: int
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        """Answer; a page of `long` only where the reply may be as long as an answer, once it is let through."""
        self.round_trips.append(len(questions))
        self.polls += [poll for poll in questions if isinstance(poll, Poll)]
        self.databases.append(database)
        await self.gate.wait()
        if reply_bytes == max_bytes:
            await self.long_gate.wait()
        if self.error:
            raise self.error
        is_short = reply_bytes < max_bytes
        return [
            LONG_PAGE if is_short and poll.session_id in self.long else self.refused.get(poll.session_id, self.answer)
            for poll in questions
        ]


class Bench:
    """A reader over fakes."""

    def __init__(self) -> None:
        self.view, self.log, self.line = FakeView(), FakeEventLog({SID: "paused"}, [Row(SID, 1)]), FakeLine()
        self.requests, self.database = ProjectorRequests(self.line, 3600), DATABASE
        self.fallback = Fallback(
            self.log,
            concurrency=2,
            circuit=Circuit("postgres"),
            number=lambda _: Number("t", 1, DATABASE),
            max_bytes=MAX_BYTES,
        )
        self.view_reads = ViewReads(self.view, Circuit("redis"), MAX_BYTES, lambda: self.database)
        self.cold = ColdPolls(self.fallback, Replicas(), 2)
        self.reader = EventsReader(self.view_reads, self.cold, self.requests)

    async def source(self, seconds: float | None = None) -> str:
        """Where an answer as fresh as this comes from."""
        wanted = USUAL if seconds is None else Staleness(seconds, explicit=True)
        return (await self.reader.read(POLL, wanted)).source


@pytest.fixture
async def bench() -> Bench:
    """The session is cold, everything answers."""
    return Bench()


def hot(lag_seconds: float = 0.1, term: str = "t") -> ViewPage:
    """A page from the view."""
    return ViewPage(b"{}", 1, "paused", 1000, int(lag_seconds * 1_000_000), term, 7)


async def test_a_hot_session_is_answered_by_the_view(bench: Bench) -> None:
    """With the number that the view gave."""
    bench.view.answer = hot()
    reading = await bench.reader.read(POLL, USUAL)

    assert (reading.source, reading.number) == ("redis", Number("t", 7))
    assert bench.log.queries == []


async def test_an_answer_of_the_previous_term_is_given_and_not_kept(bench: Bench) -> None:
    """It is right as of then."""
    bench.view.answer = hot(term="")
    reading = await bench.reader.read(POLL, USUAL)

    assert (reading.source, reading.number) == ("redis", None)


async def test_a_cold_session_is_answered_by_postgres_and_warmed(bench: Bench) -> None:
    """The leader is asked once for all polls of a moment."""
    for _ in range(3):
        assert await bench.source() == "postgres"
    await bench.requests.send_warms()

    assert bench.line.asked("warm") == [{SID}]


async def test_a_long_page_holds_up_no_other_poll(bench: Bench) -> None:
    """It takes a round trip of its own; what was asked with it is answered meanwhile."""
    bench.view.answer, bench.view.long = hot(), {SID}
    long = asyncio.create_task(bench.reader.read(POLL, USUAL))
    other = await bench.reader.read(_poll(1), USUAL)

    assert (other.source, long.done()) == ("redis", False)
    bench.view.long_gate.set()
    assert (await long).source == "redis"
    assert bench.log.queries == []


async def test_a_read_beside_a_long_page_that_takes_too_long_is_no_outage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is at work for us: this poll is left to Postgres, and the next one is asked there."""
    monkeypatch.setattr(view_reads, "READ_SECONDS", 0.01)
    bench.view.answer, bench.view.long = hot(), {SID}
    long = asyncio.create_task(bench.reader.read(POLL, USUAL))
    await eventually(lambda: bench.view.round_trips == [1, 1], "the long page is read")
    bench.view.gate.clear()
    beside = await bench.reader.read(POLL._replace(page=2), USUAL)
    bench.view.gate.set()
    monkeypatch.undo()
    after = await bench.reader.read(_poll(2), USUAL)
    bench.view.long_gate.set()

    assert (beside.source, after.source, (await long).source) == ("postgres", "redis", "redis")


async def test_many_long_pages_of_one_hold_up_no_other_principals(bench: Bench) -> None:
    """Only the one that is read already is waited for, and its next ones wait in their turn."""
    polls = list(map(_poll, range(6)))
    bench.view.answer, bench.view.long = hot(), {poll.session_id for poll in polls}
    greedy = [asyncio.create_task(bench.reader.read(poll, USUAL, "greedy")) for poll in polls[:5]]
    await eventually(lambda: len(bench.view.polls) == 6, "the first long page is read")
    other = asyncio.create_task(bench.reader.read(polls[5], USUAL, "other"))
    await eventually(lambda: len(bench.view.polls) == 7, "the other one is known to be long")
    bench.view.long_gate.set()
    await asyncio.gather(other, *greedy)

    assert bench.view.polls[7:] == [polls[5], *polls[1:5]]


async def test_a_long_page_that_takes_too_long_is_left_to_postgres(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says nothing of Redis: the next poll is asked there."""
    monkeypatch.setattr(view_reads, "LONG_READ_SECONDS", 0.01)
    bench.view.answer, bench.view.long = hot(), {SID}

    assert await bench.source() == "postgres"
    assert (await bench.reader.read(_poll(1), USUAL)).source == "redis"


async def test_a_session_is_not_asked_for_again_at_once(bench: Bench) -> None:
    """One that cannot be made hot is polled all the same."""
    await bench.source()
    await bench.requests.send_warms()
    await bench.source()
    await bench.requests.send_warms()

    assert bench.line.asked("warm") == [{SID}]


async def test_a_session_with_an_event_that_cannot_be_read_is_asked_for(bench: Bench) -> None:
    """The leader sets it aside, and so status and `explain` say why."""
    bench.log.error = BadEvents("event 7 cannot be read.")
    with pytest.raises(BadEvents):
        await bench.source()
    await bench.requests.send_warms()

    assert bench.line.asked("warm") == [{SID}]


async def test_a_session_that_is_not_there_is_not_warmed(bench: Bench) -> None:
    """Postgres' word: it does not exist."""
    bench.log.statuses.clear()
    reading = await bench.reader.read(POLL, USUAL)
    await bench.requests.send_warms()

    assert reading.found.status is None
    assert bench.line.sent == []


@pytest.mark.parametrize(
    ("lag", "wanted", "source"),
    [
        (4.0, None, "redis"),
        (6.0, None, "postgres"),
        (6.0, 60.0, "redis"),
        (1.0, 0.5, "postgres"),
        (0.0, 0.0, "postgres"),
    ],
)
async def test_the_view_answers_what_is_fresh_enough(
    bench: Bench, lag: float, wanted: float | None, source: str
) -> None:
    """The caller's wish, or the setting's."""
    bench.view.answer = hot(lag)

    assert await bench.source(wanted) == source


async def test_staleness_zero_does_not_ask_the_view(bench: Bench) -> None:
    """It could never be fresh enough."""
    await bench.source(0)

    assert bench.view.polls == []


@pytest.mark.parametrize("error", [ViewUnavailable("away."), ForeignView("others' data.")])
async def test_without_redis_postgres_answers(bench: Bench, error: ServiceError) -> None:
    """And Redis is left alone for a second."""
    bench.view.error = error
    for _ in range(5):
        assert await bench.source() == "postgres"

    assert len(bench.view.polls) == 1


async def test_a_redis_that_hangs_holds_nobody_for_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first caller waits a little, the next ones not at all."""
    monkeypatch.setattr(view_reads, "READ_SECONDS", 0.01)
    bench.view.gate.clear()
    for _ in range(5):
        assert await bench.source() == "postgres"

    assert len(bench.view.polls) == 1


async def test_without_postgres_a_stale_view_answers(bench: Bench) -> None:
    """With its true as-of."""
    bench.view.answer, bench.log.error = hot(lag_seconds=60), AWAY
    reading = await bench.reader.read(POLL, USUAL)

    assert (reading.source, reading.freshness.as_of_us) == ("redis", 1000)


async def test_a_stale_view_does_not_answer_who_wants_a_fresh_answer(bench: Bench) -> None:
    """Readside-Max-Staleness is kept or refused."""
    bench.view.answer, bench.log.error = hot(lag_seconds=60), AWAY

    with pytest.raises(EventLogUnavailable):
        await bench.source(5.0)


async def test_a_stale_view_answers_when_postgres_takes_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who could be answered at once does not wait for ever."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    bench.view.answer = hot(lag_seconds=60)
    bench.log.hold()

    assert await bench.source() == "redis"
    bench.log.release()


async def test_without_any_store_nothing_is_said(bench: Bench) -> None:
    """Never "not found"."""
    bench.view.error, bench.log.error = ViewUnavailable("away."), AWAY

    with pytest.raises(EventLogUnavailable):
        await bench.source()


async def test_a_cold_session_without_postgres_is_no_404(bench: Bench) -> None:
    """Only Postgres says that there is none."""
    bench.log.error = AWAY

    with pytest.raises(EventLogUnavailable):
        await bench.source()


async def test_the_same_polls_share_a_read_of_the_view(bench: Bench) -> None:
    """As those of Postgres do; a caller who leaves takes it from nobody."""
    bench.view.answer = hot()
    bench.view.gate.clear()
    calls = [asyncio.create_task(bench.source()) for _ in range(20)]
    await eventually(lambda: bench.view.polls, "a read")
    calls.pop().cancel()
    bench.view.gate.set()

    assert set(await asyncio.gather(*calls)) == {"redis"}
    assert len(bench.view.polls) == 1


def _poll(number: int) -> Poll:
    return Poll(f"00000000-0000-4000-8000-{number:012}")


async def test_polls_of_one_turn_share_a_round_trip(bench: Bench) -> None:
    """As many as fit; while some are under way the rest gather, and share as well."""
    bench.view.answer = hot()
    bench.view.gate.clear()
    polls = [_poll(number) for number in range(10 * view_reads.MAX_TOGETHER)]
    calls = [asyncio.create_task(bench.view_reads.read(poll)) for poll in polls]
    await eventually(lambda: bench.view.round_trips, "a round trip")
    assert bench.view.round_trips == [view_reads.MAX_TOGETHER] * view_reads.TRIPS_OF_ONE

    bench.view.gate.set()
    await asyncio.gather(*calls)
    assert bench.view.round_trips == [view_reads.MAX_TOGETHER] * 10
    assert sorted(bench.view.polls) == sorted(polls)


async def test_a_newcomers_poll_of_the_view_is_sent_at_once(bench: Bench) -> None:
    """A round trip is left for it beside a thousand polls of another's."""
    bench.view.answer = hot()
    bench.view.gate.clear()
    calls = [asyncio.create_task(bench.view_reads.read(_poll(number), "hog")) for number in range(1_000)]
    await eventually(lambda: len(bench.view.round_trips) == view_reads.TRIPS_OF_ONE, "the hog's round trips")
    calls.append(asyncio.create_task(bench.view_reads.read(POLL, "victim")))
    await eventually(lambda: len(bench.view.round_trips) > view_reads.TRIPS_OF_ONE, "one more")

    assert bench.view.polls[-1] == POLL
    assert bench.view.round_trips[-1] == 1
    bench.view.gate.set()
    await asyncio.gather(*calls)


async def test_principals_polls_of_the_view_are_sent_in_turn(bench: Bench) -> None:
    """One of each, however many one of them has."""
    bench.view.answer = hot()
    hogs, others = [_poll(number) for number in range(100)], [_poll(number) for number in range(100, 105)]
    calls = [bench.view_reads.read(poll, "hog") for poll in hogs]
    calls += [bench.view_reads.read(poll, f"principal {number % 2}") for number, poll in enumerate(others)]
    await asyncio.gather(*calls)

    first = bench.view.polls[: view_reads.MAX_TOGETHER]
    assert set(others) <= set(first)
    assert sorted(bench.view.polls) == sorted(hogs + others)


async def test_polls_of_long_pages_do_not_share_a_round_trip(bench: Bench) -> None:
    """What they are to fetch together is bounded; a single one may ask for as much as it likes."""
    bench.view.answer = hot()
    polls = [Poll(SID, limit=1_000, page=page) for page in range(1, 8)]
    await asyncio.gather(*(bench.view_reads.read(poll) for poll in polls))

    assert bench.view.round_trips == [1] * 7


async def test_what_waits_in_anothers_line_of_the_view_has_its_turn_in_ones_own(bench: Bench) -> None:
    """And is asked once."""
    bench.view.answer = hot()
    bench.view.gate.clear()
    calls = [asyncio.create_task(bench.view_reads.read(_poll(number), "hog")) for number in range(200)]
    await eventually(lambda: len(bench.view.round_trips) == view_reads.TRIPS_OF_ONE, "the hog's round trips")
    calls.append(asyncio.create_task(bench.view_reads.read(_poll(199), "victim")))
    await eventually(lambda: len(bench.view.round_trips) > view_reads.TRIPS_OF_ONE, "one more")
    sent = bench.view.polls[-1]
    bench.view.gate.set()
    await asyncio.gather(*calls)

    assert sent == _poll(199)
    assert len(bench.view.polls) == 200
    assert not bench.view_reads._lines
    assert not bench.view_reads._turns
    assert not bench.view_reads._trips_of


async def test_a_line_that_is_full_is_told_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks again at once then cannot keep the process busy with refusals."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.05)
    monkeypatch.setattr(bench.fallback, "answer", _refused)
    began = asyncio.get_running_loop().time()
    with pytest.raises(LineFull):
        await bench.reader.read(POLL, USUAL)

    assert asyncio.get_running_loop().time() - began >= 0.05


async def test_a_line_that_is_full_holds_up_nobody_whom_the_view_can_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old answer is given at once."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 3_600)
    monkeypatch.setattr(bench.fallback, "answer", _refused)
    bench.view.answer = hot(lag_seconds=60)

    assert await bench.source() == "redis"


async def _refused(*_: object) -> None:
    raise LineFull("Too many polls wait for PostgreSQL.")


async def test_what_is_wrong_with_one_poll_is_not_the_others(bench: Bench) -> None:
    """An answer too large is its own caller's."""
    bench.view.answer = hot()
    bench.view.refused = {_poll(3).session_id: AnswerTooLarge(5, 10)}
    answers = await asyncio.gather(
        *(bench.view_reads.read(_poll(number)) for number in range(8)), return_exceptions=True
    )

    assert [type(answer).__name__ for answer in answers] == ["SourceAnswer"] * 3 + ["AnswerTooLarge"] + [
        "SourceAnswer"
    ] * 4


async def test_a_bug_reaches_every_caller(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """None waits for ever."""
    monkeypatch.setattr(bench.view, "read_all", lambda *_: 1 / 0)
    answers = await asyncio.gather(*(bench.view_reads.read(_poll(n)) for n in range(3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3


async def test_closing_leaves_nobody_waiting(bench: Bench) -> None:
    """Nor in the round trip under way, nor among those who wait for one."""
    bench.view.gate.clear()
    calls = [asyncio.create_task(bench.view_reads.read(_poll(n))) for n in range(5 * view_reads.MAX_TOGETHER)]
    await eventually(lambda: bench.view.round_trips, "a round trip")
    await bench.view_reads.close()

    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(answer) for answer in answers} == {asyncio.CancelledError}


async def test_touches_are_sent_in_batches(bench: Bench) -> None:
    """One message, never one a poll."""
    for number in range(1000):
        bench.requests.touch(f"session-{number % 3}")
    await bench.requests.send_touches()
    await bench.requests.send_touches()

    assert bench.line.asked("touch") == [{"session-0", "session-1", "session-2"}]


async def test_requests_that_cannot_be_sent_are_forgotten(bench: Bench) -> None:
    """Polls name their sessions again."""
    bench.line.error = ViewUnavailable("away.")
    bench.requests.touch(SID)
    bench.requests.warm(SID)
    await bench.requests.send_touches()
    await bench.requests.send_warms()
    bench.line.error = None
    await bench.requests.send_touches()

    assert bench.line.sent == []


async def test_a_round_trip_is_measured() -> None:
    """Once for all polls that share it."""
    bench = Bench()
    await bench.source()

    assert bench.view_reads.counted.durations.count == 1
    assert 0 < bench.view_reads.counted.durations.seconds < 60
