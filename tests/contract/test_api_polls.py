"""What a poll may ask and what it gets, over fakes and over real servers alike."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from itertools import product
from uuid import uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from readmodel.values.poll import Poll
from tests.fakes.event_log import Row
from tests.support.builders import OPS_KEY, READ_KEY, events_path
from tests.support.stands import NOON_US, Stand, expected_rows

NOON = "2026-01-13T14:30:00"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(stand_of: Callable[..., AbstractAsyncContextManager[Stand]]) -> AsyncIterator[Stand]:
    """One API for all these tests: each polls a session of its own."""
    async with stand_of() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def sid(stand: Stand) -> str:
    """A hot session of ten events of two types, a second apart from noon on."""
    return await stand.hot_session()


async def test_the_body_has_the_contracts_shape(stand: Stand) -> None:
    """Byte for byte."""
    session_id, row_id = str(uuid4()), uuid4()
    data, step = {"a": 1, "bb": [None, True]}, str(uuid4())
    await stand.write(
        session_id, [Row(session_id, NOON_US + 123_456, "workflow_started", data, 'say "é"\n', step, row_id)]
    )

    answer = await stand.poll(session_id)

    assert answer.text == (
        f'{{"items":[{{"id":"{row_id}","session_id":"{session_id}","step_id":"{step}","event_type":"workflow_started",'
        '"event_data":{"a": 1, "bb": [null, true]},"message":"say \\"é\\"\\n",'
        '"timestamp":"2026-01-13T14:30:00.123456Z"}],'
        '"total":1,"pagination":{"page":1,"per_page":100,"total":1,"total_pages":1,"has_next":false,"has_prev":false}}'
    )
    assert answer.headers["content-type"] == "application/json"


async def test_a_session_without_events_is_an_empty_list(stand: Stand) -> None:
    """Zero pages, and no next one."""
    session_id = str(uuid4())
    await stand.write(session_id)
    await stand.heat(session_id)

    answer = (await stand.poll(session_id)).json()

    pagination = {"page": 1, "per_page": 100, "total": 0, "total_pages": 0, "has_next": False, "has_prev": False}
    assert answer == {"items": [], "total": 0, "pagination": pagination}


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (f"?since={NOON}Z", range(9, 0, -1)),
        (f"?since={NOON}.999999Z", range(9, 0, -1)),
        (f"?since={NOON}.9999999999Z", range(9, 0, -1)),  # cut off, not rounded
        ("?since=2026-01-13T14:30:06Z", (9, 8, 7)),
        ("?since=2026-01-13T16:30:06%2B02:00", (9, 8, 7)),
        ("?since=2026-01-13T16:30:06+02:00", (9, 8, 7)),  # an unescaped + arrives as a space
        ("?since=2026-01-13T09:30:06-05:00", (9, 8, 7)),
        ("?since=2026-01-13T14:30:09Z", ()),
        ("?since=0001-01-01T00:00:00Z", range(9, -1, -1)),
        ("?since=9999-12-31T23:59:59Z", ()),
        ("?event_type=step_created", (8, 6, 4, 2, 0)),
        ("?type=artifact_created", (9, 7, 5, 3, 1)),
        ("?event_type=step_created&type=artifact_created", range(9, -1, -1)),
        ("?event_type=step_created&event_type=unheard_of", (8, 6, 4, 2, 0)),
        ("?event_type=unheard_of", ()),
        ("?limit=2", (9, 8)),
        ("?per_page=2&page=2", (7, 6)),
        ("?limit=4&page=3", (1, 0)),
        ("?limit=4&page=4", ()),
        ("?page=1000000000&limit=1000", ()),
        ("?event_type=step_created&since=2026-01-13T14:30:03Z&limit=2", (8, 6)),
        ("?&limit=1&&", (9,)),
    ],
)
async def test_parameters_choose(stand: Stand, sid: str, query: str, seconds: tuple[int, ...]) -> None:
    """Newest first; from Redis as from Postgres."""
    for staleness in ("5", "0"):
        answer = (await stand.poll(sid, query, readside_max_staleness=staleness)).json()

        assert [item["event_data"]["n"] for item in answer["items"]] == list(seconds)


async def test_totals_count_all_matches(stand: Stand, sid: str) -> None:
    """On every page, past the end too."""
    first, second, past = [(await stand.poll(sid, f"?limit=6&page={page}")).json() for page in (1, 2, 3)]

    assert [answer["total"] for answer in (first, second, past)] == [10, 10, 10]
    assert first["pagination"] == {
        "page": 1, "per_page": 6, "total": 10, "total_pages": 2, "has_next": True, "has_prev": False,
    }  # fmt: skip
    assert [answer["pagination"]["has_next"] for answer in (second, past)] == [False, False]
    assert [answer["pagination"]["has_prev"] for answer in (second, past)] == [True, True]
    assert past["items"] == []


BAD = [
    ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=-1", "limit"), ("limit=", "limit"), ("limit=ten", "limit"),
    ("limit=1.0", "limit"), ("limit=100000000000000000000", "limit"), ("limit=1&limit=2", "limit"),
    ("limit=%00", "limit"), ("limit=%F0%9F%98%80", "limit"), ("limit=" + "9" * 10_000, "limit"),
    ("per_page=0", "per_page"), ("limit=1&per_page=1", "per_page"), ("page=0", "page"), ("page=1000000001", "page"),
    ("page=-1", "page"), ("page=", "page"), ("page=1&page=1", "page"), ("page=%D9%A1", "page"),
    ("since=", "since"), ("since=yesterday", "since"),
    ("since=2026-13-01T00:00:00Z", "since"), ("since=2026-01-13", "since"), ("since=%00", "since"),
    ("since=2026-01-13T14:30:00Z&since=2026-01-13T14:30:00Z", "since"), ("since=" + "1" * 10_000, "since"),
    ("since=%F0%9F%98%80", "since"), ("since=0000-01-01T00:00:00Z", "since"), ("since=%ff", "since"),
    ("event_type=", "event_type"), ("event_type=Step", "event_type"), ("event_type=a-b", "event_type"),
    ("event_type=" + "a" * 101, "event_type"), ("event_type=a%00", "event_type"), ("type=1", "type"),
    ("step_id=", "step_id"), ("step_id=7", "step_id"),
    ("step_id=%00", "step_id"), ("step_id=" + "a" * 10_000, "step_id"),
    ("order=", "order"), ("order=up", "order"), ("order=asc&order=asc", "order"), ("order=ASC", "order"),
    ("event_type=%F0%9F%98%80", "event_type"), ("event_type=" + "a" * 10_000, "event_type"),
    ("unknown=1", "unknown"), ("Limit=1", "Limit"), ("%F0%9F%98%80=1", "😀"), ("limit%00=1", "limit\0"), ("x", "x"),
]  # fmt: skip


async def test_a_bad_parameter_is_400(stand: Stand, sid: str) -> None:
    """Named, in a full sentence of bounded length."""
    for query, parameter in BAD:
        answer = await stand.poll(sid, f"?{query}")
        problem = answer.json()

        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), query
        assert (problem["status"], problem["title"], problem["type"]) == (400, "Bad Request", "about:blank")
        assert problem["parameter"] == parameter
        assert problem["errors"] == [{"parameter": parameter, "detail": problem["detail"]}]
        assert problem["detail"].endswith(".")
        assert len(problem["detail"]) < 400


async def test_all_bad_parameters_are_named_in_one_answer(stand: Stand) -> None:
    """The session id and the header field among them; `detail` says it all, `errors` one by one."""
    path = events_path("7") + "?since=yesterday&limit=0&x=1"
    answer = await stand.client.get(path, headers={"readside-max-staleness": "soon"})
    problem = answer.json()

    assert answer.status_code == 400
    named = ["x", "session_id", "limit", "since", "Readside-Max-Staleness"]
    assert [error["parameter"] for error in problem["errors"]] == named
    assert problem["parameter"] == named[0]
    assert problem["detail"] == " ".join(error["detail"] for error in problem["errors"])


FORMS = ["{dashes}", "{hex}", "{capitals}", "urn:uuid:{dashes}", "urn%3Auuid%3A{dashes}", "URN:UUID:{hex}"]
ENDS = ["/events", "/events/", "/events?_=1768314600", "/events/?_=1768314600&_="]


async def test_a_poll_in_every_form_has_the_same_answer(stand: Stand, sid: str) -> None:
    """Ids as the original's users write them, a slash more, a cache-buster: byte for byte."""
    wanted = await stand.poll(sid)
    for form, end in product(FORMS, ENDS):
        path = form.format(dashes=sid, hex=sid.replace("-", ""), capitals=sid.upper())
        answer = await stand.client.get(f"/api/v2/sessions/{path}{end}")

        assert (answer.status_code, answer.content) == (200, wanted.content), path
        assert answer.headers["etag"] == wanted.headers["etag"]


