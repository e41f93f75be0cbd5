"""GETs of an API by HTTP/1.1 on kept connections. A client that can do more would cost as much as what it asks."""

from __future__ import annotations

import asyncio
import gzip
import select
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson

from readside.demo.processes import LOOPBACK

ANSWER_SECONDS = 30.0
BODILESS = (204, 304)


class NoAnswer(Exception):
    """The server took no connection, or closed it before it had answered."""


class TookTooLong(NoAnswer):
    """It did not answer in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; the names of its headers are in small letters."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """What the body holds."""
        return orjson.loads(self.content)


class _Connection(asyncio.Protocol):
    """A connection, on which one request follows the other."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answered: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what is there, until it is an answer."""
        self._received += data
        if self._answered is not None and not self._answered.done() and (answer := _parsed(self._received)):
            self._received.clear()
            self._answered.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(NoAnswer(f"the connection was closed: {exc}"))

    async def ask(self, request: bytes) -> Answer:
        """Send a request, and wait for the answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._answered
        except asyncio.CancelledError:  # who asked has left
            self.close()
            raise

    @property
    def is_kept(self) -> bool:
        """Whether the server has not closed it meanwhile: this loop may be too busy to have heard of it."""
        told = self._transport.get_extra_info("socket")
        return not (self._transport.is_closing() or select.select([told], [], [], 0)[0])

    def close(self) -> None:
        """Close it at once."""
        self._transport.abort()


def _parsed(received: bytearray) -> Answer | None:
    """An answer, once all of it is there. It has a Content-Length, as all of our answers have."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = received[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split(" ", 2)[1])
    size = 0 if status in BODILESS else int(headers["content-length"])
    body = bytes(received[end + 4 : end + 4 + size])
    if len(body) < size:
        return None
    return Answer(status, headers, gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)


@dataclass
class Client:
    """Asks one API, on as many connections as it has requests at once."""

    port: int
    headers: Mapping[str, str]
    _idle: list[_Connection] = field(default_factory=list)

    async def get(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        params: Mapping[str, str] | None = None,
        timeout_seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """Ask for a path, with a query in it or with `params`. Raises NoAnswer."""
        path = f"{target}?{urlencode(params)}" if params else target
        named = {"host": f"{LOOPBACK}:{self.port}", "accept-encoding": "gzip", **self.headers, **(headers or {})}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        request = "\r\n".join(lines).encode()
        try:
            async with asyncio.timeout(timeout_seconds):
                connection = await self._connection()
                answer = await connection.ask(request)
        except TimeoutError as exc:
            raise TookTooLong(f"no answer within {timeout_seconds} s") from exc
        except OSError as exc:
            raise NoAnswer(str(exc)) from exc
        if answer.headers.get("connection") == "close":
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_kept:
                return connection
            connection.close()
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, LOOPBACK, self.port)
        return connection
