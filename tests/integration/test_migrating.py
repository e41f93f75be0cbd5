"""The guide from an endpoint of one's own to readside: its tables and its proxy, run as they stand there."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from query_api.config import ApiConfig
from readside.api import opened
from readside.api_keys import parse_keys
from tests.support.builders import api_config, serving
from tests.support.nginxes import nginx
from tests.support.original import KEY, original
from tests.support.projecting import Writer
from tests.support.servers import connected

GUIDE = (Path(__file__).parents[2] / "specs" / "migrating.md").read_text()
SESSION = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
EVENTS = f"/api/v2/sessions/{SESSION}/events"
START = datetime(2026, 1, 13, 14, 30, tzinfo=UTC)
COUNT = 45
NEW_KEY = "a-long-random-key"


def rows(heading: str) -> list[tuple[str, ...]]:
    """The rows of the table below a heading."""
    table = re.search(r"(?:^\|.*\|\n)+", GUIDE.split(f"\n## {heading}\n")[1], re.MULTILINE)
    assert table
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table[0].splitlines()[2:]]


def example() -> str:
    """The proxy's settings."""
    found = re.search(r"^```nginx\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


@dataclass
class Ways:
    """A client of the application's own route, and one of readside; both know the application's key."""

    application: httpx.AsyncClient
    readside: httpx.AsyncClient
    writer: Writer

    async def both(self, path: str = EVENTS, **headers: str) -> tuple[httpx.Response, httpx.Response]:
        """What either answers."""
        return await self.application.get(path, headers=headers), await self.readside.get(path, headers=headers)


def config(database_url: str, redis_url: str) -> ApiConfig:
    """Of an API that knows the application's key, and one that is not the application's."""
    return api_config(database_url, redis_url, keys=parse_keys(f"dashboards:{KEY},proxied:{NEW_KEY}"))


@pytest.fixture
async def ways(database_url: str, redis_url: str) -> AsyncIterator[Ways]:
    """Both, over one database with the guide's session."""
    async with AsyncExitStack() as stack:
        writer = Writer(await stack.enter_async_context(connected(database_url)))
        await written(writer)
        app = await stack.enter_async_context(opened(config(database_url, redis_url)))
        urls = [await stack.enter_async_context(it) for it in (original(database_url), serving(app))]
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers={"X-API-Key": KEY}, timeout=30))
            for url in urls
        ]
        yield Ways(*clients, writer)


async def written(writer: Writer) -> None:
    """Write the session that the guide speaks of."""
    await writer.connection.execute(
        """INSERT INTO sessions (id, session_type, status, mode, project_path, config, created_at, updated_at)
           VALUES ($1::uuid, 'x', 'in_progress', 'x', '/', '{}', now(), now())""",
        SESSION,
    )
    for place in range(COUNT):
        kind = "workflow_error" if place % 9 == 0 else "step_created"
        at = START + timedelta(seconds=place)
        await writer.event(SESSION, event_type=kind, timestamp=at.isoformat(), data={"n": place})


def told(cell: str) -> tuple[int, int | None]:
    """The status that a cell tells, and how many events."""
    status, count = re.match(r"\d{3}", cell), re.search(r"(\d+) events", cell)
    assert status, cell
    return int(status[0]), int(count[1]) if count else None


def given(answer: httpx.Response) -> tuple[int, int | None]:
    """The status of an answer, and how many events it has."""
    return answer.status_code, len(answer.json()["items"]) if answer.status_code == 200 else None


@pytest.mark.parametrize(("asked", "application", "readside"), rows("What may be asked"), ids=lambda it: it[:60])
async def test_what_may_be_asked(ways: Ways, asked: str, application: str, readside: str) -> None:
    """Each line of the table, at both."""
    path = asked.strip("`")
    answers = await ways.both(path if path.startswith("/") else EVENTS + path)

    assert [given(answer) for answer in answers] == [_whichever(told(application), answers[0]), told(readside)]
    assert (
        answers[1]
        .headers["content-type"]
        .startswith("application/json" if answers[1].status_code == 200 else "application/problem+json")
    )


def _whichever(wanted: tuple[int, int | None], answer: httpx.Response) -> tuple[int, int | None]:
    """Where a cell tells a status alone, any number of events will do."""
    return wanted if wanted[1] is not None else (wanted[0], given(answer)[1])


