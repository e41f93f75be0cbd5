"""What the projector is told: one frozen value, built by `readside.settings`."""

from __future__ import annotations

from dataclasses import dataclass, field

from readmodel.schema import SCHEMA


@dataclass(frozen=True, slots=True)
class ProjectorConfig:
    """Settings of one projector process; durations in seconds, sizes in bytes."""

    database_url: str = field(repr=False)  # URLs hold passwords
    listen_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    redis_prefix: str = "readside"
    slices: int = 1
    schema: str = SCHEMA
    doorbell: bool = True
    letters_max_bytes: int = 256_000_000
    max_staleness_seconds: float = 5.0
    heartbeat_seconds: float = 0.5
    hot_ttl_seconds: float = 3600.0
    warm_limit: int = 1000
    max_hot_sessions: int = 20_000
    window_events: int = 20_000
    window_bytes: int = 64_000_000
    statement_cache_size: int = 100
    drift_round_seconds: float = 2.0
    host: str = "127.0.0.1"
    port: int | None = None
