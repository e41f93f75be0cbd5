"""The console for everybody: checked by axe-core, on a phone, in the dark, by keyboard alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import DESK, Tab, enter, tab
from tests.browser.service import Service
from tests.browser.tokens import minted
from tests.support.builders import BOTH_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
PHONE = {"width": 360, "height": 740}
WALL = {"width": 3840, "height": 2160}


async def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]


@asynccontextmanager
async def looking(browser: Browser, viewport: dict[str, int], scheme: str) -> AsyncIterator[Tab]:
    """A tab of this size and colour scheme, without the policy, which holds axe-core back too."""
    async with tab(browser, viewport=viewport, color_scheme=scheme, bypass_csp=True) as opened:
        yield opened


async def busy_session(service: Service) -> str:
    """A session with an event of each kind."""
    session_id = await service.session(4)
    kinds = ["session_created", "workflow_failed", "workflow_paused", "workflow_completed", "artifact_created"]
    await service.write(session_id, *({"event_type": name, "message": "A message " * 20} for name in kinds))
    await service.write(session_id, {"event_type": "status_changed", "data": {"to": "in_progress"}})
    return session_id


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone-dark", "desk-light"])
async def test_axe_finds_nothing(service: Service, browser: Browser, viewport: dict[str, int], scheme: str) -> None:
    """On no page: key, projection, session, refusal, sessions of a token."""
    session_id = await busy_session(service)
    found: dict[str, list[str]] = {}
    async with looking(browser, viewport, scheme) as opened:
        opened.expected.append("404")
        await opened.page.goto(service.url)
        found["key"] = await violations(opened.page)
        page = await enter(opened, service.url, BOTH_KEY)
        await expect(page.locator("#hot-sessions tbody tr")).not_to_have_count(0)
        found["projection"] = await violations(page)
        await page.goto(f"{service.url}/#session={session_id}")
        await expect(page.locator("#events > li")).to_have_count(10)
        await page.locator("#events > li").first.click()
        found["session"] = await violations(page)
        await page.goto(f"{service.url}/#session=00000000-0000-0000-0000-000000000000")
        await expect(page.locator("#refused-page")).to_be_visible()
        found["refusal"] = await violations(page)
        await page.goto(f"{service.url}/#sessions&token={minted([session_id, await service.session()])}")
        await expect(page.locator("#token-sessions a")).to_have_count(2)
        found["token"] = await violations(page)

    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone-dark", "desk-light"])
async def test_axe_finds_nothing_about_odd_events(
    service: Service, browser: Browser, viewport: dict[str, int], scheme: str
) -> None:
    """Of an instant far away, with a message and a payload that open in parts, in two directions."""
    session_id = await service.session()
    odd = {"message": "w " * 200_000, "data": {"\u05e9\u05dc": ["x" * 300_000]}}
    await service.write(session_id, {**odd, "timestamp": "0044-03-15 12:00:00+00 BC"}, {"timestamp": "infinity"})
    async with looking(browser, viewport, scheme) as opened:
        page = await enter(opened, f"{service.url}/#session={session_id}", BOTH_KEY)
        await page.locator("#events > li").last.click()
        await expect(page.get_by_role("button", name="Show more of the")).to_have_count(2)

        assert await violations(page) == []


@pytest.mark.parametrize("viewport", [PHONE, WALL], ids=["phone", "wall"])
async def test_nothing_sticks_out(service: Service, browser: Browser, viewport: dict[str, int]) -> None:
    """No page is wider than its window; what is wide scrolls in a place of its own."""
    session_id = await busy_session(service)
    await service.write(session_id, {"event_type": "a" * 100, "message": "w" * 500, "data": {"long": "x" * 3000}})
    async with looking(browser, viewport, "light") as opened:
        page = await enter(opened, service.url, BOTH_KEY)
        await expect(page.locator("#hot-sessions tbody tr")).not_to_have_count(0)
        widths = [await _width(page)]
        await page.goto(f"{service.url}/#session={session_id}")
        await expect(page.locator("#events > li")).to_have_count(11)
        await page.locator("#events > li").first.click()
        widths.append(await _width(page))
        await page.goto(f"{service.url}/#sessions&token={minted([session_id, await service.session()])}")
        await expect(page.locator("#token-sessions a")).to_have_count(2)
        widths.append(await _width(page))

    assert [width <= viewport["width"] for width in widths] == [True, True, True], widths


async def test_the_keyboard_reaches_everything(service: Service, visitor: Tab) -> None:
    """The first stop skips to the content; each stop shows where it is."""
    session_id = await busy_session(service)
    page = await enter(visitor, f"{service.url}/#session={session_id}", BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(10)
    await page.evaluate("document.activeElement.blur()")
    reached: list[Any] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate(_FOCUSED))

    names = [name for name, _ in reached]
    for wanted in (
        "Skip to the content",
        "to-projection",
        "session-id",
        "Open",
        "pause",
        "warm",
        "copy",
        "life-board",
        "find-text",
        "events",
        "summary",
    ):
        assert wanted in names, names
    assert [name for name, is_shown in reached if name != "BODY" and not is_shown] == []


async def test_motion_is_left_out_where_it_is_not_wanted(service: Service, browser: Browser) -> None:
    """No transition runs."""
    async with tab(browser, reduced_motion="reduce") as opened:
        page = await enter(opened, service.url, BOTH_KEY)
        await expect(page.locator("#status")).to_have_text("live")
        duration = await page.locator("#state").evaluate("(it) => getComputedStyle(it).transitionDuration")

    assert duration == "0s"


_FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const name = at === document.body ? "BODY" : at.id || (at.tagName === "SUMMARY" ? "summary" : at.textContent.trim());
  return [name, shown];
}"""


async def _width(page: Page) -> int:
    width: int = await page.evaluate("document.documentElement.scrollWidth")
    return width
