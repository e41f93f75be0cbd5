"""The console's page about a session, in Chromium, over a real service."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from playwright.async_api import Page, Request, Route, expect

from tests.browser.browsing import Profile, Tab, enter
from tests.browser.service import Service
from tests.support.builders import BOTH_KEY
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_ROWS = 120
"""What a screen has room for, and those around it."""


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
    await expect(rows.nth(0)).to_contain_text("It broke")
    await expect(rows.nth(0)).to_contain_text("big: 12345678901234567890123")
    await rows.nth(0).click()

    for text in ("12345678901234567890123", "0.1234567890123456789", "grün"):
        await expect(page.locator("#detail").get_by_label("payload", exact=True)).to_contain_text(text)
    await expect(page.locator("#total")).to_have_text("2")
    await expect(page.locator("#life .bar")).not_to_have_count(0)
    await expect(page.locator("#life .station")).not_to_have_count(0)
    await expect(page.locator("#session-status")).to_have_text("✕ failed")


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


async def test_a_filter_is_part_of_the_link(service: Service, profile: Profile, visitor: Tab) -> None:
    """Who opens the link sees the same, and no key is in it."""
    session_id = await service.session(5)
    await service.add(session_id, 2, "workflow_failed")
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(7)
    await page.locator("#types-menu summary").click()
    await page.get_by_role("checkbox", name="workflow_failed").check()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("checkbox", name="workflow_failed")).to_be_hidden()
    await expect(page.locator("#events > li")).to_have_count(2)
    await service.add(session_id, 1, "workflow_failed")
    await service.add(session_id, 1, "step_created")
    await expect(page.locator("#events > li")).to_have_count(3)

    assert page.url == link(service, session_id, "workflow_failed")
    async with profile.neighbour() as other:
        shared = await enter(other, page.url, BOTH_KEY)
        await expect(shared.locator("#events > li")).to_have_count(3)
        await shared.locator("#types-menu summary").click()
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
    await expect(page.get_by_role("button", name="Resume")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("button", name="4 new events")).to_be_visible()
    await expect(page.locator("#events > li")).to_have_count(3)
    await page.get_by_role("button", name="Resume").click()

    await expect(page.locator("#events > li")).to_have_count(7)


async def test_new_events_never_move_what_is_under_the_pointer(service: Service, visitor: Tab) -> None:
    """They wait behind a button that counts them, until it is pressed or the pointer goes."""
    session_id = await service.session(3)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    rows, news = page.locator("#events > li"), page.locator("#news")
    await expect(rows).to_have_count(3)
    pointed = await rows.nth(1).get_attribute("data-id")
    await rows.nth(1).hover()
    await service.add(session_id, 12)
    await expect(news).to_have_text("12 new events")
    assert await rows.nth(1).get_attribute("data-id") == pointed
    await news.click()
    await expect(rows).to_have_count(15)
    await service.add(session_id, 1)
    await expect(news).to_have_text("1 new event")
    await page.mouse.move(1, 1)

    await expect(rows).to_have_count(16)
    await expect(news).to_be_hidden()


async def test_the_list_is_read_by_keys(service: Service, visitor: Tab) -> None:
    """`j` and `k` move, Enter opens, Escape closes, `/` searches, `p` pauses, `?` tells them all."""
    session_id = await service.session(9)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(9)
    for pressed in "jjk":
        await page.keyboard.press(pressed)
    await page.keyboard.press("Enter")
    await expect(page.locator("#detail").get_by_label("message", exact=True)).to_have_text("number 9")
    await page.keyboard.press("j")
    await expect(page.locator("#detail").get_by_label("message", exact=True)).to_have_text("number 8")
    await page.keyboard.press("Escape")
    await expect(page.locator("#detail")).to_be_hidden()
    await page.keyboard.press("p")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    await page.get_by_label("Use single-key shortcuts").uncheck()
    await page.keyboard.press("Escape")
    await page.keyboard.press("p")
    await expect(page.get_by_role("button", name="Resume")).to_be_visible()


async def test_a_search_shows_what_matches(service: Service, visitor: Tab) -> None:
    """In message, payload, type and id; what comes later too, if it matches."""
    session_id = await service.session(9)
    await service.write(session_id, {"event_type": "workflow_error", "data": '{"error": "Disk (full)"}'})
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    rows = page.locator("#events > li")
    await expect(rows).to_have_count(10)
    await page.keyboard.press("/")
    await page.keyboard.type("disk (FULL)")
    await expect(rows).to_have_count(1)
    await expect(page.locator("#shown")).to_have_text("1 match · 10 events")
    await service.write(session_id, {"message": "disk (full) again"}, {"message": "nothing of it"})
    await expect(rows).to_have_count(2)
    await page.get_by_label("Search in these events").fill("nowhere")
    await expect(page.locator("#no-events-text")).to_have_text("No loaded event matches.")
    await page.get_by_role("button", name="Show all").click()

    await expect(rows).to_have_count(12)


async def test_steps_are_told_and_filter(service: Service, visitor: Tab) -> None:
    """By their names, with what became of them."""
    session_id = await service.session()
    compiled, published = str(uuid4()), str(uuid4())
    await _of_step(service, session_id, compiled, "step_created", '{"name": "compile"}')
    await _of_step(service, session_id, published, "step_created", '{"name": "publish"}')
    await _of_step(service, session_id, compiled, "step_status_changed", '{"to": "done"}')
    await service.write(session_id, {"event_type": "session_created"})
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#events > li")).to_have_count(4)
    await expect(page.locator("#steps-count")).to_have_text("2, 1 done")
    await page.locator("#steps-menu summary").click()
    await page.get_by_role("button", name="compile").click()

    await expect(page.locator("#events > li")).to_have_count(2)
    await page.get_by_role("button", name="All steps").click()
    await expect(page.locator("#events > li")).to_have_count(4)


async def _of_step(service: Service, session_id: str, step: str, event_type: str, data: str) -> None:
    await service.writer.connection.execute(
        """INSERT INTO events (id, session_id, step_id, event_type, event_data, timestamp)
           VALUES (gen_random_uuid(), $1::uuid, $2::uuid, $3, $4::jsonb, clock_timestamp())""",
        session_id,
        step,
        event_type,
        data,
    )


async def test_a_stretch_of_the_timeline_filters(service: Service, visitor: Tab) -> None:
    """It is drawn with the pointer, zoomed into, and let go by the keyboard."""
    session_id = await service.session()
    now = datetime.now(UTC)
    for seconds in (0, 1, 2, 50, 98, 99, 100):
        await service.write(session_id, {"timestamp": (now - timedelta(seconds=seconds)).isoformat()})
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#life .bar")).not_to_have_count(0)
    board = page.locator("#life-board")
    box = await board.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20, steps=3)
    await page.mouse.up()
    await expect(page.locator("#events > li")).to_have_count(1)
    await expect(page.locator("#range-chip")).to_be_visible()
    await page.get_by_role("button", name="Zoom in").click()
    await expect(page.locator("#life-text")).to_contain_text("Shown: 5")
    await board.press("Escape")

    await expect(page.locator("#events > li")).to_have_count(7)
    await expect(page.get_by_role("button", name="Zoom out")).to_be_disabled()


async def test_a_view_that_is_behind_is_told(service: Service, visitor: Tab) -> None:
    """With the instant that is shown, and how long ago that was."""
    session_id = await service.session(1)

    async def behind(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, headers={**answer.headers, "readside-lag-ms": "61000"})

    await visitor.page.route("**/events?*", behind)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)

    await expect(page.get_by_role("alert").filter(has_text="The view is behind")).to_be_visible()
    await expect(page.locator("#trouble-times")).to_have_text(
        re.compile(r"^What you see is as of .*, 1 min \d+ s ago\.$")
    )
    await page.unroute_all(behavior="ignoreErrors")


async def test_older_events_are_loaded_when_asked_for(service: Service, visitor: Tab) -> None:
    """Page by page, until there are none; then the button is gone."""
    session_id = await service.session(1_150)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    shown, older = page.locator("#shown"), page.get_by_role("button", name="Load older")
    await expect(shown).to_have_text("500 of 1,150 loaded")
    await older.evaluate("(button) => button.click()")  # without scrolling to it: the end of the list loads by itself
    await expect(shown).to_have_text("1,000 of 1,150 loaded")
    await page.locator("#events").press("End")
    await expect(shown).to_have_text("1,150 events")
    await expect(older).to_be_hidden()

    assert await _all(page, "querySelector('.message').textContent") == [f"number {n}" for n in range(1_150, 0, -1)]


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
    await first.click()
    await expect(first.locator(".type")).to_have_text(HOSTILE[:100])
    await expect(first.locator(".message")).to_have_text(HOSTILE)
    await expect(first.locator(".data")).to_contain_text("onerror")
    await expect(page.locator("#detail").get_by_label("payload", exact=True)).to_contain_text("onerror")

    assert await page.evaluate(
        "[window.hacked, ({}).polluted, document.querySelectorAll('main :is(img, script)').length]"
    ) == [None, None, 0]
    assert await page.locator("#life [onload], #types [onerror]").count() == 0


async def test_ten_thousand_events_and_hundreds_more_a_second(service: Service, visitor: Tab) -> None:
    """The page opens at once, always has few rows, and loses none of the new events."""
    session_id = await service.session(10_000)
    page = await enter(visitor, link(service, session_id), BOTH_KEY)
    await expect(page.locator("#shown")).to_have_text("500 of 10,000 loaded")
    await page.evaluate(_WATCH_ROWS)
    for total in ("10,500", "11,000", "11,500", "12,000"):  # 2,000 in one round would begin again with the newest page
        await service.add(session_id, 500)
        await expect(page.locator("#total")).to_have_text(total)
    await expect(page.locator("#shown")).to_have_text("2,500 of 12,000 loaded")

    newest = [
        row["id"]
        for row in await service.writer.connection.fetch(
            "SELECT id::text FROM events WHERE session_id = $1::uuid ORDER BY timestamp DESC, id DESC LIMIT 2500",
            session_id,
        )
    ]
    assert await page.evaluate("window.mostRows") < MOST_ROWS
    assert (await _all(page, "dataset.id"))[:2_500] == newest


_WATCH_ROWS = """() => {
  const events = document.getElementById("events");
  const look = () => { window.mostRows = Math.max(window.mostRows ?? 0, events.children.length); };
  new MutationObserver(look).observe(events, { childList: true });
  look();
}"""


_VERY_MANY = """async () => {
  const { EventStore, Filter } = await import("./console/event_store.js");
  const store = new EventStore(), made = [];
  for (let n = 0; n < 100_000; n += 1) {
    const timestamp = new Date(1.7e12 + n * 100).toISOString().replace("Z", "000Z");
    const event = { id: String(n), event_type: "step_created", step_id: null, event_data_json: "{}" };
    made.push({ ...event, message: `number ${n}`, timestamp });
  }
  for (let at = 100_000; at > 0; at -= 500) store.add(made.slice(at - 500, at), { older: true });
  await store.setFilter(new Filter({ text: "number 99999" }));
  return [store.events.length, store.events[0].id, store.events.at(-1).id, store.full, store.shown.length];
}"""


async def test_of_a_hundred_thousand_events_the_newest_half_is_held(service: Service, visitor: Tab) -> None:
    """However often older ones are asked for; they are searched without a freeze."""
    page = await enter(visitor, service.url, BOTH_KEY)

    assert await page.evaluate(_VERY_MANY) == [50_000, "99999", "50000", True, 1]


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
    await expect(page.locator("#trouble-times")).to_contain_text("What you see is as of")
    await expect(page.locator("#session-lag")).to_have_text("–")  # nobody knows how far behind it is by now
    await service.add(session_id, 300)
    await service.start_api()
    await expect(page.locator("#shown")).to_have_text("305 events")

    await expect(page.locator("#trouble")).to_be_hidden()
    assert len(set(await _all(page, "dataset.id"))) == 305


async def _all(page: Page, what: str) -> list[str]:
    """This of every row, though few are there at once: the list is scrolled from its top to its end."""
    told: list[str] = await page.evaluate(_SCROLL.replace("WHAT", what))
    return told


_SCROLL = """async () => {
  const scroller = document.querySelector("#events-scroller"), rows = new Map();
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (scroller.scrollTop = 0; ; ) {
    await frame();
    const there = [...document.querySelectorAll("#events > li")];
    for (const row of there) rows.set(Number(row.ariaPosInSet), row.WHAT);
    if (scroller.scrollTop + scroller.clientHeight >= scroller.scrollHeight - 1) break;
    const last = there.at(-1).getBoundingClientRect(), screen = scroller.getBoundingClientRect();
    scroller.scrollTop += last.bottom - screen.top; // rows beyond the screen's are there already
  }
  return [...rows].sort(([a], [b]) => a - b).map(([, told]) => told);
}"""
