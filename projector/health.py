"""The projector's own health and metrics over HTTP, where a port is set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from projector.metrics import exposition
from projector.standing import STILL_SECONDS, standing
from projector.telemetry import Telemetry
from readmodel.errors import ConfigurationError


class _Server(uvicorn.Server):
    """A server that leaves the signals to the process it lives in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def application(telemetry: Telemetry, still_seconds: float = STILL_SECONDS) -> Starlette:
    """Build the three routes. Ready: live, or standing by for one that is.

    A leader that waits for a store is not ready, and says for which one.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "up"})

    async def ready(_: Request) -> Response:
        state, reason = standing(telemetry, still_seconds)
        is_ready = telemetry.role == "standby" or state == "live"
        body = {"role": telemetry.role, "state": state, "reason": reason}
        return JSONResponse(body, status_code=200 if is_ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(exposition(telemetry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)])


async def serve(telemetry: Telemetry, host: str, port: int | None, still_seconds: float = STILL_SECONDS) -> None:
    """Serve until cancelled; without a port only wait. Raises ConfigurationError when the port is taken."""
    if port is None:
        await asyncio.Event().wait()
        return
    server = _Server(
        uvicorn.Config(
            application(telemetry, still_seconds),
            host=host,
            port=port,
            log_level="critical",
            access_log=False,
            lifespan="off",
        )
    )
    try:
        await server.serve()
    except SystemExit:
        raise ConfigurationError(f"READSIDE_PROJECTOR_PORT {port} on {host} cannot be served: it is taken.") from None
