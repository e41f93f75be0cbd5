"""The view's scripts, over fakeredis and over a real Redis alike: one suite, so that the fake earns its trust."""

import random
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from projector.core.operations import Add, Drop, Put, Stamp, Status, Touch
from projector.view.writer import BatchResult, StagingLost, TermRefused
from query_api.sources.view_reads import WALKED_EVENTS
from readmodel.errors import AnswerTooLarge, ForeignView
from readmodel.values.event import SCORE_BOUND
from readmodel.values.messages import Change, decode_change
from readmodel.values.poll import Poll
from readmodel.values.wal import WalPosition
from readmodel.view.reader import LONG_PAGE, Cold, ViewPage
from tests.support.viewing import DATABASE, MAX_BYTES, SHAPE, Stage, event, expected

pytestmark = pytest.mark.asyncio(loop_scope="module")

SID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
NOON = 1_768_314_600_000_000
STEPS = [f"{number:08}-3333-4333-8333-333333333333" for number in range(3)]


async def test_nothing_is_answered_before_a_first_beat(redis: Redis) -> None:
    """A session put before any as-of is known is cold."""
    stage = Stage(redis)
    await stage.begin()
    await stage.put(SID, [])

    assert await stage.read(SID) == Cold("no as-of yet")


async def test_an_empty_session_is_an_empty_page(stage: Stage) -> None:
    """A hot session without events answers, with status, as-of and number."""
    await stage.put(SID, [])
    found = await stage.read(SID)

    assert isinstance(found, ViewPage)
    assert (found.page, found.total, found.status, found.as_of_us) == (b"", 0, "in_progress", NOON)
    assert (found.term, found.n) == ("term-1", 2)
    assert found.lag_us >= 1000


async def test_random_polls_are_answered_as_by_hand(stage: Stage) -> None:
    """Every filter, order and page over many equal timestamps gives the rows that plain Python gives."""
    chance = random.Random(5)
    types = ["step_created", "workflow_error", "made_up", "Odd-Type", "status_changed"]
    scores = [NOON + chance.choice([-5, -1, 0, 0, 0, 1, 7]) * chance.choice([1, 1_000_000]) for _ in range(300)]
    events = [event(SID, score, chance.choice(types), step_id=chance.choice([None, *STEPS])) for score in scores]
    await stage.put(SID, events[:150])
    await stage.add(SID, *events[100:])  # fifty of them a second time
    for _ in range(150):
        poll = Poll(
            SID,
            since_us=chance.choice([None, None, NOON, NOON - 1, *scores[:5], -(2**60), 2**60]),
            types=tuple(
                sorted(chance.sample(["step_created", "workflow_error", "made_up", "absent"], chance.randint(0, 3)))
            ),
            limit=chance.choice([1, 7, 100, 1000]),
            page=chance.choice([1, 1, 2, 3, 10**9]),
            steps=tuple(chance.sample(STEPS, chance.choice([0, 0, 1, 2]))),
            oldest_first=chance.random() < 0.5,
        )
        found = await stage.reader.read(poll, MAX_BYTES)

        assert isinstance(found, ViewPage), (poll, found)
        assert (found.page, found.total) == expected(events, poll), poll


async def test_scores_are_exact_at_the_ends_of_the_range(stage: Stage) -> None:
    """Microseconds keep their last digit from 1684 to 2255, by type as well."""
    scores = [-(SCORE_BOUND - 1), -(SCORE_BOUND - 2), -1, 0, 1, SCORE_BOUND - 2, SCORE_BOUND - 1]
    events = [
        event(SID, score)._replace(member=b'{"id":"%b","at":%d}' % (str(uuid4()).encode(), score)) for score in scores
    ]
    events = [e._replace(id=UUID(e.member[7:43].decode()).bytes) for e in events]
    await stage.put(SID, events)
    for since in [None, *scores]:
        for types in [(), ("step_created",)]:
            poll = Poll(SID, since_us=since, types=types)
            found = await stage.reader.read(poll, MAX_BYTES)
            assert isinstance(found, ViewPage)
            assert (found.page, found.total) == expected(events, poll)


