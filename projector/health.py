"""The projector's own health and metrics over HTTP, where a port is set."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

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

    @contextmanager
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
    """Serve until cancelled; without a port only wait. Raises ConfigurationError when the port cannot be had."""
    if port is None:
        await asyncio.Event().wait()
        return
    listeners = _listening(host, port)
    server = _Server(
        uvicorn.Config(application(telemetry, still_seconds), log_level="critical", access_log=False, lifespan="off")
    )
    await server.serve(listeners)


def _listening(host: str, port: int) -> list[socket.socket]:
    """Open a socket for each address of a host; raises ConfigurationError, which says why one cannot be had."""
    with ExitStack() as opened:
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            listeners = []
            # `localhost` may have an address of IPv6 where the kernel has none of it.
            usable = [each for each in dict.fromkeys(found) if _is_known(each[0])]
            for family, kind, protocol, _, address in usable or found:
                listeners.append(opened.enter_context(socket.socket(family, kind, protocol)))
                listeners[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:  # each family has a socket of its own
                    listeners[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listeners[-1].bind(address)
                listeners[-1].listen()  # now, since bind alone lets two servers share a port
        except (OSError, UnicodeError) as exc:
            reason = (exc.strerror or str(exc)).lower() if isinstance(exc, OSError) else "no name of a host"
            raise ConfigurationError(f"READSIDE_PROJECTOR_PORT {port} on {host} cannot be served: {reason}.") from exc
        opened.pop_all()
    return listeners


def _is_known(family: int) -> bool:
    """Tell whether this kernel has a family of addresses at all."""
    try:
        socket.socket(family, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True
