"""Postgres behind the API: bounded, shared, refused in time, and never asked for nothing."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from query_api.memory.answers import Number
from query_api.sources import fallback as module
from query_api.sources.circuit import Circuit
from query_api.sources.fallback import Fallback, LineFull
from query_api.sources.own_database import OwnDatabase
from query_api.sources.source_answer import SourceAnswer
from readmodel.errors import AnswerTooLarge, EventLogUnavailable, Overload, QueryTooSlow, ServerInRecovery
from readmodel.postgres.event_log import LogPage
from readmodel.values.poll import Poll
from tests.fakes.event_log import FakeEventLog, Row
from tests.support.viewing import DATABASE
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
POLL = Poll(SID)
HOUR = 3600.0


class Clock:
    """Moves by itself a microsecond a look, and by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        self.now += 1e-6
        return self.now


class Bench:
    """A fallback over a fake log."""

    def __init__(self, concurrency: int = 4) -> None:
        self.log = FakeEventLog({SID: "in_progress"}, [Row(SID, 1_000_000)])
        self.clock = Clock()
        self.number: Number | None = Number("t", 1, DATABASE)
        self.reconnected = 0
        self.changes: list[str] = []
        self.own = OwnDatabase(self.changes.append)
        self.circuit = Circuit("postgres", self.clock)
        self.fallback = Fallback(
            self.log,
            concurrency=concurrency,
            circuit=self.circuit,
            number=lambda _: self.number,
            max_bytes=10_000,
            clock=self.clock,
            reconnect=self._reconnect,
            learn=self.own.learn,
        )

    async def _reconnect(self) -> None:
        self.reconnected += 1

    def ask(self, poll: Poll = POLL, staleness: float = HOUR) -> "asyncio.Task[SourceAnswer[LogPage]]":
        """Begin to ask."""
        call: Coroutine[Any, Any, SourceAnswer[LogPage]] = self.fallback.answer(poll, staleness)
        return asyncio.create_task(call)

    async def asked(self, queries: int) -> None:
        """Wait until so many queries were sent."""
        await eventually(lambda: len(self.log.queries) >= queries, f"{queries} queries")

    async def turns(self) -> None:
        """Let every task go as far as it can."""
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Two queries of one principal at a time."""
    made = Bench()
    yield made
    made.log.release()
    await made.fallback.close()


async def test_a_poll_is_answered(bench: Bench) -> None:
    """With the number that was the last one before the query."""
    fetched = await bench.ask()

    assert (fetched.found.status, fetched.found.total) == ("in_progress", 1)
    assert fetched.number == Number("t", 1, DATABASE)


async def test_the_number_is_taken_before_the_query_is_sent(bench: Bench) -> None:
    """What is heard while it runs may be about what it does not see."""
    bench.log.hold()
    asked = bench.ask()
    await bench.asked(1)
    bench.number = Number("t", 2, DATABASE)
    bench.log.release()

    assert (await asked).number == Number("t", 1, DATABASE)


async def test_callers_of_the_same_poll_share_a_query(bench: Bench) -> None:
    """A storm of a hundred costs one."""
    bench.log.hold()
    asked = [bench.ask() for _ in range(100)]
    await bench.asked(1)
    bench.log.release()
    await asyncio.gather(*asked)

    assert len(bench.log.queries) == 1


async def test_staleness_zero_joins_no_query_that_was_sent_before(bench: Bench) -> None:
    """Its query starts after it arrived."""
    bench.log.hold()
    first = bench.ask()
    await bench.asked(1)

    second = bench.ask(staleness=0)
    await bench.asked(2)
    bench.log.release()

    one, other = await asyncio.gather(first, second)
    assert one.freshness.since < other.freshness.since


async def test_staleness_zero_joins_a_query_that_waits() -> None:
    """One for all who came before it was sent."""
    bench = Bench(concurrency=1)
    bench.log.hold()
    first = bench.ask(Poll(OTHER))
    await bench.asked(1)

    zeros = [bench.ask(staleness=0) for _ in range(10)]
    await bench.turns()
    bench.log.release()
    await asyncio.gather(first, *zeros)

    assert len(bench.log.queries) == 2


async def test_an_answer_that_took_longer_than_wanted_is_asked_for_again(bench: Bench) -> None:
    """Joining was a guess about how long it takes."""
    bench.log.hold()
    first = bench.ask()
    await bench.asked(1)
    second = bench.ask(staleness=2.0)
    await bench.turns()
    bench.clock.now += 3
    bench.log.release()
    await asyncio.gather(first, second)

    assert len(bench.log.queries) == 2
    assert (await second).freshness.lag_seconds(bench.clock.now) < 2


async def test_queries_are_bounded(bench: Bench) -> None:
    """READSIDE_FALLBACK_CONCURRENCY."""
    bench.log.hold()
    asked = [bench.ask(Poll(SID, limit=limit)) for limit in range(1, 15)]
    await bench.asked(2)
    bench.log.release()
    await asyncio.gather(*asked)

    assert bench.log.most_running == 2


async def test_past_the_line_callers_are_refused_at_once(bench: Bench) -> None:
    """The line is bounded too."""
    bench.log.hold()
    running = [bench.ask(Poll(SID, page=page)) for page in range(1, 3)]
    await bench.asked(2)
    waiting = [bench.ask(Poll(SID, page=page)) for page in range(3, 3 + 4 * module.LINE_PER_SLOT)]
    await bench.turns()

    with pytest.raises(Overload):
        await bench.ask(Poll(SID, page=1000))
    bench.log.release()
    await asyncio.gather(*running, *waiting)


async def test_who_waits_too_long_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the contract's two seconds."""
    assert module.LINE_SECONDS < 2
    monkeypatch.setattr(module, "LINE_SECONDS", 0.01)
    bench.log.hold()
    running = [bench.ask(Poll(SID, page=page)) for page in range(1, 3)]
    await bench.asked(2)

    with pytest.raises(Overload):
        await bench.ask(Poll(SID, page=3))
    assert bench.fallback.waiting == 0
    bench.log.release()
    await asyncio.gather(*running)


