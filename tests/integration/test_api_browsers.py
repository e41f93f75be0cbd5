"""What browsers see: pages, CORS, and a path prefix behind a proxy."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

import query_api
from query_api.http.cors import EXPOSED
from tests.support.builders import Way, events_path
from tests.support.stands import Stand, fake_stand

ORIGIN = "https://dashboard.example"
SERVED = Path(query_api.__file__).parent
ASSETS = [f"/{path.relative_to(SERVED)}" for path in sorted(SERVED.rglob("*")) if path.suffix in {".js", ".css"}]


of_one_stand = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=get_args(Way))
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    """An API of each way, with CORS on for one origin, for all tests here: each works on sessions of its own."""
    async with fake_stand(request.param, cors_origins=(ORIGIN,)) as made:
        yield made


class _Links(HTMLParser):
    """Gathers what a page loads or leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the tag's addresses."""
        self.found += [value or "" for name, value in attrs if name in {"src", "href"}]


@of_one_stand
@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_load_nothing_from_outside(stand: Stand, path: str) -> None:
    """Every address is relative, there, and allowed by a strict policy."""
    page = await stand.client.get(path)
    links = _Links()
    links.feed(page.text)

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for link in links.found:
        if link != "data:,":
            assert (await stand.client.get(f"/{link}")).status_code == 200, link


@of_one_stand
@pytest.mark.parametrize("path", ASSETS)
async def test_assets_name_no_other_host(stand: Stand, path: str) -> None:
    """Nor do scripts and styles, but for the example in a comment and the name of SVG."""
    asset = await stand.client.get(path)
    code = re.sub(r"^//.*$", "", asset.text, flags=re.MULTILINE).replace("http://www.w3.org/2000/svg", "")

    assert asset.status_code == 200
    assert asset.headers["content-type"].split(";")[0] == ("text/css" if path.endswith("css") else "text/javascript")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", code)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b", code)


@of_one_stand
async def test_an_asset_that_is_held_is_not_sent_again(stand: Stand) -> None:
    """304 for its ETag; another name is nothing."""
    asset = await stand.client.get("/console/poller.js")
    again = await stand.client.get("/console/poller.js", headers={"if-none-match": asset.headers["etag"]})
    nothing = await stand.client.get("/console/nothing.js")

    assert (again.status_code, again.content) == (304, b"")
    assert nothing.status_code == 404


async def test_the_console_knows_whether_a_key_is_asked_for() -> None:
    """It says so in the page, since a poll without a key would be an error in the browser's log."""
    async with fake_stand() as asking, fake_stand(keys=None) as open_to_all:
        pages = [(await stand.client.get("/")).text for stand in (asking, open_to_all)]

    assert ['data-key="asked"' in page for page in pages] == [True, False]
    assert ['data-key="none"' in page for page in pages] == [False, True]


@of_one_stand
async def test_another_pages_origin_may_import_the_poller(stand: Stand) -> None:
    """Modules are fetched with CORS."""
    asset = await stand.client.get("/console/poller.js", headers={"origin": ORIGIN})

    assert asset.headers["access-control-allow-origin"] == ORIGIN


@of_one_stand
async def test_cors_holds_on_every_answer(stand: Stand) -> None:
    """Hits, 304s, errors, 401 and the other routes."""
    session_id = str(uuid4())
    await stand.write(session_id)
    await stand.heat(session_id)
    headers = {"origin": ORIGIN}
    await stand.poll_from("memory", session_id)
    hit = await stand.poll(session_id, **headers)
    answers = [
        hit,
        await stand.poll(session_id, if_none_match=hit.headers["etag"], **headers),
        await stand.poll(session_id, "?limit=0", **headers),
        await stand.poll(str(uuid4()), **headers),
        await stand.poll(session_id, x_api_key="wrong", **headers),
        await stand.client.get("/api/v2/projection", headers=headers),
        await stand.client.get("/nowhere", headers=headers),
        await stand.client.post(events_path(session_id), headers=headers),
    ]

    assert [answer.status_code for answer in answers] == [200, 304, 400, 404, 401, 200, 404, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-expose-headers"] == EXPOSED.decode()
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers


@of_one_stand
@pytest.mark.parametrize("origin", [None, "https://elsewhere.example", "null", "https://dashboard.example.evil"])
async def test_cors_gives_nothing_to_others(stand: Stand, origin: str | None) -> None:
    """But the word that answers vary."""
    headers = {} if origin is None else {"origin": origin}
    answer = await stand.client.get("/health/live", headers=headers)

    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


@of_one_stand
async def test_a_preflight_is_answered(stand: Stand) -> None:
    """Without a key: browsers send none with it."""
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": "GET",
        "access-control-request-headers": "x-api-key, if-none-match, readside-max-staleness, authorization",
    }

    request = stand.client.build_request("OPTIONS", events_path(str(uuid4())), headers=headers)
    del request.headers["x-api-key"]
    answer = await stand.client.send(request)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"x-api-key", "if-none-match", "readside-max-staleness", "authorization"} <= set(allowed)
    assert "GET" in answer.headers["access-control-allow-methods"]


async def test_without_cors_nothing_is_said_of_it(way: Way) -> None:
    """No Vary either."""
    async with fake_stand(way) as stand:
        answer = await stand.client.get("/health/live", headers={"origin": ORIGIN})

    assert "vary" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("stripped", [True, False])
async def test_a_prefix_works_whether_or_not_the_proxy_strips_it(way: Way, stripped: bool) -> None:
    """Polls, routes, pages, and the document's server."""
    async with fake_stand(way, root_path="readside/") as stand:
        session_id = str(uuid4())
        await stand.write(session_id)
        base = "" if stripped else "/readside"

        statuses = [
            (await stand.client.get(base + path)).status_code
            for path in (events_path(session_id), "/api/v2/projection", "/docs", "/", "/static/docs.js")
        ]
        described = orjson.loads((await stand.client.get(f"{base}/openapi.json")).content)

    assert statuses == [200] * 5
    assert described["servers"] == [{"url": "/readside"}]


@pytest.mark.parametrize("query", ["", "?a=b%20c"])
async def test_the_prefix_itself_leads_to_the_page(way: Way, query: str) -> None:
    """Without its slash the page's relative links would lead elsewhere."""
    async with fake_stand(way, root_path="/tools/readside") as stand:
        led = await stand.client.get(f"/tools/readside{query}")
        asked = await stand.client.head("/tools/readside")
        followed = await stand.client.get(f"/tools/readside{query}", follow_redirects=True)
        other = await stand.client.post("/tools/readside")

    assert (led.status_code, led.headers["location"]) == (307, f"/tools/readside/{query}")
    assert (asked.status_code, asked.headers["location"]) == (307, "/tools/readside/")
    assert (followed.status_code, followed.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert other.status_code in {404, 405}
