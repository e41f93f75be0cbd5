"""Hot standbys of the primary under measurement: copies of it that stream from it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.stack import Servers
from readside.demo.embedded_postgres import EmbeddedPostgres
from readside.demo.processes import LOOPBACK


@asynccontextmanager
async def running_standbys(servers: Servers, count: int) -> AsyncIterator[list[EmbeddedPostgres]]:
    """Run standbys for as long as the block lasts. The primary is stopped for a moment: its copy is a base backup."""
    primary = servers.postgres
    places = [servers.directory / f"standby-{number}" for number in range(1, count + 1)]
    await primary.stop()
    for place in places:
        _copy(primary.directory, place)
    await primary.start()
    leads_to = f"host={LOOPBACK} port={primary.port} user=postgres password={primary.password}"
    settings = {"primary_conninfo": leads_to, "wal_receiver_status_interval": "100ms"}
    async with AsyncExitStack() as stack:
        made = [EmbeddedPostgres(place, settings=settings, programs=servers.choices.postgres) for place in places]
        yield [await stack.enter_async_context(standby) for standby in made]


def _copy(source: Path, target: Path) -> None:
    """Copy a stopped server, for the user that it runs as."""
    shutil.copytree(source, target, copy_function=shutil.copy2)
    cluster, status = target / "cluster", (source / "cluster").stat()
    for path in (cluster, *cluster.rglob("*")):
        shutil.chown(path, status.st_uid, status.st_gid)
    (cluster / "standby.signal").touch()
