"""`wait`: a poll is held until it has news, by either way in; over fakes, whose faults a test can time."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from query_api.access.token_config import TokenConfig
from readmodel.errors import EventLogUnavailable
from readmodel.values.freshness import rfc3339
from tests.fakes.event_log import FakeEventLog
from tests.support.builders import KEYS, Way, events_path
from tests.support.clocks import move_on
from tests.support.hostile_tokens import AUDIENCE, ISSUER, minter
from tests.support.scraping import series
from tests.support.signing import claims
from tests.support.stands import Stand, fake_stand, rows
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
LONG = "?wait=60"
MINTER = minter()


@pytest.fixture
async def stand(way: Way) -> AsyncIterator[Stand]:
    """A hot session of three events, in memory, and beats when the test says so."""
    async with fake_stand(way, max_staleness_seconds=600.0) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        await made.poll_from("memory", SID)
        yield made


async def held(stand: Stand, polls: int = 1) -> None:
    """Wait until so many polls are held that have seen what there is."""
    holding = stand.held

    def all_have_seen() -> bool:
        waiters = [waiter for group in holding._groups() for waiter in group.waiters]
        return len(waiters) == holding.held == polls and all(waiter.seen for waiter in waiters)

    await eventually(all_have_seen, f"{polls} polls are held")


async def etag_of(stand: Stand, query: str = "") -> str:
    """What a client that has polled holds."""
    return (await stand.poll_from("memory", SID, query)).headers["etag"]


def waiting(stand: Stand, query: str = LONG, **headers: str) -> "asyncio.Task[httpx.Response]":
    """A poll under way."""
    return asyncio.create_task(stand.poll(SID, query, **headers))


def endings(stand: Stand) -> dict[str, int]:
    """Why polls were held no longer."""
    return {str(ending): count for ending, count in stand.held.endings.items()}


async def test_a_poll_is_held_until_its_answer_differs(stand: Stand) -> None:
    """By the message that drops the old one; then it is the very answer that any poll gets."""
    polling = waiting(stand, if_none_match=await etag_of(stand))
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])
    answer = await polling

    assert (answer.status_code, answer.json()["total"]) == (200, 4)
    assert answer.content == (await stand.poll(SID)).content
    assert endings(stand) == {"news": 1}


async def test_a_message_that_changes_nothing_of_it_lets_it_wait(stand: Stand) -> None:
    """An event of another type: the answer to this filter is the same."""
    query = "?event_type=artifact_created"
    etag = await etag_of(stand, query)
    polling = waiting(stand, f"{query}&wait=60", if_none_match=etag)
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])
    await eventually(lambda: stand.held.reads == 1, "it is read again")
    await held(stand)
    await stand.add(rows(SID, 2, "step_created", "artifact_created")[1])

    assert (await polling).json()["total"] == 1


async def test_without_an_etag_it_is_held_until_there_is_an_item(stand: Stand) -> None:
    """What is there already is answered at once."""
    at_once = await stand.poll(SID, LONG)
    polling = waiting(stand, "?event_type=artifact_created&wait=60")
    await held(stand)
    await stand.add(rows(SID, 2, "step_created", "artifact_created")[1])

    assert at_once.json()["total"] == 3
    assert (await polling).json()["total"] == 1


@pytest.mark.parametrize("wait", ["0.05", ".05", "0.05000", "00.05"])
async def test_when_its_time_is_over_it_gets_what_there_is(stand: Stand, wait: str) -> None:
    """304 to who holds that, else an empty page; as fresh as any answer that leaves now."""
    etag = await etag_of(stand)
    polls = [
        waiting(stand, f"?wait={wait}", if_none_match=etag),
        waiting(stand, f"?wait={wait}&event_type=artifact_created"),
        asyncio.create_task(stand.client.head(events_path(SID) + f"?wait={wait}", headers={"if-none-match": etag})),
    ]
    unmodified, empty, head = await asyncio.gather(*polls)

    assert [unmodified.status_code, empty.status_code, head.status_code] == [304, 200, 304]
    assert (unmodified.headers["etag"], unmodified.headers["readside-source"]) == (etag, "memory")
    assert empty.json()["items"] == []
    assert endings(stand) == {"time_over": 3}
    assert "x-poll-interval" in unmodified.headers


async def test_the_freshness_is_that_of_the_moment_when_it_leaves(stand: Stand) -> None:
    """Beats that come while it is held raise its as-of."""
    polling = waiting(stand, "?wait=0.3", if_none_match=await etag_of(stand))
    await held(stand)
    instant = rfc3339(time.time_ns() // 1000)
    await stand.beat()

    assert (await polling).headers["readside-as-of"] >= instant


@pytest.mark.parametrize("wait", ["", "-1", "61", "60.001", "1e1", "nan", "inf", "20s", "1,5", "+1", " 1", "1_0", "٣"])
async def test_what_is_no_such_number_is_refused(stand: Stand, wait: str) -> None:
    """With the parameter's name, and nothing is held."""
    answer = await stand.client.get(events_path(SID), params={"wait": wait})

    assert (answer.status_code, answer.json()["parameter"]) == (400, "wait")
    assert "0 to 60" in answer.json()["detail"]


