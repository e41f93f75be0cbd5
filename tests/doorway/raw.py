"""A client's end of a socket: it sends any bytes, and reads what it wants to."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import orjson

from query_api.http.reply import SAFETY

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER_SECONDS = 60.0
SAFE = {name.decode(): value.decode() for name, value in SAFETY.pairs}
"""What every answer tells a browser."""


class Answer(NamedTuple):
    """One answer; names of fields in small letters."""

    status: int
    fields: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """Its problem, checked for what each refusal bears."""
        assert self.fields["content-type"] == "application/problem+json"
        assert self.fields["x-request-id"]
        assert self.fields["connection"] == "close"
        assert {name: self.fields[name] for name in SAFE} == SAFE
        found: dict[str, Any] = orjson.loads(self.body)
        assert found["status"] == self.status
        return found


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        """Send, or have it wait to be sent."""
        self._writer.write(data)

    def unsent(self) -> int:
        """The bytes that neither the server nor any buffer on the way has taken."""
        return self._writer.transport.get_write_buffer_size()

    def leave(self) -> None:
        """End the connection at once."""
        self._writer.transport.abort()

    async def answer(self) -> Answer:
        """Read one answer."""
        async with asyncio.timeout(ANSWER_SECONDS):
            head = await self._reader.readuntil(b"\r\n\r\n")
            line, *lines = head.decode().rstrip().split("\r\n")
            fields = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
            body = await self._reader.readexactly(int(fields.get("content-length", 0)))
        return Answer(int(line.split()[1]), fields, body)

    async def ended(self) -> bytes:
        """Wait until the server has ended the connection; give what it had still to say."""
        rest = b""
        async with asyncio.timeout(ANSWER_SECONDS):
            with suppress(ConnectionError):
                while data := await self._reader.read(65_536):
                    rest += data
        return rest


@asynccontextmanager
async def raw_client(port: int, *, buffer_bytes: int = 0) -> AsyncIterator[RawClient]:
    """Connect; with `buffer_bytes` the kernel takes no more than about that for a client that does not read."""
    own = socket.socket()
    if buffer_bytes:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=own, limit=buffer_bytes or 65_536)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()
