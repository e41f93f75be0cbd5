"""The arrival log: what arrived behind a cut, chunk by chunk, as the scripts write and read it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from projector.core.operations import Add, Drop, Put, Stamp, Status
from readmodel.errors import OffsetGone
from readmodel.redis.client import connect
from readmodel.values.arrivals import Arrivals
from readmodel.values.cut import START, Cut, cut_of
from readmodel.values.event import EventRow
from readmodel.values.offset import Offset
from readmodel.view.arrival_log import pack_txid
from readmodel.view.reader import Cold, ViewArrivals
from tests.support.viewing import Stage, event

SID = "11111111-1111-4111-8111-111111111111"
NOON = 1_768_305_600_000_000
ORIGIN = "0123abcd"
LOADED = "700:700:"
MAX_BYTES = 1_000_000
MOST_ARRIVALS, MOST_CHUNKS = 4_000, 1_000


@pytest.fixture
async def stage(redis_url: str) -> AsyncIterator[Stage]:
    """A live term, with one session of two events as a load's snapshot showed it."""
    async with connect(redis_url, name="test") as redis:
        made = Stage(redis)
        await begin(made, ORIGIN)
        await put(made, [event(SID, NOON), event(SID, NOON + 1)])
        yield made


async def begin(stage: Stage, origin: str, term: str = "term-1", expected: str = "") -> None:
    """Begin a term of this history, and bring a beat back."""
    await stage.writer.begin(term, expected, stage.database, "shape", origin)
    stage.term, stage.n = term, 0
    await stage.apply(as_of_us=NOON)


async def put(stage: Stage, events: Sequence[EventRow], snapshot: str = LOADED) -> None:
    """Put the session as a snapshot shows it."""
    await stage.apply(Put(SID, replace(await stage.staged(events), snapshot=snapshot)))


async def add(stage: Stage, snapshot: str, *events: tuple[EventRow, int]) -> None:
    """Add events, each with its transaction; the session is then as the snapshot shows it."""
    rows, txids = zip(*events, strict=True)
    await stage.apply(Add(SID, rows, txids, snapshot))


def at(snapshot: str, origin: str = ORIGIN) -> Offset:
    """The offset of who was given all that a snapshot shows."""
    return Offset(origin, cut_of(snapshot))


async def behind(stage: Stage, offset: Offset | None, most: int = 1_000, max_bytes: int = MAX_BYTES) -> Arrivals:
    """What the view gives behind an offset, that must be something."""
    found = await stage.reader.read_stream(SID, offset, max_bytes, stage.database, most=most)
    assert isinstance(found, ViewArrivals), found
    return found.arrivals


async def reason(stage: Stage, offset: Offset | None, max_bytes: int = MAX_BYTES) -> str:
    """Why the view gives nothing."""
    found = await stage.reader.read_stream(SID, offset, max_bytes, stage.database)
    assert isinstance(found, Cold), found
    return found.reason


async def test_from_the_start_the_whole_session_comes(stage: Stage) -> None:
    """Oldest first; behind it is the cut of the load, or of the last arrival."""
    late = event(SID, NOON - 5)
    whole = await behind(stage, None)
    await add(stage, "700:702:", (late, 701))
    more = await behind(stage, None)

    assert (len(whole.events), whole.next, whole.up_to_date, whole.status) == (2, at(LOADED), True, "in_progress")
    assert (more.events[0], len(more.events), more.next) == (late.member, 3, at("700:702:"))
    assert await reason(stage, None, max_bytes=100) == "a long stream"


async def test_each_arrival_comes_once_in_the_order_of_the_batches(stage: Stage) -> None:
    """Within a batch by timestamp, whatever order the letters had; the last cut of all is the next offset."""
    one, other, third = event(SID, NOON + 9), event(SID, NOON + 7), event(SID, NOON + 8)
    await add(stage, "702:704:702", (one, 703), (other, 701))
    await add(stage, "704:705:", (third, 702))

    assert await behind(stage, at(LOADED)) == Arrivals(
        [other.member, one.member, third.member], at("704:705:"), True, "in_progress"
    )
    assert (await behind(stage, at("702:704:702"))).events == [third.member]
    assert await behind(stage, at("704:705:")) == Arrivals([], at("704:705:"), True, "in_progress")


async def test_a_cut_of_postgres_own_is_continued(stage: Stage) -> None:
    """It lies between two batches, or after the last; what it shows does not come again, and it never goes back."""
    one, other = event(SID, NOON + 1), event(SID, NOON + 2)
    await add(stage, "702:704:702", (one, 701), (other, 703))

    assert (await behind(stage, at("701:702:"))).events == [other.member]
    assert (await behind(stage, at("700:704:700,702"))).events == []
    assert (await behind(stage, at("700:710:708"))).next == at("700:710:708")
    assert await reason(stage, at("690:700:690")) == "not in the arrival log"
    assert await reason(stage, at("690:699:")) == "not in the arrival log"
    assert await reason(stage, Offset(ORIGIN, Cut(1, START.running))) == "not in the arrival log"


async def test_an_answer_holds_whole_batches(stage: Stage) -> None:
    """As many as fit, by number and by bytes; one that does not fit alone is for Postgres."""
    for number in range(3):
        at_us = NOON + 10 * number
        pairs = [(event(SID, at_us + k), 700 + number) for k in range(2)]
        await add(stage, f"{701 + number}:{701 + number}:", *pairs)
    part = await behind(stage, at(LOADED), most=5)

    assert (len(part.events), part.next, part.up_to_date) == (4, at("702:702:"), False)
    assert len((await behind(stage, part.next, most=5)).events) == 2
    assert await reason(stage, at(LOADED), max_bytes=300) == "a long stream"


