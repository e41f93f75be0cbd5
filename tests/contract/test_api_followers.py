"""Followers of a stream through what befalls the view, the stores and the session, by either way in; over fakes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from projector.core.operations import Drop, Put
from query_api.access.token_config import TokenConfig
from query_api.streams import waiter as stream_waiter
from readmodel.errors import EventLogUnavailable
from tests.fakes.event_log import Row
from tests.support.builders import Way
from tests.support.clocks import move_on
from tests.support.hostile_tokens import AUDIENCE, ISSUER, minter
from tests.support.scraping import series
from tests.support.signing import claims
from tests.support.stands import NOON_US, FakeWriteSide, Stand, fake_stand, rows
from tests.support.waiting import eventually

SID = "11111111-1111-4111-8111-111111111111"
NOW = "?offset=now&live=long-poll"
MINTER = minter()


@pytest.fixture
async def stand(way: Way) -> AsyncIterator[Stand]:
    """A hot session of three events, and beats when the test says so."""
    async with fake_stand(way, max_staleness_seconds=600.0) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        yield made


async def following(stand: Stand, query: str = NOW, **headers: str) -> "asyncio.Task[httpx.Response]":
    """A long poll that is held."""
    before = stand.held.held
    task = asyncio.create_task(stand.follow(SID, query, **headers))
    await eventually(lambda: stand.held.held > before or task.done(), "it is held")
    assert not task.done(), task.result().text
    return task


def ids(answer: httpx.Response) -> list[str]:
    """The events that an answer gives."""
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in orjson.loads(answer.content)]


class Follower:
    """Reads on, page by page, and keeps what it was given."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.offset = "-1"
        self.given: list[str] = []

    async def read(self) -> httpx.Response:
        """Read on by one answer."""
        answer = await self.stand.follow(SID, f"?offset={self.offset}")
        self.given += ids(answer)
        self.offset = answer.headers["stream-next-offset"]
        return answer

    async def gets(self, *events: Row) -> None:
        """Wait until it was given these, and no other."""
        expected = [str(event.id) for event in events]

        async def has() -> bool:
            await self.read()
            return len(self.given) >= len(expected)

        await eventually(has, "it was given them")
        assert self.given == expected


@pytest.fixture
def events(stand: Stand) -> list[Row]:
    """The session's events as they were written."""
    return stand.kept[SID]


def streams(stand: Stand) -> FakeWriteSide:
    """What Postgres has."""
    assert isinstance(stand.side, FakeWriteSide)
    return stand.side


async def test_each_arrival_comes_once_while_the_session_is_hot(stand: Stand, events: list[Row]) -> None:
    """Late ones last; by the arrival log alone."""
    follower = Follower(stand)
    await follower.gets(*events)
    for number in range(5):
        await stand.add(Row(SID, NOON_US - number))
        await follower.gets(*events)

    assert streams(stand).streams.queries == []


@pytest.mark.parametrize("fate", ["reloaded", "evicted", "new term"])
async def test_an_offset_outlasts_what_befalls_the_view(stand: Stand, events: list[Row], fate: str) -> None:
    """What came meanwhile comes, and what was given does not."""
    follower = Follower(stand)
    await follower.gets(*events)
    stage, side = stand.stage, stand.side
    missed = Row(SID, NOON_US - 1)
    await side.add(missed)
    events.append(missed)
    if fate == "evicted":
        await stage.apply(Drop(SID), named=[SID])
    else:
        if fate == "new term":
            await stage.begin("term-2", stage.term, origin=await side.origin())
        staged = await stage.staged([row.event() for row in events], snapshot=await side.snapshot())
        await stage.apply(Put(SID, staged), named=[SID])
        await stand.beat()

    await follower.gets(*events)


async def test_what_a_crash_of_postgres_leaves_is_another_history(stand: Stand, events: list[Row]) -> None:
    """410, until the follower begins anew."""
    follower = Follower(stand)
    await follower.gets(*events)
    streams(stand).streams.incarnation += 1
    await stand.stage.begin("term-2", stand.stage.term, origin=await stand.side.origin())

    async def is_gone() -> bool:
        return (await stand.follow(SID, f"?offset={follower.offset}")).status_code == 410

    await eventually(is_gone, "the offset is gone")
    follower = Follower(stand)
    await follower.gets(*events)
    assert series((await stand.client.get("/metrics")).text)["readside_stream_offsets_gone_total"] >= 1


async def test_who_asked_from_the_start_has_no_offset_that_a_crash_could_take(stand: Stand) -> None:
    """What is read on behind other types is a place of ours: the long poll is told its news, and no 410."""
    task = await following(stand, "?offset=-1&live=long-poll&event_type=seldom")
    streams(stand).streams.incarnation += 1
    await stand.stage.begin("term-2", stand.stage.term, origin=await stand.side.origin())
    row = Row(SID, NOON_US, event_type="seldom")
    await stand.side.add(row)
    await stand.drop(SID)

    assert ids(await task) == [str(row.id)]


async def test_who_asked_from_now_has_no_offset_that_a_crash_could_take(stand: Stand) -> None:
    """The long poll is held on at the end of the new history, and is told what comes from then on."""
    task = await following(stand)
    streams(stand).streams.incarnation += 1
    await stand.stage.begin("term-2", stand.stage.term, origin=await stand.side.origin())
    await stand.drop(SID)
    added: list[str] = []

    async def is_told() -> bool:
        added.append(str((row := Row(SID, NOON_US)).id))
        await stand.side.add(row)
        await stand.drop(SID)  # Postgres answers, and its change is heard
        return task.done()

    await eventually(is_told, "the long poll has news")
    answer = await task

    assert answer.status_code == 200, answer.text
    assert set(ids(answer)) <= set(added)


