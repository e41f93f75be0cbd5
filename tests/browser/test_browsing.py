"""Tabs of one profile know nothing of one another, though they share a process."""

import pytest

from tests.browser.browsing import Profile
from tests.browser.service import Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEEP = """async () => {
  for (const store of [localStorage, sessionStorage]) store.setItem("kept", "yes");
  document.cookie = "kept=yes";
  await new Promise((done) => { indexedDB.open("kept").onsuccess = ({ target }) => done(target.result.close()); });
  await (await caches.open("kept")).put("/kept", new Response("yes"));
  window.kept = "yes";
}"""
KEPT = """async () => [
  localStorage.length, sessionStorage.length, document.cookie,
  (await indexedDB.databases()).length, (await caches.keys()).length, window.kept, history.length, innerWidth,
  (await navigator.permissions.query({ name: "clipboard-read" })).state,
]"""


async def test_nothing_of_a_tab_reaches_the_next(service: Service, profile: Profile) -> None:
    """Neither what it kept nor what it was granted, neither its size nor its history, its routes and scripts."""
    address, found, left = f"{service.url}/health/live", list[object](), list[object]()
    for _ in range(2):
        async with profile.tab() as opened:
            page = opened.page
            await page.goto(address)
            found.append(await page.evaluate(KEPT))
            await page.evaluate(KEEP)
            await page.context.grant_permissions(["clipboard-read"])
            await page.set_viewport_size({"width": 300, "height": 300})
            await page.add_init_script("window.kept = 'yes'")
            await page.route("**", lambda route: route.abort())
            left.append(await page.evaluate(KEPT))

    assert found == [[0, 0, "", 0, 0, None, 2, 1280, "prompt"]] * 2
    assert left == [[1, 1, "kept=yes", 1, 1, "yes", 2, 300, "granted"]] * 2
