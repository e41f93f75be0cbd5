"""What a request costs that the doorway hands to uvicorn, beside uvicorn alone: in this process, without a socket."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bench.rows.hot_path import ROUNDS, HotPath, Sink
from bench.stack import Servers
from bench.table import BenchError, Figure, Measurement, Row
from query_api.doorway.connections import CONNECTIONS, Connections
from query_api.doorway.layer import Layer
from query_api.doorway.protocol import Doorway

NAME = "handed-over"
REQUESTS = 5_000
BODY = b"{}"
_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nX-API-Key: secret\r\n\r\n"
_TURNS = 3
"""Of the event loop after an answer: by then both protocols are done with its request, as they are on a socket."""


class AnswerSink(Sink):
    """A socket that counts answers by their bodies."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a head or a body."""
        super().write(data)
        self.answers += bytes(data).endswith(BODY)

    def pause_reading(self) -> None:
        """Nothing comes that is not asked for."""

    def resume_reading(self) -> None:
        """The same."""


async def _app(_scope: Any, _receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """Answer at once, at the least cost: what remains is the way to here."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def measure(servers: Servers) -> Measurement:
    """Ask both in turns, without any of the servers."""
    ours, alone = await costs_us(servers.choices.rounds or ROUNDS)
    row = Row("request handed to uvicorn, without a socket", Figure(ours, "µs"), "uvicorn alone", Figure(alone, "µs"))
    return Measurement([row])


async def costs_us(rounds: int, requests: int = REQUESTS) -> tuple[list[float], list[float]]:
    """The microseconds of a request by round: through the doorway, and of uvicorn alone."""
    path = HotPath()
    costs: tuple[list[float], list[float]] = [], []
    try:
        both = [_connected(path.connections, doorway=doorway) for doorway in (True, False)]
        for turn in range(rounds + 1):
            for (protocol, sink), found in zip(both, costs, strict=True):
                seconds = await _ask(protocol, sink, requests)
                if turn:
                    found.append(seconds / requests * 1_000_000)
    finally:
        path.close()
    return costs


def _connected(connections: Connections, *, doorway: bool) -> tuple[asyncio.Protocol, AnswerSink]:
    """Open a connection by either protocol, over the same layer and application."""
    config = uvicorn.Config(
        Layer(_app, connections.front, connections),
        log_config=None,
        lifespan="off",
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    config.load()
    state, sink = ServerState(), AnswerSink()
    state.default_headers = [(b"date", b"Tue, 13 Jan 2026 14:30:00 GMT")]
    protocol = Doorway(config, state, {CONNECTIONS: connections}) if doorway else HttpToolsProtocol(config, state, {})
    protocol.connection_made(sink)
    return protocol, sink


async def _ask(protocol: asyncio.Protocol, sink: AnswerSink, requests: int) -> float:
    """Ask one after the other; gives the processor time. Raises BenchError where an answer is missing."""
    before = sink.answers
    began = time.thread_time()
    for _ in range(requests):
        protocol.data_received(_REQUEST)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    seconds = time.thread_time() - began
    if sink.answers - before != requests:
        raise BenchError(f"{sink.answers - before} of {requests} requests were answered.")
    return seconds
