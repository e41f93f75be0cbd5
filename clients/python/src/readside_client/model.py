"""What a poll gives: events, pages of them, and how fresh they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from readside_client.instants import timestamp_us


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as committed; `timestamp` is the text of the API, six decimals and Z (or `infinity`)."""

    id: str
    session_id: str
    step_id: str | None
    event_type: str
    event_data: Any
    message: str | None
    timestamp: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Build from an item of an answer, whatever else it holds; raises KeyError and TypeError."""
        return cls(*(item[name] for name in cls.__slots__))

    @property
    def timestamp_us(self) -> int:
        """The timestamp as microseconds since 1970."""
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