async def test_all_that_is_wrong_is_named(stand: Stand) -> None:
    """`wait` with the rest; and it may come once."""
    answer = await stand.poll(SID, "?limit=0&wait=x")
    twice = await stand.poll(SID, "?wait=1&wait=1")

    assert [error["parameter"] for error in answer.json()["errors"]] == ["limit", "wait"]
    assert twice.status_code == 400


@pytest.mark.parametrize("wait", ["0", "0.0"])
async def test_no_time_is_no_wait(stand: Stand, wait: str) -> None:
    """The answer leaves as without the parameter."""
    etag = await etag_of(stand)
    answer = await stand.poll(SID, f"?wait={wait}", if_none_match=etag)

    assert (answer.status_code, stand.held.endings.total()) == (304, 0)
    assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0.05", "wait=0.05"),
        ('respond-async, WAIT = "0.05"; x="a,b"', "wait=0.05"),
        ("wait=0", "wait=0"),
        ("return=minimal", None),
        ("wait=soon", None),
        ("wait", None),
    ],
)
async def test_prefer_means_the_same_and_is_confirmed(stand: Stand, prefer: str, applied: str | None) -> None:
    """What is not understood of it is ignored."""
    answer = await stand.poll(SID, if_none_match=await etag_of(stand), prefer=prefer)

    assert answer.status_code == 304
    assert answer.headers.get("preference-applied") == applied
    assert stand.held.endings.total() == int(applied == "wait=0.05")


async def test_a_longer_preference_is_cut_to_what_is_held(stand: Stand) -> None:
    """60 seconds; the answer says so."""
    polling = waiting(stand, "", if_none_match=await etag_of(stand), prefer="wait=3600")
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])

    assert (await polling).headers["preference-applied"] == "wait=60"


async def test_the_parameter_wins_over_the_preference(stand: Stand) -> None:
    """Then the preference was not applied."""
    answer = await stand.poll(SID, "?wait=0", if_none_match=await etag_of(stand), prefer="wait=60")

    assert answer.status_code == 304
    assert "preference-applied" not in answer.headers


async def test_wait_is_no_part_of_what_is_kept(stand: Stand) -> None:
    """Polls with and without it share the answer, its ETag and its place in memory."""
    usual = await stand.poll_from("memory", SID, "?limit=2")
    answer = await stand.poll(SID, "?limit=2&wait=60")

    assert (answer.headers["readside-source"], answer.headers["etag"]) == ("memory", usual.headers["etag"])


