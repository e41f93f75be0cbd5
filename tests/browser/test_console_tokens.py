"""The console with a token, in Chromium: where it comes from, what it opens, where it never is, and how it ends."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route, expect

from readside.api import opened
from readside.demo.processes import free_port
from tests.browser.browsing import Profile, Tab, enter
from tests.browser.service import Service, served
from tests.browser.tokens import Guarded, Traces, guarded_api, history, minted
from tests.support.builders import BOTH_KEY
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED = "Failed to load resource"
KEPT_WHERE_IT_MAY_BE = {"authorization", "sessionStorage"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(service: Service) -> AsyncIterator[Guarded]:
    """An API that takes tokens."""
    async with guarded_api(service) as made:
        yield made


async def kept(page: Page) -> str | None:
    """The key or token that the tab holds."""
    held: str | None = await page.evaluate("sessionStorage.getItem('readside.key')")
    return held


async def test_a_link_with_a_token_opens_its_session(service: Service, api: Guarded, visitor: Tab) -> None:
    """And the token is nowhere but in the header, and in this tab's own store."""
    session_id = await service.session(3)
    token, traces = minted([session_id]), Traces.of(visitor.page)
    await visitor.page.goto(f"{api.url}/#token={token}")
    page = visitor.page
    await expect(page.locator("#events > li")).to_have_count(3)
    await service.add(session_id, 2)
    await expect(page.locator("#events > li")).to_have_count(5)

    assert page.url == f"{api.url}/#session={session_id}"
    assert await traces.of_token(page, token) == KEPT_WHERE_IT_MAY_BE
    assert traces.asked("/api/v2/projection") == []
    assert {await request.header_value("referer") for request in traces.requests} == {None}


async def test_the_address_is_clean_before_anything_else_is_there(api: Guarded, visitor: Tab) -> None:
    """Though no other module ever comes; no entry of the history has held it."""
    visitor.expected.append(REFUSED)
    hanging = asyncio.Event()

    async def never(route: Route) -> None:
        await hanging.wait()
        await route.abort()

    token = minted(["00000000-0000-0000-0000-000000000000"])
    for name in ("main.js", "console.css", "client/event_poller.js", "client/loop.js", "client/credential.js"):
        await visitor.page.route(f"**/console/{name}", never)
    await visitor.page.goto(f"{api.url}/#token={token}", wait_until="commit")
    await visitor.page.wait_for_url(f"{api.url}/", wait_until="commit")
    entries = await history(visitor.page)
    hanging.set()

    assert entries == ["about:blank", f"{api.url}/"]


async def test_a_reload_goes_on_and_another_tab_asks(service: Service, api: Guarded, profile: Profile) -> None:
    """The link that is copied holds no token."""
    session_id = await service.session(2)
    async with profile.tab() as one, profile.neighbour() as other:
        await one.page.goto(f"{api.url}/#token={minted([session_id])}&type=step_created")
        await expect(one.page.locator("#events > li")).to_have_count(2)
        await one.page.reload()
        await expect(one.page.locator("#events > li")).to_have_count(2)
        link = one.page.url
        await other.page.goto(link)
        await expect(other.page.get_by_label("API key or token")).to_be_visible()

    assert link == f"{api.url}/#session={session_id}&type=step_created"


@pytest.mark.parametrize("form", ["{}", "urn:uuid:{}"])
async def test_a_token_beside_a_session_opens_that_one(service: Service, api: Guarded, visitor: Tab, form: str) -> None:
    """However its id is written, there and in the token, and whichever comes first."""
    first, second = await service.session(1), await service.session(2)
    token = minted([form.format(first), form.format(second)])
    written = second.upper()
    await visitor.page.goto(f"{api.url}/#session={written}&token={token}&type=step_created")
    await expect(visitor.page.locator("#events > li")).to_have_count(2)

    assert visitor.page.url == f"{api.url}/#session={written}&type=step_created"


async def test_a_token_for_several_sessions_lists_them(service: Service, api: Guarded, visitor: Tab) -> None:
    """Each a link; the projection is neither offered nor asked for."""
    sessions = [await service.session(count) for count in (1, 2)]
    traces, page = Traces.of(visitor.page), visitor.page
    await page.goto(f"{api.url}/#token={minted(sessions)}")
    await expect(page.locator("#token-note")).to_contain_text("This token reads 2 sessions. The token ends on")
    await expect(page.locator("#token-sessions a")).to_have_text(sessions)
    await expect(page.get_by_role("link", name="Projection")).to_be_hidden()
    await page.get_by_role("link", name=sessions[1]).click()
    await expect(page.locator("#events > li")).to_have_count(2)
    await page.get_by_role("link", name="Sessions").click()
    await expect(page.locator("#token-sessions a")).to_have_count(2)

    assert traces.asked("/api/v2/projection") == []


