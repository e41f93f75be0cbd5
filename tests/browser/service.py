"""What a browser looks at: a writer, a projector as a process, and an API that can be stopped and started again."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import uvicorn

from query_api.config import ApiConfig
from query_api.doorway.layer import App, Receive, Scope, Send
from readside.api import opened
from readside.demo.processes import free_port
from tests.support.builders import BOTH_KEY, api_config
from tests.support.commanding import Site
from tests.support.projecting import Writer
from tests.support.waiting import eventually

PAGE_EVENTS = 500
STALE_SECONDS = 1.0
HOT_TTL_SECONDS = 16.0
"""Polls are told to the projector every eighth of it."""


class _Server(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Service:
    """Everything that runs, and what of it a test may stop."""

    site: Site
    config: ApiConfig
    writer: Writer
    port: int
    elsewhere_port: int
    heard: list[dict[str, str]] = field(default_factory=list)
    """The headers of the polls that arrived, of streams too, by lower-case names."""
    _api: AsyncExitStack = field(default_factory=AsyncExitStack)
    _projector: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        """The API's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The origin whose pages may poll."""
        return f"http://127.0.0.1:{self.elsewhere_port}"

    async def start_api(self) -> None:
        """Serve the API, on the same port each time."""
        app = await self._api.enter_async_context(opened(self.config))
        await self._api.enter_async_context(served(self._listening(app), self.port))

    async def stop_api(self) -> None:
        """End it; its connections are cut."""
        await self._api.aclose()

    async def start_projector(self) -> None:
        """Start a projector, and wait until it is live."""
        await self._projector.enter_async_context(self.site.projector())

        async def is_live() -> bool:
            return bool((await self.get("/api/v2/projection")).json()["status"] == "live")

        await eventually(is_live, "the projection is live")

    async def kill_projector(self) -> None:
        """Kill it."""
        await self._projector.aclose()

    async def session(self, events: int = 0, **columns: Any) -> str:
        """Write a session with so many events, a second apart, the newest now; its id."""
        session_id = await self.writer.session(**columns)
        await self.add(session_id, events)
        if events > PAGE_EVENTS:  # more than a console's first page: it is to find them all, and none that comes later
            await eventually(lambda: self._has(session_id, events), "the API gives all events")
        return session_id

    async def _has(self, session_id: str, events: int) -> bool:
        """Whether a poll counts so many events."""
        answer = await self.get(f"/api/v2/sessions/{session_id}/events?limit=1")
        return answer.status_code == 200 and answer.json()["total"] == events

    async def add(self, session_id: str, events: int, event_type: str = "step_created") -> None:
        """Write events in one statement, each a second before the one that follows it."""
        await self.writer.connection.execute(
            """INSERT INTO events (id, session_id, event_type, event_data, message, timestamp)
               SELECT gen_random_uuid(), $1::uuid, $3, jsonb_build_object('n', n), 'number ' || n,
                      clock_timestamp() - ($2::int - n) * interval '1 ms'
               FROM generate_series(1, $2::int) n""",
            session_id,
            events,
            event_type,
        )

    async def write(self, session_id: str, *given: dict[str, Any]) -> Sequence[str]:
        """Write single events; their ids."""
        return [await self.writer.event(session_id, **columns) for columns in given]

    async def count(self, metric: str) -> float:
        """The sum of the API's counters whose lines begin so."""
        async with httpx.AsyncClient(base_url=self.url, verify=False) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))

    async def get(self, path: str) -> httpx.Response:
        """Ask the API beside the browser."""
        async with httpx.AsyncClient(base_url=self.url, headers={"x-api-key": BOTH_KEY}, verify=False) as client:
            return await client.get(path)

    def _listening(self, app: App) -> App:
        async def listen(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].endswith(("/events", "/stream")):
                self.heard.append({name.decode(): value.decode() for name, value in scope["headers"]})
            await app(scope, receive, send)

        return listen

    async def close(self) -> None:
        """End everything."""
        await self._api.aclose()
        await self._projector.aclose()


@asynccontextmanager
async def running_service(database_url: str, redis_url: str) -> AsyncIterator[Service]:
    """Triggers, a live projector and an API."""
    site = Site.of(
        database_url, redis_url, MAX_STALENESS_SECONDS=str(STALE_SECONDS), HOT_TTL_SECONDS=str(HOT_TTL_SECONDS)
    )
    await site.install()
    connection = await asyncpg.connect(database_url)
    elsewhere_port = free_port()
    config = api_config(
        database_url,
        redis_url,
        redis_prefix=site.settings["REDIS_PREFIX"],
        max_staleness_seconds=STALE_SECONDS,
        hot_ttl_seconds=HOT_TTL_SECONDS,
        cors_origins=(f"http://127.0.0.1:{elsewhere_port}",),
    )
    service = Service(site, config, Writer(connection), free_port(), elsewhere_port)
    try:
        await service.start_api()
        await service.start_projector()
        yield service
    finally:
        await service.close()
        await connection.close()


@asynccontextmanager
async def served(app: App, port: int) -> AsyncIterator[None]:
    """Uvicorn on this port, for as long as the block lasts. A browser may keep the console's files meanwhile."""
    options: dict[str, Any] = {"lifespan": "off", "log_config": None, "http": "httptools", "ws": "none"}
    server = _Server(uvicorn.Config(_kept(app), port=port, timeout_graceful_shutdown=1, **options))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started, "uvicorn serves")
        yield
    finally:
        server.should_exit = True
        await task


def _kept(app: App) -> App:
    """Spare the browser, at each visit, the question whether one of forty files has changed: none does."""

    async def keeping(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                told = [(name, value) for name, value in message["headers"] if name != b"cache-control"]
                message = {**message, "headers": [*told, (b"cache-control", b"max-age=3600")]}
            await send(message)

        is_file = scope["type"] == "http" and "/console/" in scope["path"]
        await app(scope, receive, sent if is_file else send)

    return keeping


@asynccontextmanager
async def page_from_elsewhere(port: int, html: str) -> AsyncIterator[None]:
    """A page of another origin."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        await send(start)
        await send({"type": "http.response.body", "body": html.encode()})

    async with served(app, port):
        yield