async def test_a_caller_who_leaves_takes_nothing_from_the_others(bench: Bench) -> None:
    """The query belongs to all who joined it."""
    bench.log.hold()
    first, second = bench.ask(), bench.ask()
    await bench.asked(1)
    first.cancel()
    bench.log.release()

    assert (await second).found.total == 1
    assert len(bench.log.queries) == 1


async def test_an_unknown_session_is_looked_up_once_a_second(bench: Bench) -> None:
    """Whatever is asked of it; its as-of stays that of the look-up."""
    first = await bench.ask(Poll(OTHER))
    for limit in range(1, 20):
        assert await bench.ask(Poll(OTHER, limit=limit)) is first
    bench.clock.now += module.MISSING_SECONDS
    again = await bench.ask(Poll(OTHER))

    assert len(bench.log.queries) == 2
    assert again.freshness.since > first.freshness.since


async def test_an_unknown_session_is_looked_up_for_staleness_zero(bench: Bench) -> None:
    """It is never answered from what is remembered."""
    await bench.ask(Poll(OTHER))
    bench.log.statuses[OTHER] = "pending"

    assert (await bench.ask(Poll(OTHER), staleness=0)).found.status == "pending"


async def test_a_message_about_an_unknown_session_makes_it_looked_up(bench: Bench) -> None:
    """It may have been created."""
    await bench.ask(Poll(OTHER))
    bench.log.statuses[OTHER] = "pending"
    bench.fallback.changed(OTHER)

    assert (await bench.ask(Poll(OTHER))).found.status == "pending"


@pytest.mark.parametrize("named", [OTHER, "*"])
async def test_a_session_that_appears_while_it_is_looked_up_is_looked_up_again(bench: Bench, named: str) -> None:
    """The query may have been sent before; a message of too many sessions names every one."""
    bench.log.hold()
    asked = bench.ask(Poll(OTHER))
    await bench.asked(1)
    bench.fallback.changed(SID)
    if named == "*":
        bench.fallback.broken(0)
    else:
        bench.fallback.changed(named)
    bench.log.release()

    assert (await asked).found.status is None
    bench.log.statuses[OTHER] = "pending"
    assert (await bench.ask(Poll(OTHER))).found.status == "pending"


async def test_a_message_of_every_session_forgets_every_unknown_one(bench: Bench) -> None:
    """Too many to name, or a message was missed."""
    await bench.ask(Poll(OTHER))
    bench.log.statuses[OTHER] = "pending"
    bench.fallback.broken(0)

    assert (await bench.ask(Poll(OTHER))).found.status == "pending"


async def test_the_memory_of_unknown_sessions_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(module, "MAX_MISSING", 3)
    for number in range(10):
        await bench.ask(Poll(f"{number:08}-0000-4000-8000-000000000000"))

    assert len(bench.fallback._missing) == 3


