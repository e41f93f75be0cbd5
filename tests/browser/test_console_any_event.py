"""The console's page about a session whose events are of every kind that Postgres takes."""

import json
import re
from itertools import pairwise

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.browsing import Tab, enter
from tests.browser.json_tokens import tokens
from tests.browser.service import Service
from tests.support.builders import BOTH_KEY
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"width": 360, "height": 740}
MOST_AT_ONCE = 300_000
"""Characters that a page may be given in one go, and go on drawing."""
MOST_IN_A_BLOCK = 11_000
"""Characters that may be laid out together: one string of a megabyte, in one block, freezes a page for seconds."""


async def opened(service: Service, visitor: Tab, session_id: str) -> Page:
    """The session's page."""
    return await enter(visitor, f"{service.url}/#session={session_id}", BOTH_KEY)


def row(page: Page, event_id: str) -> Locator:
    """The row of an event."""
    return page.locator(f'#events > li[data-id="{event_id}"]')


def detail(page: Page) -> Locator:
    """Where all of the opened event stands."""
    return page.locator("#detail")


async def whole(page: Page, name: str = "payload") -> list[str]:
    """Have all of a text shown; the text as it was shown at first, and after each press of the button."""
    shown = detail(page).get_by_label(name, exact=True)
    more = detail(page).get_by_role("button", name=f"Show more of the {name}")
    texts = [await shown.text_content() or ""]
    while await more.is_visible():
        await more.press("Enter")
        texts.append(await shown.text_content() or "")
    return texts


async def payload(page: Page, event_id: str) -> str:
    """Open an event; its payload as far as it is shown."""
    if await detail(page).is_visible():
        await page.keyboard.press("Escape")  # on a phone it lies over the list
    await row(page, event_id).click()
    return await detail(page).get_by_label("payload", exact=True).text_content() or ""


async def test_six_thousand_brackets_hide_nothing(service: Service, visitor: Tab) -> None:
    """Neither the event nor its neighbours; each opens."""
    deep = f"{'[' * 6000}750727362669608961{']' * 6000}"
    session_id = await service.session()
    before, nested, after = await service.write(
        session_id, {"data": '{"n": 1.10}'}, {"data": deep}, {"data": '{"n": 2.0}'}
    )
    page = await opened(service, visitor, session_id)
    await expect(page.locator("#events > li")).to_have_count(3)
    await expect(page.locator("#trouble")).to_be_hidden()

    assert re.sub(r"\s", "", await payload(page, nested)) == deep
    assert await payload(page, before) == '{\n  "n": 1.10\n}'
    assert await payload(page, after) == '{\n  "n": 2.0\n}'


async def test_an_object_six_thousand_deep_opens(service: Service, visitor: Tab) -> None:
    """As one of arrays does."""
    deep = '{"in": ' * 6000 + "1.50" + "}" * 6000
    session_id = await service.session()
    (nested,) = await service.write(session_id, {"data": deep})
    page = await opened(service, visitor, session_id)

    assert re.sub(r"\s", "", await payload(page, nested)) == re.sub(r"\s", "", deep)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ('{"n":1.10,"z":1.0,"t":100.00}', '{\n  "n": 1.10,\n  "t": 100.00,\n  "z": 1.0\n}'),
        ("750727362669608961", "750727362669608961"),
        ("-0", "0"),
        ("1e400", f"1{'0' * 400}"),
        ("9" * 400, "9" * 400),
        ('{"__proto__": {"__proto__": 1.0}}', '{\n  "__proto__": {\n    "__proto__": 1.0\n  }\n}'),
        (r'"\u2028\u202e321\u0001"', r'"\u2028\u202e321\u0001"'),
        ("null", "null"),
    ],
)
async def test_numbers_and_texts_as_postgres_holds_them(service: Service, visitor: Tab, data: str, shown: str) -> None:
    """Whatever else is in the answer."""
    session_id = await service.session()
    (event_id,) = await service.write(session_id, {"data": data})
    page = await opened(service, visitor, session_id)

    assert await payload(page, event_id) == shown


