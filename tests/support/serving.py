"""uvicorn in the test's own loop, serving an application that is running already."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal

import uvicorn

from query_api.doorway.connections import CONNECTIONS
from query_api.doorway.layer import App, Layer, Receive, Scope, Send
from query_api.doorway.protocol import Doorway
from tests.support.waiting import eventually

Http = type[Doorway] | Literal["httptools"]
"""The protocol that reads the sockets: ours, or uvicorn's own."""
GRACE_SECONDS = 1
"""A request that runs for longer is cut off in the end."""


@asynccontextmanager
async def served(
    app: Layer, http: Http, *, sockets: Sequence[socket.socket] | None = None, uds: str | None = None
) -> AsyncIterator[uvicorn.Server]:
    """A server at these sockets, or at this path; it is shut down in good order."""
    config = uvicorn.Config(
        _with_lifespan(app), uds=uds, http=http, lifespan="on", log_config=None, ws="none", server_header=False,
        proxy_headers=False, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listeners = None if sockets is None else list(sockets)
    await server.startup(listeners)
    ticking = asyncio.create_task(server.main_loop())  # it keeps the date
    await asyncio.sleep(0)
    try:
        yield server
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await _shut_down(server, listeners or [])


async def _shut_down(server: uvicorn.Server, listeners: Sequence[socket.socket]) -> None:
    """End it as uvicorn does, but without its pause of a tenth of a second: hundreds of tests would take it."""
    for listening in server.servers:
        listening.close()
    for listener in listeners:
        listener.close()
    state = server.server_state
    for connection in list(state.connections):
        connection.shutdown()
    await asyncio.sleep(0)  # a connection that is closed is gone in the next turn
    try:
        await eventually(lambda: not (state.connections or state.tasks), "all requests have ended", GRACE_SECONDS)
    except AssertionError:
        for task in state.tasks:
            task.cancel()
    await server.lifespan.shutdown()


def _with_lifespan(app: Layer) -> App:
    """Wrap an app so that the protocols get what a process gives them when its lifespan begins."""

    async def process(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        scope["state"][CONNECTIONS] = app.connections
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return process