async def test_a_token_for_every_session_opens_any(service: Service, api: Guarded, visitor: Tab) -> None:
    """By its id."""
    session_id = await service.session(2)
    await visitor.page.goto(f"{api.url}/#token={minted('*')}")
    await expect(visitor.page.locator("#token-note")).to_contain_text("This token reads every session")
    await visitor.page.get_by_role("textbox", name="Session").fill(session_id)
    await visitor.page.keyboard.press("Enter")

    await expect(visitor.page.locator("#events > li")).to_have_count(2)


async def test_a_session_that_the_token_does_not_name_is_not_asked_for(
    service: Service, api: Guarded, visitor: Tab
) -> None:
    """The page says so."""
    named, other = await service.session(1), await service.session(1)
    traces = Traces.of(visitor.page)
    await visitor.page.goto(f"{api.url}/#session={other}&token={minted([named])}")
    await expect(visitor.page.locator("#refused-page")).to_contain_text(
        f"This token does not name the session {other}."
    )

    assert traces.asked("/api/") == []


async def test_a_token_that_lies_is_refused_by_the_server(service: Service, api: Guarded, visitor: Tab) -> None:
    """What it says is for display alone."""
    visitor.expected.append(REFUSED)
    session_id = await service.session(1)
    head, body, _ = minted([session_id]).split(".")
    await visitor.page.goto(f"{api.url}/#token={head}.{body}.c2lnbmF0dXJl")
    await expect(visitor.page.locator("#key-problem")).to_have_text(
        "The token's signature is not of a key that may sign tokens. Ask for a new link."
    )

    assert await kept(visitor.page) is None


@pytest.mark.usefixtures("short_holds")
async def test_when_the_token_ends_the_page_says_so_and_asks_no_more(
    service: Service, api: Guarded, profile: Profile, visitor: Tab
) -> None:
    """A new link goes on."""
    visitor.expected.append(REFUSED)
    session_id = await service.session(1)
    await visitor.page.goto(f"{api.url}/#token={minted([session_id], seconds=8)}")
    await expect(visitor.page.locator("#events > li")).to_have_count(1)
    await expect(visitor.page.locator("#key-problem")).to_have_text("This token has ended; ask for a new link.")
    asked = len(api.asked)
    async with profile.neighbour() as other:
        page = await enter(other, f"{service.url}/#session={session_id}", BOTH_KEY)
        await expect(page.locator("#events > li")).to_have_count(1)
        service.heard.clear()
        await eventually(lambda: len(service.heard) >= 3, "three polls of somebody else")

    assert len(api.asked) == asked
    assert await kept(visitor.page) is None
    await visitor.page.goto(f"{api.url}/#token={minted([session_id])}")
    await expect(visitor.page.locator("#events > li")).to_have_count(1)


async def test_a_token_is_typed_in_place_of_a_key(service: Service, api: Guarded, visitor: Tab) -> None:
    """Or the link that holds it is pasted."""
    session_id = await service.session(2)
    token, page = minted([session_id]), visitor.page
    traces = Traces.of(page)
    await page.goto(api.url)
    for text in (token, f"{api.url}/#token={token}"):
        await page.get_by_label("API key or token").fill(text)
        await page.get_by_role("button", name="Open the console").click()
        await expect(page.locator("#events > li")).to_have_count(2)
        assert await kept(page) == token
        await page.get_by_role("button", name="Change key").click()
        await expect(page.get_by_label("API key or token")).to_be_visible()

    assert await traces.of_token(page, token) == {"authorization"}


async def test_what_is_pasted_where_sessions_are_opened_stays_out_of_the_address(
    service: Service, api: Guarded, visitor: Tab
) -> None:
    """A link, or a bare token: it takes the place of what the tab holds."""
    first, second = await service.session(1), await service.session(2)
    page, box = await enter(visitor, api.url, None), visitor.page.get_by_role("textbox", name="Session")
    traces = Traces.of(page)
    tokens = [minted([first]), minted([second])]
    await box.fill(f"{api.url}/#session={first}&token={tokens[0]}")
    await page.keyboard.press("Enter")
    await expect(page.locator("#events > li")).to_have_count(1)
    await box.fill(tokens[1])
    await page.keyboard.press("Enter")
    await expect(page.locator("#events > li")).to_have_count(2)

    assert await traces.of_token(page, tokens[0]) == {"authorization"}
    assert await traces.of_token(page, tokens[1]) == KEPT_WHERE_IT_MAY_BE


