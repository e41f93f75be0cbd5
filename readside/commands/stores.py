"""The stores as the commands open them: once, for one errand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from readmodel.postgres.client import Connection, Pool, check_server, connect, create_pool
from readmodel.redis.servers import open_servers
from readmodel.view.whole import WholeView
from readside.settings import Settings

NAME = "readside-cli"


@asynccontextmanager
async def open_view(settings: Settings, *, timeout_seconds: float = 2.0) -> AsyncIterator[WholeView]:
    """The view, of which nothing is asked yet. Raises ConfigurationError."""
    servers = open_servers(settings.require_redis_url(), name=NAME, timeout_seconds=timeout_seconds)
    try:
        yield WholeView(servers, settings.redis_prefix, settings.slices)
    finally:
        await servers.aclose()


@asynccontextmanager
async def open_postgres(settings: Settings, *, owners_path: bool = False) -> AsyncIterator[Connection]:
    """One checked connection, with the owners' search_path or ours.

    Raises ConfigurationError, EventLogUnavailable, AccessRefused, ServerInRecovery.
    """
    url = settings.require_database_url()
    connection = await connect(url, application_name=NAME, owners_path=owners_path)
    try:
        await check_server(connection, url)
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncIterator[Pool]:
    """A small pool for long reads."""
    pool = await create_pool(
        settings.require_database_url(),
        application_name=NAME,
        size=2,
        command_timeout_seconds=600.0,
        statement_cache_size=settings.statement_cache_size,
    )
    try:
        yield pool
    finally:
        pool.terminate()
