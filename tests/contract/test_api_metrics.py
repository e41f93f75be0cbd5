"""Each kind of poll moves the series that it should, by as much as it should, and no other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import get_args
from uuid import uuid4

import pytest

from query_api.sources.fallback import LINE_PER_SLOT
from readmodel.errors import EventLogUnavailable
from tests.support.builders import Way
from tests.support.scraping import Scrape, moved, series
from tests.support.stands import AT_ONCE, FakeWriteSide, Stand, fake_stand, rows
from tests.support.waiting import eventually

LET_IN = "readside_principal_requests_total{kind=key,name=both}"
MESSAGES = "readside_changes_heard_total"
COMPRESSED = "readside_answers_compressed_total"
IN_GZIP, SAVED = "readside_polls_compressed_total", "readside_compression_saved_bytes_total"


async def scrape(stand: Stand) -> Scrape:
    """Scrape the API."""
    return series((await stand.client.get("/metrics")).text)


@asynccontextmanager
async def moving(stand: Stand) -> AsyncIterator[Scrape]:
    """What the block moves; beats are heard whenever they are, and what gzip saves has a test of its own."""
    before, found = await scrape(stand), Scrape()
    yield found
    found.update(moved(before, await scrape(stand), MESSAGES, SAVED))


def polls(source: str, status: int, count: int = 1) -> Scrape:
    """What polls answered so move."""
    found: Scrape = {
        f"readside_polls_total{{source={source},status={status}}}": count,
        f"readside_poll_duration_seconds_count{{source={source}}}": count,
        LET_IN: count,
    }
    if source != "none":
        found[f"readside_response_cache_{'hits' if source == 'memory' else 'misses'}_total"] = count
    if source == "postgres":
        found["readside_cold_polls_total{server=primary}"] = count
    return found


def from_redis(polls_: Scrape, round_trips: int = 1) -> Scrape:
    """The same, and the round trips to Redis for them."""
    return {**polls_, "readside_view_round_trip_seconds_count": round_trips}


def asked(polls_: Scrape, reason: str, count: int = 1) -> Scrape:
    """The same, and one query of Postgres for them."""
    return {
        **polls_,
        f"readside_fallbacks_total{{reason={reason}}}": count,
        "readside_fallback_queries_total": 1,
        "readside_fallback_query_seconds_count": 1,
    }


async def cold(stand: Stand, events: int = 2) -> str:
    """A session that is not in the view."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, events))
    return session_id


async def test_redis_then_memory_then_nothing_new(stand: Stand, sid: str) -> None:
    """The first poll is Redis', the next one memory's, and a 304 is one too."""
    async with moving(stand) as first:
        answer = await stand.poll(sid)
    async with moving(stand) as second:
        await stand.poll(sid)
    async with moving(stand) as third:
        await stand.poll(sid, if_none_match=answer.headers["etag"])

    assert first == {**from_redis(polls("redis", 200)), COMPRESSED: 1, IN_GZIP: 1}
    assert second == {**polls("memory", 200), IN_GZIP: 1}
    assert third == polls("memory", 304)


async def test_a_cold_session_is_postgres(stand: Stand) -> None:
    """Redis is asked in vain, then Postgres."""
    session_id = await cold(stand)
    async with moving(stand) as found:
        await stand.poll(session_id)

    assert found == from_redis(asked(polls("postgres", 200), "cold"))


async def test_who_wants_it_fresh_is_postgres(stand: Stand, sid: str) -> None:
    """Staleness 0 does not ask Redis; one that the view cannot meet does. The same bytes are compressed once."""
    async with moving(stand) as zero:
        await stand.poll(sid, readside_max_staleness="0")
    async with moving(stand) as tiny:
        await stand.poll(sid, readside_max_staleness="0.000001")

    assert zero == {**asked(polls("postgres", 200), "asked"), COMPRESSED: 1, IN_GZIP: 1}
    assert tiny == {**from_redis(asked(polls("postgres", 200), "stale")), IN_GZIP: 1}