@pytest.mark.parametrize("newest", [2**52 + 1, 2**53 - 1, 46 * 10**14, -(2**53) + 1])
async def test_an_added_events_instant_stays_exact(stage: Stage, newest: int) -> None:
    """Polls for later events are answered from it alone, and servers differ in how they write large numbers."""
    sid = str(uuid4())
    await stage.put(sid, [event(sid, -(2**53) + 1)], as_of_us=1)
    await stage.add(sid, event(sid, newest))
    found = await stage.read(sid)
    assert isinstance(found, ViewPage)
    assert (found.newest_us, found.total) == (newest, 2)


async def test_a_batch_sent_twice_is_applied_once(stage: Stage) -> None:
    """After a lost reply the very same batch is sent again, and changes nothing."""
    await stage.put(SID, [])
    added = [event(SID, NOON)]
    await stage.add(SID, *added)
    again = await stage.apply(Add(SID, tuple(added)), n=stage.n)

    assert again == BatchResult(again=True)
    assert await stage.page(SID) == expected(added, Poll(SID))


@pytest.mark.parametrize("n", [1, 2, 5, 40])
async def test_a_batch_out_of_turn_is_refused(stage: Stage, n: int) -> None:
    """A late command and one that skips a number find the view elsewhere."""
    for _ in range(2):
        await stage.apply()
    with pytest.raises(TermRefused):
        await stage.apply(Drop(SID), n=n)


async def test_another_term_is_refused(stage: Stage) -> None:
    """A leader that lost its lead can write nothing, after a flush neither."""
    late = Stage(stage.redis, n=stage.n)
    await stage.begin("term-2", expected="term-1")
    with pytest.raises(TermRefused):
        await late.apply(Drop(SID))
    await stage.redis.flushall()
    with pytest.raises(TermRefused):
        await late.apply(Drop(SID))


async def test_a_term_begins_only_where_it_was_expected(stage: Stage) -> None:
    """Who saw an older position than the lock's proof is refused."""
    with pytest.raises(TermRefused):
        await stage.writer.begin("term-2", "term-0", DATABASE, SHAPE)


async def test_a_new_term_serves_the_old_one_as_of_its_last_beat(stage: Stage) -> None:
    """Unstamped sessions answer as of the previous term's as-of, under no number; two terms later they are cold."""
    events = [event(SID, NOON)]
    await stage.put(SID, events)
    await stage.begin("term-2", expected="term-1")
    found = await stage.read(SID)
    assert isinstance(found, ViewPage)
    assert (found.as_of_us, found.term, found.page) == (NOON, "", events[0].member)
    await stage.apply(as_of_us=NOON + 1)
    found = await stage.read(SID)
    assert isinstance(found, ViewPage)
    assert found.as_of_us == NOON

    await stage.begin("term-3", expected="term-2")
    assert await stage.read(SID) == Cold("not compared under this term")


async def test_a_term_that_never_was_live_is_not_the_previous_one(stage: Stage) -> None:
    """Two terms begun in a row: the view is still right as of the last live one."""
    await stage.put(SID, [])
    await stage.begin("term-2", expected="term-1")
    await stage.begin("term-3", expected="term-2")
    found = await stage.read(SID)

    assert isinstance(found, ViewPage)
    assert found.as_of_us == NOON


async def test_a_stamp_needs_the_very_totals(stage: Stage) -> None:
    """A session is stamped when its header says what Postgres says, and found cold when it does not."""
    one = event(SID, NOON)
    await stage.put(SID, [one])
    await stage.begin("term-2", expected="term-1")
    applied = await stage.apply(Stamp(SID, 1, one.hash_hi, one.hash_lo), Stamp(OTHER, 0, 0, 0), as_of_us=NOON + 5)

    assert applied.cold == (OTHER,)
    found = await stage.read(SID)
    assert isinstance(found, ViewPage)
    assert (found.as_of_us, found.term) == (NOON + 5, "term-2")
    await stage.begin("term-3", expected="term-2")
    assert (await stage.apply(Stamp(SID, 1, one.hash_hi, one.hash_lo + 1))).cold == (SID,)


