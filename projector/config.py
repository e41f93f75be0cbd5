"""What the projector is told: one frozen value, built by `readside.settings`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectorConfig:
    """Settings of one projector process, in seconds and bytes; `readside.settings` has their defaults."""

    database_url: str = field(repr=False)  # URLs hold passwords
    listen_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    redis_prefix: str
    slices: int
    schema: str
    doorbell: bool
    letters_max_bytes: int
    max_staleness_seconds: float
    heartbeat_seconds: float
    hot_ttl_seconds: float
    warm_limit: int
    max_hot_sessions: int
    window_events: int
    window_bytes: int
    statement_cache_size: int
    drift_round_seconds: float = 2.0
    host: str
    port: int | None
