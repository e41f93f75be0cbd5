"""The console's page about the projection, in Chromium, over a real service."""

import json
import re
from dataclasses import replace

import pytest
from playwright.async_api import Locator, Page, Route, expect

from readmodel.redis.client import connect
from readmodel.redis.servers import OneServer
from readmodel.view.keys import Keys
from readside.api import opened
from readside.demo.processes import free_port
from tests.browser.browsing import Profile, Tab, enter
from tests.browser.service import Service, served
from tests.support.builders import BOTH_KEY, OPS_KEY, READ_KEY
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

AWAY = "Failed to load resource"


async def test_a_first_visit_asks_for_a_key_once(service: Service, profile: Profile, visitor: Tab) -> None:
    """It is kept for the tab and in no address; another tab asks again."""
    page = await enter(visitor, service.url, None)
    await expect(page.get_by_label("API key")).to_be_focused()
    await page.keyboard.type(BOTH_KEY)
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_have_text("live")
    await page.reload()
    await expect(page.locator("#status")).to_have_text("live")

    assert BOTH_KEY not in page.url
    assert await page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 1, ""]
    async with profile.neighbour() as other:
        await other.page.goto(service.url)
        await expect(other.page.get_by_label("API key")).to_be_visible()


async def test_a_wrong_key_is_told(service: Service, visitor: Tab) -> None:
    """And asked for again; then it goes on."""
    visitor.expected.append(AWAY)
    page = await enter(visitor, service.url, None)
    await page.get_by_label("API key").fill("two words")
    await page.get_by_role("button", name="Open the console").click()
    await expect(page.locator("#key-problem")).to_contain_text("That is no key")
    await page.get_by_label("API key").fill("wrong")
    await page.get_by_role("button", name="Open the console").click()
    await expect(page.locator("#key-problem")).to_have_text("The API key is not known.")
    await page.get_by_label("API key").fill(BOTH_KEY)
    await page.get_by_role("button", name="Open the console").click()

    await expect(page.locator("#status")).to_have_text("live")


async def test_a_key_to_read_sees_sessions_only(service: Service, visitor: Tab) -> None:
    """The page says which scope is missing, and what the key is good for."""
    visitor.expected.append(AWAY)
    session_id = await service.session(3)
    page = await enter(visitor, service.url, READ_KEY)
    await expect(page.locator("#refused-page")).to_contain_text("The API key dashboard lacks the scope ops.")
    await expect(page.locator("#refused-advice")).to_contain_text("you can open a session by its id")
    await page.get_by_role("textbox", name="Session").fill(session_id)
    await page.get_by_role("button", name="Open").click()

    await expect(page.locator("#events > li")).to_have_count(3)


async def test_a_key_for_operators_sees_the_projection_only(service: Service, visitor: Tab) -> None:
    """The same, the other way round."""
    visitor.expected.append(AWAY)
    page = await enter(visitor, f"{service.url}/#session={await service.session()}", OPS_KEY)
    await expect(page.locator("#refused-page")).to_contain_text("The API key pager lacks the scope read.")
    await page.get_by_role("link", name="Projection").click()

    await expect(page.locator("#status")).to_have_text("live")


async def test_where_no_key_is_needed_none_is_asked_for(service: Service, visitor: Tab) -> None:
    """READSIDE_AUTH is none: nothing to type, nothing refused on the way."""
    port = free_port()
    async with opened(replace(service.config, keys=None)) as app, served(app, port):
        page = await enter(visitor, f"http://127.0.0.1:{port}", None)
        await expect(page.locator("#status")).to_have_text("live")
        await expect(page.get_by_role("button", name="Change key")).to_be_hidden()


async def test_under_a_prefix_everything_is_found(service: Service, visitor: Tab) -> None:
    """Modules, data and links are relative."""
    port = free_port()
    async with opened(replace(service.config, root_path="/tools/readside")) as app, served(app, port):
        page = await enter(visitor, f"http://127.0.0.1:{port}/tools/readside/", BOTH_KEY)
        await expect(page.locator("#status")).to_have_text("live")
        await page.get_by_role("link", name="documentation").click()
        await expect(page.locator("h1")).to_have_text("readside")
        await expect(page.locator("h2")).not_to_have_count(0)