async def test_a_view_of_another_shape_is_never_served_nor_continued(stage: Stage) -> None:
    """What its rows read as has changed: the totals would agree."""
    await stage.put(SID, [event(SID, NOON)])

    assert not await stage.begin("term-2", expected="term-1", shape="1" * 32)
    assert isinstance(await stage.read(SID), Cold)
    await stage.apply(as_of_us=NOON + 1)
    assert isinstance(await stage.read(SID), Cold)
    assert await stage.begin("term-3", expected="term-2", shape="1" * 32)


async def test_a_view_whose_shape_is_told_anew_is_continued(stage: Stage) -> None:
    """Partitions came under its term: the next one that finds them so goes on; another term may not say so."""
    await stage.put(SID, [event(SID, NOON)])
    await stage.writer.reshape("term-1", "1" * 32)
    with pytest.raises(TermRefused, match="the view is at term term-1"):
        await stage.writer.reshape("term-0", "2" * 32)

    assert isinstance(await stage.read(SID), ViewPage)
    assert await stage.begin("term-2", expected="term-1", shape="1" * 32)


async def test_what_a_term_did_not_continue_is_left_until_one_is_live(stage: Stage) -> None:
    """A term of the new shape that came to no end left sessions of the old one."""
    await stage.begin("term-2", expected="term-1", shape="1" * 32)
    assert not await stage.begin("term-3", expected="term-2", shape="1" * 32)
    await stage.apply(as_of_us=NOON + 1)

    assert await stage.begin("term-4", expected="term-3", shape="1" * 32)
    assert await stage.begin("term-5", expected="term-4", shape="1" * 32)


async def test_another_databases_moving_view_is_refused_by_name(stage: Stage) -> None:
    """The view of another database is not taken over while its projector lives."""
    with pytest.raises(ForeignView, match="another database"):
        await stage.writer.begin("term-2", "term-1", "8000000000000000002/5", SHAPE)


async def test_another_databases_old_view_is_never_served(stage: Stage) -> None:
    """Once it stands still it is taken over; nothing of it is answered."""
    await stage.put(SID, [event(SID, NOON)])
    await stage.redis.hset(stage.keys.position, "as_of_at", "1")
    await stage.begin("term-2", expected="term-1", database="8000000000000000002/5")

    assert isinstance(await stage.read(SID), Cold)
    await stage.apply(as_of_us=NOON)
    assert isinstance(await stage.read(SID), Cold)


async def test_a_view_of_another_version_is_cold(stage: Stage) -> None:
    """What another version wrote is never read, by header or by position."""
    await stage.put(SID, [])
    await stage.redis.hset(stage.keys.header(SID), "version", "0")
    assert isinstance(await stage.read(SID), Cold)
    await stage.put(SID, [])
    await stage.redis.hset(stage.keys.position, "version", "0")

    assert isinstance(await stage.read(SID), Cold)


@pytest.mark.parametrize("which", ["position", "hot"])
async def test_other_data_under_our_names_is_refused_by_name(redis: Redis, which: str) -> None:
    """A key of ours that holds something else is named, and left alone."""
    stage = Stage(redis)
    key = getattr(stage.keys, which)
    await redis.set(key, "theirs")
    with pytest.raises(ForeignView, match="other data in readside:"):
        await stage.begin()

    assert await redis.get(key) == b"theirs"


async def test_a_hash_of_others_is_refused(redis: Redis) -> None:
    """A hash where our position should be, without our fields, is not overwritten."""
    stage = Stage(redis)
    await redis.hset(stage.keys.position, mapping={"term": "x", "theirs": "1"})
    with pytest.raises(ForeignView):
        await stage.begin(expected="x")


@pytest.mark.parametrize("kind", ["position", "header", "events", "index"])
async def test_a_lost_key_makes_the_session_cold(stage: Stage, kind: str) -> None:
    """Whatever single key is evicted, no poll is answered short, filtered ones included."""
    await stage.put(SID, [event(SID, NOON + i) for i in range(5)])
    await stage.redis.delete(stage.keys.position if kind == "position" else getattr(stage.keys, kind)(SID))

    assert isinstance(await stage.read(SID), Cold)
    assert isinstance(await stage.read(SID, types=("step_created",)), Cold)
    assert isinstance(await stage.read(SID, since_us=NOON), Cold)