async def test_an_unknown_session(stand: Stand) -> None:
    """404 from Postgres once, then from memory."""
    session_id = str(uuid4())
    async with moving(stand) as first:
        await stand.poll(session_id)
    async with moving(stand) as second:
        await stand.poll(session_id)

    assert first == from_redis(asked(polls("postgres", 404), "cold"))
    assert second == polls("memory", 404)


async def test_refused_polls(stand: Stand, sid: str) -> None:
    """No key, and a parameter that is wrong: no store is asked."""
    async with moving(stand) as found:
        await stand.client.get(f"/api/v2/sessions/{sid}/events", headers={"x-api-key": "wrong"})
        await stand.poll(sid, "?limit=0")

    assert found == {
        "readside_polls_total{source=none,status=401}": 1,
        "readside_polls_total{source=none,status=400}": 1,
        LET_IN: 1,
        "readside_refusals_total{reason=unknown_key}": 1,
        "readside_poll_duration_seconds_count{source=none}": 2,
    }


@pytest.mark.parametrize("stand_of", AT_ONCE, indirect=True)
async def test_a_cold_storm_shares_one_query(stand: Stand) -> None:
    """Twenty at once: one read of Redis, one query."""
    session_id = await cold(stand)
    async with moving(stand) as found:
        await asyncio.gather(*(stand.poll(session_id) for _ in range(20)))

    assert found == {
        **from_redis(asked(polls("postgres", 200, 20), "cold", 20)),
        "readside_view_reads_shared_total": 19,
        "readside_fallback_shared_total": 19,
    }


async def test_a_change_and_a_break(stand: Stand, sid: str) -> None:
    """An event drops the answers of its session; a new term is a break."""
    for limit in (1, 2, 3):
        await stand.poll_from("memory", sid, f"?limit={limit}")
    before = await scrape(stand)
    await stand.add(rows(sid, 1)[0])
    await eventually(lambda: heard(stand, before, 1), "the change is heard")
    dropped = moved(before, await scrape(stand), MESSAGES)
    await stand.stage.begin("term-2", expected="term-1")
    await stand.beat()
    await eventually(lambda: heard(stand, before, 3), "the term is heard, and its first batch")

    assert dropped == {"readside_response_cache_dropped_total": 4}  # three answers, and when the newest event was
    assert moved(before, await scrape(stand), MESSAGES) == {**dropped, "readside_response_cache_breaks_total": 1}


async def heard(stand: Stand, before: Scrape, messages: int) -> bool:
    """Whether so many messages have come since."""
    return (await scrape(stand))[MESSAGES] >= before[MESSAGES] + messages


async def test_the_view_as_it_is_heard(stand: Stand) -> None:
    """One worker, which hears; lag and as-of are there, with the bound beside; both stores answer."""
    await stand.beat()
    now = await scrape(stand)

    assert (now["readside_workers"], now["readside_workers_hearing"]) == (1, 1)
    assert (0 <= now["readside_lag_seconds"] < 60, now["readside_max_staleness_seconds"]) == (True, 5)
    assert now["readside_as_of_timestamp_seconds"] > 1_700_000_000
    assert (now["readside_store_away{store=redis}"], now["readside_store_away{store=postgres}"]) == (0, 0)


async def test_memory_that_is_full() -> None:
    """Answers make room for others: each that leaves is counted, and the bytes stay below the bound."""
    async with fake_stand(response_cache_bytes=10_000) as stand:
        session_id = await cold(stand, 0)
        await stand.heat(session_id)
        async with moving(stand) as found:
            for limit in range(1, 21):
                await stand.poll(session_id, f"?limit={limit}")
        now = await scrape(stand)

    evicted = found.pop("readside_response_cache_evictions_total")
    assert found == from_redis(polls("redis", 200, 20), 20)
    assert evicted == 21 - now["readside_response_cache_entries"]  # one entry more: when the newest event was
    assert 0 < now["readside_response_cache_bytes"] <= now["readside_response_cache_max_bytes"] == 10_000


async def test_a_session_that_a_recent_query_did_not_find() -> None:
    """Where memory keeps nothing, the fallback remembers for a second."""
    async with fake_stand(response_cache_bytes=0) as stand:
        session_id = str(uuid4())
        await stand.poll(session_id)
        async with moving(stand) as found:
            await stand.poll(session_id)

    assert found == {
        **from_redis(polls("postgres", 404)),
        "readside_fallbacks_total{reason=cold}": 1,
        "readside_fallback_remembered_total": 1,
    }


