"""Which hot standbys may answer, who of them is asked, and when the primary is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from query_api.sources.circuit import Circuit
from query_api.sources.cold_polls import ColdPolls
from query_api.sources.fallback import Fallback
from query_api.sources.replicas import Replica, ReplicaConfig, Replicas
from readmodel.errors import (
    AnswerTooLarge,
    BadEvents,
    BeatNotPassed,
    ConfigurationError,
    EventLogUnavailable,
    Overload,
    QueryTooSlow,
    RecoveryConflict,
    RightsMissing,
    SchemaMissing,
    ServiceError,
    StandbyUnfit,
)
from readmodel.postgres.event_log import LogPage
from readmodel.postgres.standby_log import StandbyServer
from readmodel.values.poll import Poll
from readmodel.values.wal import Proof, WalPosition, latest_passed
from tests.fakes.event_log import FakeEventLog, Row
from tests.support.viewing import DATABASE
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
POLL = Poll(SID)
GOOD = StandbyServer(180000, in_recovery=True, replayed=1_000, receives=True, timeline=3, database=DATABASE)


def proof(lsn: int, since: float, timeline: int = 3) -> Proof:
    """A beat of the second `since`, as of the same microsecond since 1970."""
    return Proof(WalPosition(timeline, lsn), int(since * 1_000_000), since, "t", int(since), DATABASE)


class Clock:
    """Moves by hand."""

    now = 100.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass
class FakeStandby(FakeEventLog):
    """A server that is looked at and polled; its answers are as of a proof."""

    found: StandbyServer | ServiceError = GOOD
    proof: Proof = field(default_factory=lambda: proof(900, 99.0))
    left: int = 0

    async def look(self) -> StandbyServer:
        """Say who it is."""
        if isinstance(self.found, ServiceError):
            raise self.found
        return self.found

    async def leave(self) -> None:
        """Drop its connections."""
        self.left += 1

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer as of the proof."""
        return (await super().answer(poll, max_bytes))._replace(proof=self.proof, as_of_us=self.proof.as_of_us)


class Bench:
    """A primary, and standbys that are fit."""

    def __init__(self, standbys: int = 1) -> None:
        self.clock = Clock()
        self.proofs = [proof(800, 98.0), proof(900, 99.0)]
        self.database = DATABASE
        self.primary_log = FakeEventLog({SID: "in_progress"}, [Row(SID, 1)])
        self.logs = [FakeStandby({SID: "in_progress"}, [Row(SID, 1)]) for _ in range(standbys)]
        config = ReplicaConfig(5.0, lambda: self.proofs, lambda: self.database)
        self.replicas = [
            Replica(f"standby-{number}:5432", log, config, self.clock) for number, log in enumerate(self.logs)
        ]
        for replica, log in zip(self.replicas, self.logs, strict=True):
            replica.fallback = self._fallback(log, replica)
        self.primary = self._fallback(self.primary_log, Circuit("postgres", self.clock))
        self.cold = ColdPolls(self.primary, Replicas(self.replicas), 2, self.clock)

    def _fallback(self, log: FakeEventLog, circuit: Any) -> Fallback:
        return Fallback(
            log, concurrency=2, circuit=circuit, number=lambda _session_id: None, max_bytes=10_000, clock=self.clock
        )

    async def look(self) -> None:
        """Look at all of them."""
        for replica in self.replicas:
            await replica.look()

    @property
    def queries(self) -> tuple[int, ...]:
        """How many the primary got, and each standby."""
        return len(self.primary_log.queries), *(len(log.queries) for log in self.logs)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One standby, which is fit."""
    made = Bench()
    await made.look()
    yield made
    await made.primary.close()
    await made.cold.replicas.close()


@pytest.fixture
async def pair() -> AsyncIterator[Bench]:
    """Two standbys, which are fit."""
    made = Bench(2)
    await made.look()
    yield made
    await made.primary.close()
    await made.cold.replicas.close()


async def test_an_answer_of_a_standby_is_as_of_the_beat_that_it_has_passed(bench: Bench) -> None:
    """And has the number of that beat's message: it may lack what later ones told."""
    found = await bench.cold.answer(POLL, 5.0)

    assert (found.freshness.as_of_us, found.freshness.since) == (99_000_000, 99.0)
    assert found.number == ("t", 99, DATABASE)
    assert bench.queries == (0, 1)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (replace(GOOD, in_recovery=False), "promoted"),
        (replace(GOOD, database="9/9"), "another_cluster"),
        (replace(GOOD, timeline=2, replayed=10**15), "another_timeline"),
        (replace(GOOD, timeline=4), "another_timeline"),
        (replace(GOOD, timeline=None, receives=False), "lagging"),
        (replace(GOOD, replayed=799), "lagging"),
        (EventLogUnavailable("It does not answer."), "away"),
        (QueryTooSlow("It does not answer in time."), "away"),
        (RightsMissing("A right is missing."), "refused"),
        (SchemaMissing("A table is missing."), "refused"),
        (ConfigurationError("It is too old."), "refused"),
    ],
)
async def test_an_unfit_standby_is_left_out_said_once_and_comes_back(
    bench: Bench, found: StandbyServer | ServiceError, state: str
) -> None:
    """The primary answers; one line tells of each change, however often it is looked at."""
    bench.logs[0].found = found
    with capture_logs() as lines:
        await bench.look()
        await bench.look()
        told = bench.replicas[0].report()
        await bench.cold.answer(POLL, 5.0)
        bench.logs[0].found = GOOD
        await bench.look()
        await bench.look()

    assert (told["state"], bool(told["reason"])) == (state, True)
    assert bench.queries == (1, 0)
    assert [line["event"] for line in lines] == ["a hot standby is left out", "a hot standby answers cold polls"]
    assert bench.replicas[0].report() == {"name": "standby-0:5432", "state": "fit", "reason": None, "lag_ms": 1000}


