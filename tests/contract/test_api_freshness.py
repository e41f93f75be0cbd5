"""Where answers come from, how fresh they are, when they need not be sent: over fakes and over real servers."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import uuid4

import pytest

from query_api.memory.answers import TERMINAL
from readmodel.values.messages import decode_request
from tests.fakes.event_log import Row
from tests.support.builders import READ_KEY, events_path
from tests.support.stands import NOON_US, Stand, rows
from tests.support.waiting import eventually

FRESH = ("readside-source", "readside-as-of", "readside-lag-ms")


async def test_every_source_gives_the_same_bytes_and_headers(stand: Stand, sid: str) -> None:
    """But for those that say where from, how fresh, and to which request."""
    query = "?limit=3&page=2"
    answers = [await stand.poll_from("redis", sid, query), await stand.poll_from("memory", sid, query)]
    answers.append(await stand.poll(sid, query, readside_max_staleness="0"))

    assert [answer.headers["readside-source"] for answer in answers] == ["redis", "memory", "postgres"]
    assert len({answer.content for answer in answers}) == 1
    of_one = {*FRESH, "x-request-id"}
    assert len({tuple((k, v) for k, v in answer.headers.items() if k not in of_one) for answer in answers}) == 1


async def test_an_unknown_session_is_404_with_its_freshness(stand: Stand) -> None:
    """From Postgres, then from memory."""
    unknown = str(uuid4())
    first = await stand.poll(unknown)
    again = await stand.poll_from("memory", unknown, "?limit=7")

    for answer in (first, again):
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["detail"] == f"Session not found: {unknown}"
        assert set(FRESH) < set(answer.headers)
    assert first.headers["readside-source"] == "postgres"


async def test_a_404_ends_when_the_session_is_made(stand: Stand) -> None:
    """Once the change is heard, and at once for who asks for staleness 0."""
    session_id = str(uuid4())
    await stand.poll_from("memory", session_id)
    await stand.write(session_id)

    assert (await stand.poll(session_id, readside_max_staleness="0")).status_code == 200
    await stand.heat(session_id)
    assert (await stand.poll_from("redis", session_id)).status_code == 200


async def test_a_deleted_session_is_404(stand: Stand, sid: str) -> None:
    """Its answers leave memory with the message."""
    await stand.poll_from("memory", sid)
    await stand.side.delete(sid)
    await stand.drop(sid)

    answer = await stand.poll_from("postgres", sid)

    assert answer.status_code == 404


async def test_a_new_event_is_seen(stand: Stand, sid: str) -> None:
    """The message drops the answers of its session alone."""
    other = str(uuid4())
    await stand.write(other, rows(other, 1))
    await stand.heat(other)
    before = await stand.poll_from("memory", sid)
    await stand.poll_from("memory", other)
    await stand.add(Row(sid, NOON_US + 60_000_000))

    after = await stand.poll_from("redis", sid)

    assert after.json()["total"] == before.json()["total"] + 1
    assert after.headers["etag"] != before.headers["etag"]
    assert (await stand.poll(other)).headers["readside-source"] == "memory"


async def test_every_answer_says_how_fresh_it_is(stand: Stand, sid: str) -> None:
    """RFC 3339, and whole milliseconds."""
    for source in ("redis", "memory"):
        answer = await stand.poll_from(source, sid)

        assert datetime.fromisoformat(answer.headers["readside-as-of"]).utcoffset() is not None
        assert 0 <= int(answer.headers["readside-lag-ms"]) < 60_000


async def test_a_beat_raises_the_as_of_of_what_is_kept(stand: Stand, sid: str) -> None:
    """Without any read."""
    before = (await stand.poll_from("memory", sid)).headers["readside-as-of"]
    await stand.beat()

    async def is_raised() -> bool:
        return bool((await stand.poll(sid)).headers["readside-as-of"] > before)

    await eventually(is_raised, "a later as-of")
    assert (await stand.poll(sid)).headers["readside-source"] == "memory"


async def test_staleness_zero_is_answered_by_postgres(stand: Stand, sid: str) -> None:
    """Its as-of is later than the request's arrival."""
    kept = await stand.poll_from("memory", sid)

    answer = await stand.poll(sid, readside_max_staleness="0")

    assert answer.headers["readside-source"] == "postgres"
    assert answer.headers["readside-as-of"] > kept.headers["readside-as-of"]