async def test_a_lost_member_makes_the_session_cold(stage: Stage) -> None:
    """One event or one entry gone is seen."""
    events = [event(SID, NOON + i) for i in range(5)]
    await stage.put(SID, events)
    await stage.redis.zrem(stage.keys.events(SID), events[3].member)

    assert await stage.read(SID) == Cold("damaged")


@pytest.mark.parametrize("newest", [None, str(NOON + 3), "garbage"])
async def test_a_wrong_newest_instant_makes_the_session_cold(stage: Stage, newest: str | None) -> None:
    """Polls for later events are answered from it without another read: too early a one would hide events."""
    await stage.put(SID, [event(SID, NOON + i) for i in range(5)])
    key = stage.keys.header(SID)
    await (stage.redis.hdel(key, "newest") if newest is None else stage.redis.hset(key, "newest", newest))

    for poll in ({}, {"since_us": NOON + 4}, {"types": ("step_created",)}):
        assert await stage.read(SID, **poll) == Cold("damaged")


async def test_an_add_to_a_cold_session_is_reported(stage: Stage) -> None:
    """Only a script's answer says what is cold: nothing is written for a session that is not there."""
    applied = await stage.add(SID, event(SID, NOON))

    assert applied.cold == (SID,)
    assert await stage.redis.exists(stage.keys.events(SID), stage.keys.header(SID)) == 0


async def test_the_same_event_with_other_bytes_is_loaded_anew(stage: Stage) -> None:
    """An event that was changed and is added again would stand twice: the session is forgotten instead."""
    one = event(SID, NOON)
    await stage.put(SID, [one])
    applied = await stage.add(SID, one._replace(member=one.member.replace(b'"x"', b'"y"')))

    assert applied.forgotten == (SID,)
    assert isinstance(await stage.read(SID), Cold)


async def test_a_trimmed_session_answers_within_its_window(stage: Stage) -> None:
    """A very large session keeps its newest events: totals are exact, older pages are cold."""
    events = [event(SID, NOON + i, "step_created" if i % 2 else "workflow_error") for i in range(20)]
    await stage.put(SID, events, held=8)

    assert await stage.page(SID, limit=8) == expected(events, Poll(SID, limit=8))
    assert await stage.page(SID, limit=4, types=("step_created",)) == expected(
        events, Poll(SID, limit=4, types=("step_created",))
    )
    assert await stage.page(SID, since_us=NOON + 12) == expected(events, Poll(SID, since_us=NOON + 12))
    assert await stage.page(SID, page=10**9) == (b"", 20)
    outside: list[dict[str, object]] = [
        {"limit": 9},
        {"limit": 8, "page": 2},
        {"since_us": NOON + 11},
        {"limit": 5, "types": ("step_created",)},
    ]
    for older in outside:
        assert isinstance(await stage.read(SID, **older), Cold), older


async def test_an_event_below_the_window_is_counted_again(stage: Stage) -> None:
    """At or below the lowest score held nothing tells new from counted: the session is loaded anew."""
    events = [event(SID, NOON + i) for i in range(20)]
    await stage.put(SID, events, held=8)
    assert await stage.add(SID, event(SID, NOON + 13)) == BatchResult()
    applied = await stage.add(SID, event(SID, NOON + 12))

    assert applied.forgotten == (SID,)


async def test_a_session_that_outgrows_its_window_is_reported(redis: Redis) -> None:
    """Past five quarters of the window the projector is told to load it anew; it answers meanwhile."""
    stage = Stage(redis, window_events=8)
    await stage.begin()
    await stage.apply(as_of_us=NOON)
    await stage.put(SID, [])
    events = [event(SID, NOON + i) for i in range(11)]
    assert (await stage.add(SID, *events[:10])).grown == ()
    applied = await stage.add(SID, events[10])

    assert applied.grown == (SID,)
    assert await stage.page(SID) == expected(events, Poll(SID))


