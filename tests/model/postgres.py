"""Postgres as the protocol sees it: sessions and their history, transactions, snapshots, the letterbox, connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from readmodel.values.offset import origin_of
from tests.model.clockwork import STARTED_AT
from tests.model.letter_tables import LetterTables
from tests.model.transactions import Savepoint, SessionLock, Snapshot, State, States, Transaction, Version

if TYPE_CHECKING:
    from tests.model.connections import ServerConnection

TERMINAL = ("completed", "failed", "cancelled")
UNFIT = 999
"""The score of an event whose timestamp no double can hold."""


class Postgres:
    """The event log. `history` holds each session's states in the order in which they became visible."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.sessions: dict[str, State] = {}
        self.history: dict[str, list[Version]] = {}
        self.connections: list[ServerConnection] = []
        self.transactions: list[Transaction] = []
        self.letterbox = LetterTables(self)
        self.triggers_enabled = True
        self.triggers_version = 0
        self.generation = 0
        self.incarnation = 1
        self.written: dict[tuple[str, bytes], int] = {}
        """Which transaction wrote a row, by session and id."""
        self.cluster = 1
        self.restored_us = 0
        """When the present cluster took the former one's place."""
        self.failing = 0.004
        self._last_us = 0
        self._last_txid = self._latest_completed = 700
        self._running: set[int] = set()
        self._virtual = count(1)
        self._unacknowledged: list[tuple[str, int]] = []

    @property
    def database(self) -> str:
        """The identity of the database."""
        return f"cluster-{self.cluster}"

    @property
    def origin(self) -> str:
        """Of which history its offsets are."""
        return origin_of(self.database, self.incarnation)

    def now_us(self) -> int:
        """An instant later than any before."""
        wall = int((STARTED_AT + asyncio.get_running_loop().time()) * 1_000_000)
        self._last_us = max(self._last_us + 1, wall)
        return self._last_us

    async def pause(self, mean_seconds: float = 0.001) -> None:
        """Take the server a while: mostly nothing, now and then long."""
        if self.chance.random() < 0.5:
            await asyncio.sleep(self.chance.expovariate(1 / mean_seconds) * (20 if self.chance.random() < 0.1 else 1))

    # Transactions.

    def begin(self) -> Transaction:
        """Begin a transaction."""
        made = Transaction(f"{self.chance.randrange(2, 9)}/{next(self._virtual)}")
        self.transactions.append(made)
        return made

    def lock(self, transaction: Transaction, session_ids: Iterable[str], *, exclusive: bool) -> bool:
        """Lock these sessions' rows to the transaction's end, if nobody else holds any of them so that we must wait."""
        wanted = {SessionLock(session_id, exclusive) for session_id in session_ids}
        held = {lock for other in self.transactions if other is not transaction for lock in other.locks}
        for session_id, _ in wanted:
            if SessionLock(session_id, True) in held or (exclusive and SessionLock(session_id, False) in held):
                return False
        transaction.locks |= wanted
        return True

    def seen(self, transaction: Transaction, session_id: str) -> State | None:
        """A session as a transaction sees it."""
        return transaction.seen(session_id, self.sessions.get(session_id))

    def assign_id(self, transaction: Transaction) -> int:
        """The top-level id, which the first write draws."""
        if not transaction.id:
            self._last_txid += 1
            transaction.id = self._last_txid
            self._running.add(transaction.id)
        return transaction.id

    def roll_back_to(self, transaction: Transaction, savepoint: Savepoint) -> None:
        """Undo what came after a savepoint; the mark of a skipped letter stays."""
        self.letterbox.forget(transaction.letters[savepoint.letters :])
        del transaction.changes[savepoint.changes :]
        del transaction.letters[savepoint.letters :]
        transaction.boxes = set(savepoint.boxes)
        transaction.rings = savepoint.rings

    async def commit(self, transaction: Transaction) -> None:
        """Make it visible, then let its locks go, then acknowledge it."""
        transaction.check()
        versions = self._show(transaction)
        if transaction.rings:
            self.notify()
        await self.pause()
        self._release(transaction)
        await self.pause()
        self._acknowledge(versions)

    def roll_back(self, transaction: Transaction) -> None:
        """Undo it all."""
        if not transaction.ended:
            self.letterbox.forget(transaction.letters)
            self._complete(transaction)
            self._release(transaction)

    def prepare(self, transaction: Transaction) -> None:
        """PREPARE TRANSACTION: it has no process any more, and another name in pg_locks."""
        transaction.check()
        self.assign_id(transaction)
        self.letterbox.counts["prepared"] += 1
        transaction.prepared, transaction.virtual = True, f"-1/{transaction.id}"

    def snapshot(self) -> Snapshot:
        """Take pg_current_snapshot()."""
        xmax = self._latest_completed + 1
        running = tuple(sorted(txid for txid in self._running if txid < xmax))
        return Snapshot(min(running, default=xmax), xmax, running)

    def is_visible(self, txid: int) -> bool:
        """Tell whether a transaction has committed; letters of those that did not are gone."""
        return txid not in self._running

    def _show(self, transaction: Transaction) -> list[tuple[str, int]]:
        changed = dict.fromkeys(session_id for session_id, _ in transaction.changes)
        states = {session_id: self.seen(transaction, session_id) for session_id in changed}
        for session_id, state in states.items():
            before = self.sessions.get(session_id)
            for key, event in state.events.items() if state else ():
                if before is None or before.events.get(key) != event:
                    self.written[session_id, key] = transaction.id
        versions = [self._become(session_id, state) for session_id, state in states.items()]
        self._complete(transaction)
        return versions

    def _become(self, session_id: str, state: State | None) -> tuple[str, int]:
        if state is None:
            self.sessions.pop(session_id, None)
        else:
            self.sessions[session_id] = state
        history = self.history.setdefault(session_id, [Version(0, None)])
        history.append(Version(self.now_us(), state))
        version = (session_id, len(history) - 1)
        self._unacknowledged.append(version)
        return version

    def _complete(self, transaction: Transaction) -> None:
        transaction.ended = True
        if transaction.id:
            self._running.discard(transaction.id)
            self._latest_completed = max(self._latest_completed, transaction.id)

    def _release(self, transaction: Transaction) -> None:
        if transaction in self.transactions:
            self.transactions.remove(transaction)

    def _acknowledge(self, versions: Iterable[tuple[str, int]]) -> None:
        instant = self.now_us()
        for version in versions:
            session_id, place = version
            for earlier in self.history[session_id][:place]:
                earlier.until_us = min(earlier.until_us, instant)
            if version in self._unacknowledged:
                self._unacknowledged.remove(version)
        self.now_us()

    # What others do to it.

    def set_triggers(self, *, enabled: bool) -> bool:
        """Disable or enable the triggers, where no writer's lock is in the way: either changes the fingerprint."""
        if any(transaction.id for transaction in self.transactions):
            return False
        self.triggers_enabled = enabled
        self.triggers_version += 1
        return True

    def notify(self) -> None:
        """Ring at all who listen."""
        for connection in self.connections:
            if connection.is_open and connection.listens:
                connection.deliver()

    def end(self, connection: ServerConnection | None) -> None:
        """End a connection; its locks go with it."""
        if connection in self.connections:
            connection.is_open = False
            self.connections.remove(connection)

    def holder_of(self, key: int) -> ServerConnection | None:
        """Who holds an advisory lock."""
        return next((one for one in self.connections if key in one.keys), None)

    def crash(self, lost: States, *, hidden: bool = False) -> None:
        """Restart: connections and transactions end, but for prepared ones, and these sessions are what they were.

        `hidden`: a pooler keeps the clients' connections, whose locks are gone.
        """
        self.incarnation += 1
        if not hidden:
            self.generation += 1
        for connection in list(self.connections):
            connection.keys.clear()
            connection.listens = False
            if not hidden:
                self.end(connection)
        for transaction in list(self.transactions):
            if not transaction.prepared:
                self.roll_back(transaction)
                self._release(transaction)  # one that is visible already, and not acknowledged
        self.letterbox.crash()
        self._acknowledge(list(self._unacknowledged))
        self._acknowledge([self._become(session_id, state) for session_id, state in lost.items()])

    def forget_prepared(self) -> None:
        """Another cluster has none of them."""
        for transaction in list(self.transactions):
            self.roll_back(transaction)

    def window(self, session_id: str, as_of_us: int) -> list[State | None]:
        """The states that a session may have been seen in from an instant until now."""
        history = self.history.get(session_id, [Version(0, None)])
        return [version.state for version in history if version.until_us >= as_of_us]
