"""The console's page about a session, in Chromium, over a real service."""

import re

import pytest
from playwright.async_api import Browser, Page, Request, expect

from tests.browser.browsing import Tab, enter, tab
from tests.browser.frames import LONGEST_FRAME_MS, WATCH_FRAMES
from tests.browser.service import Service
from tests.support.builders import BOTH_KEY
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


def link(service: Service, session_id: str, *types: str) -> str:
    """A link to a session, as people share it."""
    return f"{service.url}/#session={session_id}" + "".join(f"&type={name}" for name in types)


async def test_events_come_by_themselves_newest_first(service: Service, visitor: Tab) -> None:
    """Each with its kind's colour and a payload that is shown when asked for, digit by digit."""
    session_id = await service.session()
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#no-events")).to_be_visible()
    payload = '{"big": 12345678901234567890123, "long": 0.1234567890123456789, "text": "grün"}'
    await service.write(session_id, {"event_type": "workflow_started", "message": "It goes"})
    await service.write(session_id, {"event_type": "workflow_failed", "message": "It broke", "data": payload})
    rows = page.locator("#events > li")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("workflow_failed")
    await expect(rows.nth(0)).to_have_class("event kind-bad")
    await expect(rows.nth(1)).to_have_class("event kind-flow")
    await rows.nth(0).locator("summary").press("Enter")

    for text in ("12345678901234567890123", "0.1234567890123456789", "grün"):
        await expect(rows.nth(0).locator("pre")).to_contain_text(text)
    await expect(page.locator("#total")).to_have_text("2")
    await expect(page.locator("#life .bar")).not_to_have_count(0)
    await expect(page.locator("#life .station")).to_have_count(2)


async def test_an_event_is_brought_by_the_read_that_was_held_when_it_was_committed(
    service: Service, visitor: Tab
) -> None:
    """So it is there the moment it is committed."""
    session_id = await service.session(3)
    reads: list[Request] = []
    visitor.page.on("request", lambda asked: reads.append(asked) if "live=long-poll" in asked.url else None)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(3)
    await eventually(lambda: reads, "a read is held")
    held = reads[-1]
    await service.add(session_id, 1)
    await expect(page.locator("#events > li")).to_have_count(4)
    answer = await held.response()

    assert answer is not None
    assert len(await answer.json()) == 1


async def test_a_filter_is_part_of_the_link(service: Service, browser: Browser, visitor: Tab) -> None:
    """Who opens the link sees the same, and no key is in it."""
    session_id = await service.session(5)
    await service.add(session_id, 2, "workflow_failed")
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(7)
    await page.get_by_role("checkbox", name="workflow_failed").check()
    await expect(page.locator("#events > li")).to_have_count(2)
    await service.add(session_id, 1, "workflow_failed")
    await service.add(session_id, 1, "step_created")
    await expect(page.locator("#events > li")).to_have_count(3)

    assert page.url == link(service, session_id, "workflow_failed")
    async with tab(browser) as other:
        shared = await enter(other, page.url, BOTH_KEY)
        await expect(shared.locator("#events > li")).to_have_count(3)
        await expect(shared.get_by_role("checkbox", name="workflow_failed")).to_be_checked()
        await shared.get_by_role("checkbox", name="workflow_failed").uncheck()
        await expect(shared.locator("#events > li")).to_have_count(9)


async def test_a_pause_holds_the_list_still(service: Service, visitor: Tab) -> None:
    """What comes meanwhile is counted, and shown when it goes on."""
    session_id = await service.session(3)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(3)
    await page.get_by_role("button", name="Pause").click()
    await service.add(session_id, 4)
    await expect(page.get_by_role("button", name="Go on (4 new)")).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#events > li")).to_have_count(3)
    await page.get_by_role("button", name="Go on").click()

    await expect(page.locator("#events > li")).to_have_count(7)


async def test_older_events_are_loaded_when_asked_for(service: Service, visitor: Tab) -> None:
    """Page by page, until there are none; then the button is gone."""
    session_id = await service.session(450)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    rows, older = page.locator("#events > li"), page.get_by_role("button", name="Load older")
    await expect(rows).to_have_count(200)
    await expect(page.locator("#shown")).to_have_text("200 of 450 shown")
    await older.click()
    await expect(rows).to_have_count(400)
    await older.click()
    await expect(rows).to_have_count(450)
    await expect(older).to_be_hidden()

    numbers = [int(text.removeprefix("number ")) for text in await page.locator("#events .message").all_text_contents()]
    assert numbers == list(range(450, 0, -1))


HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script><svg onload=window.hacked=1>{{7*7}}'


async def test_hostile_events_are_text(service: Service, visitor: Tab) -> None:
    """In the type, the message and the payload: shown as they are, never markup."""
    session_id = await service.session()
    data = {HOSTILE: HOSTILE, "__proto__": {"polluted": 1}, "constructor": "\u202e\u0001"}
    await service.write(session_id, {"event_type": HOSTILE[:100], "message": HOSTILE, "data": data})
    await service.write(session_id, {"event_type": "javascript:alert(1)", "message": "\u202eevil\u2066" * 50})
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(2)
    first = page.locator("#events > li").nth(1)
    await first.locator("summary").click()
    await expect(first.locator(".type")).to_have_text(HOSTILE[:100])
    await expect(first.locator(".message")).to_have_text(HOSTILE)
    await expect(first.locator("pre")).to_contain_text("onerror")

    assert await page.evaluate(
        "[window.hacked, ({}).polluted, document.querySelectorAll('main :is(img, script)').length]"
    ) == [None, None, 0]
    assert await page.locator("#life [onload], #types [onerror]").count() == 0


async def test_ten_thousand_events_and_hundreds_more_a_second(service: Service, visitor: Tab) -> None:
    """The page opens at once, shows a bounded number of rows, loses none of the new ones and never freezes."""
    session_id = await service.session(10_000)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    rows = page.locator("#events > li")
    await expect(rows).to_have_count(200)
    await expect(page.locator("#total")).to_have_text("10,000")
    await page.evaluate(WATCH_FRAMES)
    for total in ("10,500", "11,000", "11,500", "12,000"):  # 2,000 in one round would begin again with the newest page
        await service.add(session_id, 500)
        await expect(page.locator("#total")).to_have_text(total)
    await expect(rows).to_have_count(2_000)

    newest = [
        row["id"]
        for row in await service.writer.connection.fetch(
            "SELECT id::text FROM events WHERE session_id = $1::uuid ORDER BY timestamp DESC, id DESC LIMIT 2000",
            session_id,
        )
    ]

    async def shown() -> bool:
        return await _ids(page) == newest

    await eventually(shown, "the newest events, without a gap")
    assert await page.evaluate("window.longest") < LONGEST_FRAME_MS


async def test_a_session_is_warmed(service: Service, visitor: Tab) -> None:
    """The button says what came of it."""
    session_id = await service.session(2)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await page.get_by_role("button", name="Warm").click()

    await expect(page.locator("#done")).to_have_text(re.compile("It is hot|It is being loaded"))


async def test_a_session_that_is_purged_ends_the_page(service: Service, visitor: Tab) -> None:
    """And the page says so."""
    visitor.expected.append("404")
    session_id = await service.session(2)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(2)
    await service.writer.delete_session(session_id)

    await expect(page.locator("#refused-page")).to_contain_text(f"Session not found: {session_id}")


@pytest.mark.parametrize("given", ["nonsense", "../../openapi.json", "00000000-0000-0000-0000-000000000000"])
async def test_a_link_to_no_session_says_so(service: Service, visitor: Tab, given: str) -> None:
    """Whatever stands in it."""
    visitor.expected.append("Failed to load resource")
    page = await enter(visitor, service.url, BOTH_KEY)
    await page.get_by_role("textbox", name="Session").fill(given)
    await page.keyboard.press("Enter")

    await expect(page.locator("#refused-page")).to_contain_text(
        re.compile("UUID|Session not found|There is nothing at")
    )


async def test_the_api_may_go_away_while_events_come(service: Service, visitor: Tab) -> None:
    """The page says so, and then has what it missed, each event once."""
    visitor.expected.append("Failed to load resource")
    session_id = await service.session(5)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(5)
    await service.stop_api()
    await expect(page.get_by_role("alert").filter(has_text="The API does not answer.")).to_be_visible()
    await expect(page.locator("#session-lag")).to_have_text("–")  # nobody knows how far behind it is by now
    await service.add(session_id, 300)
    await service.start_api()
    await expect(page.locator("#events > li")).to_have_count(305)

    await expect(page.locator("#trouble")).to_be_hidden()
    assert len(set(await _ids(page))) == 305


async def _ids(page: Page) -> list[str]:
    ids: list[str] = await page.locator("#events > li").evaluate_all("(rows) => rows.map((row) => row.dataset.id)")
    return ids
