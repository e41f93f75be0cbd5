"""A primary and as many hot standbys of it as a test wants, made in a moment: copies of the same first state."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from readside.demo.embedded_postgres import EmbeddedPostgres
from tests.support.servers import connected, copied, embedded_postgres, make_template, server_directory
from tests.support.waiting import eventually

_KEEPS_ALL = {"wal_level": "replica", "wal_keep_size": "1GB", "max_wal_senders": "20"}
_STANDBY = {"wal_receiver_status_interval": "100ms", "wal_retrieve_retry_interval": "100ms"}


@dataclass
class Replication:
    """The primary, and the state that standbys begin with. It holds the write side's tables in `TEMPLATE`."""

    directory: Path
    primary: EmbeddedPostgres

    @asynccontextmanager
    async def standby(
        self, upstream: EmbeddedPostgres | None = None, **settings: str
    ) -> AsyncIterator[EmbeddedPostgres]:
        """A standby that streams from the primary, or from another standby."""
        server = self.copy(upstream or self.primary, **settings)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()

    def copy(self, upstream: EmbeddedPostgres, **settings: str) -> EmbeddedPostgres:
        """One that is not started yet."""
        place = self.directory / f"standby-{uuid4().hex[:6]}"
        copied(self.directory / "base", place)
        (place / "cluster" / "standby.signal").touch()
        leads_to = f"host=127.0.0.1 port={upstream.port} user=postgres password={upstream.password}"
        return embedded_postgres(place, primary_conninfo=leads_to, **_STANDBY, **{**_KEEPS_ALL, **settings})


async def replayed_all(primary_url: str, standby_url: str) -> None:
    """Wait until a standby has all that the primary has written."""
    async with connected(primary_url) as primary, connected(standby_url) as standby:
        written = await primary.fetchval("SELECT pg_current_wal_flush_lsn()::text")

        async def has() -> bool:
            return bool(await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written))

        await eventually(has, "the standby has replayed all")


@contextmanager
def replication(**settings: str) -> Iterator[Replication]:
    """For as long as the block lasts, for synchronous callers; `settings` are the primary's."""
    with server_directory() as directory:
        primary = embedded_postgres(directory / "primary", **_KEEPS_ALL, **settings)
        asyncio.run(_prepare(primary))
        copied(directory / "primary", directory / "base")
        asyncio.run(primary.start())
        try:
            yield Replication(directory, primary)
        finally:
            asyncio.run(primary.kill())  # nobody starts it again: a checkpoint would take seconds


async def _prepare(primary: EmbeddedPostgres) -> None:
    await primary.start()
    await make_template(primary)
    await primary.stop()  # a copy of it is then a base backup
