"""What the projector is told: one frozen value, built by `readside.settings`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SCHEMA = "readside"
"""Where ours is installed unless READSIDE_SCHEMA says otherwise."""
SCHEMA_NAME = (
    "it must be a plain name (a-z, 0-9 and _, 41 at most, no digit first) and not public, information_schema or pg_…"
)


def is_schema_name(name: str) -> bool:
    """Tell whether a schema of ours may be called so: it stands in triggers' names, and is the doorbell's channel."""
    return re.fullmatch(r"(?!pg_|(?:public|information_schema)\Z)[a-z_][a-z0-9_]{0,40}", name) is not None


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