async def test_no_other_slash_is_a_poll(stand: Stand, sid: str) -> None:
    """One slash after `events` is understood, and none elsewhere."""
    for path in (f"{sid}/events//", f"{sid}//events", f"{sid}/events/x", "/events/", "//events/"):
        answer = await stand.client.get(f"/api/v2/sessions/{path}")

        assert answer.status_code in {400, 404}, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_session_is_warmed_by_its_id_in_any_form(stand: Stand, sid: str) -> None:
    """The answer names it as Postgres does."""
    await stand.heat(sid)
    answer = await stand.client.post(f"/api/v2/sessions/urn:uuid:{sid.replace('-', '').upper()}/warm?_=1")

    assert answer.status_code == 202
    assert answer.json()["session_id"] == sid


async def test_since_without_an_offset_is_utc(stand: Stand, sid: str) -> None:
    """As the original hands its instants out."""
    with_offset, without = [await stand.poll(sid, f"?since=2026-01-13T14:30:05{offset}") for offset in ("%2B00:00", "")]

    assert with_offset.json()["total"] < 10
    assert without.content == with_offset.content


async def test_the_events_of_a_step(stand: Stand) -> None:
    """One step, or any of several, in every form of their ids; from memory, Redis and Postgres alike."""
    session_id, steps = str(uuid4()), [str(uuid4()) for _ in range(3)]
    rows = [Row(session_id, NOON_US + n, step_id=[None, *steps][n % 4]) for n in range(20)]
    await stand.write(session_id, rows)
    await stand.heat(session_id)
    for asked in (steps[:1], steps[:2], [str(uuid4())]):
        queries = ["?" + "&".join(f"step_id={step}" for step in asked)]
        queries.append(queries[0].upper().replace("STEP_ID", "step_id"))
        answers = [await stand.poll(session_id, query) for query in queries * 2]
        answers.append(await stand.poll(session_id, queries[0], readside_max_staleness="0"))

        assert {answer.headers["readside-source"] for answer in answers} == {"redis", "memory", "postgres"}
        assert len({answer.content for answer in answers}) == 1
        wanted = [str(row.id) for row in reversed(rows) if row.step_id in asked]
        assert [item["id"] for item in answers[0].json()["items"]] == wanted


