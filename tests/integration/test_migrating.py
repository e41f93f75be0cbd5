"""The guide from an endpoint of one's own to readside: its tables and its proxy, run as they stand there."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from query_api.config import ApiConfig
from readside.api import opened
from readside.api_keys import parse_keys
from tests.support.builders import api_config, serving
from tests.support.nginxes import nginx
from tests.support.original import KEY, original
from tests.support.projecting import Writer
from tests.support.proxy import proxied
from tests.support.servers import connected

GUIDE = (Path(__file__).parents[2] / "specs" / "guides" / "migrating.md").read_text()
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
            httpx.AsyncClient(verify=False, base_url=url, headers={"X-API-Key": KEY}, timeout=30) for url in urls
        ]
        before, after = [await stack.enter_async_context(client) for client in clients]
        yield Ways(before, after, writer)


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


async def given(client: httpx.AsyncClient, path: str, wanted: tuple[int, int | None]) -> tuple[int, int | None]:
    """The status of an answer, and how many events it has, where that is told."""
    answer = await client.get(path)
    counted = answer.status_code == 200 and wanted[1] is not None
    return answer.status_code, len(answer.json()["items"]) if counted else None


async def test_what_may_be_asked(ways: Ways) -> None:
    """Each line of the table, at both."""
    wanted = {asked: (told(application), told(readside)) for asked, application, readside in rows("What may be asked")}
    found = {}
    for asked, (before, after) in wanted.items():
        path = asked.strip("`")
        path = path if path.startswith("/") else EVENTS + path
        found[asked] = (await given(ways.application, path, before), await given(ways.readside, path, after))

    assert len(wanted) > 25
    assert found == wanted


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
    assert re.findall(r"`2026\S+?(\.\d+)?Z`", " ".join(row)) == ["", ".000000"]


async def test_numbers_keep_their_digits(ways: Ways) -> None:
    """Which floats do not."""
    await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z", data='{"price":1.10}')
    before, after = await ways.both(f"{EVENTS}?per_page=1")

    assert '{"price":1.1}' in before.text
    assert '{"price": 1.10}' in after.text


async def test_event_data_may_be_anything(ways: Ways) -> None:
    """The application fails at what is no object."""
    await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z", data="[1]")
    before, after = await ways.both()

    assert before.status_code == 500
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
    tags = [after.headers["etag"], f"W/{after.headers['etag']}"]  # the weak one, as a proxy that compresses makes it
    again = [await ways.readside.get(EVENTS, headers={"If-None-Match": tag}) for tag in tags]

    assert [head.status_code for head in heads] == [405, 200]
    assert "etag" not in before.headers
    assert [(answer.status_code, answer.content) for answer in again] == [(304, b""), (304, b"")]


async def test_an_answer_says_how_old_it_is(ways: Ways) -> None:
    """And is as of now for who asks."""
    event_id = await ways.writer.event(SESSION, timestamp="2026-02-01T00:00:00Z")
    after = await ways.readside.get(EVENTS, headers={"Readside-Max-Staleness": "0"})

    assert after.json()["items"][0]["id"] == event_id
    assert datetime.fromisoformat(after.headers["readside-as-of"]).tzinfo is not None


async def test_the_applications_key_is_known_in_either_header(ways: Ways) -> None:
    """`Authorization` is readside's alone."""
    statuses = []
    for way in (ways.application, ways.readside):
        async with httpx.AsyncClient(
            verify=False, base_url=way.base_url, headers={"Authorization": f"Bearer {KEY}"}
        ) as client:
            statuses.append((await client.get(EVENTS)).status_code)

    assert statuses == [401, 200]


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


async def test_postgres_away_is_500_or_503(database_url: str, redis_url: str) -> None:
    """The latter says when to ask again."""
    async with AsyncExitStack() as stack:
        writer = Writer(await stack.enter_async_context(connected(database_url)))
        await written(writer)
        way = await stack.enter_async_context(proxied(database_url))
        app = await stack.enter_async_context(opened(config(way.url(database_url), redis_url)))
        urls = [await stack.enter_async_context(it) for it in (original(way.url(database_url)), serving(app))]
        way.cut(refuse=True)
        clients = [
            httpx.AsyncClient(verify=False, base_url=url, headers={"X-API-Key": KEY}, timeout=30) for url in urls
        ]
        before, after = [await (await stack.enter_async_context(client)).get(EVENTS) for client in clients]

    assert (before.status_code, after.status_code) == (500, 503)
    assert int(after.headers["retry-after"]) >= 1