async def test_a_link_in_a_tab_that_holds_a_key(service: Service, api: Guarded, visitor: Tab) -> None:
    """The token takes the key's place in this tab, and leaves the address here too."""
    session_id = await service.session(2)
    token, traces = minted([session_id]), Traces.of(visitor.page)
    page = visitor.page
    await page.goto(api.url)
    await page.get_by_label("API key or token").fill(BOTH_KEY)
    await page.get_by_role("button", name="Open the console").click()
    await expect(page.locator("#status")).to_have_text("live")
    await page.evaluate("(hash) => { location.hash = hash; }", f"token={token}")
    await expect(page.locator("#events > li")).to_have_count(2)

    assert await traces.of_token(page, token) == KEPT_WHERE_IT_MAY_BE
    assert page.url == f"{api.url}/#session={session_id}"


def _part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


_HEAD = _part(b'{"alg":"HS256"}')
DAMAGED = {
    "empty": "token=",
    "no token at all": "token=<img src=x onerror=window.hacked=1>",
    "html": "token=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E",
    "garbage": "token=%E0%A4%A&%zz=%00%ff",
    "two parts": "token=a.b",
    "five parts": f"token={_HEAD}.a.b.c.d",
    "a head that is no object": f"token={_part(b'[]')}.e30.eA",
    "two of them": f"token={_HEAD}.e30.eA&token={_HEAD}.e30.eB",
    "longer than a token may be": f"token={_HEAD}.{'x' * 10_000}.eA",
    "huge": "token=" + "x" * 1_000_000,
    "very many": "token=&" + "a=1&" * 15_000,
}


@pytest.mark.parametrize("fragment", DAMAGED.values(), ids=DAMAGED.keys())
async def test_a_damaged_token_is_told_and_gone(api: Guarded, visitor: Tab, fragment: str) -> None:
    """From the address too; nothing is asked, nothing runs, nothing is kept."""
    traces = Traces.of(visitor.page)
    await visitor.page.goto(f"{api.url}/#{fragment}")
    await expect(visitor.page.locator("#key-problem")).to_have_text(
        "The token in that link is damaged; ask for a new link."
    )

    assert (visitor.page.url, await kept(visitor.page)) == (f"{api.url}/", None)
    assert traces.asked("/api/") == []
    assert await visitor.page.evaluate("window.hacked") is None


HOSTILE = {
    "sessions that are markup": '{"sessions":["<img src=x onerror=window.hacked=1>"]}',
    "sessions of other kinds": '{"sessions":[1,null,{},["x"],true]}',
    "sessions that are none": '{"sessions":"everything"}',
    "no claims": "[]",
    "deep": "[" * 5000,
    "a prototype": '{"__proto__":{"sessions":"*"},"sessions":{"length":3}}',
    "an end that is none": '{"sessions":[],"exp":"<b>soon</b>"}',
    "an end past all days": '{"sessions":[],"exp":1e300}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_claims_that_are_none_name_no_session(api: Guarded, visitor: Tab, body: str) -> None:
    """What they hold is never markup, and nothing is asked."""
    traces = Traces.of(visitor.page)
    await visitor.page.goto(f"{api.url}/#token={_HEAD}.{_part(body.encode())}.eA")
    await expect(visitor.page.locator("#token-note")).to_contain_text(
        "This token names no session: ask for a new link."
    )

    assert traces.asked("/api/") == []
    assert await visitor.page.evaluate("[window.hacked, document.querySelectorAll('main :is(img, b)').length]") == [
        None,
        0,
    ]


@pytest.mark.parametrize(
    "shape",
    ["session={id}&token%3D{token}", "/token={token}", "Token={token}", "{token}", "session={token}", "type={token}"],
)
async def test_a_token_that_was_put_there_wrongly_does_not_stay(
    api: Guarded, visitor: Tab, service: Service, shape: str
) -> None:
    """It is not taken either."""
    token = minted([await service.session(1)])
    await visitor.page.goto(f"{api.url}/#" + shape.format(token=token, id="7d444840-9dc0-11d1-b245-5ffdce74fad2"))
    await expect(visitor.page.get_by_label("API key or token")).to_be_visible()

    assert token.split(".")[2] not in str(await history(visitor.page))
    assert await kept(visitor.page) is None


async def test_where_no_key_is_asked_for_a_token_is_not_kept(service: Service, visitor: Tab) -> None:
    """It leaves the address all the same."""
    port, token = free_port(), minted(["00000000-0000-0000-0000-000000000000"])
    async with opened(replace(service.config, keys=None)) as app, served(app, port):
        await visitor.page.goto(f"http://127.0.0.1:{port}/#token={token}")
        await expect(visitor.page.locator("#status")).to_have_text("live")

    assert (visitor.page.url, await kept(visitor.page)) == (f"http://127.0.0.1:{port}/", None)
