"""poller.js in Chromium, against a session in memory and a clock that is turned by hand."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.browser.browsing import CONSOLE, Tab, modules

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = Path(__file__).with_name("poller_cases.js")
QUICKSTART = Path(__file__).parents[2] / "specs/guides/polling.md"
TEXT = CASES.read_text().partition("export const cases")[2]
RUN = "async (name) => { const its = await import('/poller_cases.js'); await its.cases[name]().finally(its.end); }"
NAMES = re.findall(r"^  async (\w+)\(\) \{$", TEXT, re.MULTILINE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bench(browser: Browser) -> AsyncIterator[Tab]:
    """A page that may load the cases."""
    async with modules(browser, CASES) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
async def test_the_poller(bench: Tab, name: str) -> None:
    """The case of this name in poller_cases.js passes."""
    await bench.page.evaluate(RUN, name)


async def test_who_copies_the_poller_is_told_every_module_that_it_needs() -> None:
    """In the quickstart."""
    told = QUICKSTART.read_text().partition("or copy it with")[2].partition("beside it")[0]

    assert set(re.findall(r"`(\w+\.js)`", told)) == _imported("poller.js") - {"poller.js"}


def _imported(name: str) -> set[str]:
    others = re.findall(r'^(?:im|ex)port .* from "\./(.+)";$', (CONSOLE / name).read_text(), re.MULTILINE)
    return {name}.union(*map(_imported, others))


async def test_every_case_is_run() -> None:
    """None hides behind another way of writing it."""
    assert len(NAMES) == TEXT.count("\n  async ") > 25
