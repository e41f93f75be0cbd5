"""Transactions of the simulated Postgres: their ids, what they changed, the locks they hold, and snapshots of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from projector.core.comparison import Truth
from readmodel.values.event import EventRow


@dataclass(frozen=True)
class State:
    """One session: its status, and its events by id."""

    status: str
    events: Mapping[bytes, EventRow] = field(default_factory=dict)

    def with_events(self, events: Iterable[EventRow]) -> State:
        """Add events, or replace those of the same ids."""
        return replace(self, events={**self.events, **{event.id: event for event in events}})

    def without(self, ids: Collection[bytes]) -> State:
        """Delete events."""
        return replace(self, events={key: event for key, event in self.events.items() if key not in ids})

    def truth(self) -> Truth:
        """What a header must say."""
        events = self.events.values()
        return Truth(self.status, len(events), sum(e.hash_hi for e in events), sum(e.hash_lo for e in events))


States = dict[str, State | None]
Change = tuple[str, Callable[[State | None], State | None]]
"""What a statement makes of one session."""


class Letter(NamedTuple):
    """A row of a table of letters; `event_id` in 32 hex digits."""

    txid: int
    kind: str
    session_id: str | None = None
    event_id: str | None = None


class SessionLock(NamedTuple):
    """What a transaction holds of a session until it ends: who adds events shares it with others who do."""

    session_id: str
    exclusive: bool


class Aborted(Exception):
    """The server ended the transaction."""


@dataclass(frozen=True)
class Snapshot:
    """What pg_current_snapshot() says: everything before `xmax` has ended, but for `running`."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read `xmin:xmax:xip`."""
        xmin, xmax, xip = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(txid) for txid in xip.split(",") if txid))

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


@dataclass(eq=False)
class Transaction:
    """One top-level transaction. `id` is 0 until it writes; `virtual` names it in pg_locks.

    `boxes` are the tables of letters that it holds a lock on; `skipped`: it holds the mark of a skipped letter.
    """

    virtual: str
    id: int = 0
    changes: list[Change] = field(default_factory=list)
    letters: list[tuple[int, Letter]] = field(default_factory=list)
    locks: set[SessionLock] = field(default_factory=set)
    boxes: set[int] = field(default_factory=set)
    rings: bool = False
    skipped: bool = False
    prepared: bool = False
    ended: bool = False

    def seen(self, session_id: str, committed: State | None) -> State | None:
        """A session as this transaction sees it."""
        state = committed
        for changed, change in self.changes:
            if changed == session_id:
                state = change(state)
        return state

    def savepoint(self) -> Savepoint:
        """Set a savepoint."""
        return Savepoint(len(self.changes), len(self.letters), frozenset(self.boxes), self.rings)

    def check(self) -> None:
        """Raise Aborted where the server has ended it."""
        if self.ended:
            raise Aborted


class Savepoint(NamedTuple):
    """How far a transaction was."""

    changes: int
    letters: int
    boxes: frozenset[int]
    rings: bool


@dataclass
class Version:
    """One state of a session: visible since an instant (µs), and until when nobody had been told of a later one."""

    since_us: int
    state: State | None
    until_us: int = 2**62
