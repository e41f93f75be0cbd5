"""What a hot poll costs the stores: nothing from memory, one script from Redis, one query for a storm of callers."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from readmodel.errors import ServiceError
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold, ViewArrivals, ViewPage, ViewReader
from tests.support.stands import AT_ONCE, NOON_US, Stand, rows
from tests.support.viewing import MAX_BYTES, Stage, event

MODULES_LOOP = pytest.mark.asyncio(loop_scope="module")
"""Of tests on a stage: one client of Redis serves them all."""

SINCES = ["2100-01-01T00:00:00Z", "2100-01-01T00%3A00%3A00.000001%2B00:00", "9999-12-31T23:59:59Z"]


class Calls:
    """Counts the round trips to Redis, and the polls in them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.polls: list[Poll] = []
        self.round_trips = 0
        read_all = ViewReader.read_all

        async def counted(
            view: ViewReader, polls: list[Poll], max_bytes: int, database: str = "", reply_bytes: int | None = None
        ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
            self.polls += polls
            self.round_trips += 1
            return await read_all(view, polls, max_bytes, database, reply_bytes)

        patch.setattr(ViewReader, "read_all", counted)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What is read from Redis."""
    return Calls(monkeypatch)


async def test_whatever_its_since_a_poll_past_the_newest_event_reads_nothing(
    stand: Stand, sid: str, calls: Calls
) -> None:
    """One read tells where the session ends; the bytes are those of a read."""
    read = await stand.poll_from("redis", sid, f"?since={SINCES[0]}")
    calls.polls.clear()
    for query in [
        f"?since={since}{more}" for since in SINCES for more in ("", "&type=step_created", "&page=3&limit=7")
    ]:
        answer = await stand.poll(sid, query)

        assert (answer.headers["readside-source"], answer.json()["items"]) == ("memory", [])
        if "&" not in query:
            assert (answer.content, answer.headers["etag"]) == (read.content, read.headers["etag"])
        else:
            fresh = await stand.poll(sid, query, readside_max_staleness="0")
            assert (answer.content, answer.headers["etag"]) == (fresh.content, fresh.headers["etag"])
    assert calls.polls == []


async def test_the_newest_events_own_instant_is_past_it_and_the_one_before_is_not(
    stand: Stand, sid: str, calls: Calls
) -> None:
    """`since` is exclusive; an event that is added ends what was known."""
    newest_us = stand.kept[sid][-1].timestamp_us
    await stand.poll_from("redis", sid, "?limit=1")
    assert (await stand.poll(sid, f"?since={_text(newest_us)}")).headers["readside-source"] == "memory"
    assert (await stand.poll(sid, f"?since={_text(newest_us - 1)}")).json()["total"] == 1

    late = replace(rows(sid, 1)[0], timestamp_us=newest_us + 1)
    await stand.add(late)
    found = await stand.poll_from("redis", sid, f"?since={_text(newest_us)}")
    assert [item["id"] for item in found.json()["items"]] == [str(late.id)]


async def test_whoever_is_a_few_events_behind_reads_nothing(stand: Stand, calls: Calls) -> None:
    """One read of a later instant answers all of them, by type and page too, with the bytes that Postgres gives."""
    session_id = str(uuid4())
    await stand.write(session_id, rows(session_id, 40, "step_created", "artifact_created"))
    await stand.heat(session_id)
    newest_us = stand.kept[session_id][-1].timestamp_us
    await stand.poll_from("redis", session_id, f"?since={_text(newest_us - 1)}")
    calls.polls.clear()
    for behind in range(16):
        for more in (
            "",
            "&limit=2&page=2",
            "&type=artifact_created",
            "&type=step_created&type=artifact_created&limit=3",
        ):
            query = f"?since={_text(newest_us - behind * 1_000_000 + 500_000)}{more}"
            answer, fresh = (
                await stand.poll(session_id, query),
                await stand.poll(session_id, query, readside_max_staleness="0"),
            )
            assert (answer.headers["readside-source"], answer.content) == ("memory", fresh.content)
            assert answer.headers["etag"] == fresh.headers["etag"]
    assert calls.polls == []
    assert (await stand.poll(session_id, f"?since={_text(newest_us - 30_000_000)}")).headers[
        "readside-source"
    ] == "redis"


@MODULES_LOOP
async def test_long_events_are_not_read_for_later(stage: Stage) -> None:
    """What may be asked next is worth a few kilobytes, not megabytes; the answer is right all the same."""
    sid = str(uuid4())
    sizes = [100] * 30 + [9_000] * 3
    events = [event(sid, NOON_US + n, size=size) for n, size in enumerate(sizes)]
    await stage.put(sid, events, as_of_us=NOON_US)
    found = await stage.read(sid, since_us=NOON_US + 28)
    assert isinstance(found, ViewPage)
    assert (found.total, len(found.newest_members)) == (4, 1)

    await stage.put(sid, [event(sid, NOON_US + n, size=50_000) for n in range(20)])
    found = await stage.read(sid, since_us=NOON_US + 18)
    assert isinstance(found, ViewPage)
    assert (found.total, len(found.newest_members), found.newest_is_all) == (1, 0, False)


@pytest.mark.parametrize("types", [(), ("step_created",)])
@pytest.mark.parametrize(("later_than", "told"), [(54, 16), (45, 16), (44, 16), (43, 0), (0, 0)])
@MODULES_LOOP
async def test_the_newest_events_are_told_where_they_reach_back_to_what_was_asked(
    stage: Stage, later_than: int, told: int, types: tuple[str, ...]
) -> None:
    """Where more were found than are told of, these would answer nobody who asks the like."""
    sid = str(uuid4())
    await stage.put(sid, [event(sid, NOON_US + n) for n in range(60)], as_of_us=NOON_US)
    found = await stage.read(sid, since_us=NOON_US + later_than, types=types)
    assert isinstance(found, ViewPage)
    assert (found.total, len(found.newest_members)) == (59 - later_than, told)


async def test_spellings_of_one_poll_are_one_answer(stand: Stand, sid: str, calls: Calls) -> None:
    """Another order, an alias, another way to write an instant: the second spelling reads nothing."""
    await stand.poll_from("redis", sid, "?since=2026-01-13T14:30:00Z&event_type=step_created&limit=5")
    calls.polls.clear()
    answer = await stand.poll(sid.upper(), "?per_page=5&type=step_created&since=2026-01-13T15:30:00.0%2B01:00")

    assert answer.headers["readside-source"] == "memory"
    assert calls.polls == []


@pytest.mark.parametrize("stand_of", AT_ONCE, indirect=True)
async def test_a_crowd_shares_round_trips(stand: Stand, calls: Calls) -> None:
    """A hundred callers of twenty sessions: each poll is read once, in a few round trips."""
    sessions = [str(uuid4()) for _ in range(20)]
    for session_id in sessions:
        await stand.write(session_id, rows(session_id, 3))
        await stand.heat(session_id)
    answers = await asyncio.gather(*(stand.poll(session_id) for session_id in sessions * 5))

    assert {answer.status_code for answer in answers} == {200}
    assert len(calls.polls) <= 20
    assert calls.round_trips <= 10


@MODULES_LOOP
async def test_a_script_that_redis_forgot_is_sent_again(stage: Stage) -> None:
    """Several at once, one of them too large for an answer."""
    sid, other = str(uuid4()), str(uuid4())
    await stage.put(sid, [event(sid, NOON_US + n) for n in range(5)], as_of_us=NOON_US)
    await stage.put(other, [event(other, NOON_US, size=500)], as_of_us=NOON_US)
    await stage.redis.script_flush()
    found, large, cold = await stage.reader.read_all([Poll(sid, limit=1), Poll(other), Poll(str(uuid4()))], 400)

    assert isinstance(found, ViewPage)
    assert found.newest_us == NOON_US + 4
    assert type(large).__name__ == "AnswerTooLarge"
    assert cold == Cold("not hot")
    assert isinstance(await stage.reader.read(Poll(other), MAX_BYTES), ViewPage)


def _text(us: int) -> str:
    return f"2026-01-13T14:30:{(us - NOON_US) / 1_000_000:09.6f}Z"
