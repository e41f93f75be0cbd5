"""What a poll gives: events, pages of them, and how fresh they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from readside_client.exact_json import ANY_JSON, ExactJson, NotJson, ParseFloat
from readside_client.instants import instant_of, timestamp_us

_FIELDS = itemgetter("id", "session_id", "step_id", "event_type", "event_data", "message", "timestamp")


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event, as committed. `json` is its own text as the API sent it, of which the rest is read.

    Events are equal where their texts are, whatever was made of the numbers in `event_data`. `timestamp` is the API's
    text: six decimals and Z, or what Postgres prints of infinity, of years BC and past 9999. `at` is its datetime.

    `offset`: where `follow` goes on, once this event has been handled. None of an event that it did not give.
    """

    id: str
    session_id: str
    step_id: str | None
    event_type: str
    event_data: Any = field(compare=False)
    message: str | None
    timestamp: str
    json: str
    offset: str | None = field(default=None, compare=False)

    @staticmethod
    def from_json(json: str, parse_float: ParseFloat = float) -> Event:
        """Read an event's own text again, such as one that was stored; raises ValueError."""
        item, end = ExactJson(parse_float).value(json, 0)
        if end != len(json):
            raise NotJson(f"at character {end} an event ends, and more follows")
        return event_of(item, json)

    def __repr__(self) -> str:
        return f"Event.from_json({self.json!r})"

    @property
    def event_data_json(self) -> str:
        """The text of `event_data` in `json`: each digit, and each key, as Postgres holds it."""
        found, _ = ANY_JSON.members(self.json, 0, {"event_data": ANY_JSON.raw})
        text: str = found["event_data"]
        return text

    @property
    def at(self) -> datetime | None:
        """The timestamp, with its offset; None where no datetime can hold it: infinity, BC, years past 9999."""
        return instant_of(self.timestamp)

    @property
    def timestamp_us(self) -> int:
        """The timestamp as microseconds since 1970, of any year; 2**64 and its negative for the infinities."""
        return timestamp_us(self.timestamp)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Which store answered, as of when, and how old that instant was when the answer left, in milliseconds.

    Every event that was committed before `as_of` (by Postgres' clock) is in the answer.
    """

    source: str
    as_of: datetime
    lag_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """One answer: `items` newest first, `total` of all matches, and the seconds to wait before asking again."""

    items: tuple[Event, ...]
    total: int
    page: int
    per_page: int
    total_pages: int
    has_next: bool
    has_prev: bool
    etag: str
    freshness: Freshness
    poll_interval_seconds: float


def event_of(item: Any, json: str, offset: str | None = None) -> Event:
    """Build an event of an item of an answer, whatever else it holds, and of the item's text; raises NotJson."""
    try:
        event_id, session_id, step_id, event_type, event_data, message, timestamp = _FIELDS(item)
    except (KeyError, TypeError) as error:
        raise NotJson(f"{json[:20]!r} is no event: {error!r}") from None
    for text in (event_id, session_id, event_type, timestamp):
        if not isinstance(text, str):
            raise NotJson(f"{json[:20]!r} is no event: {type(text).__name__} stands where text belongs")
    return Event(event_id, session_id, step_id, event_type, event_data, message, timestamp, json, offset)