async def test_a_link_from_the_table_leads_to_the_top_of_the_sessions_page(service: Service, visitor: Tab) -> None:
    """And back leads back."""
    session_id = [await service.session(1) for _ in range(30)][-1]
    page = await enter(visitor, service.url, BOTH_KEY)
    await _row(page, session_id).get_by_role("link").click()
    await expect(page.locator("#session-name")).to_have_text(session_id)
    await expect(page.locator("#events > li")).to_have_count(1)
    at_the_top = await page.evaluate("scrollY")
    await page.go_back()
    await expect(page.locator("#status")).to_have_text("live")

    assert at_the_top == 0


async def test_everything_about_the_projection_is_there(service: Service, visitor: Tab) -> None:
    """The verdict in the CLI's words, both latencies, as-of, processes, what is inside, and errors."""
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#status")).to_have_text("live")
    await expect(page.locator("#lag")).to_contain_text("ms")
    await expect(page.locator("#as-of")).to_contain_text(":")
    await expect(page.locator("#answer")).to_have_text("Yes")
    await expect(page.locator("#users-see")).to_contain_text("Hot sessions are answered from memory or Redis")
    await expect(page.locator("#to-do")).to_have_text("Nothing.")
    await expect(page.locator("#trip-p50")).to_contain_text("ms")
    await expect(page.locator("#trip-p99")).to_contain_text("ms")
    await expect(page.locator("#processes tbody tr")).to_contain_text(["leader", "connections"])
    await expect(page.locator("#inside")).to_contain_text("last heartbeat took")
    await expect(page.locator("#inside")).to_contain_text("% full")
    await expect(page.locator("#drift")).to_contain_text("No hot session differed from Postgres")
    await expect(page.locator("#errors-count")).to_have_text("no errors")
    await expect(page.locator("#changes .started")).not_to_have_count(0)


async def test_events_a_second_are_told(service: Service, visitor: Tab) -> None:
    """From the leader's reports."""
    session_id = await service.session()
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#event-rate")).to_have_text("0")
    await service.add(session_id, 500)

    async def is_told() -> bool:
        return float(await page.locator("#event-rate").text_content() or 0) > 10

    await eventually(is_told, "a rate")


async def test_the_chart_moves(service: Service, visitor: Tab) -> None:
    """Each second there is another point."""
    page = await enter(visitor, service.url, BOTH_KEY)
    line = page.locator("#chart .line")
    await expect(line).to_have_attribute("d", _several_points())
    before = await line.get_attribute("d")

    await expect(line).not_to_have_attribute("d", before or "")
    await expect(page.locator("#chart-summary")).to_contain_text("Lag: median")


async def test_a_page_that_is_opened_now_has_a_past(service: Service, visitor: Tab) -> None:
    """The API process took samples before anybody looked."""

    async def remembered() -> bool:
        return len((await service.get("/api/v2/projection/history")).json()["samples"]) > 3

    await eventually(remembered, "the API has a history")
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#chart .line")).to_have_attribute("d", _several_points())
    points = await page.evaluate("document.querySelector('#chart .line').getAttribute('d').split('L').length")

    assert points >= 4


async def test_hot_sessions_are_sorted_and_filtered(service: Service, visitor: Tab) -> None:
    """By a click on a head, and by what is typed."""
    sizes = {await service.session(size): size for size in (7, 91, 33)}
    page = await enter(visitor, service.url, BOTH_KEY)
    for session_id in sizes:
        await expect(_row(page, session_id)).to_be_visible()
    head = page.get_by_role("columnheader", name="events")
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "descending")
    descending = await _events(page)
    await head.get_by_role("button").press("Enter")
    await expect(head).to_have_attribute("aria-sort", "ascending")
    ascending = await _events(page)
    chosen = next(iter(sizes))
    await page.get_by_label("Find a session by id or status").fill(chosen[:13])
    await expect(page.locator("#hot-sessions tbody tr")).to_have_count(1)

    assert descending == sorted(descending, reverse=True)
    assert ascending == sorted(ascending)
    assert await _events(page) == [7]


async def test_the_last_poll_of_a_session_is_told(service: Service, visitor: Tab) -> None:
    """It is seen some seconds after it."""
    session_id = await service.session(1)
    page = await enter(visitor, service.url, BOTH_KEY)
    poll = _row(page, session_id).locator("td").nth(4)
    await expect(poll).to_have_text("–")

    async def is_polled() -> bool:
        return (await service.get(f"/api/v2/sessions/{session_id}/events")).headers["readside-source"] != "postgres"

    await eventually(is_polled, "a poll of the hot session")

    await expect(poll).to_contain_text("ago")