async def test_a_reload_begins_the_log_anew(stage: Stage) -> None:
    """Who was behind the load is for Postgres; who has its cut goes on."""
    await add(stage, "702:702:", (event(SID, NOON + 2), 701))
    await put(stage, [event(SID, NOON)], "710:710:")

    assert await reason(stage, at("702:702:")) == "not in the arrival log"
    assert (await behind(stage, at("710:710:"))).events == []


async def test_a_log_that_may_lack_something_is_dropped(stage: Stage) -> None:
    """Where no snapshot is known, or Redis evicted it; the next batch whose cut is known begins one."""
    await add(stage, "", (event(SID, NOON + 2), 701))
    dropped = await reason(stage, at(LOADED)), await reason(stage, None)
    await add(stage, "703:703:", (event(SID, NOON + 3), 702))
    await stage.redis.delete(stage.keys.log(SID))
    await add(stage, "704:704:", (event(SID, NOON + 4), 703))

    assert dropped == ("not in the arrival log", "no arrival log")
    assert await reason(stage, at("703:703:")) == "not in the arrival log"
    assert (await behind(stage, at("704:704:"))).events == []
    assert len((await behind(stage, None)).events) == 5


async def test_a_try_that_ended_midway_leaves_no_gap(stage: Stage) -> None:
    """An event that is here already may have come in one that noted nothing: the log begins anew."""
    arrived = event(SID, NOON + 2)
    await add(stage, "702:702:", (arrived, 701))
    await add(stage, "704:704:", (arrived, 701), (event(SID, NOON + 3), 703))

    assert await reason(stage, at("702:702:")) == "not in the arrival log"
    assert (await behind(stage, at("704:704:"))).events == []


async def test_another_term_goes_on_with_the_log(stage: Stage) -> None:
    """If the session is equal; of another history a new log begins, and offsets of the one before are gone."""
    arrived = event(SID, NOON + 2)
    await add(stage, "702:702:", (arrived, 701))
    header = await stage.redis.hmget(stage.keys.header(SID), "count", "hi", "lo")
    count, hi, lo = (int(number or 0) for number in header)

    await begin(stage, ORIGIN, "term-2", "term-1")
    stamped = await reason(stage, at(LOADED))
    await stage.apply(Stamp(SID, count, hi, lo, "720:720:"), as_of_us=NOON)
    same = await behind(stage, at(LOADED))
    await begin(stage, "fedc3210", "term-3", "term-2")
    await stage.apply(Stamp(SID, count, hi, lo, "730:730:"), as_of_us=NOON)

    assert stamped == "not compared under this term"
    assert (same.events, same.next) == ([arrived.member], at("702:702:"))
    with pytest.raises(OffsetGone):
        await behind(stage, at("702:702:"))
    assert (await behind(stage, at("730:730:", "fedc3210"))).events == []


async def test_a_term_of_no_history_has_no_log(stage: Stage) -> None:
    """A leader of before: streams are Postgres' then."""
    await begin(stage, "", "term-2", "term-1")
    await put(stage, [event(SID, NOON)])

    assert await reason(stage, None) == "no origin"


async def test_the_log_is_bounded(stage: Stage) -> None:
    """The oldest chunks go, and the first that is left is where it begins."""
    most = MOST_ARRIVALS // 4
    for number in range(6):
        pairs = [(event(SID, NOON + 10_000 * number + k), 700 + number) for k in range(most)]
        await add(stage, f"{701 + number}:{701 + number}:", *pairs)

    assert await stage.redis.llen(stage.keys.log(SID)) == 4
    assert await stage.redis.hget(stage.keys.header(SID), "arrivals") == str(MOST_ARRIVALS).encode()
    assert await reason(stage, at("702:702:")) == "not in the arrival log"
    assert len((await behind(stage, at("703:703:"))).events) == most


async def test_the_chunks_are_bounded(stage: Stage) -> None:
    """Many small batches."""
    for number in range(MOST_CHUNKS + 5):
        await add(stage, f"{701 + number}:{701 + number}:", (event(SID, NOON + number), 700 + number))

    assert await stage.redis.llen(stage.keys.log(SID)) == MOST_CHUNKS


async def test_the_log_leaves_with_its_session(stage: Stage) -> None:
    """And lives as long as the other keys."""
    await stage.apply(Status(SID, "failed"))
    ttl = await stage.redis.ttl(stage.keys.log(SID))
    await stage.apply(Drop(SID))

    assert ttl > 0
    assert await stage.redis.exists(stage.keys.log(SID)) == 0
    assert await reason(stage, None) == "not hot"


async def test_the_tail_is_the_last_cut(stage: Stage) -> None:
    """Without an event."""
    await add(stage, "702:704:702", (event(SID, NOON + 2), 703))
    found = await stage.reader.stream_tail(SID, stage.database)

    assert isinstance(found, ViewArrivals)
    assert found.arrivals == Arrivals([], at("702:704:702"), True, "in_progress")
    assert (found.term, found.n) == ("term-1", stage.n)


@pytest.mark.parametrize("damage", ["wrong type", "no line", "another entry"])
async def test_a_damaged_log_is_none(stage: Stage, damage: str) -> None:
    """Postgres answers, and the next batch mends it or has the session loaded anew."""
    key, redis = stage.keys.log(SID), cast("Any", stage.redis)
    await add(stage, "702:702:", (event(SID, NOON + 2), 701))
    if damage == "wrong type":
        await stage.redis.set(key, "x")
    elif damage == "no line":
        await redis.lset(key, -1, "rubbish")
    else:
        chunk = f"{ORIGIN} 702\n".encode() + pack_txid(701) + bytes(24)
        await redis.lset(key, -1, chunk)

    assert await reason(stage, at(LOADED)) in {"damaged", "not in the arrival log"}
