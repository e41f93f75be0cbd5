"""What the projector counts about itself."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from projector.core.sessions import Transition
from readmodel.histogram import SECONDS, Histogram

MAX_REMEMBERED = 10_000
"""Sessions remembered as differing, or as told of; past it the oldest is forgotten."""
REPAIRED: Collection[Transition] = {"put", "kept", "missing", "set_aside", "failed"}
"""What ends a difference: the view holds the session as Postgres does or, rightly, not at all."""
MAX_ERRORS = 5
"""The last errors that a report tells."""
ROUND_TRIP_SECONDS = (*SECONDS, 10.0, 30.0, 60.0)
MAX_LATE_BEATS = 1_000
"""Beats that were due while one was under way, and are measured with it."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SliceTelemetry:
    """The state of one slice of several; `applied_at` (monotonic) is when its as-of last moved."""

    index: int
    state: Literal["waiting", "catching_up", "live"] = "waiting"
    reason: str | None = None
    term: str | None = None
    as_of_us: int | None = None
    applied_at: float | None = None
    round_trip_us: int | None = None
    hot_sessions: int = 0
    loading: int = 0


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
    readings: int = 0
    letters: int = 0
    comparisons: int = 0
    letters_bytes: int = 0
    letters_open: bool = True
    letters_disk_full: str | None = None
    """Why tables of letters cannot be emptied, while Postgres has no space left for that."""
    ringing: bool = False
    events_in_hand: int = 0
    compared: int = 0
    drift: int = 0
    drift_repaired: int = 0
    catch_ups: int = 0
    loads_failed: int = 0
    sessions_lost: int = 0
    sessions_reloaded: int = 0
    reconnects: Counter[str] = field(default_factory=lambda: Counter(postgres=0, redis=0))
    """Connections to lead on that were lost or given up, by cause."""
    round_trips: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_SECONDS))
    """Of every beat that was applied, and of those that were due while it was under way: slow times would hide else."""
    drifting: dict[str, None] = field(default_factory=dict)
    """Sessions found to differ whose load is under way."""
    set_aside: Callable[[], Mapping[str, str]] = dict
    """The sessions that the view cannot hold, with the reasons."""
    slices: list[SliceTelemetry] = field(default_factory=list)
    """Of each slice where there are several."""
    told_aside: dict[str, None] = field(default_factory=dict)
    """Sessions that the log told of: one may be tried again and again, and is as bad as before."""
    errors: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=MAX_ERRORS))

    def note_beat(self, seconds: float, heartbeat_seconds: float) -> None:
        """Measure a beat that was under way for so long, and each that was due meanwhile: it waited for the rest."""
        late = min(int(seconds / heartbeat_seconds), MAX_LATE_BEATS)
        for number in range(late + 1):
            self.round_trips.observe(seconds - number * heartbeat_seconds)

    def note_error(self, sentence: str) -> None:
        """Keep an error with when it came (µs since 1970); while the same comes again and again, when it last came."""
        self._keep_error(time.time_ns() // 1000, sentence)

    def inherit_errors(self, errors: Iterable[tuple[int, str]]) -> None:
        """Take over what a process told that has ended: the newest stay. Taking the same over again changes nothing."""
        merged = sorted({*self.errors, *errors})
        self.errors.clear()
        for at_us, sentence in merged:
            self._keep_error(at_us, sentence)

    def _keep_error(self, at_us: int, sentence: str) -> None:
        if self.errors and self.errors[-1][1] == sentence:
            self.errors.pop()
        self.errors.append((at_us, sentence))

    def batch_waits(self, why: Exception | None) -> None:
        """Note why Redis does not take a batch, or that it takes them again; the log is told once for each reason."""
        sentence = str(why) if why else None
        if sentence == self.reason:
            return
        self.reason = sentence
        if sentence is None:
            _log.info("Redis takes batches again", term=self.term)
        else:
            self.last_error = sentence
            self.note_error(sentence)
            _log.warning("not live", reason=sentence)

    def note(self, transition: Transition, session_id: str, reason: str = "") -> None:
        """Count a session's transition, and tell the log what people should know of it."""
        match transition:
            case "looked":
                self.looks += 1
            case "lost":
                self.sessions_lost += 1
            case "damaged":
                self.sessions_lost += 1
                _log.warning("keys of a hot session are damaged in Redis, and it is loaded anew", session_id=session_id)
            case "put":
                self.loads += 1
                self.told_aside.pop(session_id, None)  # were it set aside later, that would be news
            case "failed":
                self.loads_failed += 1
                _log.warning("a session could not be loaded", session_id=session_id, reason=reason)
            case "set_aside":
                self._note_aside(session_id, reason)
            case "differed":
                self.drift += 1
                self.drifting[session_id] = None
                _bound(self.drifting)
        if transition in REPAIRED and session_id in self.drifting:
            del self.drifting[session_id]
            self.drift_repaired += 1

    def _note_aside(self, session_id: str, reason: str) -> None:
        if session_id not in self.told_aside:
            _log.warning("a session is set aside; Postgres serves it", session_id=session_id, reason=reason)
        self.told_aside[session_id] = None
        _bound(self.told_aside)


def _bound(remembered: dict[str, Any]) -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.pop(next(iter(remembered)))
