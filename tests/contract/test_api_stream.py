"""What the stream of a session gives, by the Durable Streams protocol, over fakes and over real servers alike."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

import httpx
import orjson
import pytest

from tests.fakes.event_log import Row
from tests.support.builders import OPS_KEY, READ_KEY
from tests.support.stands import NOON_US, Stand, rows
from tests.support.waiting import eventually

NEXT, UP_TO_DATE, CURSOR = "stream-next-offset", "stream-up-to-date", "stream-cursor"


pytestmark = [
    pytest.mark.usefixtures("installed"),
    pytest.mark.parametrize("stand_of", ["fakes", "servers by the doorway"], indirect=True),
]
"""Both ways in and both kinds of stores: what differs between them is not the stream's doing."""


def ids(answer: httpx.Response) -> list[str]:
    """The events that an answer gives."""
    assert answer.status_code == 200, answer.text
    return [event["id"] for event in orjson.loads(answer.content)]


async def given(stand: Stand, sid: str, query: str = "") -> tuple[list[str], str]:
    """All events behind an offset, page by page, and the last offset."""
    found: list[str] = []
    while True:
        answer = await stand.follow(sid, query)
        found += ids(answer)
        query = f"?offset={answer.headers[NEXT]}"
        if UP_TO_DATE in answer.headers:
            return found, answer.headers[NEXT]


async def comes(stand: Stand, sid: str, offset: str, *expected: Row) -> None:
    """Wait until these events come behind an offset: what is heard, and when, is not the test's to say."""

    async def is_there() -> bool:
        return (await given(stand, sid, f"?offset={offset}"))[0] == [str(row.id) for row in expected]

    await eventually(is_there, "the events come")


async def test_a_stream_is_read_from_its_start(stand: Stand, sid: str) -> None:
    """A JSON array of the events as polls give them."""
    answer = await stand.follow(sid)
    page = (await stand.poll(sid, "?order=asc")).json()["items"]

    assert answer.json() == page
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers[UP_TO_DATE] == "true"
    assert answer.headers["readside-source"] == "redis"
    assert (await stand.follow(sid, "?offset=-1")).content == answer.content


async def test_it_goes_on_where_it_was(stand: Stand, sid: str) -> None:
    """Nothing at the tail, and then what came since, once."""
    _, offset = await given(stand, sid)
    assert ids(await stand.follow(sid, f"?offset={offset}")) == []
    late = Row(sid, NOON_US - 1_000_000)
    await stand.add(late)
    await comes(stand, sid, offset, late)


async def test_at_the_tail_memory_answers(stand: Stand, sid: str) -> None:
    """Whatever offset covers it; the empty array keeps the offset, and is up to date."""
    _, offset = await given(stand, sid)

    async def from_memory() -> bool:
        answer = await stand.follow(sid, f"?offset={offset}")
        return answer.headers["readside-source"] == "memory"

    await eventually(from_memory, "memory answers at the tail")
    answer = await stand.follow(sid, f"?offset={offset}")

    assert (answer.content, answer.headers[NEXT], answer.headers[UP_TO_DATE]) == (b"[]", offset, "true")
    assert (answer.headers["cache-control"], CURSOR in answer.headers) == ("private, no-cache", False)


async def test_now_is_the_tail(stand: Stand, sid: str) -> None:
    """No data ever, not to be stored; it goes on from there."""
    answer = await stand.follow(sid, "?offset=now")

    assert (answer.status_code, answer.content, answer.headers[UP_TO_DATE]) == (200, b"[]", "true")
    assert (answer.headers["cache-control"], "etag" in answer.headers) == ("no-store", False)
    new = Row(sid, NOON_US)
    await stand.add(new)
    await comes(stand, sid, answer.headers[NEXT], new)


async def test_head_tells_the_tail(stand: Stand, sid: str) -> None:
    """Without a body, not to be stored."""
    answer = await stand.follow(sid, method="HEAD")

    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert answer.headers["content-type"] == "application/json"
    assert (await given(stand, sid, f"?offset={answer.headers[NEXT]}"))[0] == []


async def test_what_the_client_holds_is_not_sent_again(stand: Stand, sid: str) -> None:
    """304 to If-None-Match alone, with where the stream goes on."""
    first = await stand.follow(sid)
    again = await stand.follow(sid, if_none_match=first.headers["etag"])

    assert (again.status_code, again.content) == (304, b"")
    assert {name: again.headers[name] for name in (NEXT, UP_TO_DATE, "etag")} == {
        name: first.headers[name] for name in (NEXT, UP_TO_DATE, "etag")
    }


