"""A bare ASGI app that gives an answer kept in a file, head and body: what is left is its server's cost."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_OF_THE_SERVER = {b"date", b"server"}


class FixedBytes:
    """Answers everything alike, reading nothing."""

    def __init__(self, path: Path) -> None:
        head, _, self._body = path.read_bytes().partition(b"\r\n\r\n")
        fields = [line.partition(b":")[::2] for line in head.split(b"\r\n")[1:]]
        self._headers = [(name.lower(), value.strip()) for name, value in fields if name.lower() not in _OF_THE_SERVER]

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Serve one request."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})
