"""What a projector reads of the simulated Postgres beside the letters."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from projector.core.comparison import Truth
from projector.core.new_events import NewEvents
from projector.core.served_part import LogRow
from projector.loads.snapshot import Part
from readmodel.errors import BadEvents
from readmodel.values.event import EventRow, type_name
from tests.model.clients import Client
from tests.model.postgres import TERMINAL, UNFIT
from tests.model.transactions import State
from tests.support.servers import TABLES
from tests.support.viewing import part_of, within


class Snapshot:
    """One session as a transaction sees it."""

    def __init__(
        self, client: Client, session_id: str, state: State | None, name: str, window: tuple[int, int]
    ) -> None:
        self._client = client
        self.session_id = session_id
        self.name = name
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

    tables = TABLES

    async def compare(self, session_ids: Collection[str]) -> dict[str, Truth]:
        """Counts and hashes, all in one snapshot."""
        await self.pause()
        seen = str(self.postgres.snapshot())
        states = {sid: state for sid in session_ids if (state := self.postgres.sessions.get(sid))}
        await self.pause()
        return {sid: replace(state.truth(), snapshot=seen) for sid, state in states.items()}

    async def statuses(self, session_ids: Collection[str]) -> dict[str, str]:
        """Statuses."""
        await self.pause()
        found = {sid: state.status for sid in session_ids if (state := self.postgres.sessions.get(sid))}
        await self.pause()
        return found

    async def added(self, wanted: Mapping[str, Mapping[str, EventRow | None]]) -> NewEvents:
        """Fetch by primary key; what moved to another session is not found."""
        found = NewEvents()
        for event in (event for events in wanted.values() for event in events.values() if event):
            if event.score is None:
                found.bad[event.session_id] = "unfit in its letter"
            else:
                found.take(event)
        for session_id, events in wanted.items():  # one query each, as where many are wanted
            ids = [event_id for event_id, event in events.items() if event is None]
            if ids:
                await self._fetch(session_id, ids, found)
        return found

    async def _fetch(self, session_id: str, ids: Collection[str], found: NewEvents) -> None:
        await self.pause()
        state = self.postgres.sessions.get(session_id) or State("")
        for event in (state.events[key] for key in map(bytes.fromhex, ids) if key in state.events):
            if event.score == UNFIT:
                found.bad[session_id] = "unfit"
            else:
                found.take(event)
        await self.pause()

    async def served(self, ids: Iterable[bytes], *, rendered: bool) -> dict[tuple[str, bytes], LogRow]:
        """What polls are served of events, wherever they are now."""
        await self.pause()
        wanted = set(ids)
        found = {
            (owner, key): LogRow(
                owner, event.score, type_name(event.event_type), f"{event.hash_hi}/{event.hash_lo}", digest
            )
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
        state, name = self.postgres.sessions.get(session_id), str(self.postgres.snapshot())
        await self.pause()
        if state and any(event.score == UNFIT for event in state.events.values()):
            raise BadEvents("unfit")
        yield Snapshot(self, session_id, state, name, window)

    async def check_rights(self) -> None:
        """Find that every table may be read."""
        await self.pause()

    async def now_us(self) -> int:
        """Ask the clock."""
        await self.pause()
        return self.postgres.now_us()

    async def fire_always(self, _schema: str) -> bool:
        """Mend nothing: triggers are disabled here, or whole."""
        return False

    async def inspect_triggers(self, _schema: str) -> str | None:
        """Tell what is wrong with the triggers."""
        await self.pause()
        return None if self.postgres.triggers_enabled else "The triggers are disabled."
