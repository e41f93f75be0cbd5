"""The slices of a view on the console's page about the projection, in Chromium."""

from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import DESK, Tab, enter
from tests.browser.service import Service
from tests.browser.test_console_for_everybody import PHONE, looking, violations
from tests.support.builders import BOTH_KEY

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAY = "Redis at 10.0.0.2:7000/0 does not answer: Connection refused."


async def of_slices(service: Service, count: int, **unwell: str) -> dict[str, Any]:
    """What the API says of so many slices on three nodes; these are not live."""
    told: dict[str, Any] = (await service.get("/api/v2/projection")).json()
    slices = []
    for index in range(count):
        status = unwell.get(f"s{index}", "live")
        facts = {"slice": index, "node": f"10.0.0.{index % 3 + 1}:7000/0", "status": status, "term": "t", "batch": 1}
        reason, lag_ms = (None, 90) if status == "live" else (AWAY, 61_000)
        slices.append({**facts, "reason": reason, "lag_ms": lag_ms, "as_of": told["as_of"], "hot_sessions": 4})
    return {**told, "slices": slices}


async def shown(visitor: Tab, service: Service, told: dict[str, Any]) -> Page:
    """The page that shows this."""
    await visitor.page.route("**/api/v2/projection", lambda route: route.fulfill(json=told))
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#lag")).not_to_have_text("–")
    return page


async def test_a_view_of_one_slice_shows_nothing_of_them(service: Service, visitor: Tab) -> None:
    """As before there were any."""
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#status")).to_have_text("live")

    await expect(page.locator("#slices")).to_be_hidden()
    await expect(page.locator("#inside")).to_contain_text("term, batch")


async def test_slices_that_are_live_are_cells(service: Service, visitor: Tab) -> None:
    """And one line, which tells what the cells show; no table."""
    page = await shown(visitor, service, await of_slices(service, 32))

    await expect(page.locator("#slices-cells span")).to_have_count(32)
    await expect(page.get_by_role("img", name="32 slices on 3 nodes, all live.")).to_be_visible()
    await expect(page.locator("#slices-unwell")).to_be_hidden()
    await expect(page.locator("#inside")).not_to_contain_text("term, batch")


async def test_each_slice_that_is_not_live_has_a_row(service: Service, visitor: Tab) -> None:
    """Its node, state, lag and why; its cell has a sign, not a colour alone."""
    page = await shown(visitor, service, await of_slices(service, 32, s7="down", s21="catching_up"))
    rows = page.locator("#slices-unwell tbody tr")

    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("10.0.0.2:7000/0")
    await expect(rows.first).to_contain_text(AWAY)
    await expect(rows.first.locator("td")).to_have_text(["7", "10.0.0.2:7000/0", "down", "1 min 1 s", AWAY])
    await expect(page.locator("#slices-summary")).to_have_text("32 slices on 3 nodes: 30 live, 1 down, 1 catching up.")
    await expect(page.locator("#slices-cells span").nth(7)).to_have_text("✕")
    await expect(page.locator("#slices-cells span").nth(7)).to_have_attribute(
        "title", "slice 7: down, on 10.0.0.2:7000/0"
    )


async def test_a_slice_that_comes_back_leaves_the_table(service: Service, visitor: Tab) -> None:
    """With the next look."""
    page = await shown(visitor, service, await of_slices(service, 8, s3="down"))
    await expect(page.locator("#slices-unwell tbody tr")).to_have_count(1)
    well = await of_slices(service, 8)
    await page.route("**/api/v2/projection", lambda route: route.fulfill(json=well))

    await expect(page.locator("#slices-unwell")).to_be_hidden()
    await expect(page.locator("#slices-cells span").nth(3)).to_have_text("✓")


async def test_of_a_thousand_slices_that_are_away_some_are_listed(service: Service, visitor: Tab) -> None:
    """And how many there are besides."""
    unwell = {f"s{index}": "down" for index in range(200)}
    page = await shown(visitor, service, await of_slices(service, 1_024, **unwell))

    await expect(page.locator("#slices-cells span")).to_have_count(1_024)
    await expect(page.locator("#slices-unwell tbody tr")).to_have_count(50)
    await expect(page.locator("#slices-more")).to_have_text("And 150 more.")


@pytest.mark.parametrize(("viewport", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone-dark", "desk-light"])
async def test_axe_finds_nothing_about_slices(
    service: Service, browser: Browser, viewport: dict[str, int], scheme: str
) -> None:
    """In each state at once; on a phone nothing is wider than it."""
    told = await of_slices(service, 32, s7="down", s8="stale", s21="catching_up")
    async with looking(browser, viewport, scheme) as opened:
        page = await shown(opened, service, told)
        await expect(page.locator("#slices-unwell tbody tr")).to_have_count(3)

        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
