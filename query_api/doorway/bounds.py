"""What a client may take of one API process: connections, time, and memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketBounds:
    """Bounds of one process' connections; each is a setting. Past one its client is refused, and the others served.

    `head_seconds` is how long a request's head may take from its first byte, `idle_seconds` how long a connection may
    wait between two requests, `untaken_seconds` how long an answer may wait for a client that does not read.
    `waiting_bytes` is what unfinished requests and untaken answers of all connections may hold together.
    """

    max_connections: int = 10_000
    head_bytes: int = 65_536
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    untaken_seconds: float = 30.0
    body_bytes: int = 16_384
    waiting_bytes: int = 64_000_000