async def test_a_load_whose_staging_is_gone_changes_nothing(stage: Stage) -> None:
    """Staging that expired is noticed before the first write: the whole batch waits."""
    await stage.put(OTHER, [])
    staged = await stage.staged([event(SID, NOON)])
    await stage.redis.delete(f"{staged.staging}i")
    with pytest.raises(StagingLost) as lost:
        await stage.apply(Drop(OTHER), Put(SID, staged))

    assert lost.value.session_id == SID
    assert isinstance(await stage.read(OTHER), ViewPage)
    assert await stage.apply(Drop(OTHER)) == BatchResult()


async def test_status_and_touch(stage: Stage) -> None:
    """A row's status changes in place; touched sessions live on and are the most recently active."""
    await stage.put(SID, [event(SID, NOON)])
    await stage.put(OTHER, [])
    await stage.redis.expire(stage.keys.events(SID), 5)
    await stage.redis.zadd(stage.keys.hot, {SID: 1})
    await stage.apply(Status(SID, "completed"), Touch(SID))
    found = await stage.read(SID)

    assert isinstance(found, ViewPage)
    assert found.status == "completed"
    assert await stage.redis.ttl(stage.keys.events(SID)) > 100
    assert dict(await stage.reader.hot_sessions())[SID] > 1


async def test_the_last_poll_is_kept_through_a_load(stage: Stage) -> None:
    """With its age, and without making the header another one."""
    await stage.put(SID, [event(SID, NOON)])
    await stage.apply(Touch(SID))
    [unpolled] = await stage.reader.headers([SID])
    await stage.apply(Touch(SID, 60_000))
    [polled] = await stage.reader.headers([SID])
    await stage.put(SID, [event(SID, NOON)])
    [loaded] = await stage.reader.headers([SID])

    assert unpolled == polled
    assert unpolled is not None
    assert polled is not None
    assert loaded is not None
    assert unpolled.polled_ms is None
    assert polled.polled_ms == loaded.polled_ms
    now_ms = await stage.reader.now_us() // 1000
    assert 60_000 <= now_ms - (polled.polled_ms or 0) < 120_000


async def test_the_view_of_another_database_is_not_read(stage: Stage) -> None:
    """Whoever says of which it must be is refused by name; what is cold in it is not called cold."""
    await stage.put(SID, [event(SID, NOON)], as_of_us=NOON)
    poll = Poll(SID)

    assert isinstance(await stage.reader.read(poll, MAX_BYTES, DATABASE), ViewPage)
    await stage.reader.check(DATABASE)
    for asked in (poll, Poll(OTHER)):
        with pytest.raises(ForeignView, match=f"another database .{DATABASE}. than"):
            await stage.reader.read(asked, MAX_BYTES, "8000000000000000002/5")
    with pytest.raises(ForeignView, match="READSIDE_REDIS_PREFIX"):
        await stage.reader.check("8000000000000000002/5")


async def test_a_view_of_nobody_is_not_read(stage: Stage) -> None:
    """The position says whose it is, or nothing is believed."""
    await stage.put(SID, [event(SID, NOON)], as_of_us=NOON)
    await stage.redis.hdel(stage.keys.position, "database")

    with pytest.raises(ForeignView, match="unnamed"):
        await stage.reader.read(Poll(SID), MAX_BYTES, DATABASE)


@pytest.mark.parametrize("named", [(), (SID, OTHER)])
async def test_a_beat_says_how_far_the_log_had_come(stage: Stage, named: tuple[str, ...]) -> None:
    """Behind the sessions in its message, and in the position."""
    async with stage.redis.pubsub() as pubsub:
        await pubsub.subscribe(stage.keys.changes)
        assert (await pubsub.get_message(timeout=60))["type"] == "subscribe"
        await stage.apply(named=named, as_of_us=NOON + 7, wal="1a/16b3748")
        heard = decode_change((await pubsub.get_message(timeout=60))["data"])

    assert heard is not None
    assert (heard.sessions, heard.wal) == (named, WalPosition(0x1A, 0x16B3748))
    assert await stage.redis.hget(stage.keys.position, "wal") == b"1a/16b3748"