async def test_events_and_pagination_are_the_same_where_both_answer(ways: Ways) -> None:
    """But for the form of whole seconds; `total` comes on top."""
    for query in (
        "?per_page=20",
        "?per_page=7&page=3",
        "?per_page=9&since=2026-01-13T14:30:20Z&event_type=step_created",
    ):
        before, after = (answer.json() for answer in await ways.both(EVENTS + query))
        assert [it | {"timestamp": _instant(it)} for it in after["items"]] == [
            it | {"timestamp": _instant(it)} for it in before["items"]
        ]
        assert after["pagination"] == before["pagination"]
        assert after.keys() - before.keys() == {"total"}


def _instant(event: dict[str, str]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


async def test_a_whole_second_has_six_decimals(ways: Ways) -> None:
    """The application's has none."""
    before, after = (answer.json()["items"][0]["timestamp"] for answer in await ways.both(f"{EVENTS}?per_page=1"))

    assert (before, after) == ("2026-01-13T14:30:44Z", "2026-01-13T14:30:44.000000Z")
    (row,) = [row for row in rows("What is answered") if "whole second" in row[0]]
    assert [re.sub(r"\d\d(?=Z|\.)", "00", text, count=1) for text in (before, after)] == re.findall(
        r"`(2026\S+?)`", " ".join(row[1:])
    )


async def test_numbers_keep_their_digits(ways: Ways) -> None:
    """Which floats do not."""
    await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z", data='{"price":1.10}')
    before, after = await ways.both(f"{EVENTS}?per_page=1")

    assert '{"price":1.1}' in before.text
    assert '{"price": 1.10}' in after.text


async def test_event_data_may_be_anything(ways: Ways) -> None:
    """The application fails at what is no object."""
    await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z", data="[1]")
    with pytest.raises(Exception, match=r"validation error"):
        await ways.application.get(EVENTS)
    after = await ways.readside.get(EVENTS)

    assert after.json()["items"][0]["event_data"] == [1]


async def test_events_of_one_instant_have_an_order(ways: Ways) -> None:
    """Pages do not overlap."""
    for _ in range(30):
        await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z")
    pages = [await ways.readside.get(f"{EVENTS}?per_page=7&page={page}") for page in range(1, 6)]
    ids = [item["id"] for page in pages for item in page.json()["items"]][:30]

    assert ids == sorted(ids, reverse=True)


async def test_head_and_etags(ways: Ways) -> None:
    """Only readside has them."""
    before, after = await ways.both()
    heads = [await way.head(EVENTS) for way in (ways.application, ways.readside)]
    again = await ways.readside.get(EVENTS, headers={"If-None-Match": after.headers["etag"]})

    assert [head.status_code for head in heads] == [405, 200]
    assert "etag" not in before.headers
    assert (again.status_code, again.content) == (304, b"")


async def test_an_answer_says_how_old_it_is(ways: Ways) -> None:
    """And is as of now for who asks."""
    event_id = await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z")
    after = await ways.readside.get(EVENTS, headers={"Readside-Max-Staleness": "0"})

    assert after.json()["items"][0]["id"] == event_id
    assert datetime.fromisoformat(after.headers["readside-as-of"]).tzinfo is not None


async def test_the_applications_key_is_known_in_either_header(ways: Ways) -> None:
    """`Authorization` is readside's alone."""
    bearer = {"X-API-Key": "", "Authorization": f"Bearer {KEY}"}
    answers = [
        await httpx.AsyncClient(base_url=way.base_url).get(EVENTS, headers={"Authorization": bearer["Authorization"]})
        for way in (ways.application, ways.readside)
    ]

    assert [answer.status_code for answer in answers] == [401, 200]


async def test_errors_differ_as_the_guide_says(ways: Ways) -> None:
    """In status, type and form; the sentence for a session that is not there is the same."""
    missing = "/api/v2/sessions/00000000-0000-0000-0000-000000000000/events"
    before, after = await ways.both(f"{EVENTS}?page=0&since=yesterday")
    gone = await ways.both(missing)
    wrong = await ways.both(**{"X-API-Key": "wrong-wrong-wrong"})

    assert [it.headers["content-type"] for it in (before, after)] == ["application/json", "application/problem+json"]
    assert {"loc", "msg"} <= before.json()["detail"][0].keys()
    assert isinstance(after.json()["detail"], str)
    assert {it["parameter"] for it in after.json()["errors"]} == {"page", "since"}
    assert {it.json()["detail"] for it in gone} == {"Session not found: 00000000-0000-0000-0000-000000000000"}
    assert [it.status_code for it in wrong] == [401, 401]
    assert "www-authenticate" in wrong[1].headers


async def test_the_probes_are_where_the_guide_says(ways: Ways) -> None:
    """Each server has those of its column, open to everybody."""
    for column, way in enumerate((ways.application, ways.readside), start=1):
        async with httpx.AsyncClient(base_url=way.base_url) as nobody:
            paths = {path for row in rows("Probes") for path in re.findall(r"`(/\S+)`", row[column])}
            assert paths
            assert {(await nobody.get(path)).status_code for path in paths} == {200}


@pytest.fixture
async def front(ways: Ways) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the guide's nginx, without a key of its own."""
    moved = example()
    for name, way in (("8000", ways.application), ("8001", ways.readside)):
        moved = moved.replace(f"127.0.0.1:{name};", f"127.0.0.1:{way.base_url.port};")
    async with nginx(moved, "listen 80;") as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "path",
    [EVENTS, f"{EVENTS}/", EVENTS.replace(SESSION, SESSION.replace("-", "")), EVENTS.replace(SESSION, SESSION.upper()),
     EVENTS.replace(SESSION, f"urn:uuid:{SESSION}"), EVENTS.replace(SESSION, f"urn%3Auuid%3A{SESSION}"),
     f"{EVENTS}?per_page=5&since=2026-01-13T15:30:39%2B01:00&event_type=step_created", f"{EVENTS}?page=0",
     EVENTS.replace("events", "stream?offset=-1")],
)  # fmt: skip
async def test_the_proxy_sends_events_to_readside(ways: Ways, front: httpx.AsyncClient, path: str) -> None:
    """As they came; what it answers comes back whole."""
    direct, through = await ways.readside.get(path), await front.get(path, headers={"X-API-Key": KEY})

    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    assert through.headers.get("etag") == direct.headers.get("etag")
    assert ("readside-source" in through.headers) == ("readside-source" in direct.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("POST", "/api/v2/sessions"), ("GET", f"/api/v2/sessions/{SESSION}"),
     ("GET", f"/api/v2/sessions/{SESSION}/steps"), ("GET", f"{EVENTS}/export"), ("GET", "/openapi.json")],
)  # fmt: skip
async def test_the_proxy_leaves_all_else_to_the_application(
    ways: Ways, front: httpx.AsyncClient, method: str, path: str
) -> None:
    """Other routes, and those below the ones that it sends over."""
    direct = await ways.application.request(method, path)
    through = await front.request(method, path, headers={"X-API-Key": KEY})

    assert direct.is_success
    assert (through.status_code, through.json()) == (direct.status_code, direct.json())


