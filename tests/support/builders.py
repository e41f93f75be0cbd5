"""APIs for tests: their keys and settings, and clients that speak to them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn

from query_api.config import ApiConfig
from query_api.layer import App
from readside.api import opened
from readside.api_server import listening
from tests.support.waiting import eventually

READ_KEY, OPS_KEY, BOTH_KEY = "read-key", "ops-key", "both-key"
KEYS = {
    hashlib.sha256(key.encode()).digest(): (name, frozenset(scopes))
    for key, name, scopes in (
        (READ_KEY, "dashboard", ("read",)),
        (OPS_KEY, "pager", ("ops",)),
        (BOTH_KEY, "both", ("read", "ops")),
    )
}


def api_config(database_url: str, redis_url: str, **changes: object) -> ApiConfig:
    """Settings of an API as tests want it; `changes` on top."""
    settings: dict[str, object] = {"keys": KEYS, "heartbeat_seconds": 0.05, **changes}
    return ApiConfig(database_url, redis_url, **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def api(config: ApiConfig, key: str | None = BOTH_KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API in this very process, with nothing in between."""
    async with opened(config) as app, client(httpx.ASGITransport(app), "http://api", key) as made:
        yield made


class _Server(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(app: App) -> AsyncIterator[str]:
    """The URL at which uvicorn serves an application that is running already."""
    listener = listening("127.0.0.1", 0)
    host, port = listener.getsockname()[:2]
    server = _Server(uvicorn.Config(app, lifespan="off", log_config=None, http="httptools", ws="none"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started, "uvicorn serves")
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task


def client(transport: httpx.AsyncBaseTransport, url: str, key: str | None) -> httpx.AsyncClient:
    """A client that shows this key, if any."""
    headers = {} if key is None else {"x-api-key": key}
    return httpx.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=30)


def events_path(session_id: str) -> str:
    """Where a session's events are polled."""
    return f"/api/v2/sessions/{session_id}/events"