async def test_every_batch_is_published_with_its_number(stage: Stage) -> None:
    """One message a batch: database, term, number, as-of with its round trip, and the sessions named."""
    async with stage.redis.pubsub() as pubsub:
        await pubsub.subscribe(stage.keys.changes)
        assert (await pubsub.get_message(timeout=60))["type"] == "subscribe"
        await stage.apply(Drop(SID), named=[SID, OTHER])
        await stage.apply(as_of_us=NOON + 7)
        await stage.begin("term-2", expected="term-1")
        heard = [decode_change((await pubsub.get_message(timeout=60))["data"]) for _ in range(3)]
    first, second, third = [change for change in heard if change is not None]

    assert first == Change("term-1", 2, None, None, (SID, OTHER), first.at_us, DATABASE)
    assert second == Change("term-1", 3, NOON + 7, second.round_trip_us, (), second.at_us, DATABASE)
    assert third == Change("term-2", 0, None, None, (), third.at_us, DATABASE)
    assert 0 < first.at_us <= second.at_us <= third.at_us
    assert (second.round_trip_us or 0) >= 1000


async def test_a_page_past_the_bound_names_the_limit_that_fits(stage: Stage) -> None:
    """An answer of too many bytes is refused, with how many events would fit."""
    events = [event(SID, NOON + i, size=1000) for i in range(10)]
    await stage.put(SID, events)
    with pytest.raises(AnswerTooLarge) as error:
        await stage.reader.read(Poll(SID), 3 * (len(events[0].member) + 1))

    assert error.value.fitting_limit == 3


async def first_page(stage: Stage, sizes: list[int], bound: int, **asked: object) -> ViewPage | Cold:
    """Read a page without a limit of a session whose events, newest first, have these sizes."""
    events = [event(SID, NOON - place, size=size) for place, size in enumerate(sizes)]
    await stage.put(SID, events)
    return await stage.reader.read(Poll(SID, may_shorten=True, **asked), bound)  # type: ignore[arg-type]


@pytest.mark.parametrize("oldest_first", [False, True])
async def test_a_page_without_a_limit_is_shortened(stage: Stage, oldest_first: bool) -> None:
    """To what fits from the end that is asked for; the pages behind it are as long."""
    events = [event(SID, NOON + i, size=1000) for i in range(10)]
    await stage.put(SID, events)
    bound, found = 4 * (len(events[0].member) + 1), b""
    for page in (1, 2, 3):
        poll = Poll(SID, page=page, may_shorten=True, oldest_first=oldest_first)
        answer = await stage.reader.read(poll, bound)
        assert isinstance(answer, ViewPage)
        assert (answer.total, answer.shortened_to) == (10, 4)
        found += answer.page + b"," * (page < 3)

    assert found == expected(events, Poll(SID, oldest_first=oldest_first))[0]


async def test_a_page_that_fits_is_not_shortened(stage: Stage) -> None:
    """Though the session would be too long for one answer."""
    answer = await first_page(stage, [10] * 100 + [5000] * 2, 50_000)

    assert isinstance(answer, ViewPage)
    assert (answer.total, answer.shortened_to) == (102, None)


async def test_a_later_page_that_is_longer_than_the_first_names_the_limit(stage: Stage) -> None:
    """Shortened again, it would leave out what stands between it and the next one."""
    with pytest.raises(AnswerTooLarge) as error:
        await first_page(stage, [1000] * 5 + [1500] * 10, 6_000, page=2)

    assert error.value.fitting_limit == 3


async def test_a_page_longer_than_the_reply_may_be_is_told(stage: Stage) -> None:
    """By its own length, and by what events are long on average; one that fits comes."""
    await stage.put(SID, [event(SID, NOON + i, size=1000) for i in range(10)])
    polls = [Poll(SID, limit=limit, may_shorten=limit == 10) for limit in (2, 9, 10)]

    short, long, shortened = await stage.reader.read_all(polls, 5_000, "", 3_000)

    assert isinstance(short, ViewPage)
    assert long == shortened == LONG_PAGE