async def test_the_oldest_first(stand: Stand, sid: str) -> None:
    """The whole trail, page by page, is the usual one read from its end; from memory, Redis and Postgres alike."""
    await stand.heat(sid)
    usual = [item["id"] for item in (await stand.poll(sid)).json()["items"]]
    for headers in ({}, {}, {"readside_max_staleness": "0"}):
        pages = [(await stand.poll(sid, f"?order=asc&limit=4&page={page}", **headers)).json() for page in (1, 2, 3)]

        assert [item["id"] for page in pages for item in page["items"]] == usual[::-1]
        assert [page["pagination"]["has_next"] for page in pages] == [True, True, False]


@pytest.mark.parametrize(
    "text",
    ["1", "not-a-uuid", "7d44-48409dc011d1b2455ffdce74fad2", "%00", "%F0%9F%98%80", "%ff", "a" * 10_000, "%20", "."],
)
async def test_a_session_id_that_is_no_uuid_is_400(stand: Stand, text: str) -> None:
    """And never 404 or 500."""
    answer = await stand.client.get(events_path(text))

    assert answer.status_code == 400
    assert answer.json()["parameter"] == "session_id"


async def test_a_session_id_may_be_in_capitals(stand: Stand, sid: str) -> None:
    """UUIDs compare without case; the answer says what Postgres says."""
    answer = await stand.poll(sid.upper())

    assert answer.content == (await stand.poll(sid)).content