async def test_followers_of_one_offset_share_a_read_and_a_body(stand: Stand) -> None:
    """Thirty of them, by one read of Redis."""
    holding = stand.held
    polls = [asyncio.create_task(stand.follow(SID, NOW)) for _ in range(30)]
    await eventually(lambda: holding.held == 30, "all are held")
    before = holding.reads
    await stand.add(Row(SID, NOON_US))
    answers = await asyncio.gather(*polls)

    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(ids(answers[0])) == 1
    assert holding.reads == before + 1


async def test_a_long_poll_without_news_ends_in_204(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fresh as the last beat; a held one asks no store meanwhile."""
    monkeypatch.setattr(stream_waiter, "HOLD_SECONDS", 0.2)
    task, reads = await following(stand), stand.held.reads
    await stand.beat()
    answer = await task

    assert (answer.status_code, answer.headers["stream-up-to-date"]) == (204, "true")
    assert stand.held.reads == reads


async def test_what_is_of_other_types_moves_a_long_poll_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 204 says where it is."""
    monkeypatch.setattr(stream_waiter, "HOLD_SECONDS", 0.5)
    before = (await stand.follow(SID, "?offset=now")).headers["stream-next-offset"]
    task = await following(stand, f"{NOW}&event_type=workflow_failed")
    await stand.add(Row(SID, NOON_US))
    answer = await task

    assert answer.status_code == 204
    assert answer.headers["stream-next-offset"] > before


async def test_past_the_bound_nobody_is_held(way: Way) -> None:
    """429 with Retry-After; what needs no wait is answered."""
    async with fake_stand(way, max_waiting=1) as stand:
        await stand.write(SID, rows(SID, 1))
        await stand.heat(SID)
        task = await following(stand)
        refused, read = await stand.follow(SID, NOW), await stand.follow(SID)
        await stand.add(Row(SID, NOON_US))

        assert (refused.status_code, refused.headers["retry-after"], read.status_code) == (429, "1", 200)
        assert (await task).status_code == 200


async def test_a_token_reads_its_sessions_and_ends_its_long_polls(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403 for any other, 401 when it ends, at once."""
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(MINTER.jwks)
    tokens = TokenConfig(str(jwks), (MINTER.secret.encode(),), AUDIENCE, ISSUER)
    async with fake_stand(way, tokens=tokens, max_staleness_seconds=600.0) as stand:
        await stand.write(SID, rows(SID, 1))
        await stand.heat(SID)
        stand.client.headers.pop("x-api-key")
        other = MINTER.es.token(claims(iss=ISSUER, sessions=["22222222-2222-4222-8222-222222222222"])).decode()
        short = MINTER.es.token(claims(iss=ISSUER, ttl_seconds=20, sessions=[SID])).decode()
        refused = await stand.follow(SID, authorization=f"Bearer {other}")
        task = await following(stand, authorization=f"Bearer {short}")
        move_on(monkeypatch, 21)

        assert refused.status_code == 403
        assert (await task).status_code == 401


@pytest.fixture
async def hasty(way: Way) -> AsyncIterator[Stand]:
    """The same as `stand`, where what is known is soon too old."""
    async with fake_stand(way, max_staleness_seconds=0.3) as made:
        await made.write(SID, rows(SID, 3, "step_created"))
        await made.heat(SID)
        yield made


async def test_where_the_view_stands_still_postgres_answers(hasty: Stand) -> None:
    """And says that it is the end; a long poll that is held gets what comes."""
    follower = Follower(hasty)
    await follower.gets(*hasty.kept[SID])

    async def from_postgres() -> bool:
        answer = await follower.read()
        return answer.headers["readside-source"] == "postgres" and "stream-up-to-date" in answer.headers

    await eventually(from_postgres, "Postgres answers")
    task = await following(hasty)
    new = Row(SID, NOON_US)
    await hasty.side.add(new)  # no message tells of it

    assert ids(await task) == [str(new.id)]


async def test_where_nobody_can_say_that_it_is_the_end_nobody_does(hasty: Stand) -> None:
    """503 and no empty array; what the old view has is given."""
    follower = Follower(hasty)
    await follower.gets(*hasty.kept[SID])
    streams(hasty).log.error = EventLogUnavailable("PostgreSQL is away.")

    async def refuses() -> bool:
        answer = await hasty.follow(SID, f"?offset={follower.offset}")
        assert answer.content != b"[]" or "stream-up-to-date" in answer.headers
        return answer.status_code == 503

    await eventually(refuses, "the end is not told")
    start = await hasty.follow(SID)
    assert (len(ids(start)), "stream-up-to-date" in start.headers) == (3, False)
    held = await hasty.follow(SID, f"?offset={follower.offset}&live=long-poll")
    assert (held.status_code, held.headers["retry-after"]) == (503, "1")


async def test_offsets_fill_no_memory_of_heads(stand: Stand) -> None:
    """The start comes again, and is remembered; places do not."""
    follower, connections = Follower(stand), stand.app.connections
    for _ in range(3):
        await follower.read()
    await stand.follow(SID)

    heads = [head for head in connections.polls if b"/stream" in head]
    assert all(b"offset=-1" in head or b"offset" not in head for head in heads)
