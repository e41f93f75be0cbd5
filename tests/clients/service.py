"""The service that clients meet: API and projector as processes, stores of which the API's ways can be cut."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx

from readside.demo.processes import Child, free_port
from readside.settings import child_environment
from tests.support import fork_server
from tests.support.builders import events_path
from tests.support.commanding import Site
from tests.support.keys import KEY
from tests.support.projecting import Writer
from tests.support.proxy import Proxy, proxied
from tests.support.servers import connected
from tests.support.waiting import eventually


@dataclass
class Service:
    """One API behind a proxy (`front`), whose Postgres is behind another (`back`), one projector, a writer."""

    site: Site
    logs: Path
    port: int
    front: Proxy
    back: Proxy
    writer: Writer
    session_id: str
    api: Child | None = None
    projector: Child | None = None

    @property
    def url(self) -> str:
        """Where clients find the API, whichever process it is."""
        return f"http://127.0.0.1:{self.front.port}"

    def start_projector(self) -> None:
        """Start a projector."""
        self.projector = self._spawn("projector", dict(self.site.settings))

    async def start_api(self) -> None:
        """Start the API and wait until it answers."""
        settings = {**self.site.settings, "DATABASE_URL": self.back.url(self.site.database_url)}
        self.api = self._spawn("api", settings, "--port", str(self.port))
        await eventually(self._answers, "the API answers")

    async def is_live(self) -> None:
        """Wait until the view is live."""
        await self.site.becomes("live")

    async def ids(self) -> list[str]:
        """What Postgres holds."""
        rows = await self.writer.connection.fetch(
            "SELECT id::text FROM events WHERE session_id = $1::uuid ORDER BY id", self.session_id
        )
        return [row["id"] for row in rows]

    async def kill(self, child: Child | None) -> None:
        """End a process at once."""
        assert child is not None
        assert child.running, child.name
        child.process.send_signal(signal.SIGKILL)
        await child.exited()

    async def end(self) -> None:
        """End what runs."""
        for child in (self.api, self.projector):
            if child is not None:
                await child.end(grace_seconds=15)

    def _spawn(self, name: str, settings: dict[str, str], *options: str) -> Child:
        log = self.logs / f"{name}.log"
        return fork_server.spawn(name, name, *options, log=log, environment=child_environment(settings))

    async def _answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}{events_path(self.session_id)}"
        with suppress(httpx.TransportError):
            async with httpx.AsyncClient(headers={"x-api-key": KEY}, timeout=60, verify=False) as client:
                return (await client.get(url)).status_code == 200
        return False


@asynccontextmanager
async def running(database_url: str, redis_url: str, logs: Path) -> AsyncIterator[Service]:
    """Everything, live, with one session that has no events."""
    site = Site.of(database_url, redis_url, API_KEYS=f"client:{KEY}", MAX_STALENESS_SECONDS="1")
    await site.install()
    port = free_port()
    async with (
        proxied(f"http://127.0.0.1:{port}") as front,
        proxied(database_url) as back,
        connected(database_url) as connection,
    ):
        writer = Writer(connection)
        service = Service(site, logs, port, front, back, writer, await writer.session())
        try:
            service.start_projector()
            await service.start_api()
            yield service
        finally:
            await service.end()


@asynccontextmanager
async def late(service: Service, count: int, ago_seconds: float) -> AsyncIterator[None]:
    """Commit events at the end of the block; their timestamps are older than those that the block commits."""
    connection = await asyncpg.connect(service.site.database_url)
    try:
        async with connection.transaction():
            await connection.execute(
                """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
                   SELECT gen_random_uuid(), $1::uuid, 'step_created', '{}', now() - $3::float8 * interval '1 s'
                   FROM generate_series(1, $2::int)""",
                service.session_id,
                count,
                ago_seconds,
            )
            yield
    finally:
        await connection.close()
