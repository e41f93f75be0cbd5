"""What one client, and all clients of a process together, may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketBounds:
    """Bounds on connections. Each is a setting of its own."""

    max_connections: int = 10_000
    head_bytes: int = 65_536
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    untaken_seconds: float = 30.0
    body_bytes: int = 16_384
    waiting_bytes: int = 64_000_000
