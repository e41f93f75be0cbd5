"""What the query API is told: one frozen value, built by `readside.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from query_api.access.token_config import TokenConfig
from query_api.doorway.bounds import SocketBounds
from readmodel.schema import SCHEMA


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Settings of one API process. `keys` maps a key's SHA-256 to (its name, its scopes); None: no key is asked.
    `tokens` says who may sign tokens; None: nobody. `keys_file` and `secrets_file` hold the keys and the secrets of
    tokens, where they come from files: what changes in them is taken up.

    `replica_urls` are hot standbys that may answer cold polls. `allowed_hosts` are the names that requests may be for,
    empty: any. `polls_per_second` is what one key or token may ask, None: any number. `metrics_directory` is where the
    workers of one API find each other's metrics, "" where there is one worker. `max_waiting` polls are held at a time.
    """

    database_url: str = field(repr=False)  # URLs hold passwords
    redis_url: str = field(repr=False)
    replica_urls: tuple[str, ...] = field(default=(), repr=False)
    redis_prefix: str = "readside"
    slices: int = 1
    schema: str = SCHEMA
    keys: Mapping[bytes, tuple[str, frozenset[str]]] | None = field(default=None, repr=False)
    keys_file: Path | None = None
    tokens: TokenConfig | None = None
    secrets_file: Path | None = None
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    polls_per_second: float | None = None
    root_path: str = ""
    max_staleness_seconds: float = 5.0
    heartbeat_seconds: float = 0.5
    hot_ttl_seconds: float = 3600.0
    fallback_concurrency: int = 8
    statement_cache_size: int = 100
    max_answer_bytes: int = 32_000_000
    response_cache_bytes: int = 64_000_000
    max_waiting: int = 20_000
    sockets: SocketBounds = field(default_factory=SocketBounds)
    metrics_directory: str = ""
