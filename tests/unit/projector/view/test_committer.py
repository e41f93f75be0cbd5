"""Numbered batches: each is sent until it is answered, whatever is lost on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from projector.core.letters import Beat
from projector.core.operations import (
    MAX_BATCH_BYTES,
    MAX_NAMED,
    Add,
    Drop,
    Operation,
    Operations,
    Put,
    StagedSession,
    Touch,
)
from projector.view.committer import RESIGN_SECONDS, Committer
from projector.view.writer import BatchResult, StagingLost, TermRefused
from readmodel.errors import AccessRefused, ViewFull, ViewUnavailable
from tests.support.viewing import event

BEAT = Beat(1_768_314_600_000_000, sent_at=99.75, wal="1/16b3748")


@dataclass
class Sent:
    """One call of `apply`."""

    n: int
    operations: list[Operation]
    named: list[str]
    as_of_us: int | None
    round_trip_us: int | None
    though_full: bool


@dataclass
class FakeWriter:
    """Takes batches; gives or raises what is in `answers`, in order, and then an empty `Applied`."""

    answers: list[BatchResult | Exception] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    wals: list[str] = field(default_factory=list)

    async def apply(
        self,
        term: str,
        n: int,
        operations: Sequence[Operation],
        named: Sequence[str],
        *,
        as_of_us: int | None = None,
        wal: str = "",
        round_trip_us: int | None = None,
        though_full: bool = False,
    ) -> BatchResult:
        assert term == "term"
        self.wals.append(wal)
        self.sent.append(Sent(n, list(operations), list(named), as_of_us, round_trip_us, though_full))
        answer = self.answers.pop(0) if self.answers else BatchResult()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """A clock at 100 s."""
    return Clock()


def committer(writer: FakeWriter, clock: Clock) -> Committer:
    """A committer of a new term over the fake."""
    return Committer(writer, "term", clock, clock.sleep)  # type: ignore[arg-type]


def big(session_id: str) -> Operation:
    """An operation that fills more than half a part."""
    return Add(session_id, (event(session_id, 1, size=MAX_BATCH_BYTES * 2 // 3),))


async def test_batches_are_numbered_from_one(clock: Clock) -> None:
    """Part after part, commit after commit."""
    writer = FakeWriter()
    made = committer(writer, clock)
    await made.commit({"a": [Drop("a")]})
    await made.commit({"a": [big("a")], "b": [big("b")]})

    assert [sent.n for sent in writer.sent] == [1, 2, 3]
    assert made.n == 3


async def test_what_the_script_found_comes_back_with_its_part(clock: Clock) -> None:
    """So that each answer is settled with the operations it answers."""
    first, second = BatchResult(cold=("a",)), BatchResult(grown=("b",))
    results = await committer(FakeWriter([first, second]), clock).commit({"a": [big("a")], "b": [big("b")]})

    assert [(list(part), applied) for part, applied in results] == [(["a"], first), (["b"], second)]


async def test_the_beat_goes_with_the_last_part(clock: Clock) -> None:
    """As-of moves when all that was heard before it is applied."""
    writer = FakeWriter()
    await committer(writer, clock).commit({"a": [big("a")], "b": [big("b")]}, beat=BEAT)

    assert writer.wals == ["", BEAT.wal]
    assert [(sent.as_of_us, sent.round_trip_us) for sent in writer.sent] == [(None, None), (BEAT.as_of_us, 250_000)]


async def test_a_beat_alone_is_a_batch(clock: Clock) -> None:
    """Nothing happened, and that is news."""
    writer = FakeWriter()
    await committer(writer, clock).commit({}, beat=BEAT)

    assert writer.sent == [Sent(1, [], [], BEAT.as_of_us, 250_000, though_full=False)]


async def test_the_very_same_batch_is_sent_again(clock: Clock) -> None:
    """After a lost reply: same number, same words; only the beat has been under way for longer."""
    writer = FakeWriter([ViewUnavailable("lost."), ViewUnavailable("lost.")])
    operations: Operations = {"a": [Drop("a"), Touch("a")], "b": [Drop("b")]}
    await committer(writer, clock).commit(operations, ["c"], BEAT)
    first, *again = writer.sent

    assert len(again) == 2
    for sent in again:
        assert (sent.n, sent.operations, sent.named) == (first.n, first.operations, first.named)
        assert sent.as_of_us == first.as_of_us
    trips = [sent.round_trip_us or 0 for sent in writer.sent]
    assert all(one < other for one, other in pairwise(trips))


async def test_a_leader_resigns_when_redis_stays_away(clock: Clock) -> None:
    """Tries go on for RESIGN_SECONDS, with growing pauses of a second at most; then another may do better."""
    writer = FakeWriter([ViewUnavailable("away.")] * 1000)
    made = committer(writer, clock)
    with pytest.raises(ViewUnavailable, match=r"away\."):
        await made.commit({"a": [Drop("a")]})

    assert RESIGN_SECONDS < clock.now - 100.0 < RESIGN_SECONDS + 1.5
    assert max(clock.slept) <= 1.0
    assert {sent.n for sent in writer.sent} == {1}
    assert made.n == 0


async def test_each_part_has_its_own_patience(clock: Clock) -> None:
    """A long commit is no outage."""
    outage: list[BatchResult | Exception] = [ViewUnavailable("away.")] * 8
    writer = FakeWriter([*outage, BatchResult(), *outage, BatchResult()])
    await committer(writer, clock).commit({"a": [big("a")], "b": [big("b")]})

    assert [sent.n for sent in writer.sent] == [1] * 9 + [2] * 9


@pytest.mark.parametrize("error", [TermRefused("elsewhere"), AccessRefused("no.")])
async def test_a_refusal_is_final(clock: Clock, error: Exception) -> None:
    """Sending it again would not mend it."""
    writer = FakeWriter([error])
    with pytest.raises(type(error)):
        await committer(writer, clock).commit({"a": [big("a")], "b": [big("b")]})

    assert len(writer.sent) == 1
    assert clock.slept == []


async def test_a_lost_staging_drops_its_session_only(clock: Clock) -> None:
    """Nothing was applied: the rest goes again under the same number, the session is named and loaded anew."""
    writer = FakeWriter([StagingLost("b")])
    put = Put("b", StagedSession("stage:x:", 1))
    operations: Operations = {"a": [Drop("a")], "b": [put, Add("b", (event("b", 1),))]}
    [(part, _)] = await committer(writer, clock).commit(operations)

    assert [sent.n for sent in writer.sent] == [1, 1]
    assert writer.sent[1].operations == [Drop("a"), Drop("b")]
    assert writer.sent[1].named == ["a", "b"]
    assert part["b"] == [Drop("b")]


async def test_changed_sessions_are_named_touched_ones_are_not(clock: Clock) -> None:
    """Answers in memory outlive a touch."""
    writer = FakeWriter()
    await committer(writer, clock).commit({"a": [Touch("a")], "b": [Drop("b")], "c": [Touch("c"), Drop("c")]})

    assert writer.sent[0].named == ["b", "c"]


async def test_sessions_of_letters_are_named_with_the_last_part(clock: Clock) -> None:
    """Hot or not, touched in the same batch or not: an answer in memory may know less."""
    writer = FakeWriter()
    operations: Operations = {"a": [big("a")], "t": [Touch("t")], "b": [big("b")]}
    await committer(writer, clock).commit(operations, ["cold", "a", "t"])

    assert [sent.named for sent in writer.sent] == [["a"], ["b", "cold", "t"]]


async def test_too_many_to_name_is_everybody(clock: Clock) -> None:
    """The message has a bound."""
    writer = FakeWriter()
    made = committer(writer, clock)
    await made.commit({}, [str(number) for number in range(MAX_NAMED)])
    await made.commit({}, [str(number) for number in range(MAX_NAMED + 1)])
    await made.commit({"x": [Drop("x")]}, [str(number) for number in range(MAX_NAMED)])

    assert [len(sent.named) for sent in writer.sent] == [MAX_NAMED, 1, 1]
    assert writer.sent[1].named == writer.sent[2].named == ["*"]


async def test_a_full_redis_sheds_what_grows(clock: Clock) -> None:
    """Sessions with new events are dropped, the rest and the beat go on: a full Redis must not stop as-of."""
    writer = FakeWriter([ViewFull("full")])
    results = await committer(writer, clock).commit({"a": [big("a")], "b": [Touch("b")]}, beat=BEAT)

    assert [(sent.n, sent.operations, sent.though_full) for sent in writer.sent[1:]] == [
        (1, [Drop("a"), Touch("b")], True)
    ]
    assert writer.sent[1].as_of_us == BEAT.as_of_us
    assert results[0][0]["a"] == [Drop("a")]


async def test_a_batch_changed_after_an_unanswered_try_ends_the_term(clock: Clock) -> None:
    """The first try may have been applied, late: then nobody knows which of the two contents the view holds."""
    writer = FakeWriter([ViewUnavailable("lost"), ViewFull("full"), BatchResult(again=True)])
    with pytest.raises(TermRefused):
        await committer(writer, clock).commit({"a": [big("a")]})


async def test_a_batch_that_had_been_applied_already_is_done(clock: Clock) -> None:
    """A lost reply alone is no doubt: the very same batch was sent again."""
    made = committer(FakeWriter([ViewUnavailable("lost"), BatchResult(again=True)]), clock)
    await made.commit({"a": [big("a")]})

    assert made.n == 1


async def test_a_batch_that_waits_is_told_of_until_it_is_through(clock: Clock) -> None:
    """Not for a blink; then why, and in the end that it is over."""
    lost = [ViewUnavailable(f"try {number}") for number in range(8)]
    writer, told = FakeWriter([ViewUnavailable("a blink"), BatchResult(), *lost]), list[str]()
    made = Committer(writer, "term", clock, clock.sleep, tell=lambda why: told.append(str(why)))  # type: ignore[arg-type]
    await made.commit({})
    assert told == []
    await made.commit({})

    assert told[-2:] == ["try 7", "None"]
    assert "try 0" not in told
