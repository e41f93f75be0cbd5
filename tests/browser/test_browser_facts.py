"""What a browser does with polls by itself: conditional requests, CORS."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.browsing import Tab, enter, tab
from tests.browser.service import Service, page_from_elsewhere
from tests.support.builders import BOTH_KEY, READ_KEY, events_path
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADDED: dict[str, set[str | None]] = {
    "default": {None, "max-age=0"},
    "no-store": {"no-cache"},
    "no-cache": {"max-age=0"},
}
"""What Chromium makes of Cache-Control, by the mode of the request."""
_POLL_TWICE = """async ([path, key, cache]) => {
  const first = await fetch(path, { cache, headers: { "X-API-Key": key } });
  const validator = { "If-None-Match": first.headers.get("ETag") };
  const second = await fetch(path, { cache, headers: { "X-API-Key": key, ...validator } });
  return [first.status, second.status, second.headers.get("Readside-Source"), await second.text()];
}"""
GUIDE = Path(__file__).parents[2] / "specs/guides/browser-dashboard.md"


@pytest.mark.parametrize("cache", ["default", "no-store", "no-cache"])
async def test_a_scripts_validator_brings_304_whatever_the_browser_adds(
    service: Service, visitor: Tab, cache: str
) -> None:
    """Cache-Control: no-cache or max-age=0 come along unasked, and no poll reaches Postgres for it."""
    session_id = await service.session(3)
    page = await enter(visitor, service.url, BOTH_KEY)
    await _from_memory(service, session_id)
    service.heard.clear()
    before = await _polls(service)
    answers = [await page.evaluate(_POLL_TWICE, [events_path(session_id), BOTH_KEY, cache]) for _ in range(5)]
    after = await _polls(service)

    assert answers == [[200, 304, "memory", ""]] * 5
    added = {headers.get("cache-control") for headers in service.heard if "if-none-match" in headers}
    assert added <= ADDED[cache]
    assert after == {**before, "memory": before["memory"] + 10}


@pytest.mark.usefixtures("short_holds")
async def test_the_console_follows_a_quiet_session_from_memory(service: Service, visitor: Tab) -> None:
    """After the first answers nothing but reads that are held: neither Redis nor Postgres is asked."""
    session_id = await service.session(3)
    page = await enter(visitor, f"{service.url}/#session={session_id}", BOTH_KEY)
    await expect(page.locator("#session-source")).to_have_text("memory")
    before, service.heard[:] = await _stream_answers(service), []
    await eventually(lambda: len(service.heard) >= 3, "three reads")

    assert {headers["cache-control"] for headers in service.heard} == {"no-cache"}
    after = await _stream_answers(service)
    assert (after["redis"], after["postgres"]) == (before["redis"], before["postgres"])
    assert after["memory"] >= before["memory"] + 2


def _page_with_a_key(url: str, session_id: str, key: str) -> str:
    """The guide's page with a key in place of `getToken`, as specs/guides/javascript.md says."""
    found = re.search(r"^```html\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    page = found.group(1).replace("<title>", '<link rel="icon" href="data:,"><title>')
    page, replaced = re.subn(r"getToken: async .*?^    \},$", f'apiKey: "{key}",', page, flags=re.MULTILINE | re.DOTALL)
    assert replaced == 1
    return page.replace("http://127.0.0.1:8000", url).replace('"SESSION"', f'"{session_id}"')


async def _from_memory(service: Service, session_id: str) -> None:
    async def it_is() -> bool:
        return (await service.get(events_path(session_id))).headers["readside-source"] == "memory"

    await eventually(it_is, "an answer from memory")


async def _polls(service: Service, counted: str = "readside_polls_total") -> dict[str, float]:
    """Polls answered so far, by source."""
    sources = ("memory", "redis", "postgres")
    return {source: await service.count(f'{counted}{{source="{source}"') for source in sources}


async def _stream_answers(service: Service) -> dict[str, float]:
    """The same of streams."""
    return await _polls(service, "readside_stream_answers_total")


async def test_a_page_from_another_origin_follows(service: Service, browser: Browser) -> None:
    """The guide's: it imports poller.js from the service, and reads the headers that the poller needs."""
    session_id = await service.session(250)
    html = _page_with_a_key(service.url, session_id, READ_KEY)
    service.heard.clear()
    async with page_from_elsewhere(service.elsewhere_port, html), tab(browser) as other:
        await other.page.goto(service.elsewhere)
        await expect(other.page.locator("li")).to_have_count(200)
        await expect(other.page.locator("#state")).to_contain_text("running, as of 20")
        await service.add(session_id, 230)
        await expect(other.page.locator("li")).to_have_count(430)

    assert {headers["origin"] for headers in service.heard} == {service.elsewhere}


async def test_a_page_of_an_origin_that_is_not_named_cannot(service: Service, visitor: Tab) -> None:
    """The browser refuses it the answer."""
    visitor.expected += ["CORS", "Failed to load resource"]
    await visitor.page.route("http://stranger.test/**", lambda route: route.fulfill(body="<!doctype html>"))
    await visitor.page.goto("http://stranger.test/")
    told = await visitor.page.evaluate(
        "(url) => fetch(url, { headers: { 'X-API-Key': 'both-key' } }).then(String, (error) => error.name)",
        service.url + events_path(await service.session(1)),
    )

    assert told == "TypeError"
