"""What the projector counts about itself."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import structlog

from projector.core.sessions import Transition
from readmodel.runtime.histogram import SECONDS, Histogram

MAX_REMEMBERED = 10_000
"""Sessions remembered as differing, or as told of; past it the oldest is forgotten."""
REPAIRED: Collection[Transition] = {"put", "kept", "missing", "set_aside", "failed"}
"""What ends a difference: the view holds the session as Postgres does or, rightly, not at all."""
MAX_ERRORS = 5
"""The last errors that a report tells."""
ROUND_TRIP_SECONDS = (*SECONDS, 10.0, 30.0, 60.0)
MAX_LATE_BEATS = 1_000
"""Beats that were due while one was under way, and are measured with it."""

T = TypeVar("T", int, float)

_log = structlog.get_logger(__name__)


@dataclass
class SliceTelemetry:
    """The state of one slice in words and numbers; `applied_at` (monotonic) is when its as-of last moved."""

    state: Literal["waiting", "catching_up", "live"] = "waiting"
    reason: str | None = None
    term: str | None = None
    as_of_us: int | None = None
    round_trip_us: int | None = None
    applied_at: float | None = None
    hot_sessions: int = 0
    loading: int = 0
    events_in_hand: int = 0
    set_aside: Callable[[], Mapping[str, str]] = dict
    """The sessions that the view cannot hold, with the reasons."""


@dataclass
class Telemetry(SliceTelemetry):
    """Counters since the process began, and the state of the view.

    A view of one slice has no `slices`: its only one is told of here. Of several the whole is told after `sum_up`.
    """

    slices: list[SliceTelemetry] = field(default_factory=list)
    role: Literal["starting", "standby", "leader"] = "starting"
    last_error: str | None = None
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

    def begin_leading(self, slices: int) -> None:
        """Have a place for each of several slices to be told of."""
        self.role, self.state = "leader", "catching_up"
        self.slices = [SliceTelemetry("catching_up") for _ in range(slices)] if slices > 1 else []

    def stop_leading(self) -> None:
        """Forget the slices: nobody knows of them any more."""
        self.sum_up()
        self.slices = []
        self.role, self.state = "starting", "waiting"

    def of_slice(self, index: int) -> SliceTelemetry:
        """The place where a slice is told of."""
        return self.slices[index] if self.slices else self

    def sum_up(self) -> None:
        """Tell of the whole what its slices say: the view is as old as the oldest, and live where all are."""
        slices = self.slices
        if not slices:
            return
        self.hot_sessions, self.loading = sum(one.hot_sessions for one in slices), sum(one.loading for one in slices)
        self.events_in_hand = sum(one.events_in_hand for one in slices)
        self.as_of_us = _least(one.as_of_us for one in slices)
        self.applied_at = _least(one.applied_at for one in slices)
        self.round_trip_us = max((one.round_trip_us for one in slices if one.round_trip_us is not None), default=None)
        states = {one.state for one in slices}
        self.state = "live" if states == {"live"} else "waiting" if "waiting" in states else "catching_up"
        self.reason = _reason_of(slices)
        self.set_aside = lambda: {sid: why for one in slices for sid, why in one.set_aside().items()}

    def batch_waits(self, here: SliceTelemetry, why: Exception | None) -> None:
        """Note why Redis does not take a slice's batch, or that it takes them again; the log is told once a reason."""
        sentence = str(why) if why else None
        if sentence == here.reason:
            return
        here.reason = sentence
        if sentence is None:
            _log.info("Redis takes batches again", term=here.term)
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


def _least(values: Iterable[T | None]) -> T | None:
    """The least of what all know; None where one knows nothing."""
    known = list(values)
    return None if None in known else min(known)  # type: ignore[type-var]


def _reason_of(slices: Sequence[SliceTelemetry]) -> str | None:
    """Say why not all slices are live: how many are not, the first of them, and its reason."""
    told = [(index, one) for index, one in enumerate(slices) if one.reason or one.state != "live"]
    if not told:
        return None
    index, first = told[0]
    others = f"{len(told)} of {len(slices)} slices are" if len(told) > 1 else f"1 of {len(slices)} slices is"
    return f"{others} not live; slice {index}: {first.reason or 'it catches up.'}"


def _bound(remembered: dict[str, Any]) -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.pop(next(iter(remembered)))
