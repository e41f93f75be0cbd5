"""What is different for certain between a session of the view and Postgres, judged from two readings of each.

The view is read (A), then Postgres (P), then the view again once its as-of has passed P's instant (B), then Postgres
again (Q). So B holds all that P saw. A row that P and Q saw in the same version was there, unchanged, all the time:

    an event of P and Q, alike in both, that B lacks was lost; where B holds it otherwise, it is stale,
    an event of A and B that neither P nor Q holds should not be there,
    a status that P and Q saw in the same version of the row and B otherwise is wrong,
    a count or a sum of hashes that A and B give alike, and P and Q otherwise alike, is wrong,
    and whatever in B contradicts B itself is wrong at once: B was read in one instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from readmodel.values.event import is_askable
from readmodel.view.header import Header
from readmodel.view.type_index import unpack_score

_SHOWN_BYTES = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one session: `same`, `different` or `cold` (the view does not hold it now).

    The lists hold event ids: missing from the view, in the view and not in Postgres, with other content or another
    place in the order, and not found by type. `totals` tells that count, row hash, status or a type's count are wrong.
    """

    session_id: str
    state: Literal["same", "different", "cold"]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    totals: bool = False


@dataclass(frozen=True, slots=True)
class SessionInView:
    """A session in Redis: (MD5 of the JSON, score) by event id, its type index, header, totals per type.

    What is no event of ours stands under its own bytes in place of an id. The index is (type name, entry) of each
    event, None where it contradicts itself.
    """

    header: Header
    events: Mapping[bytes, tuple[bytes, float]]
    index: frozenset[tuple[str, bytes]] | None
    types: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventInLog:
    """An event in Postgres: MD5 of its JSON, type name and entry in the index, and which version of the row this is."""

    digest: bytes
    type_name: str
    entry: bytes
    version: str = ""

    @property
    def score(self) -> int:
        """Microseconds since 1970."""
        return unpack_score(self.entry)


@dataclass(frozen=True, slots=True)
class SessionInLog:
    """A session in Postgres at `now_us`: its newest events by id, its row's status and version, its totals.

    `floor` is the lowest score read when there are older events that were not; `status` None: no such session.
    """

    status: str | None
    now_us: int = 0
    version: str = ""
    totals: tuple[int, int, int] = (0, 0, 0)
    events: Mapping[bytes, EventInLog] = field(default_factory=dict)
    floor: int | None = None


def judge(
    session_id: str, first: SessionInView, stored: SessionInLog, second: SessionInView, again: SessionInLog
) -> Verdict:
    """Tell what is different for certain: A, P, B and Q of the module's docstring."""
    if stored.status is None and again.status is None:
        return Verdict(session_id, "different", extra=_texts(second.events), totals=True)
    floor = second.header.floor
    expected = {
        event_id: row
        for event_id, row in stored.events.items()
        if again.events.get(event_id) == row and (floor is None or row.score > floor)
    }
    held = {event_id: row for event_id, row in expected.items() if event_id in second.events}
    lowest = max((read.floor for read in (stored, again) if read.floor is not None), default=None)
    missing = expected.keys() - held.keys()
    extra = [
        event_id
        for event_id, (_, score) in second.events.items()
        if event_id in first.events
        and event_id not in stored.events
        and event_id not in again.events
        and (lowest is None or score > lowest)
    ]
    changed = [event_id for event_id, row in held.items() if second.events[event_id] != (row.digest, row.score)]
    unindexed = [event_id for event_id, row in held.items() if (row.type_name, row.entry) not in (second.index or ())]
    totals = _wrong_totals(first, stored, second, again) or not _consistent(second)
    different = bool(missing or extra or changed or unindexed or totals)
    return Verdict(
        session_id,
        "different" if different else "same",
        _texts(missing),
        _texts(extra),
        _texts(changed),
        _texts(unindexed),
        totals,
    )


def _wrong_totals(first: SessionInView, stored: SessionInLog, second: SessionInView, again: SessionInLog) -> bool:
    said = _totals(second.header)
    if _totals(first.header) == said != stored.totals == again.totals:
        return True
    unchanged = (stored.status, stored.version) == (again.status, again.version)
    return unchanged and stored.status != second.header.status


def _totals(header: Header) -> tuple[int, int, int]:
    return header.count, header.hi, header.lo


def _consistent(viewed: SessionInView) -> bool:
    """Check the header's numbers against the sorted sets, and its totals per type against one another."""
    header, types = viewed.header, viewed.types
    if not header.complete or viewed.index is None or sum(types.values()) != header.count:
        return False
    if header.floor is not None:
        return header.count > header.held
    counted = Counter(name for name, _ in viewed.index)
    return header.count == header.held and counted == types and all(is_askable(name) or not name for name in types)


def _texts(event_ids: Iterable[bytes]) -> list[str]:
    return [
        str(UUID(bytes=event_id)) if len(event_id) == 16 else ascii(event_id[:_SHOWN_BYTES]) for event_id in event_ids
    ]