async def test_a_postgres_that_is_away_is_asked_once_a_second(bench: Bench) -> None:
    """The others are told at once."""
    bench.log.error = EventLogUnavailable("PostgreSQL does not answer.")
    for _ in range(10):
        with pytest.raises(EventLogUnavailable):
            await bench.ask()
    assert len(bench.log.queries) == 1

    bench.clock.now += 1.1
    bench.log.error = None
    assert (await bench.ask()).found.total == 1
    assert bench.circuit.failure is None


async def test_a_query_that_takes_too_long_is_too_much_and_no_outage(bench: Bench) -> None:
    """Its callers may try again; nobody else hears of it."""
    bench.log.error = QueryTooSlow("PostgreSQL does not answer in time.")
    with pytest.raises(Overload):
        await bench.ask()
    assert bench.circuit.failure is None
    bench.log.error = None

    assert (await bench.ask()).found.total == 1


async def test_one_slow_query_among_others_is_no_outage(bench: Bench) -> None:
    """A deep page may time out while everything else is answered."""
    bench.log.hold()
    slow = bench.ask(Poll(SID, page=999))
    await bench.asked(1)
    bench.circuit.succeeded()
    bench.log.error = EventLogUnavailable("PostgreSQL does not answer: timed out.")
    bench.log.release()
    with pytest.raises(EventLogUnavailable):
        await slow
    bench.log.error = None

    assert (await bench.ask()).found.total == 1


async def test_a_standby_is_left(bench: Bench) -> None:
    """After a failover the old connections lead to the wrong server."""
    bench.log.error = ServerInRecovery("PostgreSQL is in recovery.")
    with pytest.raises(ServerInRecovery):
        await bench.ask()

    assert bench.reconnected == 1


async def test_an_answer_too_large_is_nobodys_outage(bench: Bench) -> None:
    """It is the caller's to mend."""
    bench.log.rows.append(Row(SID, 2_000_000, message="x" * 20_000))
    with pytest.raises(AnswerTooLarge):
        await bench.ask()

    assert bench.circuit.failure is None


HOG, VICTIM = "hog", "victim"


def pages(number: int, first: int = 1) -> list[Poll]:
    """So many different polls."""
    return [Poll(SID, page=page) for page in range(first, first + number)]


class Storm:
    """A fallback whose log holds every query, and a principal that has asked for more than can be sent."""

    def __init__(self, bench: Bench, queries: int) -> None:
        self.bench = bench
        bench.log.hold()
        self.asked = [self.ask(poll, HOG) for poll in pages(queries, first=1_000)]

    def ask(self, poll: Poll, principal: str, staleness: float = HOUR) -> "asyncio.Task[SourceAnswer[LogPage]]":
        """Begin to ask."""
        return asyncio.create_task(self.bench.fallback.answer(poll, staleness, principal))

    async def end(self) -> "list[SourceAnswer[LogPage] | BaseException]":
        """Let all be answered; gives what the hog got."""
        self.bench.log.release()
        return await asyncio.gather(*self.asked, return_exceptions=True)


async def test_a_newcomers_query_is_sent_at_once() -> None:
    """Beside a thousand of another's."""
    bench = Bench(concurrency=8)
    storm = Storm(bench, 1_000)
    await bench.asked(4)
    asked = storm.ask(POLL, VICTIM)
    await bench.turns()

    assert bench.log.queries[4:] == [POLL]
    await storm.end()
    assert (await asked).found.total == 1


async def test_one_that_asks_too_much_is_refused_and_nobody_else() -> None:
    """Each has a line of its own."""
    bench = Bench(concurrency=8)
    storm = Storm(bench, 1_000)
    await bench.asked(4)
    asked = [storm.ask(poll, VICTIM) for poll in pages(8 * module.LINE_PER_SLOT)]
    await bench.turns()
    hogs = await storm.end()

    assert sum(isinstance(got, LineFull) for got in hogs) == 1_000 - 4 - 8 * module.LINE_PER_SLOT
    assert {(await got).found.total for got in asked} == {1}


