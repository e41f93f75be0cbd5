"""Streams of Postgres go through the lines, the circuit and the memory that polls go through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from query_api.http.problems import problem_of
from query_api.memory.answers import Number
from query_api.sources.circuit import Circuit
from query_api.sources.fallback import Fallback
from readmodel.errors import EventLogUnavailable, OffsetGone, ServiceError, StreamRightsMissing
from readmodel.values.arrivals import StreamRead
from readmodel.values.offset import Offset
from readmodel.values.poll import Poll
from tests.fakes.event_log import FakeEventLog
from tests.fakes.event_stream import NEXT, FakeStreamLog
from tests.support.viewing import DATABASE

SID = "11111111-1111-4111-8111-111111111111"
READ, HOUR = StreamRead(SID), 3600.0


class Stand:
    """A fallback over fake logs."""

    def __init__(self) -> None:
        self.polls, self.streams = FakeEventLog({SID: "in_progress"}), FakeStreamLog([b"{}"])
        self.circuit = Circuit("postgres")
        self.fallback = Fallback(
            self.polls,
            streams=self.streams,
            concurrency=4,
            circuit=self.circuit,
            number=lambda _: Number("t", 1, DATABASE),
            max_bytes=10_000,
        )


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """One that nobody has asked yet."""
    made = Stand()
    yield made
    await made.fallback.close()


async def test_a_stream_is_read_on(stand: Stand) -> None:
    """With as-of and number, as a poll is."""
    fetched = await stand.fallback.answer(READ, 1.0, "somebody")

    assert (fetched.found.arrivals.events, fetched.found.arrivals.next) == ([b"{}"], NEXT)
    assert (fetched.number, fetched.freshness.as_of_us) == (Number("t", 1, DATABASE), fetched.found.as_of_us)


async def test_those_who_are_at_one_place_share_a_query(stand: Stand) -> None:
    """Others have one of their own."""
    questions = [READ, READ, READ._replace(offset=NEXT), READ._replace(limit=0)]
    await asyncio.gather(*(stand.fallback.answer(question, HOUR) for question in questions))

    assert len(stand.streams.questions) == 3
    assert stand.fallback.shared == 1


async def test_a_session_that_is_not_there_is_remembered_until_something_happens_to_it(stand: Stand) -> None:
    """Whatever was asked of it, and each as its own answer."""
    stand.streams.status, stand.polls.statuses = None, {}
    for _ in range(2):
        assert (await stand.fallback.answer(READ, HOUR)).found.arrivals.status is None
        assert (await stand.fallback.answer(Poll(SID), HOUR)).found.total == 0
    assert (len(stand.streams.questions), len(stand.polls.queries)) == (1, 1)

    stand.fallback.changed(SID)
    await stand.fallback.answer(READ, HOUR)
    await stand.fallback.answer(Poll(SID), HOUR)
    assert (len(stand.streams.questions), len(stand.polls.queries)) == (2, 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [(StreamRightsMissing("Run `readside install --role ROLE`."), 503), (OffsetGone("it is too old"), 410)],
)
async def test_what_keeps_a_stream_alone_keeps_no_poll(stand: Stand, error: ServiceError, status: int) -> None:
    """And its problem says what to do."""
    stand.streams.error = error
    with pytest.raises(type(error)) as caught:
        await stand.fallback.answer(READ, HOUR)
    await stand.fallback.answer(Poll(SID), HOUR)
    answer = problem_of(caught.value)

    assert (answer.status, str(error).encode() in answer.body) == (status, True)


async def test_a_postgres_that_is_away_is_away_for_polls_too(stand: Stand) -> None:
    """And asked once a second."""
    stand.streams.error = EventLogUnavailable("PostgreSQL does not answer.")
    with pytest.raises(EventLogUnavailable):
        await stand.fallback.answer(READ, HOUR)
    with pytest.raises(EventLogUnavailable):
        await stand.fallback.answer(Poll(SID), HOUR)

    assert stand.polls.queries == []


async def test_an_offset_makes_another_question() -> None:
    """Equal ones make the same."""
    place = Offset("00000000", NEXT.cut)

    assert StreamRead(SID, NEXT) == StreamRead(SID, place) != READ
    assert hash(StreamRead(SID, NEXT)) == hash(StreamRead(SID, place))
