"""The table of sessions: what the leader believes of each under this term, and the transitions that change it.

A session is hot, on its way in (a load is under way), both (a rebuild keeps the old view until the put), set aside
(the view cannot hold it), or nothing of these, and then it has no row here. It is a belief: only a script's answer says
what is hot, and corrects it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from projector.core.letters import Letters
from projector.core.operations import StagedSession
from readmodel.values.cut import Cut, cut_of

NEVER_EVICTED_SECONDS = 10.0
"""A session active so lately is not pushed out by another: a storm of cold polls must not churn the view."""
MAX_ARRIVED = 1_000
"""Events that may arrive during one load; past it the load starts over."""
MAX_SET_ASIDE = 10_000
"""Sessions remembered as set aside; past it the oldest is forgotten (and would be tried again)."""

Ending: TypeAlias = Literal["hot", "missing", "set_aside", "failed", "no_room"]
"""How the wish to have a session hot ended."""
Transition: TypeAlias = Literal[
    "put", "looked", "lost", "set_aside", "failed", "missing", "differed", "kept", "damaged"
]


@dataclass(frozen=True, slots=True)
class NoSession:
    """There is no such session."""


@dataclass(frozen=True, slots=True)
class UnfitSession:
    """The session holds what the view cannot; Postgres serves it."""

    reason: str


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A store did not answer, however often it was asked."""

    reason: str


LoadOutcome: TypeAlias = StagedSession | NoSession | UnfitSession | LoadFailure


@dataclass(eq=False, slots=True)
class Load:
    """One session on its way in.

    `arrived` collects the ids (32 hex digits) that letters name meanwhile, with their transactions; `row_changed` and
    `created` say that its row was named. `outcome` is set when the snapshot is staged, or cannot be.
    """

    session_id: str
    attempts: int = 0
    arrived: dict[str, int | None] = field(default_factory=dict)
    row_changed: bool = False
    created: bool = False
    began: bool = False
    outcome: LoadOutcome | None = None


class Watcher(Protocol):
    """Whoever wants to know of transitions; it steers nothing."""

    def note(self, transition: Transition, session_id: str, reason: str = "") -> None:
        """Take note of one transition."""


