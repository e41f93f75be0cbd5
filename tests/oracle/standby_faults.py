"""Faults of a hot standby that answers cold polls: it lags, is away, is promoted, cancels what replay waits for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import asyncpg

from tests.oracle.service import MAX_STALENESS_SECONDS
from tests.oracle.site import Fault, Site
from tests.oracle.writers import LOST, wait
from tests.support.replication import Replication

REPLAY_SECONDS = 60
ANOTHER_HISTORY = """
UPDATE events SET message = 'of another history' WHERE id IN (SELECT id FROM events FOR UPDATE SKIP LOCKED)
"""
"""Transactions that were prepared on the primary hold their locks here for ever."""
SENDERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication"


@dataclass
class OnlyStandby:
    """The one standby, or the one that is in its place now."""

    servers: Replication
    settings: dict[str, str]

    def __post_init__(self) -> None:
        self.server = self.servers.copy(self.servers.primary, **self.settings)

    async def replace(self) -> None:
        """End it, and start one in its place that begins with what the primary had at first."""
        await self.server.kill()
        new = self.servers.copy(self.servers.primary, **self.settings)
        new.port, self.server = self.server.port, new
        await new.start()

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.kill()


@dataclass
class StandbyFaults:
    """What can be done to the one standby, and to what it follows."""

    site: Site
    standby: OnlyStandby

    def all(self) -> list[Fault]:
        """Each of them."""
        return [
            Fault("standby lags beyond the bound", self.lag, 24, 3),
            Fault("standby lags shortly", self.lag_shortly, 16, 1),
            Fault("standby killed and back", self.kill, 20, 2),
            Fault("standby promoted, and made anew", self.promote, 24, 3),
            Fault("standby away while the primary restarts", self.restart_both, 8, 2),
            Fault("replication terminated", self.terminate_replication, 12, 0.5),
            Fault("recovery conflicts", self.conflict, 16, 2),
        ]

    async def lag(self) -> None:
        """It is left out, and back when it has caught up."""
        await self._hold(MAX_STALENESS_SECONDS, 2)

    async def lag_shortly(self) -> None:
        """It is asked as long as what it has passed is young enough."""
        await self._hold(0, MAX_STALENESS_SECONDS / 2)

    async def kill(self) -> None:
        """It replays from where it was."""
        await self.standby.server.kill()
        await self.site.pause(2)
        await self.standby.server.start()

    async def promote(self) -> None:
        """It takes writes of its own, on a timeline that nobody follows, until one of the primary's is in its place."""
        await self._checkpoint()
        async with self.site.postgres(self._url()) as connection:
            await connection.execute("SELECT pg_promote(wait => true)")
            await connection.execute(ANOTHER_HISTORY)
        await self.site.pause(2)
        await self.standby.replace()
        await self._replayed()

    async def restart_both(self) -> None:
        """Neither knows where the other is for a moment."""
        await self.standby.server.kill()
        await self.standby.servers.primary.restart("fast")
        await self.standby.server.start()

    async def terminate_replication(self) -> None:
        """It connects again by itself, a moment late."""
        async with self.site.postgres() as connection:
            await connection.execute(SENDERS)

    async def conflict(self) -> None:
        """Rows that its queries may see are cleared away, and locks taken that they would wait for."""
        async with self.site.postgres() as connection:
            for _ in range(5):
                await connection.execute("SET lock_timeout = '1s'")
                with suppress(asyncpg.LockNotAvailableError):
                    await connection.execute("VACUUM (FREEZE) events, sessions")
                    await connection.execute("BEGIN; LOCK TABLE events; SELECT pg_sleep(0.2); COMMIT")
                if connection.is_in_transaction():
                    await connection.execute("ROLLBACK")
                await self.site.pause(0.5)

    async def _hold(self, least: float, more: float) -> None:
        """Replay nothing for so many seconds at least, and for a random part of so many more."""
        with suppress(*LOST):
            async with self.site.postgres(self._url()) as connection:
                await connection.execute("SELECT pg_wal_replay_pause()")
                await wait(self.site.stop, least)
                await self.site.pause(more)
                await connection.execute("SELECT pg_wal_replay_resume()")

    async def _checkpoint(self) -> None:
        """Have both write to their disks what is in memory, as `readside install` advises."""
        for url in (None, self._url()):
            await self._replayed()
            async with self.site.postgres(url) as connection:
                await connection.execute("CHECKPOINT")

    async def _replayed(self) -> None:
        """Return when the standby has all that the primary has on its disk now."""
        async with self.site.postgres() as primary:
            written = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")

        async def has() -> bool:
            async with self.site.postgres(self._url()) as standby:
                return bool(await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))

        await self.site.until(has, "the standby has replayed all", REPLAY_SECONDS)

    def _url(self) -> str:
        return self.standby.server.url(self.site.service.database_url.rpartition("/")[2])
