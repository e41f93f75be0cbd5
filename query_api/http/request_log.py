"""What the log may tell of a request: one line each at level debug, and nothing that a caller could smuggle into it."""

from __future__ import annotations

import logging
import time
from typing import Any

import structlog

from query_api.http.reply import Pairs, Reply
from query_api.http.request_id import naming
from readmodel.values.ids import is_uuid

_log = structlog.get_logger(__name__)

_WORDS = frozenset(
    {"", "api", "v2", "sessions", "events", "warm", "projection", "history", "health", "live", "ready", "metrics"}
    | {"docs", "openapi.json", "console"}
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MOST_SEGMENTS = 8


def shown(path: str) -> str:
    """A path for the log: our own words and UUIDs as they are, `…` for all else, which may be a key or a text."""
    segments = path.split("/", _MOST_SEGMENTS)
    return "/".join(part if part in _WORDS or is_uuid(part.lower()) else "…" for part in segments)


def wanted() -> bool:
    """Tell whether the log is set up to take lines of level debug."""
    return structlog.is_configured() and bool(_log.bind().is_enabled_for(logging.DEBUG))


def tell(name: bytes, method: str, path: str, reply: Reply, started: float) -> None:
    """Tell of an answer that left whole; `started` is the monotonic second when its request came."""
    with naming(name):
        _tell(method, path, reply.status, reply.headers, started)


def _tell(method: str, path: str, status: int, headers: Pairs, started: float) -> None:
    _log.debug(
        "answered",
        method=method if method in _METHODS else "…",
        path=shown(path),
        status=status,
        source=dict(headers).get(b"readside-source", b"").decode() or None,
        ms=round((time.monotonic() - started) * 1000, 3),
    )


class LoggingSend:
    """Sends what it is given, and tells of the request when the last of the answer has left."""

    def __init__(self, send: Any, method: str, path: str) -> None:
        self._send = send
        self._method = method
        self._path = path
        self._started = time.monotonic()
        self._status = 0
        self._headers: Pairs = []

    async def __call__(self, message: Any) -> None:
        """Send a message of ASGI's."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], message["headers"]
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            _tell(self._method, self._path, self._status, self._headers, self._started)
