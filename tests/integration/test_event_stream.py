"""Streams from Postgres: whatever transactions do, every event comes, and once where letters prove it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest

from readmodel.errors import AnswerTooLarge, OffsetGone
from readmodel.postgres.event_stream import MAX_AGE
from readmodel.values.cut import START, Cut
from readmodel.values.offset import Offset, Within
from tests.support.partitions import MONTHLY, at, bounds, month
from tests.support.servers import connected
from tests.support.streams import SESSION, Stream, random_writers, streaming

STEPS = 160
INTO = "INSERT INTO"
VALUES = """(id, session_id, event_type, event_data, message, timestamp)
VALUES (gen_random_uuid(), $1::uuid, 'x', '{}', $2, $3::text::timestamptz)"""


@pytest.fixture
async def stream(database_url: str) -> AsyncIterator[Stream]:
    """A session without events."""
    async with streaming(database_url) as made:
        yield made


@pytest.mark.parametrize("letters", ["all", "some"])
@pytest.mark.parametrize("seed", range(2))
async def test_followers_are_given_every_version_whatever_transactions_do(
    stream: Stream, seed: int, letters: str
) -> None:
    """Savepoints, rollbacks, late commits, updates, deletes, short pages, at random moments; once, if letters tell."""
    random = Random(seed)
    followers = [stream.follower() for _ in range(3)]
    async with random_writers(stream.url, random) as writers:
        for _ in range(STEPS):
            await random.choice(writers).step()
            if random.random() < 0.4:
                await random.choice(followers).read(random.choice([1, 2, 3, 1000]))
            if letters == "some" and random.random() < 0.1:
                await stream.lose_letters(random)
        for writer in writers:
            await writer.end()
    held = await stream.now()
    for follower in followers:
        await follower.read_all(random.choice([2, 1000]))

        assert {event_id: follower.last.get(event_id) for event_id in held} == held
        assert letters == "some" or follower.repeated == []


async def test_what_is_committed_late_comes_late(stream: Stream) -> None:
    """Below what was given by its instant, and by the id of its transaction."""
    follower = stream.follower()
    async with connected(stream.url) as late:
        async with late.transaction():
            await stream.insert("late", 0, late)
            await stream.insert("early", 5)
            assert await follower.messages() == ["early"]
        assert await follower.messages() == ["late"]
    assert await follower.messages() == []


async def test_a_savepoint_of_an_open_transaction_comes_when_it_commits(stream: Stream) -> None:
    """Its id is in no snapshot, and stands between the open one and those that came later."""
    follower = stream.follower()
    async with connected(stream.url) as late:
        async with late.transaction():
            await stream.insert("first", 0, late)
            async with late.transaction():
                await stream.insert("of a savepoint", 1, late)
            await stream.insert("early", 5)
            assert await follower.messages() == ["early"]
        assert await follower.messages() == ["first", "of a savepoint"]
    assert await follower.messages() == []


@pytest.mark.parametrize("proven", [True, False])
async def test_a_savepoint_comes_again_only_where_no_letter_tells_of_it(stream: Stream, proven: bool) -> None:
    """Once, when a transaction ends that was open before: until then what is seen is not of that."""
    follower = stream.follower()
    async with connected(stream.url) as late:
        async with late.transaction():
            await late.fetchval("SELECT pg_current_xact_id()")
            async with stream.writer.transaction(), stream.writer.transaction():
                await stream.insert("of a savepoint")
            assert await follower.messages() == ["of a savepoint"]
            if not proven:
                await stream.forget_letters()
            assert await follower.messages() == []
        assert await follower.messages() == ([] if proven else ["of a savepoint"])
    assert await follower.messages() == []


async def test_an_update_by_a_savepoint_comes_though_a_letter_tells_of_the_event(stream: Stream) -> None:
    """The letter is of the transaction that added it; the update left none, since nobody read letters then."""
    follower = stream.follower()
    async with connected(stream.url) as late:
        async with late.transaction():
            await late.fetchval("SELECT pg_current_xact_id()")
            async with stream.writer.transaction(), stream.writer.transaction():
                await stream.insert("added")
            assert await follower.messages() == ["added"]
            await stream.box.open(0)
            async with late.transaction():
                await late.execute("UPDATE events SET message = 'updated'")
            assert await follower.messages() == []
        assert await follower.messages() == ["updated"]


async def test_updated_rows_come_again_and_deleted_ones_do_not(stream: Stream) -> None:
    """Under the same id, once."""
    follower = stream.follower()
    for message in ("kept", "updated", "deleted"):
        await stream.insert(message)
    await follower.read()
    await stream.writer.execute("UPDATE events SET message = 'anew' WHERE message = 'updated'")
    await stream.writer.execute("DELETE FROM events WHERE message = 'deleted'")

    assert await follower.messages() == ["anew"]
    assert await follower.messages() == []


async def test_pages_go_up_to_the_first_ones_cut(stream: Stream) -> None:
    """What is committed below the place that was reached comes behind the last page."""
    follower = stream.follower()
    for second in range(5):
        await stream.insert(str(second), second)

    assert await follower.messages(2) == ["0", "1"]
    await stream.insert("below", 0)
    await stream.insert("above", 9)
    assert await follower.messages(2) == ["2", "3"]
    last = await follower.read(2)
    assert (len(last.events), last.up_to_date) == (1, False)
    assert await follower.messages(2) == ["below", "above"]
    assert (await follower.read(2)).up_to_date


async def test_a_page_of_exactly_all_is_the_last(stream: Stream) -> None:
    """And says so."""
    follower = stream.follower()
    await stream.insert("0")
    await stream.insert("1")
    arrivals = await follower.read(2)

    assert (len(arrivals.events), arrivals.up_to_date, arrivals.next.within) == (2, True, None)


async def test_pages_end_before_they_are_too_long(stream: Stream) -> None:
    """With one event at least; one that is too long by itself is refused."""
    follower = stream.follower()
    for number in range(30):
        await stream.insert(f"{number:02}" + "x" * 1000, number)
    one = len((await stream.log.read(SESSION, None, 1, 10_000)).arrivals.events[0])

    for fitting in (1, 22, 7):
        assert len((await follower.read(1000, fitting * (one + 1))).events) == fitting
    with pytest.raises(AnswerTooLarge, match="not even one event fits"):
        await stream.log.read(SESSION, None, 1000, one)


async def test_the_tail_is_behind_all_that_there_is(stream: Stream) -> None:
    """And nothing of it is given, nor anything missed that comes."""
    await stream.insert("before")
    tail = (await stream.log.tail(SESSION)).arrivals
    await stream.insert("after")
    follower = stream.follower()
    follower.offset = tail.next

    assert (tail.events, tail.up_to_date, tail.status) == ([], True, "pending")
    assert await follower.messages() == ["after"]


async def test_there_is_no_such_session(stream: Stream) -> None:
    """Neither for a read nor for its tail."""
    nobody = "00000000-0000-0000-0000-000000000099"

    assert (await stream.log.read(nobody, None, 10, 1000)).status is None
    assert (await stream.log.tail(nobody)).status is None


async def test_instants_out_of_every_calendar_are_paged_too(stream: Stream) -> None:
    """They stand at the ends."""
    follower = stream.follower()
    for number, instant in enumerate(["-infinity", "4000-01-01 BC", "2026-01-01", "294000-01-01", "infinity"]):
        await stream.insert(str(number))
        await stream.writer.execute(f"UPDATE events SET timestamp = '{instant}' WHERE message = '{number}'")
    found = [await follower.messages(1) for _ in range(5)]

    assert sorted(map(str, found)) == [str([str(number)]) for number in range(5)]
    assert found[2] == ["2"]


@pytest.mark.parametrize("what", ["origin", "ahead", "within", "old"])
async def test_an_offset_that_cannot_be_continued_is_gone(stream: Stream, what: str) -> None:
    """Another history, a later state than there is, too many transactions ago."""
    now = (await stream.log.tail(SESSION)).arrivals.next
    later = Cut(now.cut.xmax + 1_000_000, frozenset())
    offsets = {
        "origin": now._replace(origin="00000000"),
        "ahead": now._replace(cut=later),
        "within": Offset(now.origin, START, Within(later, 0, bytes(16))),
        "old": now._replace(cut=Cut(now.cut.xmax - MAX_AGE - 1, frozenset())),
    }
    with pytest.raises(OffsetGone, match="read again from offset -1"):
        await stream.log.read(SESSION, offsets[what], 10, 1000)


@pytest.mark.parametrize("depth", [1, 2])
async def test_rows_that_come_with_a_partition_come(database_url: str, depth: int) -> None:
    """Those that were written elsewhere long ago, those that come back, and those of its parts."""
    async with connected(database_url) as connection:
        await MONTHLY.make(connection)
    async with streaming(database_url) as stream:
        part = "events_4"
        if depth == 2:
            await stream.writer.execute(f"{month(4, 'PARTITION BY RANGE (timestamp)')}")
            part = "within_4"
            await stream.writer.execute(f"CREATE TABLE within_4 PARTITION OF events_4 FOR VALUES {bounds(4)}")
        else:
            await stream.writer.execute(month(4))
        await stream.writer.execute("ALTER TABLE events DETACH PARTITION events_4")
        await stream.writer.execute(f"{INTO} {part} {VALUES}", SESSION, "written elsewhere", at(4))
        follower = stream.follower()
        await stream.insert("there")
        assert await follower.messages() == ["there"]
        await stream.writer.execute(f"ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES {bounds(4)}")
        assert await follower.messages() == ["written elsewhere"]
        assert await follower.messages() == []


async def test_a_partition_that_comes_between_two_pages_comes_behind_the_last(database_url: str) -> None:
    """Its rows below the place that was reached, and those above it: each once."""
    async with connected(database_url) as connection:
        await MONTHLY.make(connection)
    async with streaming(database_url) as stream:
        await stream.writer.execute("ALTER TABLE events DETACH PARTITION events_1")
        for number in (2, 2, 3, 3):
            await stream.writer.execute(f"{INTO} events {VALUES}", SESSION, str(number), at(number))
        await stream.writer.execute(f"{INTO} events_1 {VALUES}", SESSION, "below", at(1))
        follower = stream.follower()
        assert await follower.messages(2) == ["2", "2"]
        await stream.writer.execute(f"ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES {bounds(1)}")
        await stream.writer.execute(f"{INTO} events {VALUES}", SESSION, "above", at(3))
        await follower.read_all(1)

        assert {message for _, message in follower.given} == {"2", "3", "below", "above"}
        assert follower.repeated == []
