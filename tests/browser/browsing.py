"""Debian's Chromium for tests: one browser a run, a fresh context a page, and an ear for what its console says."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect

import query_api

CONSOLE = Path(query_api.__file__).parent / "console"
FLAGS = ["--headless", "--no-sandbox", "--disable-background-networking"]
PATIENCE_MS = 15_000
PROGRAMS = "chromium-headless-shell", "chromium"
"""The first that is there: without windows, a context costs a quarter of the processor's time."""
MISSING = (
    "The browser tests need Chromium: install it with `make install-tools` (Debian: apt-get install {} or {})."
).format(*PROGRAMS)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The browser, for as long as the block lasts; fails with the one line that says what to install."""
    expect.set_options(timeout=PATIENCE_MS)
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail(MISSING, pytrace=False)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A page of its own context, and the complaints of its console: an unexpected one fails the test."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    """Parts of complaints that the test brings about: a server that it stops, a key that it knows to be wrong."""

    def note(self, message: ConsoleMessage) -> None:
        """Take note of a message."""
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def unexpected(self) -> list[str]:
        """Complaints that no part explains."""
        return [text for text in self.complaints if not any(part in text for part in self.expected)]


@asynccontextmanager
async def tab(browser: Browser, **options: Any) -> AsyncIterator[Tab]:
    """A page in a fresh context; `options` are the context's: viewport, color_scheme and so on."""
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    opened = Tab(await context.new_page())
    opened.page.on("console", opened.note)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    try:
        yield opened
    finally:
        await context.close()
    assert opened.unexpected() == [], opened.unexpected()


@asynccontextmanager
async def modules(browser: Browser, cases: Path, *, locale: str = "en", zone: str = "UTC") -> AsyncIterator[Tab]:
    """An empty page that may import the console's modules from /console, and the cases beside them."""

    async def from_disk(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        if not name.endswith(".js"):
            await route.fulfill(body="<!doctype html>", content_type="text/html")
        else:
            body = (cases if name == cases.name else CONSOLE / name).read_text()
            await route.fulfill(body=body, content_type="text/javascript")

    async with tab(browser, locale=locale, timezone_id=zone) as opened:
        await opened.page.route("http://poller.test/**", from_disk)
        await opened.page.goto("http://poller.test/")
        yield opened


async def enter(opened: Tab, address: str, key: str | None) -> Page:
    """Open an address of the console, with the key as this tab would keep it."""
    if key is not None:
        await opened.page.add_init_script(f"sessionStorage.setItem('readside.key', {key!r})")
    await opened.page.goto(address)
    return opened.page
