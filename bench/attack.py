"""What a client without a key may do to a server, by raw connections. Run as `ATTACK PORT SECONDS`; prints its outcome.

A process of its own: what it costs the attacker is then not taken for what it costs others.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import orjson
import uvloop

from bench.events import session_id
from bench.polling_client import PollingClient
from bench.watching import MEGABYTE
from readside.demo.processes import LOOPBACK

T = TypeVar("T")

LIVE, EVENTS = "/health/live", f"/api/v2/sessions/{session_id(1)}/events"
HEAD = f"GET {LIVE} HTTP/1.1\r\nHost: attack\r\n".encode()
"""A head that lacks its empty line."""
PIECE_BYTES = 65_536
PIPELINED_BYTES, HEADER_BYTES = 13 * MEGABYTE, 100 * MEGABYTE
UNFINISHED = 400
"""Connections of each kind; with both, fewer than the usual limit of open files."""
OPENING_SECONDS = 20.0
ANSWER_SECONDS = 10.0
AT_ONCE = 100
"""Connections that are opened at a time: fewer than any server lets wait."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attack went: in words, and how many connections ended as is wanted: served if idle, else by the server."""

    words: str
    connections: int = 0


class RawConnection:
    """A connection that sends whatever it is told to, and reads no more than it must."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.sent_bytes = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[Self]:
        """Connect for as long as the block lasts. Raises OSError when nobody listens."""
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send, as soon as the server takes it. Raises OSError when it has ended the connection."""
        self._writer.write(data)
        await self._writer.drain()
        self.sent_bytes += len(data)

    async def status(self) -> str:
        """Wait for an answer; gives its status, or "" when the connection ends without one."""
        try:
            line = await self._reader.readline()
        except OSError:
            return ""
        return line.split(b" ", 2)[1].decode() if line.startswith(b"HTTP/1.1 ") else ""

    async def ended(self) -> None:
        """Return when the server has ended the connection, whatever it says before."""
        with suppress(OSError):
            while await self._reader.read(PIECE_BYTES):
                pass