async def test_a_cold_session_is_read_from_postgres(stand: Stand) -> None:
    """Page by page: what is committed below the place that was reached comes behind the last page."""
    sid = str(uuid4())
    written = rows(sid, 1_500)
    await stand.write(sid, written)
    first = await stand.follow(sid)
    late = Row(sid, NOON_US - 1)
    await stand.side.add(late)

    assert (first.headers["readside-source"], UP_TO_DATE in first.headers) == ("postgres", False)
    assert ids(first) == [str(row.id) for row in written[:1_000]]
    rest, _ = await given(stand, sid, f"?offset={first.headers[NEXT]}")
    assert rest == [str(row.id) for row in [*written[1_000:], late]]


async def test_offsets_sort_and_are_unique(stand: Stand, sid: str) -> None:
    """As text, in the order in which they were given."""
    offsets = [(await given(stand, sid))[1]]
    for number in range(4):
        await stand.add(Row(sid, NOON_US - number))

        async def moved() -> bool:
            last = (await given(stand, sid, f"?offset={offsets[-1]}"))[1]
            if last != offsets[-1]:
                offsets.append(last)
                return True
            return False

        await eventually(moved, "the offset moves on")
    assert offsets == sorted(set(offsets))
    assert all(len(offset) < 256 and not set(offset) & set(",&=?/") for offset in offsets)


@pytest.mark.parametrize(
    "query",
    [
        "event_type=step_created",
        "event_type=step_created&type=unheard_of",
        "event_type=unheard_of%2Cstep_created",
    ],
)
async def test_types_filter_what_is_given(stand: Stand, sid: str, query: str) -> None:
    """Not the offset: it passes what is left out."""
    answer = await stand.follow(sid, f"?{query}")

    assert [event["event_type"] for event in answer.json()] == ["step_created"] * 5
    assert answer.headers[NEXT] == (await stand.follow(sid)).headers[NEXT]


async def test_seldom_types_are_looked_for(stand: Stand) -> None:
    """No empty answer comes before all is looked through."""
    sid = str(uuid4())
    seldom = Row(sid, NOON_US + 10**10, "workflow_failed")
    await stand.write(sid, [*rows(sid, 2_001), seldom])

    assert ids(await stand.follow(sid, "?event_type=workflow_failed")) == [str(seldom.id)]
    none = await stand.follow(sid, "?event_type=workflow_resumed")
    assert (none.content, none.headers[UP_TO_DATE]) == (b"[]", "true")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("offset=", ["offset"]),
        ("offset=0", ["offset"]),
        ("offset=" + "f" * 10_000, ["offset"]),
        ("offset=-1&offset=-1", ["offset"]),
        ("live=sse", ["live"]),
        ("live=", ["live"]),
        ("live=long-poll&cursor=x", ["cursor"]),
        ("cursor=", ["cursor"]),
        ("event_type=A", ["event_type"]),
        ("event_type=a,", ["event_type"]),
        ("event_type=a&type=b&since=1", ["since"]),
        ("offset=x&live=sse&cursor=y&limit=5", ["limit", "offset", "live", "cursor"]),
    ],
)
async def test_what_is_wrong_is_named(stand: Stand, sid: str, query: str, named: list[str]) -> None:
    """All of it at once."""
    answer = await stand.follow(sid, f"?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert [each["parameter"] for each in answer.json()["errors"]] == named
    assert NEXT not in answer.headers


async def test_sse_is_told_of_long_polls(stand: Stand, sid: str) -> None:
    """By a sentence that says what there is."""
    assert "long-poll" in (await stand.follow(sid, "?offset=-1&live=sse")).json()["detail"]


async def test_an_offset_of_another_history_is_gone(stand: Stand, sid: str) -> None:
    """410 says to begin again."""
    _, offset = await given(stand, sid)
    foreign = offset[:18] + "01234567" + offset[26:]
    answer = await stand.follow(sid, f"?offset={foreign}")

    assert answer.status_code == 410
    assert "read again from offset -1" in answer.json()["detail"]
    assert (await stand.follow(sid, f"?offset={foreign}&live=long-poll")).status_code == 410


async def test_a_session_that_is_not_there(stand: Stand) -> None:
    """404, whatever is asked."""
    sid = str(uuid4())
    for query in ("", "?offset=now", "?live=long-poll", "?offset=now&live=long-poll"):
        answer = await stand.follow(sid, query)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"Session not found: {sid}")
    assert (await stand.follow(sid, method="HEAD")).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_reading_is_offered(stand: Stand, sid: str, method: str) -> None:
    """405 names what is."""
    answer = await stand.follow(sid, method=method)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_it_is_for_who_may_read(stand: Stand, sid: str) -> None:
    """By the same keys as polls."""
    assert (await stand.follow(sid, x_api_key="wrong")).status_code == 401
    assert (await stand.follow(sid, x_api_key=OPS_KEY)).status_code == 403
    assert (await stand.follow(sid, x_api_key=READ_KEY)).status_code == 200


