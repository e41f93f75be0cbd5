"""What the tail told since it was last asked: which sessions changed, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from readmodel.values.cut import Cut
from readmodel.values.event import EventRow
from readmodel.values.messages import EVERY_SESSION


@dataclass(frozen=True, slots=True)
class Beat:
    """A proof of the tail: all that was committed before `as_of_us` (µs since 1970) is told.

    `sent_at` is when it set out, by the monotonic clock. `wal` is how far the server's log had come when all that was
    committed before that instant was in it, `timeline/lsn`; "" where nobody said.
    """

    as_of_us: int
    sent_at: float
    wal: str = ""


@dataclass(slots=True)
class Letters:
    """What letters said, by session.

    `added` maps a session to the ids of new events (32 hex digits), each with its row where the letter brought it;
    `txids` maps both to the top-level transaction: one id may have been in two sessions. `snapshot` is that of the
    reading, none where there was none; `is_exact`: letters told of everything that it shows.
    `looks` are sessions of which anything else changed, `rows` those whose status did, `created` the new ones in order.
    `incomplete`: writers skipped letters, and any session may have changed. `ended` is the reason why nothing is known
    any more.
    """

    added: dict[str, dict[str, EventRow | None]] = field(default_factory=dict)
    looks: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    created: dict[str, None] = field(default_factory=dict)
    incomplete: bool = False
    ended: str | None = None
    txids: dict[str, dict[str, int]] = field(default_factory=dict)
    snapshot: str = ""
    is_exact: bool = False

    def none(self) -> Letters:
        """An empty set of letters that belongs to the same reading."""
        return Letters(snapshot=self.snapshot, is_exact=self.is_exact)

    def named(self) -> set[str]:
        """Every session that any letter named; and `*` where those do not say all: others keep answers of cold ones."""
        every = {EVERY_SESSION} if self.incomplete else set()
        return self.looks | self.rows | self.added.keys() | self.created.keys() | every

    def look(self, session_ids: Iterable[str]) -> None:
        """Have these looked at: what is told of their events is not needed any more."""
        for session_id in session_ids:
            self.added.pop(session_id, None)
            self.looks.add(session_id)

    def cross_out(self, session_id: str, known: Cut) -> None:
        """Take away the new events that a snapshot showed already; the session stays named."""
        txids = self.txids.get(session_id, {})
        self.added[session_id] = {
            event_id: event
            for event_id, event in self.added[session_id].items()
            if event_id not in txids or not known.shows(txids[event_id])
        }

    def split(self, index_of: Callable[[str], int]) -> dict[int, Letters]:
        """The letters of each slice that has a session named in them; `incomplete` and `ended` concern all slices."""
        parts: dict[int, Letters] = {}

        def of(session_id: str) -> Letters:
            index = index_of(session_id)
            if index not in parts:
                parts[index] = self.none()
            return parts[index]

        for session_id, events in self.added.items():
            of(session_id).added[session_id] = events
        for session_id, txids in self.txids.items():
            of(session_id).txids[session_id] = txids
        for session_id in self.looks:
            of(session_id).looks.add(session_id)
        for session_id in self.rows:
            of(session_id).rows.add(session_id)
        for session_id in self.created:
            of(session_id).created[session_id] = None
        return parts

    def merge(self, later: Letters) -> None:
        """Take in what a later reading told, as if one had told both."""
        for session_id, events in later.added.items():
            self.added.setdefault(session_id, {}).update(events)
        for session_id, txids in later.txids.items():
            self.txids.setdefault(session_id, {}).update(txids)
        self.rows |= later.rows
        self.created |= later.created
        self.incomplete |= later.incomplete
        self.ended = self.ended or later.ended
        if later.snapshot:
            self.snapshot, self.is_exact = later.snapshot, later.is_exact
        self.look([*self.looks, *later.looks])

    @property
    def events(self) -> int:
        """How many events are named."""
        return sum(map(len, self.added.values()))

    def __bool__(self) -> bool:
        return bool(self.added or self.looks or self.rows or self.created or self.incomplete or self.ended)
