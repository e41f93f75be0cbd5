"""readside-client in Chromium: the cases of `follow` and of the React hook, against a session in memory."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route

from tests.browser import reacting
from tests.browser.browsing import REPOSITORY, modules

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = REPOSITORY / "tests/clients/js"
IMPORTS = json.dumps({"imports": {name: reacting.address(name) for name in reacting.MODULES}})
PAGE = f'<!doctype html><link rel="icon" href="data:,"><script type="importmap">{IMPORTS}</script>'
RUN = """async (address) => {
    const { cases, end } = await import(address), failed = [];
    for (const [name, body] of Object.entries(cases)) {
        await body().catch((error) => failed.push(`${name}: ${error.message}`)).finally(end);
    }
    return [Object.keys(cases).length, failed];
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that may load the cases, the client, and React."""
    packages = {reacting.address(name): reacting.module(name) for name in reacting.MODULES}

    async def react(route: Route) -> None:
        await route.fulfill(body=packages[urlsplit(route.request.url).path], content_type="text/javascript")

    async with modules(browser, CASES, page=PAGE) as opened:
        await opened.page.route("http://poller.test/npm/**", react)
        yield opened.page


@pytest.mark.parametrize("name", ["follow_cases.js", "react_cases.js"])
async def test_every_case_passes(page: Page, name: str) -> None:
    """In one page, one after the other; none hides behind another way of writing it."""
    count, failed = await page.evaluate(RUN, f"/tests/clients/js/{name}")

    assert failed == []
    assert count == written(CASES / name) > 10


def written(cases: Path) -> int:
    """How many cases a file has."""
    return len(re.findall(r"^  async \w+\(\) \{$", cases.read_text(), re.MULTILINE))