async def test_instants_of_every_age_in_postgres_order(service: Service, visitor: Tab) -> None:
    """Minus infinity, 44 BC, the year 15000 and infinity: each row opens, and the strip goes on."""
    instants = [
        "-infinity",
        "0044-03-15 12:00:00+00 BC",
        "1969-07-20 20:17:40+00",
        "15000-01-01 00:00:00+00",
        "infinity",
    ]
    session_id = await service.session(3)
    for at in instants:
        await service.write(session_id, {"event_type": "workflow_started", "timestamp": at})
    page = await opened(service, visitor, session_id)
    await expect(page.locator("#events > li")).to_have_count(8)
    await expect(page.locator("#life-text")).to_contain_text(
        "2 dated before 1900 stand at the left end, the farthest -infinity."
    )
    await expect(page.locator("#life-text")).to_contain_text(
        "2 dated after 2199 stand at the right end, the farthest infinity."
    )
    await expect(page.locator("#life .station")).to_have_count(3)  # two share each end
    times = [at for at in await _times(page) if at in instants]
    await service.add(session_id, 1)
    await expect(page.locator("#events > li")).to_have_count(9)
    await page.locator("#events > li").nth(0).click()

    held = await service.writer.connection.fetch(
        "SELECT id::text FROM events WHERE session_id = $1::uuid ORDER BY timestamp DESC, id DESC", session_id
    )
    shown = await page.locator("#events > li").evaluate_all("(rows) => rows.map((row) => row.dataset.id)")
    assert shown == [row["id"] for row in held]
    assert times == ["infinity", "15000-01-01 00:00:00+00", "0044-03-15 12:00:00+00 BC", "-infinity"]


async def _times(page: Page) -> list[str]:
    return await page.locator("#events time").all_text_contents()


@pytest.mark.parametrize("name", ["a string of a megabyte", "a hundred thousand elements", "lines of a megabyte"])
async def test_a_megabyte_opens_in_parts(service: Service, visitor: Tab, name: str) -> None:
    """No part is so long that the page would freeze, and a button brings the rest, to the last character."""
    data = {
        "a string of a megabyte": json.dumps('grün \\ " 😀 ' * 90_000, ensure_ascii=False),
        "a hundred thousand elements": f"[{', '.join(f'{number}.10' for number in range(100_000))}]",
        "lines of a megabyte": json.dumps({f"{number:05}": "x" * 30 for number in range(25_000)}),
    }[name]
    session_id = await service.session()
    (event_id,) = await service.write(session_id, {"data": data})
    page = await opened(service, visitor, session_id)
    await expect(row(page, event_id)).to_be_visible()
    await payload(page, event_id)
    await expect(detail(page).get_by_role("status")).to_contain_text("more characters")
    texts = await whole(page)
    shown = detail(page).get_by_label("payload", exact=True)
    await expect(detail(page).get_by_role("status")).to_have_text("All is shown.")
    await expect(shown).to_be_focused()
    await shown.press("Control+End")

    held = await service.writer.connection.fetchval("SELECT event_data::text FROM events WHERE id = $1::uuid", event_id)
    assert tokens(texts[-1]) == tokens(held)
    assert max(len(after) - len(before) for before, after in pairwise(["", *texts])) < MOST_AT_ONCE
    assert await shown.evaluate(_LONGEST_BLOCK) < MOST_IN_A_BLOCK


_LONGEST_BLOCK = "(pre) => Math.max(...Array.from(pre.children, (block) => block.textContent.length))"


async def test_what_is_copied_has_no_line_ends_of_its_own(service: Service, visitor: Tab) -> None:
    """A long string is shown in blocks, and copied as one."""
    await visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    data = json.dumps("word " * 10_000)
    session_id = await service.session()
    (event_id,) = await service.write(session_id, {"data": data})
    page = await opened(service, visitor, session_id)
    await payload(page, event_id)
    shown = detail(page).get_by_label("payload", exact=True)
    await shown.evaluate("(pre) => getSelection().selectAllChildren(pre)")
    await page.keyboard.press("Control+C")

    assert await page.evaluate("navigator.clipboard.readText()") == data


