"""Postgres as the protocol sees it: sessions and their history, commits and notices, one advisory lock, snapshots."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from projector.core.comparison import Truth
from readmodel.errors import AnswerTooLarge, EventLogUnavailable
from readmodel.event import EventRow
from readmodel.event_log import LogPage
from readmodel.poll import Poll
from tests.model.chance import Line, Machine
from tests.model.clockwork import STARTED_AT
from tests.support.viewing import expected

TERMINAL = ("completed", "failed", "cancelled")
UNFIT = 999
"""The score of an event whose timestamp no double can hold."""


@dataclass(frozen=True)
class State:
    """One session: its status, and its events by id."""

    status: str
    events: Mapping[bytes, EventRow] = field(default_factory=dict)

    def with_events(self, events: Iterable[EventRow]) -> "State":
        """Add events, or replace those of the same ids."""
        return replace(self, events={**self.events, **{event.id: event for event in events}})

    def without(self, ids: Collection[bytes]) -> "State":
        """Delete events."""
        return replace(self, events={key: event for key, event in self.events.items() if key not in ids})

    def truth(self) -> Truth:
        """Give what a header must say."""
        events = self.events.values()
        return Truth(self.status, len(events), sum(e.hash_hi for e in events), sum(e.hash_lo for e in events))


States = dict[str, State | None]


class Connection(Line):
    """The listening connection, as the server has it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.hear: Callable[[str], None] = lambda _payload: None
        self.listens = False

    def take(self, thing: object) -> None:
        """Hand a notice over."""
        self.hear(str(thing))


class Postgres:
    """The event log. `history` holds each session's states with the instant (µs) at which they were committed."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.sessions: dict[str, State] = {}
        self.history: dict[str, list[tuple[int, State | None]]] = {}
        self.connections: list[Connection] = []
        self.leader: Connection | None = None
        self.triggers_enabled = True
        self.triggers_version = 0
        self.generation = 0
        self.cluster = 1
        self.failing = 0.004
        self._last_us = 0

    def now_us(self) -> int:
        """Give an instant later than any before."""
        wall = int((STARTED_AT + asyncio.get_running_loop().time()) * 1_000_000)
        self._last_us = max(self._last_us + 1, wall)
        return self._last_us

    def commit(self, changes: States, notices: Iterable[str]) -> None:
        """Change sessions (None: delete), and notify; the same notice twice in a transaction arrives once."""
        instant = self.now_us()
        for session_id, state in changes.items():
            if state is None:
                self.sessions.pop(session_id, None)
            else:
                self.sessions[session_id] = state
            self.history.setdefault(session_id, [(0, None)]).append((instant, state))
        if self.triggers_enabled:
            for notice in dict.fromkeys(notices):
                self.notify(notice)
        self.now_us()

    def notify(self, payload: str) -> None:
        """Send to all who listen."""
        for connection in self.connections:
            if connection.open and connection.listens:
                connection.send(payload)

    def set_triggers(self, *, enabled: bool) -> None:
        """Disable or enable the triggers: either changes the fingerprint."""
        self.triggers_enabled = enabled
        self.triggers_version += 1

    def end(self, connection: Connection | None) -> None:
        """End a connection; its lock goes with it."""
        if connection:
            connection.open = False
            if connection in self.connections:
                self.connections.remove(connection)

    def crash(self, lost: States) -> None:
        """Restart: every connection ends, and these sessions are what they were earlier."""
        self.generation += 1
        for connection in list(self.connections):
            self.end(connection)
        enabled, self.triggers_enabled = self.triggers_enabled, False
        self.commit(lost, ())
        self.triggers_enabled = enabled

    def window(self, session_id: str, as_of_us: int) -> list[State | None]:
        """Give the states that a session had from an instant until now."""
        history = self.history.get(session_id, [(0, None)])
        ends = [instant for instant, _ in history[1:]] + [2**62]
        return [state for (_, state), end in zip(history, ends, strict=True) if end >= as_of_us]


class Client:
    """What reads over connections that were opened while one server ran."""

    def __init__(self, postgres: Postgres, machine: Machine) -> None:
        self.postgres = postgres
        self.machine = machine
        self.generation = postgres.generation

    async def pause(self) -> None:
        """Take a while; raises EventLogUnavailable when the server is another by then, or for no reason."""
        await self.machine.pause()
        if self.generation != self.postgres.generation or self.machine.chance.random() < self.postgres.failing:
            raise EventLogUnavailable("PostgreSQL does not answer.")


class Log(Client):
    """What the API reads; it opens connections as it needs them."""

    async def answer(self, poll: Poll, max_bytes: int) -> LogPage:
        """Answer a poll: now() is taken before the snapshot."""
        await self.pause_and_reconnect()
        as_of_us = self.postgres.now_us()
        await self.pause()
        state = self.postgres.sessions.get(poll.session_id)
        page, total = expected(state.events.values() if state else (), poll)
        await self.pause()
        if len(page) > max_bytes:
            raise AnswerTooLarge(1, max_bytes)
        return LogPage(state.status if state else None, page, total, as_of_us, f"cluster-{self.postgres.cluster}")

    async def pause_and_reconnect(self) -> None:
        """Open a new connection where the old one is broken."""
        await self.machine.pause()
        self.generation = self.postgres.generation