@pytest.mark.parametrize("page", [1, 2, 10**9])
async def test_a_first_page_longer_than_the_reply_is_read_for_no_other(stage: Stage, page: int) -> None:
    """It would hold up the polls that share the round trip, though nothing of it is sent."""
    await stage.put(SID, [event(SID, NOON + i, size=1000) for i in range(10)])

    (answer,) = await stage.reader.read_all([Poll(SID, page=page, may_shorten=True)], 50_000, "", 3_000)

    assert answer == LONG_PAGE


async def test_a_page_of_events_longer_than_most_is_told_too(stage: Stage) -> None:
    """The mean says nothing of it."""
    sizes = [10] * 50 + [1_000] * 4 + [10] * 50
    await stage.put(SID, [event(SID, NOON - place, size=size) for place, size in enumerate(sizes)])
    polls = [Poll(SID, limit=10, page=page) for page in (1, 6)]

    short, long = await stage.reader.read_all(polls, 50_000, "", 4_000)

    assert isinstance(short, ViewPage)
    assert long == LONG_PAGE


async def test_a_page_behind_a_first_one_that_is_held_in_part_is_not_told(stage: Stage) -> None:
    """How long pages are is for the first to say, and what is older may be longer than all that is held."""
    events = [event(SID, NOON - place, size=10 if place < 20 else 5_000) for place in range(60)]
    await stage.put(SID, events, held=20)

    answer = await stage.reader.read(Poll(SID, page=10**9, may_shorten=True), 50_000)

    assert answer == Cold("older than the window")


async def test_no_more_newest_events_come_than_fit_into_an_answer(stage: Stage) -> None:
    """Pages are made of them without another look at the bound."""
    events = [event(SID, NOON + place, size=1000) for place in range(10)]
    await stage.put(SID, events)
    bound = 3 * (len(events[0].member) + 1)

    answer = await stage.reader.read(Poll(SID, since_us=NOON + 7), bound)

    assert isinstance(answer, ViewPage)
    assert (answer.total, len(answer.newest_members)) == (2, 3)


async def test_one_event_that_fits_into_no_answer_is_told(stage: Stage) -> None:
    """No limit would fit."""
    with pytest.raises(AnswerTooLarge) as error:
        await first_page(stage, [1000], 500)

    assert error.value.fitting_limit == 0


async def test_steps_among_many_events_are_left_to_postgres(stage: Stage) -> None:
    """The view has no index of steps: a walk of a long session would hold up all others."""
    events = [event(SID, NOON + i, step_id=STEPS[i % 2]) for i in range(WALKED_EVENTS + 1)]
    await stage.put(SID, events)

    assert await stage.read(SID, steps=(STEPS[0],)) == Cold("steps among many events")
    wanted = expected(events, Poll(SID, since_us=NOON, steps=(STEPS[0],)))
    assert await stage.page(SID, since_us=NOON, steps=(STEPS[0],)) == wanted


async def test_steps_of_a_trimmed_session(stage: Stage) -> None:
    """Answered as far back as the view reaches, and no further."""
    events = [event(SID, NOON + i, step_id=STEPS[i % 2]) for i in range(1_100)]
    await stage.put(SID, events, held=1_000)

    assert await stage.read(SID, steps=(STEPS[0],)) == Cold("older than the window")
    wanted = expected(events, Poll(SID, since_us=NOON + 500, steps=(STEPS[0],), oldest_first=True))
    assert await stage.page(SID, since_us=NOON + 500, steps=(STEPS[0],), oldest_first=True) == wanted


async def test_the_oldest_of_a_trimmed_session_are_left_to_postgres(stage: Stage) -> None:
    """The view does not hold them."""
    await stage.put(SID, [event(SID, NOON + i) for i in range(1_100)], held=1_000)

    assert await stage.read(SID, oldest_first=True) == Cold("older than the window")


async def test_keys_of_others_are_never_touched(stage: Stage) -> None:
    """Everything that is written lies under the prefix."""
    await stage.redis.set("theirs", "1")
    await stage.put(SID, [event(SID, NOON)])
    await stage.add(SID, event(SID, NOON + 1))
    await stage.apply(Drop(SID))

    names = set(await stage.redis.keys("*")) - {b"theirs"}
    assert await stage.redis.get("theirs") == b"1"
    assert all(str(name).startswith("b'readside:{0}:") for name in names)
