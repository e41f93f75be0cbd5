"""A primary and its hot standby, for tests of what happens when the one dies and the other is promoted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.servers import TEMPLATE, connected, copied, embedded_postgres, make_template, server_directory
from tests.support.waiting import eventually


@dataclass
class ServerPair:
    """The two servers; `database` holds the write side's tables."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    database: str = TEMPLATE

    def url(self, *, query: str = "?target_session_attrs=read-write", standby_first: bool = False) -> str:
        """One URL that names both, each with its port."""
        servers = (self.standby, self.primary) if standby_first else (self.primary, self.standby)
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        return f"postgresql://postgres:{self.primary.password}@{hosts}/{self.database}{query}"

    async def checkpoint(self) -> None:
        """Have both write to their disks what is in memory."""
        for server in (self.primary, self.standby):
            await self._replayed()
            async with connected(server.url(self.database)) as connection:
                await connection.execute("CHECKPOINT")

    async def _replayed(self) -> None:
        async with connected(self.primary.url(self.database)) as connection:
            written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        await eventually(partial(self._has, written), "the standby has replayed all")

    async def fail_over(self) -> None:
        """Let the standby have everything, kill the primary, promote the standby."""
        await self._replayed()
        await self.primary.kill()
        async with connected(self.standby.url(self.database)) as connection:
            assert await connection.fetchval("SELECT pg_promote(wait => true)")

    async def _has(self, position: str) -> bool:
        async with connected(self.standby.url(self.database)) as connection:
            return bool(await connection.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", position))


@asynccontextmanager
async def server_pair() -> AsyncIterator[ServerPair]:
    """Both of them, the standby streaming from the primary."""
    with server_directory() as directory:
        primary = embedded_postgres(directory / "primary", wal_level="replica")
        await primary.start()
        try:
            await make_template(primary)
            await primary.stop()  # a base backup is then a copy
            copied(directory / "primary", directory / "standby")
            (directory / "standby" / "cluster" / "standby.signal").touch()
            await primary.start()
            leads_to = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password}"
            async with embedded_postgres(directory / "standby", primary_conninfo=leads_to) as standby:
                yield ServerPair(primary, standby)
        finally:
            await primary.stop()
