"""The judge of one answer: does any state of the session fit it, between its as-of and its receipt? No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.oracle.histories import Event, History, Life

EMPTY = History("")
Lives = dict[str, list[Life]]
"""Of the events of a session, by id."""


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
    steps: frozenset[str] = frozenset()
    oldest_first: bool = False

    @property
    def offset(self) -> int:
        """How many matches stand before the page."""
        return (self.page - 1) * self.limit

    def wants(self, event: Event) -> bool:
        """Whether an event matches."""
        after = self.since_us is None or event.timestamp_us > self.since_us
        of_step = not self.steps or event.step_id in self.steps
        return after and of_step and (not self.types or event.event_type in self.types)


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
    offset = question.offset
    if question.oldest_first:
        items, offset = items[::-1], total - offset - len(items)
    _check_items(items, span, possible)
    if items:
        _check_places(items, offset, total, certain, possible)


def matches(history: History, question: Question, given: Given) -> tuple[dict[str, Event], Lives]:
    """Events by id that the state behind an answer must hold, and the lives of those that it may hold."""
    certain: dict[str, Event] = {}
    possible: Lives = {}
    span = given.as_of_us, given.received_us
    for life in history.events:
        event = life.event
        if event is None or not life.possible(*span) or not question.wants(event):
            continue
        possible.setdefault(event.id, []).append(life)
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


def _check_items(items: Sequence[Mapping[str, Any]], span: tuple[int, int], possible: Lives) -> None:
    before: tuple[int, str] | None = None
    for item in items:
        lives = possible.get(item["id"])
        if lives is None:
            raise Wrong(f"event {item['id']} cannot be there")
        expected = [event.item() for life in lives for event in life.readings(*span)]
        if item not in expected:
            raise Wrong(f"event {item} instead of {expected}")
        place = _place_of(lives)
        if before is not None and place >= before:
            raise Wrong(f"event {item['id']} is out of order")
        before = place


def _check_places(
    items: Sequence[Mapping[str, Any]], offset: int, total: int, certain: Mapping[str, Event], possible: Lives
) -> None:
    """The page is where the total and the offset say: as many before it and after it as can be."""
    shown = {item["id"] for item in items}
    first, last = _place_of(possible[items[0]["id"]]), _place_of(possible[items[-1]["id"]])
    surely = [_place(event) for event in certain.values()]
    perhaps = [_place_of(lives) for lives in possible.values()]
    missing = sorted(place[1] for place in surely if last < place < first and place[1] not in shown)
    if missing:
        raise Wrong(f"{len(missing)} events are missing between others of the page: {missing[:3]}")
    _check_count("before", offset, *(sum(place > first for place in known) for known in (surely, perhaps)))
    after = total - offset - len(items)
    _check_count("after", after, *(sum(place < last for place in known) for known in (surely, perhaps)))


def _check_count(where: str, wanted: int, least: int, most: int) -> None:
    if not least <= wanted <= most:
        raise Wrong(f"{wanted} events {where} the page, and there are {least} to {most}")


def _place(event: Event) -> tuple[int, str]:
    return event.timestamp_us, event.id


def _place_of(lives: Sequence[Life]) -> tuple[int, str]:
    """Of one id: what changes of an event is not its place."""
    event = lives[0].event
    return _place(event) if event else (0, "")