async def test_a_line_that_is_full() -> None:
    """One query runs, eight wait, the next is refused with 503: and all of that can be seen."""
    async with fake_stand(fallback_concurrency=1) as stand:
        assert isinstance(stand.side, FakeWriteSide)
        sessions = [await cold(stand) for _ in range(LINE_PER_SLOT + 1)]
        last = await cold(stand)
        stand.side.log.hold()
        before = await scrape(stand)

        async def reached(running: int, waiting: int) -> bool:
            now = await scrape(stand)
            return (now["readside_fallback_running"], now["readside_fallback_waiting"]) == (running, waiting)

        storm = [asyncio.create_task(stand.poll(sessions[0]))]
        await eventually(lambda: reached(1, 0), "one query runs")
        storm += [asyncio.create_task(stand.poll(session_id)) for session_id in sessions[1:]]
        await eventually(lambda: reached(1, LINE_PER_SLOT), "the line is full")
        assert (await stand.poll(last)).status_code == 503
        stand.side.log.release()
        await asyncio.gather(*storm)
        found = moved(before, await scrape(stand))

    assert found["readside_fallback_refused_total{reason=line_full}"] == 1
    assert found["readside_polls_total{source=none,status=503}"] == 1
    assert found["readside_fallback_queries_total"] == len(sessions)


@pytest.mark.parametrize("way", get_args(Way))
async def test_a_store_that_is_away(way: Way) -> None:
    """Its gauge is 1 until it answers again."""
    async with fake_stand(way) as stand:
        assert isinstance(stand.side, FakeWriteSide)
        session_id = await cold(stand)
        stand.side.log.error = EventLogUnavailable("Away.")
        await stand.poll(session_id)
        away = await scrape(stand)
        stand.side.log.error = None

        async def back() -> bool:
            await stand.poll(session_id)
            return (await scrape(stand))["readside_store_away{store=postgres}"] == 0

        await eventually(back, "Postgres answers again")

    assert (away["readside_store_away{store=postgres}"], away["readside_store_away{store=redis}"]) == (1, 0)


async def test_a_form_that_memory_lacks_is_memorys_all_the_same(stand: Stand, sid: str) -> None:
    """What it has is compressed for who asks for it, and no store is asked."""
    await stand.poll_from("memory", sid, accept_encoding="identity")
    async with moving(stand) as found:
        await stand.poll(sid)

    assert found == {**polls("memory", 200), COMPRESSED: 1, IN_GZIP: 1}


async def test_what_gzip_saves(stand: Stand, sid: str) -> None:
    """The bytes by which bodies that left were shorter: a HEAD's and a 304's did not leave."""
    plain = await stand.poll(sid, accept_encoding="identity")
    packed = await stand.poll(sid)
    before = await scrape(stand)
    for _ in range(3):
        await stand.poll_from("memory", sid)
        await stand.client.head(f"/api/v2/sessions/{sid}/events")
        await stand.poll(sid, if_none_match=packed.headers["etag"])
    found = moved(before, await scrape(stand))

    each = int(plain.headers["content-length"]) - int(packed.headers["content-length"])
    assert (found[IN_GZIP], found[SAVED]) == (3, 3 * each)
    assert COMPRESSED not in found


async def test_who_does_not_accept_gzip_has_nothing_compressed(stand: Stand, sid: str) -> None:
    """Neither for a store's answer nor for memory's."""
    async with moving(stand) as found:
        for _ in range(2):
            await stand.poll(sid, accept_encoding="identity")

    assert found == {**from_redis(polls("redis", 200)), **polls("memory", 200), LET_IN: 2}


async def test_head_counts_as_get(stand: Stand, sid: str) -> None:
    """Both are polls."""
    async with moving(stand) as found:
        await stand.client.head(f"/api/v2/sessions/{sid}/events?limit=7")

    assert found == {**from_redis(polls("redis", 200)), COMPRESSED: 1}
