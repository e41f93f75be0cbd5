"""Connections to the simulated Postgres: what asyncpg would give the leader and its doorbell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from types import SimpleNamespace
from typing import Any

import asyncpg

from projector.tail.lead_holders import OUR_NAME
from readmodel.values.event import EventRow
from tests.model.chance import Line, Machine
from tests.model.letter_tables import HEAP_BYTES, INDEXED_BYTES
from tests.model.postgres import UNFIT, Postgres
from tests.model.transactions import Letter, Snapshot
from tests.support.viewing import NO_PARTITIONS, SHAPE

_pids = count(100)


class Row(dict[str, Any]):
    """A row, by name and by place."""

    def __getitem__(self, key: Any) -> Any:
        """A value."""
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


class ServerConnection(Line):
    """A connection as the server has it, with its advisory locks; what it delivers are notices."""

    def __init__(self, postgres: Postgres, machine: Machine) -> None:
        super().__init__(machine)
        self.postgres = postgres
        self.pid = next(_pids)
        self.keys: set[int] = set()
        self.listens = False
        self.hear: Callable[..., None] = lambda *_: None
        self.last_statement_us = postgres.now_us()
        postgres.connections.append(self)

    @property
    def is_open(self) -> bool:
        """Whether the server keeps it."""
        return self.open

    @is_open.setter
    def is_open(self, is_open: bool) -> None:
        self.open = is_open

    def deliver(self) -> None:
        """Send a notice."""
        self.send(None)

    def take(self, thing: object) -> None:
        """Hand a notice over."""
        self.hear(self, self.pid, "readside", "")

    def check(self) -> None:
        """Raise what a client gets of a connection that the server has ended."""
        if not self.open:
            raise ConnectionResetError("the server closed the connection")

    def terminate(self) -> None:
        """Hang up."""
        self.postgres.end(self)


class BellConnection(ServerConnection):
    """What the doorbell uses of asyncpg's connection."""

    _transport = SimpleNamespace(get_extra_info=lambda _name: SimpleNamespace(setsockopt=lambda *_: None))

    async def execute(self, sql: str) -> None:
        """Run a statement."""
        await self.machine.pause()
        self.check()
        self.last_statement_us = self.postgres.now_us()
        if "pg_try_advisory_lock_shared" in sql:
            self.keys.add(int(sql.partition("(")[2].rstrip(")")))
        await self.machine.pause()

    async def add_listener(self, _channel: str, hear: Callable[[], None]) -> None:
        """LISTEN."""
        await self.machine.pause()
        self.check()
        self.hear, self.listens = hear, True

    def add_termination_listener(self, _told: Callable[[object], None]) -> None:
        """Nobody is told here: the proof finds out."""


