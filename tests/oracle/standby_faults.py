"""Faults of a hot standby that answers cold polls: it lags, is away, is promoted, cancels what replay waits for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.oracle.service import MAX_STALENESS_SECONDS
from tests.oracle.site import Fault, Site
from tests.oracle.writers import LOST
from tests.support.replication import Replication, replayed_all

SENDERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication"


@dataclass
class StandbyFaults:
    """What can be done to the one standby, and to what it follows."""

    site: Site
    servers: Replication
    standby: EmbeddedPostgres
    settings: dict[str, str]

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
        await self._hold(2 * MAX_STALENESS_SECONDS)

    async def lag_shortly(self) -> None:
        """It is asked as long as what it has passed is young enough."""
        await self._hold(MAX_STALENESS_SECONDS / 2)

    async def kill(self) -> None:
        """It replays from where it was."""
        await self.standby.kill()
        await self.site.pause(2)
        await self.standby.start()

    async def promote(self) -> None:
        """It takes writes of its own, on a timeline that nobody follows, until one of the primary's is in its place."""
        await self._checkpoint()
        async with self.site.postgres(self._url()) as connection:
            await connection.execute("SELECT pg_promote(wait => true)")
            await connection.execute("UPDATE events SET message = 'of another history'")
        await self.site.pause(2)
        await self.standby.kill()
        new = self.servers.copy(self.servers.primary, **self.settings)
        new.port, self.standby = self.standby.port, new
        await new.start()
        await replayed_all(self.site.service.database_url, self._url())

    async def restart_both(self) -> None:
        """Neither knows where the other is for a moment."""
        await self.standby.kill()
        await self.servers.primary.restart("fast")
        await self.standby.start()

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

    async def _hold(self, seconds: float) -> None:
        with suppress(*LOST):
            async with self.site.postgres(self._url()) as connection:
                await connection.execute("SELECT pg_wal_replay_pause()")
                await self.site.pause(seconds)
                await connection.execute("SELECT pg_wal_replay_resume()")

    async def _checkpoint(self) -> None:
        """Have both write to their disks what is in memory, as `readside install` advises."""
        for url in (None, self._url()):
            await replayed_all(self.site.service.database_url, self._url())
            async with self.site.postgres(url) as connection:
                await connection.execute("CHECKPOINT")

    def _url(self) -> str:
        return self.standby.url(self.site.service.database_url.rpartition("/")[2])