async def test_the_probes_are_where_the_guide_says(ways: Ways) -> None:
    """Each server has those of its column, open to everybody."""
    for column, way in enumerate((ways.application, ways.readside), start=1):
        async with httpx.AsyncClient(verify=False, base_url=way.base_url) as nobody:
            paths = {path for row in rows("Probes") for path in re.findall(r"`(/\S+)`", row[column])}
            assert paths
            assert {(await nobody.get(path)).status_code for path in paths} == {200}


@pytest.fixture
async def front(ways: Ways) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the guide's nginx, without a key of its own."""
    moved = example()
    for name, way in (("8000", ways.application), ("8001", ways.readside)):
        moved = moved.replace(f"127.0.0.1:{name};", f"127.0.0.1:{way.base_url.port};")
    async with nginx(moved, "listen 80;") as url, httpx.AsyncClient(verify=False, base_url=url, timeout=30) as client:
        yield client


async def test_the_proxy_sends_events_to_readside(ways: Ways, front: httpx.AsyncClient) -> None:
    """In each form of their paths, as they came; what readside answers comes back whole."""
    forms = [SESSION, SESSION.replace("-", ""), SESSION.upper(), f"urn:uuid:{SESSION}", f"urn%3Auuid%3A{SESSION}"]
    queries = ["/", "?page=0", "?per_page=5&since=2026-01-13T15:30:39%2B01:00&event_type=step_created", "?order=asc"]
    for path in [EVENTS.replace(SESSION, form) for form in forms] + [EVENTS + query for query in queries]:
        direct, through = await ways.readside.get(path), await front.get(path, headers={"X-API-Key": KEY})

        assert (through.status_code, through.content) == (direct.status_code, direct.content)
        assert through.headers.get("etag") == direct.headers.get("etag")
        assert "x-request-id" in through.headers


async def test_the_proxy_leaves_all_else_to_the_application(ways: Ways, front: httpx.AsyncClient) -> None:
    """Other routes, and those below the ones that it sends over."""
    session = f"/api/v2/sessions/{SESSION}"
    for path in ("/health", session, f"{session}/steps", f"{EVENTS}/export", "/openapi.json"):
        direct, through = await ways.application.get(path), await front.get(path, headers={"X-API-Key": KEY})

        assert direct.is_success
        assert (through.status_code, through.json()) == (direct.status_code, direct.json())
    made = await front.post("/api/v2/sessions", headers={"X-API-Key": KEY})
    assert (made.status_code, made.json()) == (201, {"answered_by": "the application"})


async def test_the_proxy_lets_conditions_streams_and_warming_through(ways: Ways, front: httpx.AsyncClient) -> None:
    """And ids of requests."""
    front.headers["X-API-Key"] = KEY
    first = await front.get(EVENTS, headers={"X-Request-ID": "mine"})
    again = await front.get(EVENTS, headers={"If-None-Match": first.headers["etag"]})
    to_stream, to_warm = (EVENTS.replace("events", name) for name in ("stream", "warm"))
    stream, warming = await front.get(to_stream), await front.post(to_warm)

    assert first.headers["x-request-id"] == "mine"
    assert again.status_code == 304
    assert stream.status_code == (await ways.readside.get(to_stream)).status_code
    assert warming.status_code == (await ways.readside.post(to_warm)).status_code
    assert "x-request-id" in stream.headers
    assert "x-request-id" in warming.headers


async def test_the_proxy_gives_readside_another_key_where_the_old_one_is_none_for_it(front: httpx.AsyncClient) -> None:
    """No key remains no key, and a token passes."""
    answers = [await front.get(EVENTS, headers=headers) for headers in (
        {"X-API-Key": "old-key"}, {"X-API-Key": "another"}, {}, {"Authorization": f"Bearer {KEY}"})]  # fmt: skip

    assert [answer.status_code for answer in answers] == [200, 401, 401, 200]
    assert NEW_KEY in example()


def test_the_guides_commands_and_its_proxy_agree() -> None:
    """On readside's port, and on the key that both know."""
    assert "readside api --port 8001" in GUIDE
    assert "upstream readside { server 127.0.0.1:8001;" in example()
    assert f"READSIDE_API_KEYS=dashboards:{KEY}," in GUIDE
