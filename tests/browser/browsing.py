"""Debian's Chromium for tests: one browser a run, tabs that know nothing of one another, an ear for their consoles."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Route,
    async_playwright,
    expect,
)

import query_api

CONSOLE = Path(query_api.__file__).parent / "console"
REPOSITORY = CONSOLE.parents[1]
FLAGS = ["--headless", "--no-sandbox", "--disable-background-networking", "--renderer-process-limit=1"]
"""Pages of one context share a process, as far as they may."""
DESK = {"width": 1280, "height": 900}
PATIENCE_MS = 60_000
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
    opened = await _heard(context)
    try:
        yield opened
    finally:
        await context.close()
    assert opened.unexpected() == [], opened.unexpected()


async def _heard(context: BrowserContext) -> Tab:
    opened = Tab(await context.new_page())
    opened.page.on("console", opened.note)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    return opened


@dataclass
class Profile:
    """One person's browser: a context that stays. Its tabs come one after the other; each begins as in a new context.

    A tab costs a third less than in a context of its own: the process that draws it runs already, and knows the
    console's scripts. A blank page of the tabs' site keeps it running.
    """

    context: BrowserContext
    _blank: Page
    _devtools: CDPSession
    _visited: set[str] = field(default_factory=set)

    @classmethod
    async def of(cls, browser: Browser) -> "Profile":
        """Open its context, and the blank page."""
        context = await browser.new_context(viewport=DESK)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        blank = await context.new_page()
        await blank.route("**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        await blank.goto("http://127.0.0.1/")
        return cls(context, blank, await context.new_cdp_session(blank))

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A tab; nothing of what it keeps, or was granted, outlives it. It may have neighbours: `neighbour`."""
        try:
            async with self.neighbour() as opened:
                yield opened
        finally:
            await self._forget()

    @asynccontextmanager
    async def neighbour(self) -> AsyncIterator[Tab]:
        """A tab beside the first, which shares with it what tabs of one person share."""
        before = set(self.context.pages)
        opened = await _heard(self.context)
        opened.page.on("framenavigated", lambda frame: self._visited.add(_origin(frame.url)))
        try:
            yield opened
        finally:
            for page in set(self.context.pages) - before:
                await page.close()
        assert opened.unexpected() == [], opened.unexpected()

    async def _forget(self) -> None:
        for origin in self._visited - {"null"}:
            await self._devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        self._visited.clear()
        await self.context.clear_cookies()
        await self.context.clear_permissions()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else "null"


@asynccontextmanager
async def modules(
    browser: Browser, cases: Path, *, locale: str = "en", zone: str = "UTC", page: str = "<!doctype html>"
) -> AsyncIterator[Tab]:
    """A page that may import the console's modules from /console, the repository's by their path, and the cases."""

    async def from_disk(route: Route) -> None:
        path = urlsplit(route.request.url).path
        if not path.endswith(".js"):
            await route.fulfill(body=page, content_type="text/html")
            return
        beside, console = cases.name, path.removeprefix("/console/")
        file = cases if path == f"/{beside}" else CONSOLE / console if console != path else REPOSITORY / path[1:]
        await route.fulfill(body=file.read_text(), content_type="text/javascript")

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
