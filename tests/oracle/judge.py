"""The judge of one answer: does any state of the session fit it, between its as-of and its receipt? No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracle.ledger import Event, History

EMPTY = History("")


class Wrong(AssertionError):
    """An answer that no state of its session fits."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a poll asked."""

    session_id: str
    since_us: int | None = None
    types: frozenset[str] = frozenset()
    limit: int = 100
    page: int = 1

    @property
    def offset(self) -> int:
        """How many matches stand before the page."""
        return (self.page - 1) * self.limit

    def wants(self, event: Event) -> bool:
        """Whether an event matches."""
        after = self.since_us is None or event.timestamp_us > self.since_us
        return after and (not self.types or event.event_type in self.types)


@dataclass(frozen=True, slots=True)
class Given:
    """An answer; `body` is None for a 404. Instants are microseconds since 1970."""

    as_of_us: int
    received_us: int
    body: Mapping[str, Any] | None


def judge(history: History | None, question: Question, given: Given) -> None:
    """Raise Wrong unless the answer fits; `history` None when nobody ever made such a session."""
    lives = (history or EMPTY).lives
    span = given.as_of_us, given.received_us
    if given.body is None:
        if any(life.certain(*span) for life in lives):
            raise Wrong("404 for a session that was there all the time")
        return
    if not any(life.possible(*span) for life in lives):
        raise Wrong("200 for a session that was never there")
    certain, possible = matches(history or EMPTY, question, given)
    total = given.body["total"]
    if not len(certain) <= total <= len(possible):
        raise Wrong(f"total {total} is not between {len(certain)} and {len(possible)}")
    items = given.body["items"]
    _check_pagination(question, total, given.body["pagination"])
    if len(items) != max(0, min(question.limit, total - question.offset)):
        raise Wrong(f"{len(items)} items on page {question.page} of {question.limit}, total {total}")
    _check_items(items, question, possible)
    if items:
        _check_places(items, question.offset, total, certain, possible)


def matches(history: History, question: Question, given: Given) -> tuple[dict[str, Event], dict[str, Event]]:
    """Events by id that the state behind an answer must hold, and those that it may hold."""
    certain, possible = {}, {}
    span = given.as_of_us, given.received_us
    for life in history.events:
        event = life.event
        if event is None or not life.possible(*span) or not question.wants(event):
            continue
        possible[event.id] = event
        if life.certain(*span):
            certain[event.id] = event
    return certain, possible


def _check_pagination(question: Question, total: int, pagination: Mapping[str, Any]) -> None:
    pages = -(-total // question.limit)
    expected = {
        "page": question.page,
        "per_page": question.limit,
        "total": total,
        "total_pages": pages,
        "has_next": question.page < pages,
        "has_prev": question.page > 1,
    }
    if pagination != expected:
        raise Wrong(f"pagination {pagination} instead of {expected}")


def _check_items(items: Sequence[Mapping[str, Any]], question: Question, possible: Mapping[str, Event]) -> None:
    before: tuple[int, str] | None = None
    for item in items:
        event = possible.get(item["id"])
        if event is None:
            raise Wrong(f"event {item['id']} cannot be there")
        if item != event.item():
            raise Wrong(f"event {item} instead of {event.item()}")
        if before is not None and _place(event) >= before:
            raise Wrong(f"event {item['id']} is out of order")
        before = _place(event)


def _check_places(
    items: Sequence[Mapping[str, Any]],
    offset: int,
    total: int,
    certain: Mapping[str, Event],
    possible: Mapping[str, Event],
) -> None:
    """The page is where the total and the offset say: as many before it and after it as can be."""
    shown = {item["id"] for item in items}
    first, last = _place(possible[items[0]["id"]]), _place(possible[items[-1]["id"]])
    missing = sorted(e.id for e in certain.values() if last < _place(e) < first and e.id not in shown)
    if missing:
        raise Wrong(f"{len(missing)} events are missing between others of the page: {missing[:3]}")
    _check_count("before", offset, *(sum(_place(e) > first for e in known.values()) for known in (certain, possible)))
    after = total - offset - len(items)
    _check_count("after", after, *(sum(_place(e) < last for e in known.values()) for known in (certain, possible)))


def _check_count(where: str, wanted: int, least: int, most: int) -> None:
    if not least <= wanted <= most:
        raise Wrong(f"{wanted} events {where} the page, and there are {least} to {most}")


def _place(event: Event) -> tuple[int, str]:
    return event.timestamp_us, event.id
