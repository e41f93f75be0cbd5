"""A small HTTP/1.1 client on one kept connection: what a poll costs here is nearly the server's part."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Response:
    """One response; `head` is its bytes up to the empty line, header names as the server wrote them."""

    status: int
    head: bytes
    body: bytes

    def fields(self) -> list[tuple[str, str]]:
        """The header fields in their order, names in small letters."""
        lines = [line.partition(":") for line in self.head.decode("latin-1").split("\r\n")[1:]]
        return [(name.lower(), value.strip()) for name, _, value in lines]

    def header(self, name: str) -> str:
        """A header's value, "" when it is not there."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.strip().decode()
        return ""


class PollingClient:
    """GETs one after the other over one connection. Answers must have a Content-Length."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str, port: int) -> AsyncIterator[Self]:
        """Connect for as long as the block lasts."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Ask for a path with its query. Raises OSError when the connection is lost."""
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: bench",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n"))[:-4]
            status = int(head.split(b" ", 2)[1])
            answer = Response(status, head, b"")
            body = await self._reader.readexactly(int(answer.header("content-length") or 0))
        except asyncio.IncompleteReadError as exc:
            raise ConnectionResetError("The server closed the connection.") from exc
        return Response(status, head, body)
