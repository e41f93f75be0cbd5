"""What a projector reads of the simulated Postgres, and the connection on which it hears notices."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from projector.core.new_events import NewEvents
from projector.core.served_part import LogRow
from projector.loads.snapshot import Part
from projector.reads import Truth
from readmodel.errors import BadEvents, EventLogUnavailable
from readmodel.event import type_name
from tests.model.chance import Machine
from tests.model.postgres import TERMINAL, UNFIT, Client, Connection, Postgres, State
from tests.support.viewing import part_of, within


class Snapshot:
    """One session as a transaction sees it."""

    def __init__(self, client: Client, session_id: str, state: State | None, window: tuple[int, int]) -> None:
        self._client = client
        self.session_id = session_id
        self.status = state.status if state else None
        self.events = within(state.events.values() if state else (), window)
        truth = (state or State("")).truth()
        self.count, self.hi, self.lo = truth.count, truth.hi, truth.lo
        kinds = [event.event_type for event in state.events.values()] if state else []
        self.types = {kind: kinds.count(kind) for kind in kinds}

    async def newest(self) -> AsyncGenerator[Part]:
        """Stream the newest events."""
        for start in range(0, len(self.events), 3):
            await self._client.pause()
            yield part_of(self.events[start : start + 3])


class Reads(Client):
    """What the projector reads: the methods of `projector.reads.Reads`."""

    async def compare(self, session_ids: Collection[str]) -> dict[str, Truth]:
        """Give counts and hashes, all in one snapshot."""
        await self.pause()
        found = {sid: state.truth() for sid in session_ids if (state := self.postgres.sessions.get(sid))}
        await self.pause()
        return found

    async def statuses(self, session_ids: Collection[str]) -> dict[str, str]:
        """Give statuses."""
        await self.pause()
        found = {sid: state.status for sid in session_ids if (state := self.postgres.sessions.get(sid))}
        await self.pause()
        return found

    async def added(self, wanted: dict[str, set[str]]) -> NewEvents:
        """Fetch by primary key, wherever the rows are now."""
        found = NewEvents()
        for session_id, ids in wanted.items():  # one query each, as where many are wanted
            if not ids:
                continue
            await self.pause()
            for owner, state in self.postgres.sessions.items():
                for event in (state.events[key] for key in map(bytes.fromhex, ids) if key in state.events):
                    if event.score == UNFIT:
                        found.bad[owner] = f"unfit beside {session_id}"
                    else:
                        found.take(event)
            await self.pause()
        return found

    async def served(self, ids: Iterable[bytes], *, rendered: bool) -> dict[bytes, LogRow]:
        """Give what polls are served of events, wherever they are now."""
        await self.pause()
        wanted = set(ids)
        found = {
            key: LogRow(owner, event.score, type_name(event.event_type), f"{event.hash_hi}/{event.hash_lo}", digest)
            for owner, state in self.postgres.sessions.items()
            for key, event in state.events.items()
            if key in wanted
            for digest in [hashlib.md5(event.member, usedforsecurity=False).digest() if rendered else None]
        }
        await self.pause()
        return found

    async def recent(self, limit: int) -> list[str]:
        """List some sessions that go on."""
        await self.pause()
        return [sid for sid, state in self.postgres.sessions.items() if state.status not in TERMINAL][:limit]

    async def every(self, page: int = 1) -> AsyncIterator[list[str]]:
        """List all sessions."""
        for start in range(0, len(self.postgres.sessions), page):
            await self.pause()
            yield sorted(self.postgres.sessions)[start : start + page]

    @asynccontextmanager
    async def snapshot(self, session_id: str, window: tuple[int, int]) -> AsyncIterator[Snapshot]:
        """Open a snapshot."""
        await self.pause()
        state = self.postgres.sessions.get(session_id)
        await self.pause()
        if state and any(event.score == UNFIT for event in state.events.values()):
            raise BadEvents("unfit")
        yield Snapshot(self, session_id, state, window)

    async def row(self, sql: str, *arguments: object) -> list[Any]:
        """Send a beat, or read the fingerprint."""
        postgres = self.postgres
        await self.pause()
        as_of_us, seen = postgres.now_us(), f"v{postgres.triggers_version}"
        if "pg_notify" not in sql:
            return [seen]
        await self.pause()
        term, nonce = arguments
        postgres.notify(f"b {term} {nonce} {as_of_us} {seen}")
        await self.pause()
        return [None, 0.0]

    async def check_rights(self) -> None:
        """Find that every table may be read."""
        await self.pause()

    async def now_us(self) -> int:
        """Ask the clock."""
        await self.pause()
        return self.postgres.now_us()

    async def inspect_triggers(self) -> str | None:
        """Tell what is wrong with the triggers."""
        await self.pause()
        return None if self.postgres.triggers_enabled else "The triggers are disabled."


class Tail:
    """The listening connection, as the projector has it: the methods of `projector.tail.connection.Tail`."""

    def __init__(self, postgres: Postgres, machine: Machine, heartbeat_seconds: float) -> None:
        self._postgres = postgres
        self._machine = machine
        self._seconds = heartbeat_seconds
        self.connection = Connection(machine)
        postgres.connections.append(self.connection)
        self.server = SimpleNamespace(database=f"cluster-{postgres.cluster}", started="")

    async def prove(self) -> None:
        """Make a round trip; raises EventLogUnavailable where there is no connection any more."""
        await self._machine.pause()
        if not self.connection.open:
            raise EventLogUnavailable("PostgreSQL closed the listening connection.")

    async def try_lock(self, _key: int) -> bool:
        """Take the lock if nobody has it."""
        await self.prove()
        holder = self._postgres.leader
        if holder is None or not holder.open:
            self._postgres.leader = self.connection
        await self._machine.pause()
        return self._postgres.leader is self.connection

    async def end_frozen_leader(self, _key: int) -> int | None:
        """End the connection of a leader that has long been frozen."""
        await self.prove()
        holder = self._postgres.leader
        patience = 6 * self._seconds
        if holder and holder.open and holder.machine.frozen_for() > patience:
            self._postgres.end(holder)
            return 1
        return None

    async def listen(self, hear: Callable[[str], None]) -> None:
        """LISTEN."""
        self.connection.hear = hear
        await self.prove()
        self.connection.listens = True
        await self.prove()

    def hand_to(self, hear: Callable[[str], None]) -> None:
        """Hand notices to another."""
        self.connection.hear = hear

    async def watch(self) -> None:
        """Prove the connection again and again."""
        while True:
            await self.prove()
            await asyncio.sleep(self._seconds)