async def test_an_unknown_session_is_404_at_once(stand: Stand) -> None:
    """Whoever has asked for it before."""
    answers = [await stand.poll(OTHER, LONG) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize("tag", ["own", "*", "none"])
async def test_a_deleted_session_ends_its_polls(stand: Stand, tag: str) -> None:
    """With the 404, by the message that says so."""
    headers = {"if_none_match": await etag_of(stand) if tag == "own" else "*"} if tag != "none" else {}
    polling = waiting(stand, LONG + ("&event_type=other" if tag == "none" else ""), **headers)
    await held(stand)
    await stand.side.delete(SID)
    await stand.drop(SID)

    assert (await polling).status_code == 404
    assert endings(stand) == {"not_found": 1}


async def test_a_cold_session_is_held_too(stand: Stand) -> None:
    """What Postgres said holds until a message names the session."""
    await stand.write(OTHER, rows(OTHER, 1))
    first = await stand.poll(OTHER)
    polling = asyncio.create_task(stand.poll(OTHER, LONG, if_none_match=first.headers["etag"]))
    await held(stand)
    row = rows(OTHER, 1)[0]
    await stand.side.add(row)
    await stand.beat(OTHER)

    assert ((await polling).json()["total"], first.headers["readside-source"]) == (2, "postgres")


async def test_who_waits_for_one_answer_shares_one_read(stand: Stand) -> None:
    """Whatever they hold, and however long they wait."""
    etag = await etag_of(stand)
    polls = [waiting(stand, f"?wait={50 + n % 10}", if_none_match=etag) for n in range(20)]
    await held(stand, 20)
    reads = stand.held.reads
    await stand.add(rows(SID, 1, "step_created")[0])
    answers = await asyncio.gather(*polls)

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, answers[0].content)}
    assert stand.held.reads == reads + 1


async def test_polls_for_what_came_after_an_instant_share_a_read_too(stand: Stand) -> None:
    """The first of them brings what memory answers the others from."""
    instants = [rfc3339(row.timestamp_us) for row in rows(SID, 13)[3:]]
    polls = [waiting(stand, f"?since={instant}&wait=60") for instant in instants]
    await held(stand, 10)
    reads = stand.held.reads
    await stand.add(rows(SID, 20, "step_created")[19])
    answers = await asyncio.gather(*polls)

    assert {len(answer.json()["items"]) for answer in answers} == {1}
    assert stand.held.reads == reads + 1


async def test_news_leave_compressed_where_that_is_asked_for(way: Way) -> None:
    """And its ETag is that of the form."""
    async with fake_stand(way, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 30, "step_created"))
        await stand.heat(SID)
        etag = (await stand.poll_from("memory", SID, accept_encoding="gzip")).headers["etag"]
        polling = waiting(stand, LONG, if_none_match=etag, accept_encoding="gzip")
        await held(stand)
        await stand.add(rows(SID, 1, "step_created")[0])
        answer = await polling

    assert (answer.headers["content-encoding"], answer.json()["total"]) == ("gzip", 31)
    assert answer.headers["etag"] != etag


async def test_staleness_0_is_asked_of_postgres_when_it_comes_and_when_it_leaves(stand: Stand) -> None:
    """A message has it asked again, and the last answer is read when the time is over."""
    etag = await etag_of(stand)
    asked_us = time.time_ns() // 1000
    over = await stand.poll(SID, "?wait=0.5", if_none_match=etag, readside_max_staleness="0")
    polling = waiting(stand, LONG, if_none_match=etag, readside_max_staleness="0")
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])
    news = await polling

    assert (over.status_code, over.headers["readside-source"]) == (304, "postgres")
    assert over.headers["readside-as-of"] > rfc3339(asked_us + 400_000)
    assert (news.json()["total"], news.headers["readside-source"]) == (4, "postgres")