@pytest.mark.parametrize(("key", "status"), [(None, 401), ("wrong", 401), (OPS_KEY, 403), (READ_KEY, 200)])
async def test_keys_are_checked_before_memory(
    stand: Stand, sid: str, key: str | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And before parameters."""
    await stand.poll_from("memory", sid)
    monkeypatch.delitem(stand.client.headers, "x-api-key")
    headers = {} if key is None else {"authorization": f"Bearer {key}"}

    answers = [await stand.client.get(events_path(sid) + query, headers=headers) for query in ("", "?limit=0")]

    assert [answer.status_code for answer in answers] == [status, 400 if status == 200 else status]
    if status in {401, 403}:
        assert "www-authenticate" in answers[0].headers
        assert answers[0].headers["content-type"] == "application/problem+json"


async def test_head_gives_the_headers_alone(stand: Stand, sid: str) -> None:
    """Its content-length is the GET's."""
    usual = await stand.poll(sid)
    answer = await stand.client.head(events_path(sid))

    assert (answer.status_code, answer.content) == (200, b"")
    for name in ("content-length", "content-encoding", "etag"):
        assert answer.headers[name] == usual.headers[name]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_405(stand: Stand, sid: str, method: str) -> None:
    """With what is allowed."""
    answer = await stand.client.request(method, events_path(sid))

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"] == "application/problem+json"


_TYPES = ("step_created", "artifact_created", "new_type", "Odd Type")
_STEPS = (None, "33333333-3333-4333-8333-333333333333", "44444444-4444-4444-8444-444444444444")
_ASKABLE = st.sampled_from([*_TYPES[:3], "never_seen"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.tuples(st.integers(0, 4), st.sampled_from(_TYPES), st.sampled_from(_STEPS)), max_size=40),
    polls=st.lists(
        st.tuples(
            st.none() | st.integers(-1, 5),
            st.lists(_ASKABLE, max_size=3),
            st.integers(1, 9) | st.just(1000),
            st.integers(1, 4),
            st.lists(st.sampled_from(_STEPS[1:]), max_size=2, unique=True),
            st.sampled_from(["", "asc", "desc"]),
        ),
        min_size=1,
        max_size=4,
    ),
)
async def test_random_polls_of_equal_timestamps(
    stand: Stand,
    shape: list[tuple[int, str, str | None]],
    polls: list[tuple[int | None, list[str], int, int, list[str], str]],
) -> None:
    """The same bytes from memory, Redis and Postgres, and the rows that a plain sort gives."""
    session_id = str(uuid4())
    await stand.write(session_id, [Row(session_id, NOON_US + at, kind, step_id=step) for at, kind, step in shape])
    await stand.heat(session_id)
    for since, types, limit, page, steps, order in polls:
        query = "&".join([f"limit={limit}", f"page={page}", *(f"type={kind}" for kind in types)])
        query += "".join(f"&step_id={step}" for step in steps) + (order and f"&order={order}")
        since_us = None if since is None else NOON_US + since
        if since_us is not None:
            query += f"&since=2026-01-13T14:{'30:00' if since_us >= NOON_US else '29:59'}.{since_us % 1_000_000:06}Z"

        answers = [await stand.poll(session_id, f"?{query}") for _ in range(2)]
        answers.append(await stand.poll(session_id, f"?{query}", readside_max_staleness="0"))

        assert len({answer.content for answer in answers}) == 1
        wanted = expected_rows(
            stand.kept[session_id], Poll(session_id, since_us, tuple(types), limit, page, tuple(steps), order == "asc")
        )
        assert [item["id"] for item in json.loads(answers[0].content)["items"]] == wanted
