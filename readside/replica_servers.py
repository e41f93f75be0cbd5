"""The hot standbys of one API process: opens their pools, and builds what answers cold polls over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from query_api.config import ApiConfig
from query_api.memory.response_cache import ResponseCache
from query_api.sources.fallback import Fallback
from query_api.sources.replicas import Replica, ReplicaConfig, Replicas
from query_api.sources.watch import take_connection
from readmodel.postgres.client import Connection, Pool, check_url, create_pool, place_of
from readmodel.postgres.standby_log import StandbyLog
from readmodel.postgres.tables import TableFinder, check_tables

CONNECT_SECONDS = 1.0
"""A standby that does not take a connection within this is away: the primary has still to be asked."""
PATIENCE_SECONDS = 0.5
"""So long nobody asks whether a standby that has not answered is still there."""
QUERY_SECONDS = 10.0
NAME = "readside-api"


@dataclass(frozen=True, slots=True)
class ReplicaServer:
    """One of them, with its pool."""

    url: str
    pool: Pool
    finder: TableFinder


@asynccontextmanager
async def replica_servers(config: ApiConfig) -> AsyncIterator[Sequence[ReplicaServer]]:
    """Make their pools, for as long as the block lasts; nothing is sent. Raises ConfigurationError."""
    servers: list[ReplicaServer] = []
    try:
        for url in config.replica_urls:
            check_url(url, "READSIDE_REPLICA_URLS")
            finder = TableFinder(url, application_name=NAME, timeout_seconds=CONNECT_SECONDS)
            servers.append(ReplicaServer(url, await _pool(config, url, finder), finder))
        yield servers
    finally:
        for server in servers:
            server.pool.terminate()


async def _pool(config: ApiConfig, url: str, finder: TableFinder) -> Pool:
    async def check(connection: Connection) -> None:
        await check_tables(connection, await finder.tables(), url)

    return await create_pool(
        url,
        application_name=NAME,
        size=config.fallback_concurrency + 1,  # one for the looks at it
        timeout_seconds=CONNECT_SECONDS,
        command_timeout_seconds=QUERY_SECONDS,
        statement_cache_size=config.statement_cache_size,
        init=check,
    )


def build_replicas(
    config: ApiConfig,
    servers: Sequence[ReplicaServer],
    cache: ResponseCache,
    database: Callable[[], str],
    max_bytes: int,
) -> Replicas:
    """Build what they answer with; `database` gives our own database's identity, `max_bytes` bounds a page."""
    told = ReplicaConfig(config.max_staleness_seconds, lambda: cache.proofs, database)
    made = []
    for server in servers:
        log = StandbyLog(server.pool, server.url, server.finder, cache.passed)
        replica = Replica(place_of(server.url), log, told)
        replica.fallback = Fallback(
            log,
            concurrency=config.fallback_concurrency,
            circuit=replica,
            number=lambda _session_id: None,  # the beat's own
            max_bytes=max_bytes,
            probe=partial(take_connection, server.url, CONNECT_SECONDS),
            patience_seconds=PATIENCE_SECONDS,
        )
        made.append(replica)
    return Replicas(made)
