"""Takes the pictures of the console for README and site: `make screenshots`. A demo runs for two minutes.

It has a hiccup. `console-projection.png` and `console-session.png` are for a light ground, `…-dark.png` for a dark one;
`console-phone.png` is a session on a phone.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.browsing import Tab, chromium, enter, tab
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
            link = f"{base}/#session={session_id}"
            for scheme, ending in (("light", ""), ("dark", "-dark")):
                look: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}, "color_scheme": scheme}
                async with tab(browser, **look) as opened:
                    await _projection(opened, base, key_in(summary), f"console-projection{ending}.png")
                async with tab(browser, **look) as opened:
                    await _session(opened, link, key_in(summary), f"console-session{ending}.png")
            phone: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"}
            async with tab(browser, **phone) as opened:
                await _session(opened, link, key_in(summary), "console-phone.png", chosen=False)
            await running.end()


async def _projection(opened: Tab, address: str, key: str, name: str) -> None:
    page = await enter(opened, address, key)
    await expect(page.locator("#status")).to_have_text("live")
    await expect(page.locator("#hot-sessions tbody tr")).not_to_have_count(0)
    await _take(page, name)


async def _session(opened: Tab, address: str, key: str, name: str, *, chosen: bool = True) -> None:
    page = await enter(opened, address, key)
    await expect(page.locator("#life .bar")).not_to_have_count(0)
    if chosen:
        await page.locator("#events > li").nth(2).click()
    await _take(page, name)


async def _take(page: Page, name: str) -> None:
    await page.wait_for_timeout(1500)
    await page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    asyncio.run(main())
