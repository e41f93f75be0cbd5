"""poller.js in Chromium, against a session in memory and a clock that is turned by hand."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route

import query_api
from tests.browser.browsing import Tab, tab

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONSOLE = Path(query_api.__file__).parent / "console"
CASES = Path(__file__).with_name("poller_cases.js")
TEXT = CASES.read_text().partition("export const cases")[2]
NAMES = re.findall(r"^  async (\w+)\(\) \{$", TEXT, re.MULTILINE)


async def from_disk(route: Route) -> None:
    """Serve the module, and the cases."""
    name = route.request.url.rpartition("/")[2]
    if not name.endswith(".js"):
        await route.fulfill(body="<!doctype html>", content_type="text/html")
    else:
        body = (CASES if name == CASES.name else CONSOLE / name).read_text()
        await route.fulfill(body=body, content_type="text/javascript")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(browser: Browser) -> AsyncIterator[Tab]:
    """A page that has loaded the cases."""
    async with tab(browser) as opened:
        await opened.page.route("http://poller.test/**", from_disk)
        await opened.page.goto("http://poller.test/")
        yield opened


@pytest.mark.parametrize("name", NAMES)
async def test_the_poller(bench: Tab, name: str) -> None:
    """The case of this name in poller_cases.js passes."""
    await bench.page.evaluate("async (name) => (await import('/poller_cases.js')).cases[name]()", name)


async def test_every_case_is_run() -> None:
    """None hides behind another way of writing it."""
    assert len(NAMES) == TEXT.count("\n  async ") > 25