async def test_a_standby_behind_by_more_than_the_bound_lags(bench: Bench) -> None:
    """The age of the beat that it has passed, less that of the last one, is its own doing."""
    bench.proofs = [proof(800, 98.0), proof(2_000, 98.0 + 5.1)]
    bench.clock.now = 103.2
    await bench.look()

    assert bench.replicas[0].state == "lagging"
    assert bench.replicas[0].report()["lag_ms"] == 5200


async def test_connections_to_what_is_no_standby_of_ours_are_not_used_again(bench: Bench) -> None:
    """A name may lead to another server by now."""
    bench.logs[0].found = replace(GOOD, in_recovery=False)
    await bench.look()

    assert bench.logs[0].left == 1


async def test_while_no_beat_is_heard_the_primary_answers(bench: Bench) -> None:
    """Nothing can be said of any standby, and nothing is said against it."""
    bench.proofs = []
    with capture_logs() as lines:
        await bench.look()
        found = await bench.cold.answer(POLL, 5.0)
        await bench.look()

    assert bench.replicas[0].report()["lag_ms"] is None
    assert found.number is None
    assert bench.queries == (1, 0)
    assert lines == []


async def test_a_standby_is_not_told_to_lag_since_the_beats_have_broken_off(bench: Bench) -> None:
    """A new leader's first message breaks them all off while a query is on its way."""
    bench.logs[0].error = BeatNotPassed("It has not passed any beat that was heard.")
    bench.logs[0].hold()
    with capture_logs() as lines:
        poll = asyncio.create_task(bench.cold.answer(POLL, 5.0))
        await eventually(lambda: bench.queries == (0, 1), "the standby is asked")
        bench.proofs = []
        bench.logs[0].release()
        await poll

    assert bench.queries == (1, 1)
    assert bench.replicas[0].is_fit
    assert lines == []


async def test_where_the_beats_have_stopped_the_primary_alone_is_asked(bench: Bench) -> None:
    """No standby could answer late enough."""
    bench.clock.now = 99.0 + 5.1
    await bench.cold.answer(POLL, 5.0)

    assert bench.queries == (1, 0)


@pytest.mark.parametrize(
    ("error", "is_fit"),
    [
        (EventLogUnavailable("It died."), False),
        (StandbyUnfit("promoted", "It was promoted."), False),
        (RightsMissing("A right was taken away."), False),
        (RecoveryConflict("Replay ended it."), True),
        (BeatNotPassed("It has not passed the only beat since a message was missed."), True),
        (BadEvents("An event cannot be read."), True),
    ],
)
async def test_what_a_standby_cannot_answer_the_primary_does(bench: Bench, error: ServiceError, is_fit: bool) -> None:
    """Within the same poll; the standby is left out where other polls would fare alike."""
    bench.logs[0].error = error
    found = await bench.cold.answer(POLL, 5.0)

    assert found.found.status == "in_progress"
    assert (bench.queries, bench.cold.handed_on, bench.cold.by_primary) == ((1, 1), 1, 1)
    assert bench.replicas[0].is_fit == is_fit


