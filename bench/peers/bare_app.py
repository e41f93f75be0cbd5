"""The limit of the server: a bare ASGI app under uvicorn that gives fixed bytes. Run as `PORT FILE`.

FILE holds an answer, head and body; uvicorn writes `date` itself, and is set up as it is for the query API.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

_OF_THE_SERVER = {b"date", b"server"}


class FixedBytes:
    """Answers everything alike, reading nothing."""

    def __init__(self, answer: bytes) -> None:
        head, _, self._body = answer.partition(b"\r\n\r\n")
        fields = [line.partition(b":")[::2] for line in head.split(b"\r\n")[1:]]
        self._headers = [(name.lower(), value.strip()) for name, value in fields if name.lower() not in _OF_THE_SERVER]

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Serve one request."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def main() -> None:
    """Serve until SIGTERM."""
    port, path = sys.argv[1:]
    uvicorn.run(
        FixedBytes(Path(path).read_bytes()),
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
