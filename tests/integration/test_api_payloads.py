"""Odd events, end to end: timestamps, payloads and sizes that break lesser encoders."""

import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.fakes.event_log import Row
from tests.support.builders import api, api_config
from tests.support.projecting import bench
from tests.support.servers import connected
from tests.support.stands import NOON_US, real_stand
from tests.support.whole import Whole, whole_service

pytestmark = pytest.mark.installed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Whole]:
    """Everything, live, for all the odd events one after another."""
    async with whole_service(lasting_database_url, lasting_redis_url) as made:
        yield made


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("1969-07-20T20:17:40.5Z", "1969-07-20T20:17:40.500000Z"),
        ("2300-01-01T00:00:00Z", "2300-01-01T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00:00+00 BC", "0044-03-15 12:00:00+00 BC"),
        ("12026-01-01 00:00:00+00", "12026-01-01 00:00:00+00"),
    ],
)
async def test_odd_timestamps(whole: Whole, timestamp: str, shown: str) -> None:
    """As Postgres prints them; one session's oddity stops nothing."""
    session_id = await whole.bench.writer.session()
    await whole.bench.writer.event(session_id, timestamp=timestamp)
    await whole.total(session_id, 1)

    answer = await whole.poll(session_id)

    assert answer.json()["items"][0]["timestamp"] == shown
    assert answer.content == (await whole.poll(session_id, readside_max_staleness="0")).content


PAYLOADS = [
    '{"big": 123456789012345678901234567890.125}',
    '{"digits": ' + "7" * 400 + "}",
    '{"text": "\\\\u0000 and \\u00e9 and \\ud83d\\ude00"}',
    "[" * 500 + "]" * 500,
    '{"a": {"b": [null, true, 1.10, 1E+2]}, "": " "}',
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("payload", PAYLOADS, ids=["big", "400 digits", "escapes", "deep", "mixed"])
async def test_payloads_come_back_as_postgres_holds_them(whole: Whole, payload: str) -> None:
    """Digit for digit, from every source."""
    session_id = await whole.bench.writer.session()
    message = "".join(map(chr, range(1, 0x80))) + "\u2028😀"
    await whole.bench.writer.event(session_id, data=payload, message=message)
    held = await whole.bench.writer.connection.fetchval(
        "SELECT event_data::text FROM events WHERE session_id = $1::uuid", session_id
    )
    await whole.bench.hot(session_id)
    await whole.total(session_id, 1)

    from_view = await whole.served(session_id, "memory")
    from_log = await whole.poll(session_id, readside_max_staleness="0")

    assert from_view.content == from_log.content
    assert f'"event_data":{held},"message"' in from_log.text
    assert json.loads(from_log.content)["items"][0]["message"] == message


async def test_an_answer_past_the_bound_is_400_and_names_the_limit(database_url: str, redis_url: str) -> None:
    """The same from both stores; memory stays bounded."""
    config = api_config(database_url, redis_url, max_answer_bytes=3_000_000)
    async with bench(database_url, redis_url) as made, made.projector(), api(config, way="doorway") as client:
        whole = Whole(made, client)
        session_id = await made.writer.session()
        for _ in range(5):
            await made.writer.event(session_id, message="x" * 1_000_000)
        await made.hot(session_id)
        await made.caught_up()

        answers = [
            await whole.poll(session_id, "?limit=100", **headers) for headers in ({}, {"readside_max_staleness": "0"})
        ]
        fitting = await whole.poll(session_id, "?limit=2")

    for answer in answers:
        assert answer.status_code == 400
        assert answer.json()["detail"] == "The answer would be longer than 3 MB: limit=2 would fit."
    assert (fitting.status_code, len(fitting.json()["items"])) == (200, 2)


async def test_the_first_poll_of_forty_events_of_a_megabyte(database_url: str, redis_url: str) -> None:
    """No limit was asked for: the page is shortened, says to what, and its next ones follow without a gap."""
    async with real_stand(database_url, redis_url) as stand:
        session_id = str(uuid4())
        rows = [Row(session_id, NOON_US + n, data={"n": n, "text": "x" * 950_000}) for n in range(40)]
        await stand.write(session_id, rows)
        cold = await stand.poll(session_id)
        await stand.heat(session_id)
        hot, second, log = [
            await stand.poll(session_id, query, **headers)
            for query, headers in (("", {}), ("?page=2", {}), ("?page=2", {"readside_max_staleness": "0"}))
        ]

    sources = [answer.headers["readside-source"] for answer in (cold, second, log)]
    assert sources == ["postgres", "redis", "postgres"]
    assert hot.headers["readside-source"] in {"redis", "memory"}  # a load alone leaves what memory has of the cold poll
    assert (cold.content, second.content) == (hot.content, log.content)
    first = hot.json()
    assert first["pagination"] == {
        "page": 1, "per_page": 33, "total": 40, "total_pages": 2, "has_next": True, "has_prev": False,
    }  # fmt: skip
    assert [item["event_data"]["n"] for item in first["items"] + second.json()["items"]] == list(range(39, -1, -1))


async def test_a_page_of_hundreds_of_large_events_is_refused_in_time(database_url: str, redis_url: str) -> None:
    """No more of it is rendered than an answer may hold, so Postgres answers others too."""
    async with real_stand(database_url, redis_url) as stand, connected(database_url) as writer:
        session_id = str(uuid4())
        await stand.write(session_id)
        for text, count in (("repeat('y', 1000000)", 1), ("(SELECT message FROM events)", 299)):  # compressed once
            await writer.execute(
                "INSERT INTO events (id, session_id, event_type, event_data, message, timestamp) "
                f"SELECT gen_random_uuid(), $1::uuid, 'artifact_created', '{{}}', {text}, now() "
                f"FROM generate_series(1, {count})",
                session_id,
            )

        refused = await stand.poll(session_id, "?limit=1000")
        fitting = await stand.poll(session_id, "?limit=31")

    assert refused.status_code == 400
    assert refused.json()["detail"] == "The answer would be longer than 32 MB: limit=31 would fit."
    assert (fitting.status_code, len(fitting.json()["items"])) == (200, 31)