async def test_the_proxy_lets_conditions_warming_and_waiting_through(ways: Ways, front: httpx.AsyncClient) -> None:
    """And ids of requests."""
    front.headers["X-API-Key"] = KEY
    first = await front.get(EVENTS, headers={"X-Request-ID": "mine"})
    again = await front.get(f"{EVENTS}?wait=0.2", headers={"If-None-Match": first.headers["etag"]})
    warming = await front.post(EVENTS.replace("events", "warm"))

    assert first.headers["x-request-id"] == "mine"
    assert again.status_code == 304
    assert warming.status_code in {202, 503}
    assert "x-request-id" in warming.headers


async def test_the_proxy_gives_readside_another_key_where_the_old_one_is_none_for_it(front: httpx.AsyncClient) -> None:
    """No key remains no key, and a token passes."""
    answers = [await front.get(EVENTS, headers=headers) for headers in (
        {"X-API-Key": "old-key"}, {"X-API-Key": "another"}, {}, {"Authorization": f"Bearer {KEY}"})]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 401, 401, 200]
    assert NEW_KEY in example()


def test_the_guides_commands_name_the_ports_of_the_proxy() -> None:
    """And a key of readside's length."""
    assert "--port 8001" in GUIDE
    assert f"dashboards:{KEY}," in GUIDE
    assert urlsplit("http://127.0.0.1:8001").netloc in example()
    assert json.dumps(KEY)
