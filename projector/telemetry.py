"""What the projector counts about itself."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

MAX_SET_ASIDE = 10_000
"""Sessions remembered as set aside; past it the oldest is forgotten and would be tried again."""
MAX_ERRORS = 5
"""The last errors that a report tells."""


@dataclass(slots=True)
class Telemetry:
    """Counters since the process began, and its state in words; `applied_at` (monotonic) is when as-of last moved."""

    role: Literal["starting", "standby", "leader"] = "starting"
    state: Literal["waiting", "catching_up", "live"] = "waiting"
    reason: str | None = None
    last_error: str | None = None
    term: str | None = None
    as_of_us: int | None = None
    round_trip_us: int | None = None
    applied_at: float | None = None
    hot_sessions: int = 0
    loading: int = 0
    queue_usage: float = 0.0
    events_applied: int = 0
    batches: int = 0
    terms: int = 0
    connections: int = 0
    loads: int = 0
    looks: int = 0
    notices_ignored: int = 0
    compared: int = 0
    drift: int = 0
    set_aside: dict[str, str] = field(default_factory=dict)
    told_aside: dict[str, None] = field(default_factory=dict)
    """Sessions that the log told of: one may be tried again and again, and is as bad as before."""
    errors: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=MAX_ERRORS))

    def note_error(self, sentence: str) -> None:
        """Keep an error with when it came (µs since 1970); while the same comes again and again, when it last came."""
        if self.errors and self.errors[-1][1] == sentence:
            self.errors.pop()
        self.errors.append((time.time_ns() // 1000, sentence))

    def put_aside(self, session_id: str, reason: str) -> bool:
        """Note a session that the view cannot hold; tell whether that is news."""
        news = session_id not in self.told_aside
        self.set_aside[session_id] = reason
        self.told_aside[session_id] = None
        for remembered in (self.set_aside, self.told_aside):
            while len(remembered) > MAX_SET_ASIDE:
                remembered.pop(next(iter(remembered)))
        return news

    def put_hot(self, session_id: str) -> None:
        """Note that the view holds a session: were it set aside later, that would be news."""
        self.loads += 1
        self.told_aside.pop(session_id, None)
