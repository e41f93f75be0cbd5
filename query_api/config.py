"""What the query API is told: one frozen value, built by `readside.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from query_api.access.token_config import TokenConfig
from query_api.doorway.bounds import SocketBounds


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """Settings of one API process, whose defaults `readside.settings` has.

    `keys` maps a key's SHA-256 to (its name, its scopes); None: no key is asked.
    `tokens` says who may sign tokens; None: nobody. `keys_file` and `secrets_file` hold the keys and the secrets of
    tokens, where they come from files: what changes in them is taken up.

    `replica_urls` are hot standbys that may answer cold polls. `allowed_hosts` are the names that requests may be for,
    empty: any. `polls_per_second` is what one key or token may ask, None: any number. `metrics_directory` is where the
    workers of one API find each other's metrics, "" where there is one worker. `max_waiting` polls are held at a time.
    """

    database_url: str = field(repr=False)  # URLs hold passwords
    redis_url: str = field(repr=False)
    replica_urls: tuple[str, ...] = field(repr=False)
    redis_prefix: str
    slices: int
    schema: str
    keys: Mapping[bytes, tuple[str, frozenset[str]]] | None = field(repr=False)
    keys_file: Path | None
    tokens: TokenConfig | None
    secrets_file: Path | None
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    polls_per_second: float | None
    root_path: str
    max_staleness_seconds: float
    heartbeat_seconds: float
    hot_ttl_seconds: float
    fallback_concurrency: int
    statement_cache_size: int
    max_answer_bytes: int
    response_cache_bytes: int
    max_waiting: int
    sockets: SocketBounds
    metrics_directory: str = ""
