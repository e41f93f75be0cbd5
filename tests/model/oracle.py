"""Whether an answer is right: it must fit some state of its session between its as-of and now."""

import re
from collections.abc import Iterable

import orjson

from query_api.http.reply import Reply
from readmodel.values.event import EventRow
from readmodel.values.poll import Poll, render
from readmodel.values.poll_query import parse_since
from tests.model.postgres import TERMINAL, Postgres
from tests.model.transactions import State
from tests.support.viewing import newest_first, step_of

_INSTANT = re.compile(rb"(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d{6})Z")


class Wrong(Exception):
    """An answer that fits no state of its session between its as-of and now, or a session that does not recover."""


def check(postgres: Postgres, poll: Poll, reply: Reply) -> str | None:
    """Check a reply; give its source, or None when it is no answer. Raises Wrong."""
    if reply.status not in {200, 404}:
        return None
    headers = dict(reply.headers)
    as_of_us = instant(headers[b"readside-as-of"])
    source = headers[b"readside-source"].decode()
    now_us = postgres.now_us()
    states = postgres.window(poll.session_id, as_of_us)
    terminal = headers.get(b"x-poll-interval") in {b"15", b"30"}
    fault = "it claims a later as-of than now" if as_of_us > now_us else _fault(states, poll, reply, terminal=terminal)
    if fault:
        shown = [state and (state.status, sorted(key.hex()[-4:] for key in state.events)) for state in states]
        raise Wrong(
            f"{source}: {fault}; {poll} as of {as_of_us % 10**9}, now {now_us % 10**9}, was {shown}, "
            f"answered {reply.status} {re.findall(rb'-[0-9a-f]{8}([0-9a-f]{4})[^-]', reply.body)}"
        )
    return source


def instant(text: bytes) -> int:
    """Read an instant as microseconds since 1970."""
    return parse_since(text.decode())


def _fault(states: list[State | None], poll: Poll, reply: Reply, *, terminal: bool) -> str | None:
    if reply.status == 404:
        return None if None in states else "there was such a session all the time"
    there = [state for state in states if state]
    if not there:
        return "there was no such session"
    if all((state.status in TERMINAL) != terminal for state in there):
        return "its status was another all the time"
    matching = [frozenset(_matching(state.events.values() if state else (), poll)) for state in states]
    body = orjson.loads(reply.body)
    return _page_fault(
        frozenset.intersection(*matching), frozenset.union(*matching), poll, reply.body, body["total"], body["items"]
    )


def _page_fault(
    always: frozenset[EventRow],
    ever: frozenset[EventRow],
    poll: Poll,
    body: bytes,
    total: int,
    items: list[dict[str, str]],
) -> str | None:
    by_id: dict[str, list[EventRow]] = {}
    for event in ever:
        by_id.setdefault(event.id.hex(), []).append(event)
    page = []
    for item in items:
        versions = [event for event in by_id.get(item["id"].replace("-", ""), ()) if event.member in body]
        if not versions:
            return f"{item['id'][-4:]} was not there, or not so"
        page.append(versions[0])
    if poll.oldest_first:
        page.reverse()
    if page != newest_first(page) or len({event.id for event in page}) < len(page):
        return "it is not in order"
    least, most = len({event.id for event in always}), len(by_id)
    if not least <= total <= most:
        return f"its total is {total}, not {least} to {most}"
    if len(page) != max(0, min(poll.limit, total - poll.offset)):
        return "page and total do not agree"
    offset = total - poll.offset - len(page) if poll.oldest_first else poll.offset
    if page and _missing(always, page, offset):
        return "it lacks an event"
    members = [event.member for event in (reversed(page) if poll.oldest_first else page)]
    return None if body == render(b",".join(members), total, poll) else "its form is another"


def _missing(always: Iterable[EventRow], page: list[EventRow], offset: int) -> bool:
    """Tell whether an event that was always there should stand on this page, behind so many, and does not."""

    def place(event: EventRow) -> tuple[int, bytes]:
        return event.score or 0, event.id

    first, last = place(page[0]), place(page[-1])
    ids = {event.id for event in page}
    others = [event for event in always if event.id not in ids]
    before = sum(place(event) > first for event in others)
    between = any(last < place(event) < first for event in others)
    return between or before > offset


def _matching(events: Iterable[EventRow], poll: Poll) -> list[EventRow]:
    return [
        event
        for event in events
        if (poll.since_us is None or (event.score or 0) > poll.since_us)
        and (not poll.types or event.event_type in poll.types)
        and (not poll.steps or step_of(event) in poll.steps)
    ]
