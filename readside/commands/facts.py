"""What the two stores hold of one session and one event, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from readmodel.values.freshness import rfc3339
from readmodel.view.projection import Projection, SliceState
from readside.inspection.session_states import LogState, ViewState

Place = Literal[
    "unknown", "nowhere", "deleted", "other_session", "not_hot", "below_window", "on_its_way", "lost", "in_view"
]


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What was seen. A store that could not be asked is None.

    `passed`: the view was looked at again when its as-of had passed the instant at which Postgres was first asked, so
    that what it still lacks of that is not merely late. `quiet`: Postgres said the same before and after. `slice` is
    the number of the one that the session is in.
    """

    session_id: str
    event_id: str | None
    viewed: ViewState | None
    stored: LogState | None
    projection: Projection | None
    max_staleness_seconds: float
    hot_ttl_seconds: float
    passed: bool = False
    quiet: bool = True
    slice: int = 0

    @property
    def hot(self) -> bool:
        """Whether Redis answers the session's polls, as old as it may be."""
        return self.viewed is not None and self.viewed.cold is None

    @property
    def same(self) -> bool | None:
        """Whether the stores hold the same events, by count and hash; None where that cannot be said."""
        if not self.hot or self.viewed is None or self.viewed.header is None or self.stored is None:
            return None
        header, stored = self.viewed.header, self.stored
        if header.holds(stored) and header.status == stored.status:
            return True
        return False if self.passed and self.quiet else None

    @property
    def lag_us(self) -> int | None:
        """How old the view's as-of is."""
        return self.viewed.position.lag_us if self.viewed and self.viewed.position else None

    @property
    def fresh(self) -> bool:
        """Whether Redis may answer, as far as its age goes."""
        return self.lag_us is not None and self.lag_us <= self.max_staleness_seconds * 1_000_000

    @property
    def of_slices(self) -> SliceState | None:
        """How the session's slice is, where there are several."""
        slices = self.projection.slices if self.projection else ()
        return slices[self.slice] if slices else None

    @property
    def condition(self) -> SliceState | Projection | None:
        """How what the session is in is: its slice, or the whole view."""
        return self.of_slices or self.projection

    @property
    def why_aside(self) -> str | None:
        """Why the leader has set the session aside, if it has."""
        leader = (self.projection and self.projection.leader) or {}
        told = (leader.get("set_aside_why") or {}).get(self.session_id)
        if told is not None:
            return str(told)
        if not self.hot and self.stored and self.stored.unfit:
            return f"the timestamps of {self.stored.unfit} of its events are infinite or too far away for a sorted set"
        return None

    def place(self) -> Place:
        """Tell where the event is in the pipe."""
        stored, viewed = self.stored, self.viewed
        seen = bool(viewed and viewed.has_event)
        if stored is None:
            return "in_view" if seen else "unknown"
        if stored.event_session is None:
            return "deleted" if seen else "nowhere"
        if stored.event_session != self.session_id:
            return "other_session"
        return self._place_of(viewed, stored) if viewed else "unknown"

    def _place_of(self, viewed: ViewState, stored: LogState) -> Place:
        if not self.hot or viewed.header is None:
            return "not_hot"
        if viewed.has_event:
            return "in_view"
        floor = viewed.header.floor
        if floor is not None and stored.event_score is not None and stored.event_score <= floor:
            return "below_window"
        return "lost" if self.passed else "on_its_way"

    def served_from(self) -> str:
        """Tell who answers a poll that no API process has in its memory, as far as it reaches the stores that we do."""
        if self.hot and (self.fresh or self.stored is None):
            return "redis"
        return "none" if self.viewed is not None and self.stored is None else "postgres"


def as_json(facts: SessionFacts) -> dict[str, Any]:
    """All that is known, for machines; instants RFC 3339."""
    return {
        "session_id": facts.session_id,
        "event_id": facts.event_id,
        "hot": facts.hot if facts.viewed else None,
        "same": facts.same,
        "served_from": facts.served_from(),
        "set_aside": facts.why_aside,
        "event": None if facts.event_id is None else facts.place(),
        "redis": facts.viewed and _redis(facts, facts.viewed),
        "postgres": facts.stored and _postgres(facts.stored),
        "slice": facts.of_slices and asdict(facts.of_slices),
        "projection": facts.projection and {"status": facts.projection.status, "reason": facts.projection.reason},
    }


def _redis(facts: SessionFacts, viewed: ViewState) -> dict[str, Any]:
    header, position = viewed.header, viewed.position
    known: dict[str, Any] = {
        "cold": viewed.cold,
        "term": position.term if position else None,
        "as_of": rfc3339(position.as_of_us) if position and position.as_of_us is not None else None,
        "lag_ms": None if facts.lag_us is None else facts.lag_us // 1000,
        "has_event": viewed.has_event,
    }
    if header is None:
        return known
    leaves_ms = None if viewed.active_ms is None else viewed.active_ms + int(facts.hot_ttl_seconds * 1000)
    return {
        **known,
        "stamp": header.term,
        "stamped": viewed.stamped,
        "status": header.status,
        "events": header.count,
        "held": header.held,
        "complete": header.complete,
        "hash": [header.hi, header.lo],
        "newest": None if header.newest is None else rfc3339(header.newest),
        "window_from": None if header.floor is None else rfc3339(header.floor),
        "bytes": header.bytes,
        "hot_since": rfc3339(viewed.loaded_ms * 1000) if viewed.loaded_ms else None,
        "last_active_at": rfc3339(viewed.active_ms * 1000) if viewed.active_ms else None,
        "last_polled_at": rfc3339(header.polled_ms * 1000) if header.polled_ms else None,
        "leaves_at": None if leaves_ms is None else rfc3339(leaves_ms * 1000),
        "expires_in_seconds": None if viewed.expires_ms is None else viewed.expires_ms // 1000,
    }


def _postgres(stored: LogState) -> dict[str, Any]:
    event = None
    if stored.event_session is not None:
        event = {
            "session_id": stored.event_session,
            "event_type": stored.event_type,
            "timestamp": stored.event_timestamp if stored.event_score is None else rfc3339(stored.event_score),
            "unreadable": stored.event_unreadable,
        }
    return {
        "status": stored.status,
        "events": stored.count,
        "hash": [stored.hi, stored.lo],
        "newest": None if stored.newest is None else rfc3339(stored.newest),
        "unfit": stored.unfit,
        "event": event,
    }