async def test_where_all_lines_are_full_the_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last caller is told; a newcomer waits instead."""
    monkeypatch.setattr(module, "LINES", 1)
    bench = Bench(concurrency=1)
    storm = Storm(bench, 1 + module.LINE_PER_SLOT)
    await bench.asked(1)
    asked = storm.ask(POLL, VICTIM)
    with pytest.raises(LineFull):
        await storm.asked[-1]

    await storm.end()
    assert bench.fallback.refused == {"line_full": 1, "waited": 0, "slow": 0}
    assert (await asked).found.total == 1


async def test_one_query_answers_all_who_wait_for_the_same() -> None:
    """Whatever line they stand in."""
    bench = Bench(concurrency=1)
    storm = Storm(bench, 1)
    await bench.asked(1)
    asked = [storm.ask(POLL, f"principal {number}", staleness=0) for number in range(20)]
    await bench.turns()
    await storm.end()
    await asyncio.gather(*asked)

    assert bench.log.queries[1:] == [POLL]
    assert bench.fallback.shared == 19
    assert bench.fallback.waiting == 0


async def test_what_waits_at_the_end_of_anothers_line_has_its_turn_in_ones_own() -> None:
    """Asking for the same as a hog is no reason to wait for all that the hog asked before."""
    bench = Bench(concurrency=1)
    storm = Storm(bench, module.LINE_PER_SLOT)
    last = storm.ask(POLL, HOG)
    await bench.asked(1)
    asked = storm.ask(POLL, VICTIM)
    await bench.turns()
    await storm.end()

    assert (await asked) is (await last)
    assert bench.log.queries.index(POLL) == 1


async def test_a_query_of_anothers_that_is_sent_is_shared() -> None:
    """As late as is wanted; staleness 0 asks again."""
    bench = Bench(concurrency=8)
    storm = Storm(bench, 0)
    first = storm.ask(POLL, HOG)
    await bench.asked(1)
    joined, strict = storm.ask(POLL, VICTIM), storm.ask(POLL, VICTIM, staleness=0)
    await bench.turns()
    await storm.end()

    assert (await joined) is (await first)
    assert (await strict) is not (await first)


async def test_errors_keep_no_place(bench: Bench) -> None:
    """Nor does a line that nobody waits in any more."""
    for error in (QueryTooSlow("PostgreSQL does not answer in time."), AnswerTooLarge(1, 2)):
        bench.log.error = error
        for poll in pages(10):
            with pytest.raises(type(error) if isinstance(error, AnswerTooLarge) else Overload):
                await bench.ask(poll)
    bench.log.error = None
    bench.log.hold()
    asked = [bench.ask(poll) for poll in pages(2)]
    await bench.asked(22)
    bench.log.release()
    await asyncio.gather(*asked)

    assert bench.log.most_running == 2


async def test_while_postgres_is_away_nobody_waits_for_it(bench: Bench) -> None:
    """Refused at the door: no line grows."""
    bench.log.error = EventLogUnavailable("PostgreSQL does not answer.")
    with pytest.raises(EventLogUnavailable):
        await bench.ask()
    got = await asyncio.gather(*(bench.ask(poll) for poll in pages(100)), return_exceptions=True)

    assert {type(error) for error in got} == {EventLogUnavailable}
    assert bench.fallback.waiting == bench.fallback.running == 0


async def test_closing_leaves_nobody_waiting_and_sends_nothing_more() -> None:
    """Neither those in line nor those whose query is under way."""
    bench = Bench(concurrency=2)
    storm = Storm(bench, 10)
    asked = storm.ask(POLL, VICTIM)
    await bench.asked(2)
    await bench.fallback.close()
    answers = await asyncio.gather(*storm.asked, asked, return_exceptions=True)

    assert {type(answer) for answer in answers} == {asyncio.CancelledError}
    assert len(bench.log.queries) == 2
    assert bench.fallback.waiting == bench.fallback.running == 0


async def test_who_leaves_while_waiting_disturbs_nobody() -> None:
    """Its query belongs to whoever asks for the same."""
    bench = Bench(concurrency=1)
    storm = Storm(bench, 1)
    await bench.asked(1)
    leaving, asked = storm.ask(POLL, VICTIM), storm.ask(POLL, VICTIM)
    await bench.turns()
    leaving.cancel()
    await storm.end()

    assert (await asked).found.total == 1


async def test_the_way_to_the_server_makes_no_query_long(bench: Bench) -> None:
    """It is measured by the question which database it is, asked in between."""
    for seconds in (0.5, 0.2, 0.3):
        before = bench.clock.now
        bench.log.hold()
        asked = asyncio.create_task(bench.fallback.identify())
        await bench.turns()
        bench.clock.now = before + seconds
        bench.log.release()
        await asked

    assert bench.fallback._line.cheapest_seconds == pytest.approx(0.2, abs=0.01)
