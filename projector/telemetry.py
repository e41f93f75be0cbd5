"""What the projector counts about itself."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from readmodel.histogram import SECONDS, Histogram

MAX_SET_ASIDE = 10_000
"""Sessions remembered as set aside, or as differing; past it the oldest is forgotten (and would be tried again)."""
MAX_ERRORS = 5
"""The last errors that a report tells."""
ROUND_TRIP_SECONDS = (*SECONDS, 10.0, 30.0, 60.0)


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
    drift_repaired: int = 0
    catch_ups: int = 0
    loads_failed: int = 0
    sessions_lost: int = 0
    sessions_reloaded: int = 0
    reconnects: Counter[str] = field(default_factory=lambda: Counter(postgres=0, redis=0))
    """Listening connections that were lost or given up, by cause."""
    round_trips: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_SECONDS))
    """Of every beat that came back, also of those that others overtook: what waited longest would be left out."""
    events_waiting: Callable[[], int] = int
    """How many events are named by notices and not applied yet."""
    drifting: dict[str, None] = field(default_factory=dict)
    """Sessions found to differ whose load is under way."""
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
        _bound(self.set_aside)
        _bound(self.told_aside)
        self.note_repaired(session_id)
        return news

    def put_hot(self, session_id: str) -> None:
        """Note that the view holds a session: were it set aside later, that would be news."""
        self.loads += 1
        self.told_aside.pop(session_id, None)
        self.note_repaired(session_id)

    def note_drift(self, session_id: str) -> None:
        """Count a hot session that differs from Postgres."""
        self.drift += 1
        self.drifting[session_id] = None
        _bound(self.drifting)

    def note_repaired(self, session_id: str) -> None:
        """Count a session that differed, when the view holds it as Postgres does or, rightly, not at all."""
        if session_id in self.drifting:
            del self.drifting[session_id]
            self.drift_repaired += 1


def _bound(remembered: dict[str, Any]) -> None:
    while len(remembered) > MAX_SET_ASIDE:
        remembered.pop(next(iter(remembered)))