async def test_an_instant_is_met_before_news_are_waited_for(stand: Stand) -> None:
    """No answer is as of an earlier one."""
    etag, instant = await etag_of(stand), rfc3339(time.time_ns() // 1000)
    answer = await stand.poll(SID, "?wait=0.2", if_none_match=etag, readside_not_before=instant)

    assert (answer.status_code, answer.headers["readside-as-of"] >= instant) == (304, True)


async def test_past_the_bound_polls_are_refused(way: Way) -> None:
    """429 with a time to come back; those that wait for an instant count as well, and a place is free again at once."""
    async with fake_stand(way, max_staleness_seconds=600.0, heartbeat_seconds=30.0, max_waiting=2) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.heat(SID)
        etag = await etag_of(stand)
        polls = [waiting(stand, if_none_match=etag)]
        await held(stand)
        polls.append(waiting(stand, "", readside_not_before=rfc3339(time.time_ns() // 1000)))
        await eventually(lambda: stand.held._places.taken == 2, "an instant is waited for")
        refused = await stand.poll(SID, LONG, if_none_match=etag)
        usual = await stand.poll(SID, if_none_match=etag)
        await stand.add(rows(SID, 1, "step_created")[0])
        await stand.beat()
        await asyncio.gather(*polls)

        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert usual.status_code == 304
        metrics = series((await stand.client.get("/metrics")).text)
        assert metrics["readside_held_polls_refused_total"] == 1
        assert metrics["readside_held_polls"] == 0


async def test_a_withdrawn_key_ends_what_it_asked(stand: Stand) -> None:
    """With a 401, within a beat; who else is let in waits on."""
    etag = await etag_of(stand)
    withdrawn, kept = waiting(stand, if_none_match=etag, x_api_key="read-key"), waiting(stand, if_none_match=etag)
    await held(stand, 2)
    gate = stand.app._front._events._gate
    gate.replace_keys({digest: key for digest, key in KEYS.items() if key[0] != "dashboard"})

    assert (await withdrawn).status_code == 401
    await held(stand)
    await stand.add(rows(SID, 1, "step_created")[0])
    assert (await kept).status_code == 200
    assert endings(stand) == {"withdrawn": 1, "news": 1}


async def test_a_poll_ends_with_its_token(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """401, as for any poll that shows it then."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(MINTER.jwks)
    tokens = TokenConfig(str(jwks), (MINTER.secret.encode(),), AUDIENCE, ISSUER)
    async with fake_stand(way, tokens=tokens, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.heat(SID)
        etag = await etag_of(stand)
        stand.client.headers.pop("x-api-key")
        token = MINTER.es.token(claims(iss=ISSUER, ttl_seconds=30, sessions=[SID])).decode()
        polling = waiting(stand, if_none_match=etag, authorization=f"Bearer {token}")
        await held(stand)
        move_on(monkeypatch, 31)

        assert (await polling).status_code == 401
        assert endings(stand) == {"token_ended": 1}


async def test_news_are_found_while_nothing_is_heard(way: Way) -> None:
    """A term has begun, and no message of it came yet: Postgres is asked every second."""
    async with fake_stand(way) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.heat(SID)
        polling = waiting(stand, if_none_match=await etag_of(stand))
        await held(stand)
        await stand.stage.begin("term-2", expected="term-1")
        await eventually(lambda: stand.app._front._events._cache.beat is None, "the break is heard")
        await stand.side.add(rows(SID, 1, "step_created")[0])

        assert (await polling).json()["total"] == 4


async def test_news_are_found_though_beats_have_stopped(way: Way) -> None:
    """Once what is known is older than the bound."""
    async with fake_stand(way, max_staleness_seconds=0.5) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        await stand.heat(SID)
        etag = (await stand.poll(SID)).headers["etag"]
        await stand.beat()
        polling = waiting(stand, if_none_match=etag)
        await held(stand)
        await stand.side.add(rows(SID, 1, "step_created")[0])

        assert (await polling).json()["total"] == 4


async def test_where_no_store_answers_a_poll_ends_when_what_it_knows_is_too_old(way: Way) -> None:
    """With the 503 that any poll gets."""
    log = FakeEventLog()
    async with fake_stand(way, log) as stand:
        await stand.write(SID, rows(SID, 3, "step_created"))
        first = await stand.poll(SID)
        polling = waiting(stand, if_none_match=first.headers["etag"], readside_max_staleness="2")
        await held(stand)
        log.error = EventLogUnavailable("PostgreSQL at db does not answer.")
        await stand.beat(SID)
        answer = await polling

        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert endings(stand) == {"failed": 1}


async def test_held_polls_are_counted_by_how_they_ended(stand: Stand) -> None:
    """With the time that they took once there was a reason to answer."""
    polling = waiting(stand, if_none_match=await etag_of(stand))
    await held(stand)
    before = series((await stand.client.get("/metrics")).text)
    await stand.add(rows(SID, 1, "step_created")[0])
    await polling
    text = (await stand.client.get("/metrics")).text
    after = series(text)

    assert (before["readside_held_polls"], after["readside_held_polls"]) == (1, 0)
    assert after["readside_held_polls_ended_total{reason=news}"] == 1
    assert after["readside_held_polls_woken_total"] >= 1
    assert re.search(r'readside_held_polls_ended_total\{reason="drained"\} 0\.0', text)