class LeaderConnection(ServerConnection):
    """What `Tail` uses of asyncpg's connection: one statement at a time, which may outlive whoever sent it."""

    _under_way: asyncio.Task[list[Row]] | None = None

    def is_closed(self) -> bool:
        """A connection that is lost says so when it is used."""
        return False

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        """Run a statement. Cancelled, it may run to its end all the same, before the next one."""
        if self._under_way:
            with suppress(asyncio.CancelledError, asyncpg.PostgresError, OSError):
                await asyncio.wait([self._under_way])
        await self.machine.pause()
        self.check()
        self._under_way = task = asyncio.create_task(self._run(sql, arguments))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            rows = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.machine.chance.random() < 0.5:
                task.cancel()
            raise
        await self.machine.pause()
        self.check()
        return rows

    async def _run(self, sql: str, arguments: Sequence[Any]) -> list[Row]:
        self.last_statement_us = self.postgres.now_us()
        run = next(run for words, run in self._statements.items() if words in sql)
        if run != self._read:
            await self.postgres.pause()
            self.check()
        rows: list[Row] = await run(sql, *arguments)
        return rows

    @property
    def _statements(self) -> dict[str, Any]:
        """How each of the project's statements is run, by words that only this one holds, or those before it."""
        return {
            "fresh AS MATERIALIZED": self._read,
            "AS heaps": self._household,
            "AS is_our_role": self._lead_holders,
            "AS holder": self._holders,
            "AS presence": self._renew,
            "empty_letters(": self._empty,
            "pg_terminate_backend": self._end_frozen,
            "pg_try_advisory_lock(": self._lock,
            "setval('\"readside\".reader'": self._become_reader,
            "pg_sequence_last_value('\"readside\".presence'": self._presence,
            ".incarnation()": self._incarnation,
            "is_called::text FROM": self._skipped,
            "SELECT pg_current_snapshot()": self._snapshot,
            "AS layout": self._layouts,
            "pg_trigger": self._triggers,
            "SELECT 1": self._one,
        }

    async def _holders(self, sql: str) -> list[Row]:
        return [Row(holder=holder) for holder in self.postgres.letterbox.holders(sql)]

    async def _lead_holders(self, _sql: str, key: int) -> list[Row]:
        """Who else holds the lead: projectors alone take it here."""
        ours = {"role": "readside", "application_name": OUR_NAME, "prepared": None, "is_our_role": True, "database": ""}
        holders = [one for one in self.postgres.connections if one is not self and key in one.keys]
        return [Row(ours, pid=one.pid) for one in holders]

    async def _renew(self, sql: str, *arguments: int) -> list[Row]:
        presence = self.postgres.letterbox.renew(sql, *arguments)
        return [] if presence is None else [Row(presence=presence)]

    async def _empty(self, _sql: str, place: int, me: int, seen: str) -> list[Row]:
        return [Row(emptied=await self.postgres.letterbox.empty(place, me, Snapshot.parse(seen)))]

    async def _lock(self, _sql: str, key: int) -> list[Row]:
        holder = self.postgres.holder_of(key)
        if holder is None:
            self.keys.add(key)
        return [Row(locked=holder in {None, self})]

    async def _become_reader(self, _sql: str, me: int) -> list[Row]:
        self.postgres.letterbox.reader = me
        return [Row(reader=me)]

    async def _presence(self, _sql: str) -> list[Row]:
        return [Row(presence=self.postgres.letterbox.presence)]

    async def _incarnation(self, _sql: str) -> list[Row]:
        return [Row(incarnation=self.postgres.incarnation)]

    async def _skipped(self, _sql: str) -> list[Row]:
        return [Row(skips=self._skips())]

    async def _snapshot(self, _sql: str) -> list[Row]:
        return [Row(snapshot=str(self.postgres.snapshot()))]

    async def _triggers(self, _sql: str) -> list[Row]:
        return [Row(fingerprint=self._fingerprint())]

    async def _layouts(self, _sql: str) -> list[Row]:
        return []

    async def _one(self, _sql: str) -> list[Row]:
        return [Row(one=1)]

    def _skips(self) -> str:
        last_value, is_called = self.postgres.letterbox.skips
        return f"{last_value} {is_called}".lower()

    def _fingerprint(self) -> str:
        return f"v{self.postgres.triggers_version}" + NO_PARTITIONS + SHAPE

    async def _household(self, _sql: str) -> list[Row]:
        letterbox, chance = self.postgres.letterbox, self.postgres.chance
        found = Row(
            sizes=letterbox.sizes(INDEXED_BYTES),
            heaps=letterbox.sizes(HEAP_BYTES),
            queue_usage=0.2 if chance.random() < 0.01 else 0.0,
            waiting=int(chance.random() < 0.01),
        )
        return [found]

    async def _end_frozen(self, _sql: str, key: int, bell_key: int, seconds: float) -> list[Row]:
        """End a silent leader's connection, and its doorbell's."""
        silent_since = self.postgres.now_us() - seconds * 1_000_000
        holders = [one for one in self.postgres.connections if one is not self and one.keys & {key, bell_key}]
        if not any(key in one.keys and one.last_statement_us < silent_since for one in holders):
            return []
        for one in holders:
            self.postgres.end(one)
        return [Row(pid=one.pid, ended=True) for one in holders]

    async def _read(self, sql: str, snapshot: str, is_beat: bool, *bounds: int) -> list[Row]:
        """Run a reading: now() first, then the snapshot and what it shows, then the sequences."""
        postgres = self.postgres
        as_of_us = postgres.now_us()
        await postgres.pause()
        self.check()
        is_quiet = "found ON f.kind = 'a'" in sql
        if is_quiet and postgres.chance.random() < 0.01:
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
        seen, letters = postgres.snapshot(), postgres.letterbox.unread(sql, Snapshot.parse(snapshot))
        told = self._told(letters, *bounds) if is_quiet else _told_by_session(letters, *bounds)
        fingerprint = self._fingerprint()
        await postgres.pause()
        self.check()
        is_proof = is_beat or bool(letters)
        head = {
            "snapshot": str(seen),
            "as_of_us": as_of_us,
            "letters": len(letters),
            "reader": postgres.letterbox.reader if is_proof else None,
            "skips": self._skips() if is_proof else None,
            "fingerprint": fingerprint if is_proof else None,
            "wal": f"1/{as_of_us:x}" if is_proof else None,
        }
        return [Row(head, **row) for row in told]

    def _told(self, letters: list[Letter], most: int, most_bytes: int) -> list[dict[str, Any]]:
        """A row for each letter, with the event that it tells of as it is now; without letters an empty one."""
        nothing = dict.fromkeys(("kind", "txid", "session_id", "event_id", *EventRow._fields[1:]))
        rows = []
        for txid, kind, session_id, event_id in letters if len(letters) <= most else ():
            state = self.postgres.sessions.get(session_id or "")
            event = state.events.get(bytes.fromhex(event_id)) if state and event_id and kind == "a" else None
            row = nothing | {"kind": kind, "txid": txid, "session_id": session_id, "event_id": event_id}
            if event:
                row |= event._asdict() | {"score": None if event.score == UNFIT else event.score}
                row["member"] = event.member if len(event.member) <= most_bytes else None
            rows.append(row)
        return rows or [nothing]


def _told_by_session(letters: list[Letter], most_ids: int, most_sessions: int) -> list[dict[str, Any]]:
    by_session: dict[str | None, list[Letter]] = {}
    for letter in letters:
        by_session.setdefault(letter.session_id, []).append(letter)
    rows = []
    for session_id, said in list(by_session.items())[: most_sessions + 1]:
        kinds = [letter.kind for letter in said]
        named = [f"{letter.event_id}{letter.txid:016x}" for letter in said if letter.event_id]
        ids = "".join(named) if len(letters) <= most_ids else None
        row = {"session_id": session_id, "added": kinds.count("a"), "ids": ids}
        rows.append(row | {name: kind in kinds for name, kind in _KINDS.items()})
    return rows or [dict.fromkeys(("session_id", "ids", *_KINDS)) | {"added": 0}]


_KINDS = {"everything": "x", "look": "l", "row": "r", "new": "n"}
