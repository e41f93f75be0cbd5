"""What a client may take of one API process: connections, time, and memory."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_FIELDS = 128
"""Header fields of a request: parsed, the shortest ones take thirty times what they took on their way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketBounds:
    """Bounds of one process' connections; each is a setting. Past one its client is refused, and the others served.

    `head_seconds` is how long a request's head may take from its first byte, `idle_seconds` how long a connection may
    wait between two requests, `untaken_seconds` how long an answer may wait for a client that does not read.
    `waiting_bytes` is what the untaken answers of all connections may hold together, and an eighth of it what their
    requests may hold until they are answered.
    """

    max_connections: int
    head_bytes: int
    head_seconds: float
    idle_seconds: float
    untaken_seconds: float
    body_bytes: int
    waiting_bytes: int