class Sessions:
    """The table. `begin_load` is called with each load that starts, and `settle` with each wish that ended."""

    def __init__(
        self,
        ttl_seconds: float,
        most: int,
        watcher: Watcher,
        begin_load: Callable[[Load], None],
        settle: Callable[[str, Ending], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_seconds = ttl_seconds
        self._most = most
        self._watcher = watcher
        self._begin_load = begin_load
        self._settle = settle
        self._clock = clock
        self._active_at: dict[str, float] = {}
        self._touched: set[str] = set()
        self._polled_at: dict[str, float] = {}
        self._loads: dict[str, Load] = {}
        self._aside: dict[str, str] = {}
        self._known: dict[str, Cut] = {}  # what the views of some hot sessions have seen
        self.snapshot = ""
        """What the last letters told of, all of it; "" where they may not have told of all."""

    # What it says.

    @property
    def hot(self) -> Collection[str]:
        """The sessions believed hot."""
        return self._active_at.keys()

    @property
    def loading(self) -> Collection[str]:
        """The sessions on their way in."""
        return self._loads.keys()

    @property
    def aside(self) -> Mapping[str, str]:
        """The sessions set aside, with the reasons, the latest last."""
        return self._aside

    def begun_loads(self) -> list[str]:
        """List the sessions whose load may have taken its snapshot."""
        return [session_id for session_id, load in self._loads.items() if load.began]

    def load_of(self, session_id: str) -> Load | None:
        """The load under way of a session, if there is one."""
        return self._loads.get(session_id)

    def idle(self) -> list[str]:
        """List the hot sessions that were silent for longer than the TTL."""
        oldest = self._clock() - self._ttl_seconds
        return [session_id for session_id, at in self._active_at.items() if at < oldest]

    def room_for(self, more: int, staying: Collection[str] = ()) -> tuple[int, list[str]]:
        """(how many of `more` sessions may come in, which idlest ones must leave for them).

        Those on their way in have their places already. None of `staying` leaves, and none that is loaded anew.
        """
        coming = sum(1 for session_id in self._loads if session_id not in self._active_at)
        free = max(0, self._most - len(self._active_at) - coming)
        if more <= free:
            return more, []
        latest = self._clock() - NEVER_EVICTED_SECONDS
        evictable = (
            (at, session_id)
            for session_id, at in self._active_at.items()
            if at < latest and session_id not in staying and session_id not in self._loads
        )
        idlest = sorted(evictable)[: more - free]
        return free + len(idlest), [session_id for _, session_id in idlest]

    # What happens to its sessions.

    def keep(self, session_id: str, idle_seconds: float, snapshot: str = "") -> None:
        """Catching up found the session equal to what Postgres holds in a snapshot: it stays hot."""
        self._active_at[session_id] = self._clock() - idle_seconds
        self._known[session_id] = cut_of(snapshot)
        self._watcher.note("kept", session_id)

    def start(self, session_id: str, attempts: int = 0) -> None:
        """A load begins, in place of one under way. Events named from now on are noted in `arrived`."""
        self.forgive(session_id)
        load = self._loads[session_id] = Load(session_id, attempts)
        self._begin_load(load)

    def restart(self, session_id: str) -> None:
        """A load starts over, with backoff: what its snapshot holds is in doubt."""
        self.start(session_id, self._loads[session_id].attempts + 1)

    def hear(self, letters: Letters) -> None:
        """Letters came: what a load or comparison has seen is crossed out, and loads under way note what arrived."""
        for session_id in letters.added.keys() & self._known.keys():
            letters.cross_out(session_id, self._known[session_id])
        if letters.snapshot:
            self.snapshot = letters.snapshot if letters.is_exact else ""
        if letters.snapshot and self._known:
            # A later reading brings nothing that a snapshot shows which this one covers.
            now = cut_of(letters.snapshot)
            self._known = {sid: known for sid, known in self._known.items() if not now.covers(known)}
        for session_id in letters.added.keys() & self._loads.keys():
            load = self._loads[session_id]
            txids = letters.txids.get(session_id, {})
            load.arrived |= {event_id: txids.get(event_id) for event_id in letters.added[session_id]}
            if len(load.arrived) > MAX_ARRIVED:
                self.restart(session_id)
        for session_id in letters.rows & self._loads.keys():
            self._loads[session_id].row_changed = True
        for session_id in letters.created.keys() & self._loads.keys():
            self._loads[session_id].created = True

    def touch(self, session_ids: Iterable[str], *, polled: bool = False) -> None:
        """Sessions were `polled` or else written to; those that are not hot are passed over."""
        now = self._clock()
        for session_id in session_ids:
            if session_id in self._active_at:
                self._active_at[session_id] = now
                self._touched.add(session_id)
                if polled:
                    self._polled_at[session_id] = now

    def take_touched(self) -> dict[str, int | None]:
        """Hand over the sessions touched since the last call, with how many ms ago each was polled."""
        touched, self._touched = self._touched, set()
        polled_at, self._polled_at = self._polled_at, {}
        now = self._clock()
        return {
            session_id: round((now - polled_at[session_id]) * 1000) if session_id in polled_at else None
            for session_id in touched
        }

    def put(self, session_id: str, snapshot: str = "") -> None:
        """The view holds the session as a load's snapshot had it."""
        self._active_at[session_id] = self._clock()
        self._known[session_id] = cut_of(snapshot)
        self._loads.pop(session_id, None)
        self._watcher.note("put", session_id)
        self._settle(session_id, "hot")

    def leave(self, session_id: str) -> None:
        """The session is not in the view; a load of it goes on."""
        self._active_at.pop(session_id, None)
        self._known.pop(session_id, None)
        self._touched.discard(session_id)
        self._polled_at.pop(session_id, None)

    def look(self, session_id: str) -> None:
        """Something of the session is in doubt: it leaves the view and is loaded, if it was in it or on its way."""
        self._watcher.note("looked", session_id)
        self.forgive(session_id)
        if session_id in self._loads:
            self.restart(session_id)
        elif session_id in self._active_at:
            self.start(session_id)
        self.leave(session_id)

    def lose(self, session_id: str) -> None:
        """A script found the session cold that was believed hot."""
        if session_id in self._active_at:
            self.leave(session_id)
            self._watcher.note("lost", session_id)
            self.reload(session_id)

    def damage(self, session_id: str) -> None:
        """Keys of the session were found damaged in Redis; whoever found it has it looked at."""
        if session_id in self._active_at:
            self._watcher.note("damaged", session_id)

    def reload(self, session_id: str) -> None:
        """The session is to be loaded, unless that is under way."""
        if session_id not in self._loads:
            self.start(session_id)

    def set_aside(self, session_id: str, reason: str) -> None:
        """The view cannot hold the session; Postgres serves it."""
        self.leave(session_id)
        self._loads.pop(session_id, None)
        self._aside.pop(session_id, None)
        self._aside[session_id] = reason
        while len(self._aside) > MAX_SET_ASIDE:
            self._aside.pop(next(iter(self._aside)))
        self._watcher.note("set_aside", session_id, reason)
        self._settle(session_id, "set_aside")

    def forgive(self, session_id: str) -> None:
        """The session may be tried again."""
        self._aside.pop(session_id, None)

    def miss(self, session_id: str) -> None:
        """Its load found no such session; one whose row or events were named meanwhile is looked for again."""
        load = self._loads.pop(session_id)
        self.leave(session_id)
        self._watcher.note("missing", session_id)
        if load.created or load.arrived:
            self.start(session_id, load.attempts + 1)
        else:
            self._settle(session_id, "missing")

    def fail(self, session_id: str, reason: str) -> None:
        """Its load was given up."""
        self._loads.pop(session_id, None)
        self._watcher.note("failed", session_id, reason)
        self._settle(session_id, "failed")

    def confirm(self, session_id: str) -> None:
        """The session that somebody wants is hot already."""
        self._settle(session_id, "hot")

    def refuse(self, session_id: str) -> None:
        """There is no room for the session."""
        self._settle(session_id, "no_room")

    def differ(self, session_id: str) -> None:
        """The continuous check found the session to differ from Postgres."""
        self._watcher.note("differed", session_id)