async def test_cache_control_of_a_request_changes_nothing(stand: Stand, sid: str) -> None:
    """Browsers add it on their own."""
    await stand.poll_from("memory", sid)

    answer = await stand.poll(sid, cache_control="no-cache", pragma="no-cache")

    assert answer.headers["readside-source"] == "memory"


@pytest.mark.parametrize("value", ["-1", "1e3", "soon", "inf", "", "1,2", "٣"])
async def test_a_bad_staleness_is_400(stand: Stand, sid: str, value: str) -> None:
    """On what is kept in memory too."""
    await stand.poll_from("memory", sid)
    headers = {b"readside-max-staleness": value.encode()}

    answer = await stand.client.get(events_path(sid), headers=headers)

    assert (answer.status_code, answer.json()["parameter"]) == (400, "Readside-Max-Staleness")


@pytest.mark.parametrize("source", ["memory", "redis", "postgres"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*", 'W/"y",W/{} , "z"'])
async def test_if_none_match_gets_304(stand: Stand, sid: str, source: str, form: str) -> None:
    """With the 200's headers, whichever source it is."""
    usual = await stand.poll(sid)
    tag = form.format(usual.headers["etag"])
    staleness = {"readside_max_staleness": "0"} if source == "postgres" else {}
    if source == "redis":
        await stand.beat(sid)  # its answers leave memory

    answer = await stand.poll_from(source, sid, if_none_match=tag, **staleness)

    assert (answer.status_code, answer.content) == (304, b"")
    assert set(answer.headers) == set(usual.headers) - {"content-type", "content-encoding", "content-length"}


async def test_another_tag_gets_the_answer(stand: Stand, sid: str) -> None:
    """Nothing to save."""
    assert (await stand.poll(sid, if_none_match='"other"')).status_code == 200


async def test_a_404_is_never_304(stand: Stand) -> None:
    """Not even for `*`."""
    assert (await stand.poll(str(uuid4()), if_none_match="*")).status_code == 404


async def test_the_etag_survives_a_change_of_key(stand: Stand, sid: str) -> None:
    """And is a strong one."""
    tags = {
        (await stand.client.get(events_path(sid), headers={"x-api-key": READ_KEY})).headers["etag"],
        (await stand.poll(sid)).headers["etag"],
    }

    assert len(tags) == 1
    assert tags.pop().startswith('"')


@pytest.mark.parametrize("status", ["in_progress", "paused", *sorted(TERMINAL)])
async def test_sessions_that_are_over_want_fewer_polls(stand: Stand, status: str) -> None:
    """X-Poll-Interval is in whole seconds."""
    session_id = str(uuid4())
    await stand.write(session_id, status=status)
    await stand.heat(session_id, status)

    intervals = {int((await stand.poll_from(source, session_id)).headers["x-poll-interval"]) for source in ("redis",)}
    intervals.add(int((await stand.poll(session_id, readside_max_staleness="0")).headers["x-poll-interval"]))

    assert intervals <= ({15, 30} if status in TERMINAL else {1, 2})


async def test_a_session_that_no_term_compares_is_warmed(stand: Stand, sid: str) -> None:
    """One that the index of hot sessions lost keeps the previous term's stamp: once that is too old, it is cold."""
    redis, requests = stand.stage.redis, stand.stage.keys.requests
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(requests)
        await stand.stage.begin("term-2", "term-1")

        async def asked_for() -> bool:
            await stand.poll(sid, readside_max_staleness="0.001")
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            request = decode_request(message["data"]) if message else None
            return request is not None and request.verb == "warm" and sid in request.sessions

        await eventually(asked_for, "the API asks to warm the session")


@pytest.mark.parametrize("hot", [False, True], ids=["cold", "hot"])
async def test_a_session_of_an_event_longer_than_an_answer_is_warmed(
    stand_of: Callable[..., AbstractAsyncContextManager[Stand]], hot: bool
) -> None:
    """Nothing of its events is asked for. Nobody leads here who could hear of a cold one."""
    async with stand_of(max_answer_bytes=10_000) as stand:
        session_id = str(uuid4())
        await stand.write(session_id, [Row(session_id, NOON_US, data={"x": "y" * 20_000})])
        if hot:
            await stand.heat(session_id)
        answer = await stand.client.post(f"/api/v2/sessions/{session_id}/warm")

    assert answer.status_code == (202 if hot else 503), answer.text
