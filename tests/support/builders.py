"""APIs for tests: their keys and settings, and clients that speak to them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal

import httpx

from projector.config import ProjectorConfig
from query_api.config import ApiConfig
from query_api.doorway.bounds import SocketBounds
from query_api.doorway.layer import Layer
from query_api.doorway.protocol import Doorway
from readside.api import opened
from readside.api_server import listening
from readside.settings import Settings
from tests.support.serving import served

Way = Literal["asgi", "doorway"]
"""How a request comes in: handed to the application by its caller, or read from a socket as in production."""

READ_KEY, OPS_KEY, BOTH_KEY = "read-key", "ops-key", "both-key"
KEYS = {
    hashlib.sha256(key.encode()).digest(): (name, frozenset(scopes))
    for key, name, scopes in (
        (READ_KEY, "dashboard", ("read",)),
        (OPS_KEY, "pager", ("ops",)),
        (BOTH_KEY, "both", ("read", "ops")),
    )
}


_DEFAULTS = Settings(
    database_url="postgresql://127.0.0.1:1/x", redis_url="redis://127.0.0.1:1/0", auth="none-on-purpose"
)
API, PROJECTOR = _DEFAULTS.api_config(), _DEFAULTS.projector_config()
"""What the processes are told where nothing is set, and no server is there."""


def api_config(database_url: str, redis_url: str, **changes: Any) -> ApiConfig:
    """Settings of an API as tests want it; `changes` on top."""
    settings = {"keys": KEYS, "heartbeat_seconds": 0.05, **changes}
    return replace(API, database_url=database_url, redis_url=redis_url, **settings)


def projector_config(database_url: str, redis_url: str, **changes: Any) -> ProjectorConfig:
    """Settings of a projector; `changes` on top."""
    return replace(PROJECTOR, database_url=database_url, listen_url=database_url, redis_url=redis_url, **changes)


def socket_bounds(**changes: Any) -> SocketBounds:
    """Bounds of connections; `changes` on top."""
    return replace(API.sockets, **changes)


@asynccontextmanager
async def api(config: ApiConfig, key: str | None = BOTH_KEY, way: Way = "asgi") -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API in this very process, as a rule with nothing in between."""
    async with opened(config) as app, reaching(app, way, key) as made:
        yield made


@asynccontextmanager
async def serving(app: Layer) -> AsyncIterator[str]:
    """The URL at which an application that is running already is served as in production."""
    with listening("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()[:2]
        async with served(app, Doorway, sockets=[listener]):
            yield f"http://{host}:{port}"


@asynccontextmanager
async def reaching(app: Layer, way: Way, key: str | None = BOTH_KEY) -> AsyncIterator[httpx.AsyncClient]:
    """A client that comes in this way."""
    async with AsyncExitStack() as stack:
        if way == "asgi":
            transport: httpx.AsyncBaseTransport = httpx.ASGITransport(app)
            url = "http://api"
        else:
            url = await stack.enter_async_context(serving(app))
            # Nothing is encrypted: to read the certificates that this machine trusts takes longer than many a test.
            transport = httpx.AsyncHTTPTransport(verify=False)
        yield await stack.enter_async_context(client(transport, url, key))


def client(transport: httpx.AsyncBaseTransport, url: str, key: str | None) -> httpx.AsyncClient:
    """A client that shows this key, if any."""
    headers = {} if key is None else {"x-api-key": key}
    return httpx.AsyncClient(transport=transport, base_url=url, headers=headers, timeout=30)


def events_path(session_id: str) -> str:
    """Where a session's events are polled."""
    return f"/api/v2/sessions/{session_id}/events"


def stream_path(session_id: str) -> str:
    """Where a session's stream is read."""
    return f"/api/v2/sessions/{session_id}/stream"
