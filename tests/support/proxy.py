"""A small TCP proxy for tests: forwards, stalls without closing, cuts, delays, loses replies, filters messages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 65_536
LOOPBACK = "127.0.0.1"
NOTIFICATION = b"A"
"""PostgreSQL's message type of a NotificationResponse."""

Filter = Callable[[bytes], bytes]


class Way:
    """One direction of one connection: open, or stalled."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.passed = bytearray()  # the end of what went through, for those who wait for it

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: "Proxy", see: Filter
    ) -> None:
        """Forward until the sender closes; what a closed receiver does not want is thrown away."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if proxy.delay_seconds:
                    await asyncio.sleep(proxy.delay_seconds)
                await self.open.wait()
                wanted = see(chunk)
                with suppress(OSError):
                    writer.write(wanted)
                    await writer.drain()
            await self.open.wait()
        with suppress(OSError):
            if writer.can_write_eof():
                writer.write_eof()


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    losing: bool = False

    def abort(self) -> None:
        """Break both halves."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Listens on a free port of the loopback and forwards to `upstream`, which may change for later connections."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.links: list[Link] = []
        self.delay_seconds = 0.0
        self.refusing = False
        self.accepted = 0
        self.refused = 0
        self.lost = 0
        self.filter: Callable[[], Filter] | None = None
        """Makes, for each connection, what the server's bytes go through."""
        self._lose_after: bytes | None = None
        self._stalling: tuple[bool, bool] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def url(self, url: str) -> str:
        """A store's URL with this proxy in the place of the server."""
        netloc = urlsplit(url).netloc
        return url.replace(netloc, f"{netloc.rpartition('@')[0]}@{LOOPBACK}:{self.port}", 1)

    def stall(self, *, up: bool = True, down: bool = True, new: bool = False) -> list[Link]:
        """Stop forwarding on the present connections (`new`: on later ones too) and close nothing."""
        stalled = list(self.links)
        for link in stalled:
            self._stall(link, up, down)
        self._stalling = (up, down) if new else None
        return stalled

    def go_on(self) -> None:
        """Forward again what was stalled, beginning with what was held back."""
        self._stalling = None
        for link in self.links:
            link.up.open.set()
            link.down.open.set()

    def cut(self, *, refuse: bool = False) -> None:
        """Break every connection; with `refuse`, later ones too until `mend`."""
        self.refusing = refuse
        for link in list(self.links):
            link.abort()

    def mend(self) -> None:
        """Take connections again."""
        self.refusing = False

    def lose_reply_of(self, command: bytes) -> None:
        """Once: forward the command that holds these bytes, throw its reply away and break that connection."""
        self._lose_after = command

    def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Take one connection."""
        if self.refusing:
            self.refused += 1
            client.transport.abort()
            return
        self.accepted += 1
        task = asyncio.create_task(self._forward(reader, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Break everything and wait until it is over."""
        self.refusing = True
        self.cut(refuse=True)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(*self.upstream)
        except OSError:
            client.transport.abort()
            return
        link = Link(client, server)
        if self._stalling is not None:
            self._stall(link, *self._stalling)
        self.links.append(link)
        filtered = self.filter() if self.filter else bytes
        pumps = [
            asyncio.ensure_future(link.up.pump(reader, server, self, lambda chunk: self._see_command(link, chunk))),
            asyncio.ensure_future(
                link.down.pump(answers, client, self, lambda chunk: self._see_reply(link, filtered(chunk)))
            ),
        ]
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            link.abort()
            self.links.remove(link)

    def _stall(self, link: Link, up: bool, down: bool) -> None:
        if up:
            link.up.open.clear()
        if down:
            link.down.open.clear()

    def _see_command(self, link: Link, chunk: bytes) -> bytes:
        if self._lose_after is not None and self._lose_after in chunk:
            self._lose_after, link.losing = None, True
        return chunk

    def _see_reply(self, link: Link, chunk: bytes) -> bytes:
        if not link.losing:
            return chunk
        self.lost += 1
        link.abort()
        return b""


def without_notifications() -> Filter:
    """Pass PostgreSQL's messages on but for notifications, as a transaction pooler does (needs sslmode=disable)."""
    pending = bytearray()

    def see(chunk: bytes) -> bytes:
        pending.extend(chunk)
        passed = bytearray()
        while len(pending) >= 5:
            length = 1 + int.from_bytes(pending[1:5])
            if len(pending) < length:
                break
            if pending[:1] != NOTIFICATION:
                passed += pending[:length]
            del pending[:length]
        return bytes(passed)

    return see


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy before the server of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy((parts.hostname, parts.port))
    server = await asyncio.start_server(proxy.serve, LOOPBACK, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