async def test_what_is_written_leftward_turns_nothing_beside_it(service: Service, visitor: Tab) -> None:
    """A name in Hebrew is shown before its number, and elements of a list in their order."""
    await visitor.page.set_viewport_size({"width": 1900, "height": 900})  # no line is broken
    nested = "[" * 20 + '"\u05d0\u05d1", 456, "\u05d2\u05d3", 789' + "]" * 20
    session_id = await service.session()
    (event_id,) = await service.write(session_id, {"data": f'{{"\u05e9\u05dc\u05d5\u05dd": 123, "in": {nested}}}'})
    page = await opened(service, visitor, session_id)
    await payload(page, event_id)
    shown = detail(page).get_by_label("payload", exact=True)
    sought = ["\u05e9", "123", "\u05d0", "456", "\u05d2", "789"]
    lefts = [await shown.evaluate(_LEFT_OF, text) for text in sought]

    assert lefts[0] < lefts[1]
    assert lefts[2:] == sorted(lefts[2:])


_LEFT_OF = """(shown, text) => {
  const walker = document.createTreeWalker(shown, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(text), range = document.createRange();
    if (at < 0) continue;
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + text.length);
    return range.getBoundingClientRect().left;
  }
}"""


async def test_a_message_of_a_megabyte_is_cut_in_its_row_and_whole_below(service: Service, visitor: Tab) -> None:
    """And its neighbours are there."""
    message = "😀 wörd\n" * 150_000
    session_id = await service.session(2)
    (event_id,) = await service.write(session_id, {"message": message})
    page = await opened(service, visitor, session_id)
    await expect(page.locator("#events > li")).to_have_count(3)
    await payload(page, event_id)

    assert (await whole(page, "message"))[-1] == message
    assert len(await row(page, event_id).locator(".message").text_content() or "") <= 1_001


async def test_messages_and_types_hide_nothing(service: Service, visitor: Tab) -> None:
    """A character that turns the direction of text stands there as an escape, in the row and below it."""
    session_id = await service.session()
    short, long = await service.write(
        session_id,
        {"message": "paid \u202e001 to\u200bday", "event_type": "step\u200b_\u202ecreated"},
        {"message": f"{'x' * 2_000}\u202e001"},
    )
    page = await opened(service, visitor, session_id)
    await payload(page, long)

    assert await row(page, short).locator(".message").text_content() == r"paid \u202e001 to\u200bday"
    assert await row(page, short).locator(".type").text_content() == r"step\u200b_\u202ecreated"
    assert (await whole(page, "message"))[-1].endswith(r"x\u202e001")


async def test_events_too_large_for_one_page_are_all_there(service: Service, visitor: Tab) -> None:
    """Forty of 0.95 MB: the API refuses a page of them, and the console asks for shorter ones."""
    visitor.expected.append("400")
    session_id = await service.session()
    await service.writer.connection.execute(
        """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
           SELECT gen_random_uuid(), $1::uuid, 'step_created', jsonb_build_object('n', n, 'text', repeat('x', 950000)),
                  clock_timestamp() - n * interval '1 s'
           FROM generate_series(1, 40) n""",
        session_id,
    )

    async def are_served() -> bool:
        return bool((await service.get(f"/api/v2/sessions/{session_id}/events?limit=1")).json()["total"] == 40)

    await eventually(are_served, "all are served: what comes later comes by itself")
    page = await opened(service, visitor, session_id)

    await expect(page.locator("#shown")).to_have_text("31 of 40 loaded")
    await page.get_by_role("button", name="Load older").click()
    await expect(page.locator("#shown")).to_have_text("40 events")


async def test_on_a_phone_nothing_is_wider_than_the_screen(service: Service, visitor: Tab) -> None:
    """However deep, long or far away an event is."""
    await visitor.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    session_id = await service.session()
    written = await service.write(
        session_id,
        {"data": f"{'[' * 6000}1{']' * 6000}"},
        {"data": "9" * 400, "timestamp": "294276-12-31 23:59:59.999999+00"},
        {"data": json.dumps({"x" * 300: ["y" * 5_000]}), "timestamp": "0044-03-15 12:00:00.123456+00 BC"},
    )
    page = await opened(service, visitor, session_id)
    for event_id in written:
        await payload(page, event_id)

    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert await page.locator("#detail pre").evaluate_all(
        "(shown) => shown.every((one) => one.scrollWidth <= one.clientWidth)"
    )
    cut = "(times) => times.filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert await page.locator("#events time:not([datetime])").evaluate_all(cut) == 0
