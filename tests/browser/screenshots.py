"""Takes the pictures of the console: `make screenshots`. A demo runs for two minutes and has a hiccup."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.browser.browsing import chromium, enter, tab
from tests.support.demos import demo, key_in, url_in
from tests.support.servers import server_directory

IMAGES = Path(__file__).parents[2] / "specs" / "001-session-events" / "images"
BEFORE_SECONDS, FROZEN_SECONDS, AFTER_SECONDS = 60.0, 12.0, 45.0


async def main() -> None:
    """Freeze the projector for a while, so that the chart shows what that looks like; then take both pages."""
    IMAGES.mkdir(exist_ok=True)
    with server_directory() as directory:
        async with demo(directory) as running, chromium() as browser:
            summary = await running.summary()
            projector = running.pid_of("projector")
            await asyncio.sleep(BEFORE_SECONDS)
            os.kill(projector, signal.SIGSTOP)
            await asyncio.sleep(FROZEN_SECONDS)
            os.kill(projector, signal.SIGCONT)
            await asyncio.sleep(AFTER_SECONDS)
            events = url_in(summary)
            base, session_id = events.partition("/api/")[0], events.split("/")[-2]
            await _projection(browser, base, key_in(summary))
            await _session(browser, f"{base}/#session={session_id}", key_in(summary))
            await running.end()


async def _projection(browser: Browser, address: str, key: str) -> None:
    async with tab(browser, viewport={"width": 1200, "height": 1560}) as opened:
        page = await enter(opened, address, key)
        await expect(page.locator("#status")).to_have_text("live")
        await expect(page.locator("#hot-sessions tbody tr")).not_to_have_count(0)
        await _take(page, "console-projection.png")


async def _session(browser: Browser, address: str, key: str) -> None:
    dark: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"}
    async with tab(browser, **dark) as opened:
        page = await enter(opened, address, key)
        await expect(page.locator("#life .bar")).not_to_have_count(0)
        await page.locator("#events summary").nth(2).click()
        await _take(page, "console-session.png")


async def _take(page: Page, name: str) -> None:
    await page.wait_for_timeout(1500)
    await page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    asyncio.run(main())
