"""The faults that strike a run. Each returns when its outage is over; what it leaves to mend later it names."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg

from projector.tail.triggers import install
from readmodel.errors import NotInstalled
from tests.oracle.ledger import Draft, Ledger
from tests.oracle.report import Report
from tests.oracle.service import Service
from tests.oracle.writers import LOST, Writer, begin, committed, now_us, wait
from tests.support.projecting import INSERT_SESSION

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

Mend = Callable[[], None]
DUMP, OLD_DUMP = "dump.rdb", "old.rdb"
EVERY_TRIGGER = ("readside_insert", "readside_update", "readside_delete", "readside_truncate")


@dataclass
class Faults:
    """What can be done to a service."""

    service: Service
    ledger: Ledger
    report: Report
    random: random.Random
    stop: asyncio.Event
    kept: frozenset[str]
    mends: list[Mend] = field(default_factory=list)

    def all(self) -> dict[str, tuple[Callable[[], Awaitable[None]], int]]:
        """Every fault by name, with its weight."""
        return {
            "kill -9 of the leader": (self.kill_leader, 3),
            "freeze of the leader": (self.freeze_leader, 2),
            "listener terminated": (self.terminate_listener, 3),
            "API's queries terminated": (self.terminate_api, 1),
            "Postgres restart, fast": (self.restart_fast, 1),
            "Postgres restart, immediate": (self.restart_immediate, 2),
            "FLUSHALL": (self.flush, 2),
            "key deleted": (self.delete_key, 6),
            "position deleted": (self.delete_position, 2),
            "hot index deleted": (self.delete_index, 1),
            "Redis restart, empty": (self.redis_empty, 2),
            "Redis restart, older dump": (self.redis_older, 3),
            "subscriptions killed": (self.kill_subscriptions, 3),
            "Redis connections killed": (self.kill_clients, 1),
            "triggers disabled": (self.disable_triggers, 2),
            "triggers dropped": (self.drop_triggers, 1),
            "Redis full, noeviction": (self.fill_redis, 1),
            "Redis full, evicting": (self.evict, 2),
            "TRUNCATE": (self.truncate, 1),
        }

    async def kill_leader(self) -> None:
        """SIGKILL; another one starts later."""
        place = await self._leader()
        child = self.service.projectors[place]
        self.service.killed.add(child.pid)
        child.kill()
        await child.exited()
        self.mends.append(lambda: self.service.start_projector(place))

    async def freeze_leader(self) -> None:
        """SIGSTOP; it wakes up when another one has taken over."""
        child = self.service.projectors[await self._leader()]
        child.process.send_signal(signal.SIGSTOP)
        self.mends.append(lambda: child.process.send_signal(signal.SIGCONT))

    async def terminate_listener(self) -> None:
        """As an operator or a failing network would."""
        await self._terminate("readside-listener")

    async def terminate_api(self) -> None:
        """The API's connections to Postgres, queries and all."""
        await self._terminate("readside-api")

    async def restart_fast(self) -> None:
        """Rolls back what runs; down for a moment."""
        await self.service.postgres.stop("fast")
        await self._pause(1)
        await self.service.postgres.start()

    async def restart_immediate(self) -> None:
        """A crash, which takes back commits that did not wait for the disk."""
        self.ledger.crash(now_us())
        await self.service.postgres.restart("immediate")
        async with self._postgres() as connection:
            kept = {mark: await committed(connection, mark) for mark in self.ledger.suspects()}
        self.report.taken_back += self.ledger.recovered(kept, now_us())

    async def flush(self) -> None:
        """All of Redis at once."""
        async with self.service.redis_client() as redis:
            await redis.flushall()

    async def delete_key(self) -> None:
        """Any key of ours."""
        async with self.service.redis_client() as redis:
            keys = sorted([key async for key in redis.scan_iter("readside:*", count=1000)])
            if keys:
                await redis.delete(self.random.choice(keys))

    async def delete_position(self) -> None:
        """The one key that holds term, number and as-of."""
        async with self.service.redis_client() as redis:
            await redis.delete("readside:{0}:position")

    async def delete_index(self) -> None:
        """The list of hot sessions."""
        async with self.service.redis_client() as redis:
            await redis.delete("readside:{0}:hot")

    async def redis_empty(self) -> None:
        """Nothing is left."""
        await self._restart_redis(None)

    async def redis_older(self) -> None:
        """With a dump of an earlier moment; this moment's is kept for the next time."""
        async with self.service.redis_client() as redis:
            await redis.save()
        directory = self.service.redis.directory
        shutil.copy(directory / DUMP, directory / "new.rdb")
        if not (directory / OLD_DUMP).exists():
            shutil.copy(directory / DUMP, directory / OLD_DUMP)
            await self._pause(3)
        await self._restart_redis(OLD_DUMP)
        shutil.move(directory / "new.rdb", directory / OLD_DUMP)

    async def kill_subscriptions(self) -> None:
        """redis-py subscribes again without a word."""
        async with self.service.redis_client() as redis:
            await redis.client_kill_filter(_type="pubsub")

    async def kill_clients(self) -> None:
        """Every other connection of everybody."""
        async with self.service.redis_client() as redis:
            await redis.client_kill_filter(_type="normal", skipme=True)

    async def disable_triggers(self) -> None:
        """And enable them again, mostly between two beats."""
        async with self._postgres() as connection:
            await self._alter(connection, "DISABLE")
            await self._pause(self.random.choice((0.03, 0.1, 1.5)))
            await self._alter(connection, "ENABLE ALWAYS")

    async def drop_triggers(self) -> None:
        """And install them again."""
        await self.service.command("uninstall")
        async with self._postgres() as connection:
            while not await self._installed(connection):
                await self._pause(0.5)

    async def fill_redis(self) -> None:
        """Writes are refused for a while."""
        await self._squeeze("noeviction", 0.0)

    async def evict(self) -> None:
        """Keys go, any of them."""
        await self._squeeze("allkeys-random", 0.9)

    async def truncate(self) -> None:
        """Everything goes; the sessions that stay are made anew in the same transaction."""
        mender = Writer(self.service.database_url, self.ledger, self.random, self.stop, self.kept)
        try:
            await self._truncate(mender)
        except LOST:
            await mender.mend()
        finally:
            if mender.connection is not None:
                await mender.connection.close(timeout=5)

    async def _truncate(self, mender: Writer) -> None:
        connection, mark = await mender.connected(), str(uuid4())
        await begin(connection, mark, "6s")
        await connection.execute("LOCK TABLE events, sessions")
        draft = Draft(purged=[str(row["id"]) for row in await connection.fetch("SELECT id FROM sessions")])
        rows = await connection.fetch("SELECT session_id, id FROM events")
        draft.removed = [(str(row["session_id"]), str(row["id"])) for row in rows]
        await connection.execute("TRUNCATE sessions, events")
        for session_id in sorted(self.kept):
            await connection.execute(INSERT_SESSION, session_id, "in_progress")
            draft.created.append(session_id)
        await mender.commit(connection, draft, mark)

    async def _restart_redis(self, dump: str | None) -> None:
        server = self.service.redis
        await server.kill()
        (server.directory / DUMP).unlink(missing_ok=True)
        if dump is not None:
            shutil.copy(server.directory / dump, server.directory / DUMP)
        await self._pause(1)
        await server.start()
        (server.directory / DUMP).unlink(missing_ok=True)

    async def _squeeze(self, policy: str, share: float) -> None:
        async with self.service.redis_client() as redis:
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory-policy", policy)
            await redis.config_set("maxmemory", max(1, int(used * share)))
            await self._pause(2)
            await redis.config_set("maxmemory", 0)

    async def _installed(self, connection: Connection) -> bool:
        """Busy writers may hold its locks off: an operator would try again, as it says."""
        try:
            await install(connection, warn=self.report.tell)
        except NotInstalled:
            return False
        return True

    async def _alter(self, connection: Connection, how: str) -> None:
        for table in ("sessions", "events"):
            changes = ", ".join(f"{how} TRIGGER {name}" for name in EVERY_TRIGGER)
            await connection.execute(f"ALTER TABLE {table} {changes}")

    async def _terminate(self, name: str) -> None:
        async with self._postgres() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name
            )

    async def _leader(self) -> int:
        place = await self.service.leader()
        return self.random.randrange(2) if place is None else place

    async def _pause(self, seconds: float) -> None:
        await wait(self.stop, self.random.uniform(0, seconds))

    @asynccontextmanager
    async def _postgres(self) -> AsyncIterator[Connection]:
        connection = await asyncpg.connect(self.service.database_url, timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)