@pytest.mark.parametrize("error", [AnswerTooLarge(7, 10_000), QueryTooSlow("It took ten seconds.")])
async def test_what_would_be_as_long_on_the_primary_is_not_asked_there(bench: Bench, error: ServiceError) -> None:
    """A page past the bound, and a query that took all its time."""
    bench.logs[0].error = error
    with pytest.raises((AnswerTooLarge, Overload)):
        await bench.cold.answer(POLL, 5.0)

    assert bench.queries == (0, 1)
    assert bench.replicas[0].is_fit


async def test_a_session_that_a_standby_does_not_know_is_asked_of_the_primary(bench: Bench) -> None:
    """It may have just been created."""
    del bench.logs[0].statuses[SID]
    found = await bench.cold.answer(POLL, 5.0)

    assert (found.found.status, bench.queries) == ("in_progress", (1, 1))


async def test_a_session_that_the_primary_does_not_know_is_remembered(bench: Bench) -> None:
    """No standby is asked either."""
    unknown = Poll("22222222-2222-4222-8222-222222222222")
    await bench.cold.answer(unknown, 5.0)
    found = await bench.cold.answer(unknown, 5.0)

    assert (found.found.status, bench.queries) == (None, (1, 1))


@pytest.mark.parametrize(("staleness", "not_before_us"), [(0.0, 0), (0.5, 0), (5.0, 99_000_001)])
async def test_who_wants_it_fresher_than_the_beat_gets_it_from_the_primary(
    bench: Bench, staleness: float, not_before_us: int
) -> None:
    """Staleness 0, a bound that the beat does not meet, an instant after it."""
    found = await bench.cold.answer(POLL, staleness, None, not_before_us)

    assert found.number is None
    assert bench.queries[0] == 1


async def test_the_least_busy_standby_is_asked(pair: Bench) -> None:
    """One after the other, while both work."""
    for log in pair.logs:
        log.hold()
    polls = [Poll(SID, page=page) for page in range(1, 5)]
    tasks = [asyncio.create_task(pair.cold.answer(poll, 5.0, poll.page)) for poll in polls]
    await eventually(lambda: sum(pair.queries) == 4, "all are sent")

    assert pair.queries == (0, 2, 2)
    for log in pair.logs:
        log.release()
    await asyncio.gather(*tasks)


async def test_the_same_poll_goes_where_it_is_asked_already(pair: Bench) -> None:
    """One query answers both."""
    for log in pair.logs:
        log.hold()
    tasks = [asyncio.create_task(pair.cold.answer(POLL, 5.0, number)) for number in range(5)]
    await eventually(lambda: sum(pair.queries) == 1, "one is sent")
    for log in pair.logs:
        log.release()
    await asyncio.gather(*tasks)

    assert sum(pair.queries) == 1


async def test_the_primary_helps_out_where_all_places_are_taken(bench: Bench) -> None:
    """More run at once in all than on the primary alone, and no server gets more than its own bound."""
    bench.logs[0].hold()
    bench.primary_log.hold()
    tasks = [asyncio.create_task(bench.cold.answer(Poll(SID, page=page), 5.0, page)) for page in range(1, 8)]
    await eventually(lambda: sum(bench.queries) == 4, "as many are sent as there are places")

    assert (bench.primary_log.most_running, bench.logs[0].most_running) == (2, 2)
    bench.logs[0].release()
    bench.primary_log.release()
    await asyncio.gather(*tasks)
    assert (bench.primary_log.most_running, bench.logs[0].most_running) == (2, 2)


async def test_a_standby_that_fails_sends_the_primary_no_more_than_its_bound(bench: Bench) -> None:
    """What it was asked waits in the primary's line like everything else."""
    bench.logs[0].error = EventLogUnavailable("It died.")
    bench.primary_log.hold()
    tasks = [asyncio.create_task(bench.cold.answer(Poll(SID, page=page), 5.0, page)) for page in range(1, 8)]
    await eventually(lambda: bench.primary.waiting == 5, "five wait for the primary")

    assert bench.primary_log.most_running == 2
    bench.primary_log.release()
    await asyncio.gather(*tasks)


async def test_a_failure_during_a_look_counts(bench: Bench) -> None:
    """The look may have been before it."""
    replica, log = bench.replicas[0], bench.logs[0]

    async def meanwhile() -> StandbyServer:
        bench.clock.now += 1
        replica.failed(EventLogUnavailable("It died."), 0.0)
        return GOOD

    log.look = meanwhile  # type: ignore[method-assign]
    await replica.look()

    assert replica.state == "away"


def test_the_latest_beat_that_was_passed() -> None:
    """Exactly there is there."""
    proofs = [proof(800, 98.0), proof(900, 99.0)]

    assert [latest_passed(proofs, replayed) for replayed in (799, 800, 899, 900)] == [None, *proofs[:1] * 2, proofs[1]]
