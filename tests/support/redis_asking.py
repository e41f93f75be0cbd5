"""Commands of tests to a Redis server: on a connection of its own each time, and without a client of redis-py's.

Such a client takes milliseconds to make, and a cluster is asked hundreds of times whether it is whole.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = str | Sequence[object]
REPLY_SECONDS = 5.0
"""A server that is paused takes connections and answers nothing."""


class _Asking(asyncio.Protocol):
    """A connection on which so many replies are awaited."""

    def __init__(self, request: bytes, replies: int) -> None:
        self._request, self._wanted = request, replies
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=Ellipsis)
        self._replies: list[Any] = []
        self.replies: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send everything at once."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take what is there."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not Ellipsis:
            self._replies.append(reply)
        if len(self._replies) >= self._wanted and not self.replies.done():
            self.replies.set_result(self._replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        if not self.replies.done():
            self.replies.set_exception(RedisConnectionError(f"The connection was closed: {exc}"))


async def asked(host: str, port: int, password: str, *commands: Command) -> list[Any]:
    """Send commands, all at once; their replies as the server wrote them, strings as bytes.

    A command is its words, or one string of them. Raises RedisError: ResponseError where the server refuses one, and
    others where it is away.
    """
    sent = [("AUTH", password), *(command.split() if isinstance(command, str) else command for command in commands)]
    pack: Any = hiredis.pack_command  # which says that it takes one word
    request = b"".join(pack(tuple(_word(word) for word in words)) for words in sent)
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            transport, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _Asking(request, len(sent)), host, port
            )
            try:
                replies = await protocol.replies
            finally:
                transport.abort()
    except TimeoutError as exc:
        raise RedisTimeoutError(f"{host}:{port} does not answer") from exc
    except OSError as exc:
        raise RedisConnectionError(f"{host}:{port} is away: {exc}") from exc
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies[1:]


def _word(word: object) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def pairs(told: bytes) -> dict[str, str]:
    """The lines `name:value` of an INFO or a CLUSTER INFO."""
    lines = (line.partition(":") for line in told.decode().splitlines())
    return {name: value for name, colon, value in lines if colon}


def fields(told: Sequence[bytes]) -> dict[str, str]:
    """A reply of names and values in turn, such as a sentinel's."""
    return {name.decode(): value.decode() for name, value in zip(told[::2], told[1::2], strict=True)}