async def pipelined(path: str, port: int, seconds: float) -> Outcome:
    """Send 13 MB of requests on one connection, as fast as they are taken, and read no answer."""
    one = f"GET {path} HTTP/1.1\r\nHost: attack\r\n\r\n".encode()
    ended = ""
    async with RawConnection.open(port) as connection:
        try:
            async with asyncio.timeout(seconds):
                await _send(connection, one * (PIECE_BYTES // len(one)), PIPELINED_BYTES)
                await asyncio.Event().wait()
        except TimeoutError:
            pass
        except OSError:
            ended = ", then the connection was ended"
    return Outcome(f"{_megabytes(connection.sent_bytes, PIPELINED_BYTES)} taken{ended}")


async def endless_headers(port: int, seconds: float) -> Outcome:
    """Send header fields without end; where the connection is ended, go on with another one."""
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 1_000) for number in range(PIECE_BYTES // 1_000))
    sent: list[RawConnection] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                async with RawConnection.open(port) as connection:
                    sent.append(connection)
                    with suppress(ConnectionError):
                        await connection.send(HEAD)
                        while True:
                            await connection.send(fields)
    total = sum(connection.sent_bytes for connection in sent) / MEGABYTE
    return Outcome(f"{total:,.0f} MB taken on {len(sent):,} connection{'s' if len(sent) > 1 else ''}")


async def huge_header(port: int, seconds: float) -> Outcome:
    """Send one header field of 100 MB, and wait for the answer."""
    async with RawConnection.open(port) as connection:
        answer = asyncio.create_task(connection.status())  # now: once the connection is lost, its answer is too
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(seconds):
                await connection.send(HEAD + b"X-Long: ")
                await _send(connection, b"a" * PIECE_BYTES, HEADER_BYTES)
                await connection.send(b"\r\n\r\n")
        await asyncio.wait([answer], timeout=ANSWER_SECONDS)
    status = await answer
    sent = _megabytes(connection.sent_bytes, HEADER_BYTES)
    return Outcome(f"{sent} taken, {f'answered {status}' if status else 'not answered'}")


async def unfinished(port: int, seconds: float) -> Outcome:
    """Open connections that send nothing, and as many that send half of a head; watch how long they are kept."""
    async with AsyncExitStack() as stack:
        silent, half_sent = [
            await _opened(stack, [partial(RawConnection.open, port)] * UNFINISHED) for _ in ("silent", "half-sent")
        ]
        for connection in half_sent:
            await connection.send(HEAD)
        endings = await asyncio.gather(*(_endings(connections, seconds) for connections in (silent, half_sent)))
    words = [f"{kind}: {ended}" for kind, (_, ended) in zip(("silent", "half-sent"), endings, strict=True)]
    return Outcome(", ".join(words), sum(number for number, _ in endings))


async def idle(count: int, port: int, seconds: float) -> Outcome:
    """Open connections that ask once, are silent for so long, and ask again."""
    async with AsyncExitStack() as stack:
        clients = await _opened(stack, [partial(PollingClient.open, LOOPBACK, port)] * count)
        first = await _answered(clients)
        await asyncio.sleep(seconds)
        served = await _answered(clients)
    words = f"of {count:,}, {len(first):,} were answered when opened and {len(served):,} when asked {seconds:g} s later"
    return Outcome(words, len(served))


ATTACKS: dict[str, Callable[[int, float], Awaitable[Outcome]]] = {
    "pipelined": partial(pipelined, LIVE),
    "pipelined-polls": partial(pipelined, EVENTS),
    "endless-headers": endless_headers,
    "huge-header": huge_header,
    "unfinished": unfinished,
    "idle-1500": partial(idle, 1_500),
    "idle-5000": partial(idle, 5_000),
}


async def _send(connection: RawConnection, piece: bytes, total_bytes: int) -> None:
    while connection.sent_bytes < total_bytes:
        await connection.send(piece)


async def _opened(stack: AsyncExitStack, opens: Sequence[Callable[[], AbstractAsyncContextManager[T]]]) -> list[T]:
    """Open connections, not all at once; gives those that the server let in by then."""
    turns = asyncio.Semaphore(AT_ONCE)
    deadline = asyncio.get_running_loop().time() + OPENING_SECONDS
    found: list[T] = []

    async def open_one(connection: AbstractAsyncContextManager[T]) -> None:
        async with turns:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout_at(deadline):
                    found.append(await stack.enter_async_context(connection))

    await asyncio.gather(*(open_one(opening()) for opening in opens))
    return found


async def _answered(clients: Sequence[PollingClient]) -> list[PollingClient]:
    """Ask on each connection; gives those that are answered by 200 in time."""

    async def answer(client: PollingClient) -> bool:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return (await client.get(LIVE)).status == 200
        return False

    answers = await asyncio.gather(*map(answer, clients))
    return [client for client, answered in zip(clients, answers, strict=True) if answered]


async def _endings(connections: Sequence[RawConnection], seconds: float) -> tuple[int, str]:
    """Give how many the server ends within the time; and in words, with when it had ended all."""
    began = time.perf_counter()
    waiting = {asyncio.create_task(connection.ended()) for connection in connections}
    ended, kept = await asyncio.wait(waiting, timeout=seconds)
    took = time.perf_counter() - began
    for task in kept:
        task.cancel()
    return len(ended), f"{len(ended)} of {len(connections)} ended within {took:.0f} s"


def _megabytes(sent_bytes: int, all_bytes: int) -> str:
    return f"{sent_bytes / MEGABYTE:.1f} of {all_bytes / MEGABYTE:.0f} MB"


def main() -> None:
    """Attack, and print the outcome as JSON."""
    name, port, seconds = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.buffer.write(orjson.dumps(runner.run(_attack(name, int(port), float(seconds)))))


async def _attack(name: str, port: int, seconds: float) -> Outcome:
    return await ATTACKS[name](port, seconds)


if __name__ == "__main__":
    main()