async def test_it_is_as_fresh_as_is_wanted(stand: Stand, sid: str) -> None:
    """From Postgres, by a query that starts now; an instant that lies in the future is none."""
    new = Row(sid, NOON_US)
    _, offset = await given(stand, sid)
    await stand.side.add(new)  # the view has not heard of it
    answer = await stand.follow(sid, f"?offset={offset}", readside_max_staleness="0")

    assert (ids(answer), answer.headers["readside-source"]) == ([str(new.id)], "postgres")
    again = await stand.follow(sid, readside_not_before=answer.headers["readside-as-of"])
    assert again.headers["readside-as-of"] >= answer.headers["readside-as-of"]
    assert (await stand.follow(sid, readside_not_before="2199-01-01T00:00:00Z")).status_code == 400


Live = Callable[[str], Awaitable["asyncio.Task[httpx.Response]"]]


@pytest.fixture
async def live(stand: Stand, sid: str) -> Live:
    """Begins a long poll, and waits until it is held."""

    async def begin(query: str) -> "asyncio.Task[httpx.Response]":
        registry = stand.app._front._stream.held
        before = registry.held
        task = asyncio.create_task(stand.follow(sid, query))
        await eventually(lambda: registry.held > before, "it is held")
        return task

    return begin


async def test_a_long_poll_is_answered_by_news(stand: Stand, sid: str, live: Live) -> None:
    """With the cursor of the interval; from the start what there is comes at once."""
    _, offset = await given(stand, sid)
    held = await live(f"?offset={offset}&live=long-poll")
    new = Row(sid, NOON_US)
    await stand.add(new)
    answer = await held

    assert ids(answer) == [str(new.id)]
    assert int(answer.headers[CURSOR]) > 3_000_000
    assert answer.headers[UP_TO_DATE] == "true"
    at_once = await stand.follow(sid, "?live=long-poll")
    assert len(ids(at_once)) == 11


async def test_a_long_poll_from_now_waits_at_once(stand: Stand, sid: str, live: Live) -> None:
    """For what comes."""
    held = await live("?offset=now&live=long-poll")
    new = Row(sid, NOON_US)
    await stand.add(new)

    assert ids(await held) == [str(new.id)]


async def test_a_long_poll_of_types_waits_for_them(stand: Stand, sid: str, live: Live) -> None:
    """What is of others moves it on."""
    _, offset = await given(stand, sid)
    held = await live(f"?offset={offset}&live=long-poll&event_type=workflow_failed")
    await stand.add(Row(sid, NOON_US))
    new = Row(sid, NOON_US, "workflow_failed")
    await stand.add(new)

    assert ids(await held) == [str(new.id)]


async def test_a_cursor_never_goes_back(stand: Stand, sid: str, live: Live) -> None:
    """Whoever is ahead gets one that is further ahead."""
    held = await live("?offset=now&live=long-poll&cursor=999999999")
    await stand.add(Row(sid, NOON_US))

    assert 999_999_999 < int((await held).headers[CURSOR]) <= 999_999_999 + 180


async def test_a_deleted_session_is_not_found_at_once(stand: Stand, sid: str, live: Live) -> None:
    """Also by who is held."""
    held = await live("?offset=now&live=long-poll")
    await stand.side.delete(sid)
    await stand.drop(sid)

    assert (await held).status_code == 404


async def test_a_drain_lets_all_go(stand: Stand, live: Live) -> None:
    """204, up to date, and where it goes on."""
    held = await live("?offset=now&live=long-poll")
    stand.app._front.drain()
    answer = await held

    assert (answer.status_code, answer.content, answer.headers[UP_TO_DATE]) == (204, b"", "true")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert {NEXT, CURSOR, "readside-as-of"} <= set(answer.headers)


async def test_a_withdrawn_key_ends_its_long_polls(stand: Stand, live: Live) -> None:
    """401, soon."""
    held = await live("?offset=now&live=long-poll")
    stand.app._front._stream._gate.replace_keys({})

    assert (await held).status_code == 401