async def test_a_projector_that_is_killed_is_noticed_and_so_is_the_next(service: Service, visitor: Tab) -> None:
    """Stale first, then down, then live again by itself."""
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#status")).to_have_text("live")
    await service.kill_projector()
    await expect(page.locator("#status")).to_have_text("stale")
    await expect(page.locator("#announcements")).to_contain_text("The projection is stale.")
    await expect(page.locator("#status")).to_have_text("down")
    await expect(page.locator("#reason")).to_contain_text("No projector leads")
    await service.start_projector()

    await expect(page.locator("#status")).to_have_text("live")
    assert await page.locator("#chart .state.stale").count() > 0


async def test_an_api_that_is_away_is_told_and_so_is_its_return(service: Service, visitor: Tab) -> None:
    """The page goes on by itself, its chart filled again."""
    visitor.expected.append(AWAY)
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#status")).to_have_text("live")
    await service.stop_api()
    await expect(page.get_by_role("alert").filter(has_text="The API does not answer.")).to_be_visible()
    await expect(page.locator("#trouble-times")).to_have_text(
        re.compile(r"^The figures below are from \d+ \w+ \d{4}, \d\d:\d\d:\d\d, .+\. Trying again")
    )
    await expect(page.locator("#status")).to_have_text("unknown")
    await service.start_api()

    await expect(page.locator("#status")).to_have_text("live")
    await expect(page.locator("#trouble")).to_be_hidden()


async def test_without_any_answer_no_figures_are_told_of(service: Service, visitor: Tab) -> None:
    """There are none below; and an API that answers with an error does answer."""
    visitor.expected.append(AWAY)
    await visitor.page.route("**/api/v2/projection/**", _broken)
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#trouble-text")).to_have_text("Something is wrong.")
    await expect(page.locator("#trouble-times")).not_to_contain_text("figures")

    await expect(page.locator("#reason")).to_have_text(
        "The API refused this request, so the state of the projection is not known."
    )


async def _broken(route: Route) -> None:
    await route.fulfill(status=500, json={"detail": "Something is wrong."})


async def test_a_live_view_is_told_as_far_as_it_is_known(service: Service, visitor: Tab) -> None:
    """How old the last beat is; that its leader is silent, or catches up: never that every beat comes."""
    told = (await service.get("/api/v2/projection")).json()
    told |= {"status": "live", "reason": None, "lag_ms": 4_400, "leader": {**told["leader"], "state": "catching_up"}}
    await visitor.page.route("**/api/v2/projection", lambda route: route.fulfill(json=told))
    page = await enter(visitor, service.url, BOTH_KEY)
    reason = page.locator("#reason")
    await expect(reason).to_have_text("The view's last heartbeat is 4.4 s old. The leading projector is catching up.")

    await expect(reason).to_contain_text("The leading projector has not reported for")


async def test_last_errors_outlive_the_leader_that_had_them(service: Service, visitor: Tab) -> None:
    """The next one tells them, with when they came."""
    at = "2026-01-13T14:30:00.000000Z"
    left = {"errors": [{"at": at, "text": "PostgreSQL closed the connection."}], "reported_at_us": 0}
    redis = connect(service.config.redis_url, name="test")
    keys = Keys(service.config.redis_prefix, OneServer(redis).database)
    await redis.hset(keys.projectors, "killed", json.dumps(left))
    await redis.aclose()
    page = await enter(visitor, service.url, BOTH_KEY)

    error = page.locator("#changes .error", has_text="PostgreSQL closed the connection.")
    await expect(error.locator("time")).to_have_attribute("datetime", at)
    await service.kill_projector()
    await service.start_projector()
    await expect(error).to_have_count(1)


async def test_an_error_that_two_projectors_tell_is_shown_once(service: Service, visitor: Tab) -> None:
    """A leader that was frozen comes back as a standby, and its successor has taken its errors over."""
    told = (await service.get("/api/v2/projection")).json()
    had = {"errors": [{"at": "2026-01-13T14:30:00.000000Z", "text": "PostgreSQL closed the connection."}]}
    told |= {"leader": told["leader"] | had, "standbys": [told["leader"] | had | {"role": "standby"}]}
    await visitor.page.route("**/api/v2/projection", lambda route: route.fulfill(json=told))
    page = await enter(visitor, service.url, BOTH_KEY)

    await expect(page.locator("#changes .error", has_text="PostgreSQL closed the connection.")).to_have_count(1)


