"""Raw connections to a server in the test's own loop, which turns only while the client waits: packets stay as cut."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import NamedTuple

import uvicorn

from query_api.doorway.layer import Layer
from tests.support.serving import Http, served

PACKET_TURNS = 2
"""So often the loop turns before a packet is read for certain."""
QUIET_TURNS = 10
"""A server that has nothing to do says nothing more after so many turns of its loop."""
SETTLE_SECONDS = 60.0
"""A server that is still busy after so long hangs."""
ROOM_BYTES = 1 << 18
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
_NAME = re.compile(rb"\r\nx-request-id: ([^\r\n]*)\r\n")


class _Turn:
    """One turn of the loop, as `asyncio.sleep(0)` waits for it, without its coroutine: millions are waited for."""

    def __await__(self) -> Generator[None, None, None]:
        yield


_TURN = _Turn()


class Answered(NamedTuple):
    """All that a client got: the bytes, and whether the server ended the connection, and by a reset."""

    received: bytes
    ended: bool
    reset: bool

    @property
    def told(self) -> list[str]:
        """Whose answers they are, by the ids that the requests gave themselves, and their statuses."""
        return [
            f"{name[1].decode() if (name := _NAME.search(head[0])) else '-'} {head[1].decode()}"
            for head in _STATUS.finditer(self.received)
        ]


class Conversation:
    """A client's side of a connection."""

    def __init__(self, server: uvicorn.Server, client: socket.socket) -> None:
        self._server = server
        self._socket = client
        self._received = bytearray()
        self._room = memoryview(bytearray(ROOM_BYTES))  # made once: a read comes with each turn, mostly in vain
        self._ended = self._reset = False

    @property
    def answered(self) -> Answered:
        """What has come so far."""
        return Answered(bytes(self._received), self._ended, self._reset)

    async def send(self, data: bytes, turns: int = PACKET_TURNS, *, reads: bool = True) -> None:
        """Send a packet, and let the loop turn so often; what a server that has hung up does not take is lost."""
        while data:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                await self.turn(1, reads=reads)
            except (BrokenPipeError, ConnectionResetError):
                break
        await self.turn(turns, reads=reads)

    async def turn(self, times: int, *, reads: bool = True) -> None:
        """Let the loop turn, and read what comes."""
        for _ in range(times):
            await _TURN
            if reads:
                self._read()

    async def settle(self) -> Answered:
        """Read until the server has nothing more to say."""
        quiet = 0
        async with asyncio.timeout(SETTLE_SECONDS):
            while quiet < QUIET_TURNS:
                await _TURN
                quiet = 0 if self._read() or self._server.server_state.tasks else quiet + 1
        return self.answered

    def read(self) -> Answered:
        """Read what has come, in this very turn of the loop."""
        self._read()
        return self.answered

    def shut(self) -> None:
        """Send nothing more; go on listening."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave at once, whatever is under way."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def _read(self) -> bool:
        any_came = False
        while not self._ended:
            try:
                count = self._socket.recv_into(self._room)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self._ended = self._reset = True
                return True
            self._received += self._room[:count]
            self._ended = not count
            any_came = True
        return any_came


class Speaker:
    """A server that can be spoken to."""

    def __init__(self, server: uvicorn.Server, path: str) -> None:
        self.server = server
        self._path = path

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Conversation]:
        """A new connection, which the server has taken."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self._path)
            client.setblocking(False)
            conversation = Conversation(self.server, client)
            await conversation.settle()
            yield conversation

    async def hear(self, *packets: bytes) -> Answered:
        """Say so on a connection of its own, with the answers to each packet before the next one."""
        async with self.connected() as conversation:
            for packet in packets:
                await conversation.send(packet)
                await conversation.settle()
            return await conversation.settle()


@asynccontextmanager
async def speaking(app: Layer, http: Http) -> AsyncIterator[Speaker]:
    """The application behind this protocol, at a socket of the file system: what is sent there has arrived at once."""
    with TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        async with served(app, http, uds=path) as server:
            yield Speaker(server, path)
