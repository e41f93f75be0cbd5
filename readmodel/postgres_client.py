"""The connection to Postgres, with its errors translated into readside's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg

from readmodel.causes import cause
from readmodel.errors import (
    AccessRefused,
    BadEvents,
    ConfigurationError,
    EventLogUnavailable,
    QueryTooSlow,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    ServiceError,
)
from readmodel.sql import statement
from readmodel.supervise import raise_if_cancelled

OLDEST_SERVER = 150000
_PLACE = re.compile(r"(?:(?:[^:\[\],]*|\[[^\[\]]*\])(?::\d*)?(?:,|$))*")  # hosts, with or without ports
_SETTINGS = {"timezone": "UTC", "datestyle": "ISO"}  # of these a pooler keeps track; it refuses most others
# Strings: asyncpg's classes take their parameter in its stubs only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


def check_url(url: str, setting: str) -> None:
    """Raise ConfigurationError unless the URL is one of Postgres'."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError as exc:
        raise ConfigurationError(f"{setting} is not a URL: {exc}.") from exc
    if scheme not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"{setting} must begin with postgresql:// or postgres://.")


async def connect(url: str, *, application_name: str, timeout_seconds: float = 5.0) -> Connection:
    """Open one connection; raises the errors of `translated` and of `check_server`."""
    with translated(url):
        return await _open(url, **_options(application_name, timeout_seconds))


async def create_pool(
    url: str,
    *,
    application_name: str,
    size: int,
    timeout_seconds: float = 5.0,
    command_timeout_seconds: float = 10.0,
    statement_cache_size: int = 100,
    statement_seconds: int = 300,
    init: Any = None,
) -> Pool:
    """Make a pool of at most `size` connections that opens them when they are wanted; nothing is sent now.

    A statement is prepared anew after `statement_seconds`: until then the server may keep to the plan of a small table.
    """
    with translated(url):
        return await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            command_timeout=command_timeout_seconds,
            statement_cache_size=statement_cache_size,
            max_cached_statement_lifetime=statement_seconds,
            init=init,
            reset=_keep,
            connect=_open,
            **_options(application_name, timeout_seconds),
        )


async def _open(*arguments: Any, **options: Any) -> Connection:
    """Open a connection; one that takes too long is no query that does."""
    try:
        return await asyncpg.connect(*arguments, **options)
    except TimeoutError as exc:
        raise ConnectionError(str(exc) or "no connection in time") from exc


async def _keep(connection: Any) -> None:
    """Leave a connection as it is between two uses: none of ours changes its state, and a reset costs a round trip."""
    if connection.is_in_transaction():  # its user was cancelled, and so was the rollback
        await connection.reset()


def is_open(connection: Any) -> bool:
    """Tell whether a connection that a pool lent can be used; one that was closed has gone back by itself."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False


def _options(application_name: str, timeout_seconds: float) -> dict[str, Any]:
    return {"timeout": timeout_seconds, "server_settings": {"application_name": application_name, **_SETTINGS}}


class Server:
    """Who answers on a connection: version number, start time (text), database identity `system/oid`."""

    def __init__(self, row: asyncpg.Record) -> None:
        self.version: int = row["version"]
        self.in_recovery: bool = row["in_recovery"]
        self.started: str = row["started"]
        self.database: str = row["database"]


async def check_server(connection: Connection, url: str) -> Server:
    """Ask who answers; raises ServerInRecovery, ConfigurationError (older than 15), and those of `translated`."""
    with translated(url):
        row = await connection.fetchrow(statement("server"))
    if row is None:
        raise EventLogUnavailable(f"PostgreSQL at {target(url)} gave no answer.")
    server = Server(row)
    if server.version < OLDEST_SERVER:
        raise ConfigurationError(
            f"PostgreSQL at {target(url)} is {server.version // 10000}; readside needs 15 or newer."
        )
    if server.in_recovery:
        raise ServerInRecovery(f"PostgreSQL at {target(url)} is in recovery (a standby): readside needs the primary.")
    return server


async def check_rows_visible(connection: Connection) -> None:
    """Raise RightsMissing when row-level security would hide rows from our reads: answers would lack them silently."""
    hidden = await connection.fetchval(statement("hidden_rows"))
    if hidden:
        raise RightsMissing(
            f"Row-level security hides rows of {hidden} from our role: give it BYPASSRLS, or use the tables' owner."
        )


def target(url: str) -> str:
    """Name the server and database of a URL without secrets: `host:port/database`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable URL"
    place = parts.netloc.rpartition("@")[2]
    # With a / ? or # in it that is not percent-encoded, a password runs over into what looks like the place.
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or not _PLACE.fullmatch(place):
        return "an unreadable URL"
    return f"{place or 'localhost'}{parts.path}"


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn asyncpg's and the socket's errors into EventLogUnavailable, AccessRefused, SchemaMissing, … or BadEvents."""
    try:
        yield
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        OverflowError,
        TimeoutError,
        ValueError,
    ) as exc:
        raise_if_cancelled(exc)
        raise _translate(url, exc) from exc


_REFUSALS: tuple[tuple[tuple[type[BaseException], ...], type[ServiceError], str], ...] = (
    (
        (
            asyncpg.InvalidPasswordError,
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InvalidCatalogNameError,
        ),
        AccessRefused,
        "PostgreSQL at {place} refuses us: {reason}.",
    ),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError),
        SchemaMissing,
        "PostgreSQL at {place} does not hold the tables that readside reads: {reason}.",
    ),
    ((asyncpg.InsufficientPrivilegeError,), RightsMissing, "PostgreSQL at {place}: {reason}."),
    (
        (asyncpg.DataError, asyncpg.ProgramLimitExceededError),
        BadEvents,
        "PostgreSQL at {place} cannot give these rows: {reason}.",
    ),
    (
        (asyncpg.exceptions.ClientConfigurationError,),
        ConfigurationError,
        "The Postgres URL cannot be used: {reason}.",
    ),
    ((asyncpg.QueryCanceledError,), QueryTooSlow, "PostgreSQL at {place} ended a query: {reason}."),
    ((TimeoutError,), QueryTooSlow, "PostgreSQL at {place} does not answer in time: a query took too long."),
    ((asyncpg.InterfaceError, UnicodeError), EventLogUnavailable, "PostgreSQL at {place} does not answer: {reason}."),
    # Python's own words would show the part that it could not read: it may be a password's.
    (
        (ValueError, OverflowError),
        ConfigurationError,
        (
            "The Postgres URL cannot be used: percent-encode the special characters of user and password, "
            "and check host, port and options."
        ),
    ),
    ((BaseException,), EventLogUnavailable, "PostgreSQL at {place} does not answer: {reason}."),
)
"""What an error means to us, and in which words: the first line that fits."""


def _translate(url: str, exc: BaseException) -> ServiceError:
    reason = cause(exc)
    error, sentence = next((error, sentence) for classes, error, sentence in _REFUSALS if isinstance(exc, classes))
    return error(sentence.format(place=target(url), reason=reason))