async def test_what_the_api_remembers_is_told_without_a_leader(service: Service, visitor: Tab) -> None:
    """Errors and terms are listed and marked on the chart, and errors can be looked at alone."""
    told = (await service.get("/api/v2/projection")).json()
    told |= {"status": "down", "reason": "No projector leads.", "leader": None, "standbys": [], "apis": []}
    history = (await service.get("/api/v2/projection/history")).json()
    at = history["samples"][-1]["at"]
    history["changes"] = [
        {"at": at, "kind": "term", "text": "Term 5f2b6c0e began."},
        {"at": at, "kind": "error", "text": "It broke."},
    ]
    await visitor.page.route("**/api/v2/projection", lambda route: route.fulfill(json=told))
    await visitor.page.route("**/api/v2/projection/history", lambda route: route.fulfill(json=history))
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#answer")).to_have_text("No")
    await expect(page.locator("#changes li")).to_have_count(2)
    await expect(page.locator("#chart .mark.error")).to_have_count(1)
    await page.get_by_label("errors only").check()

    await expect(page.locator("#changes li")).to_have_count(1)
    await expect(page.locator("#errors-count")).to_have_text("1 error")


async def test_a_value_of_the_chart_is_read_by_pointer_and_by_keys(service: Service, visitor: Tab) -> None:
    """With its time and state; who listens hears the same."""
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#chart .line")).to_have_attribute("d", _several_points())
    await page.locator("#chart-board").hover()
    await expect(page.locator("#chart-tip")).to_contain_text("commit to visible")
    await page.mouse.move(0, 0)
    await expect(page.locator("#chart-tip")).to_be_hidden()
    board = page.get_by_role("slider", name="A point in time")
    await board.press("Home")
    first = await board.get_attribute("aria-valuetext")
    await board.press("ArrowRight")

    await expect(board).not_to_have_attribute("aria-valuetext", first or "")
    await expect(page.locator("#chart-tip")).to_contain_text("lag, at most")


async def test_any_session_is_found_by_its_id(service: Service, visitor: Tab) -> None:
    """A hot one, one that is not in the list, and one that does not exist."""
    visitor.expected.append("404")
    session_id = await service.session(3)
    await visitor.page.route("**/projection/sessions*", lambda route: route.fulfill(json={"items": [], "total": 0}))
    page = await enter(visitor, service.url, BOTH_KEY)
    await expect(page.locator("#no-sessions")).to_have_text("No session is in Redis.")
    await page.keyboard.press("/")
    await page.keyboard.type(f"see {session_id.upper()} please")
    await expect(page.locator("#found")).to_contain_text(f"{session_id} has 3 events")
    await page.get_by_label("Find a session by id or status").fill("00000000-0000-0000-0000-000000000000")
    await expect(page.locator("#found")).to_contain_text("Session not found")
    await page.get_by_label("Find a session by id or status").fill(session_id)
    await expect(page.locator("#found")).to_contain_text("has 3 events")
    await page.keyboard.press("Enter")

    await expect(page.locator("#session-name")).to_have_text(session_id)


async def test_rows_keep_their_places_under_the_pointer(service: Service, visitor: Tab) -> None:
    """What is new waits, and is counted; by keys a row is reached and opened."""
    first = await service.session(1)
    page = await enter(visitor, service.url, BOTH_KEY)
    await _row(page, first).hover()
    second = await service.session(1)
    await expect(page.locator("#hot-note")).to_contain_text("Order frozen")
    await expect(_row(page, second)).to_have_count(0)
    await page.mouse.move(0, 0)
    await expect(_row(page, second)).to_have_count(1)
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")

    await expect(page.locator("#events > li")).not_to_have_count(0)


def _several_points() -> re.Pattern[str]:
    return re.compile(r"M.*L")


def _row(page: Page, session_id: str) -> Locator:
    return page.locator("#hot-sessions tbody tr", has_text=session_id)


async def _events(page: Page) -> list[int]:
    cells = await page.locator("#hot-sessions tbody td:nth-child(3)").all_text_contents()
    return [int(text.replace(",", "")) for text in cells]
