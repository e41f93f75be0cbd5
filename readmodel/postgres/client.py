"""The connection to Postgres, with its errors translated into readside's own."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from readmodel.causes import cause, distrust
from readmodel.errors import (
    AccessRefused,
    BadEvents,
    ConfigurationError,
    DiskFull,
    EventLogUnavailable,
    NotInstalled,
    QueryTooSlow,
    RightsMissing,
    SchemaMissing,
    ServerInRecovery,
    ServiceError,
    TableLocked,
)
from readmodel.postgres.settings import FIXED, NEWER, OWN_PATH, TRACKED
from readmodel.postgres.sql import Tables, statement
from readmodel.postgres.url import SCHEME, SCHEMES_TOLD, address_of
from readmodel.runtime.supervise import raise_if_cancelled

OLDEST_SERVER = 150000
_TOO_LONG = "invalid memory alloc request size"
"""How Postgres, in no other language than this, refuses to make a text of more than a gigabyte."""
_PLACE = re.compile(r"(?:(?:[^:\[\],]*|\[[^\[\]]*\])(?::\d*)?(?:,|$))*")  # hosts, with or without ports
# Strings: asyncpg's classes take their parameter in its stubs only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


def check_url(url: str, setting: str) -> None:
    """Raise ConfigurationError unless the URL is one of Postgres'."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError as exc:
        raise ConfigurationError(f"{setting} is not a URL: {exc}.") from exc
    if not SCHEME.fullmatch(scheme):
        raise ConfigurationError(f"{setting} must begin with {SCHEMES_TOLD}.")


async def connect(
    url: str,
    *,
    application_name: str,
    timeout_seconds: float = 5.0,
    owners_path: bool = False,
    statement_cache_size: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Connection:
    """Open one connection; raises the errors of `translated`.

    `owners_path` leaves the search_path as database, role and URL have it; `settings` are more startup parameters.
    No statement is kept prepared unless asked for: a pooler would run it on another connection.
    """
    with translated(url):
        path = {} if owners_path else OWN_PATH
        options = _options(application_name, timeout_seconds, {**path, **(settings or {})})
        return await _open(url, statement_cache_size=statement_cache_size, **options)


async def create_pool(  # noqa: PLR0913 (each an option of its own, and named)
    url: str,
    *,
    application_name: str,
    size: int,
    timeout_seconds: float = 5.0,
    command_timeout_seconds: float = 10.0,
    statement_cache_size: int = 100,
    statement_seconds: int = 300,
    init: Any = None,
    owners_path: bool = False,
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
            connect=cast("Any", _open),  # the stubs want every option named
            **_options(application_name, timeout_seconds, {} if owners_path else OWN_PATH),
        )


@dataclass(frozen=True, slots=True)
class _Start:
    """The startup parameters beside a connection's own: a pooler's few, or all, with those of NEWER that are known."""

    pooled: bool = False
    newer: tuple[tuple[str, str], ...] = ()

    def settings(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The parameters of a connection that wants these."""
        if self.pooled:
            return {"application_name": wanted["application_name"], **TRACKED}
        return {**FIXED, **dict(self.newer), **wanted}

    def after(self, refusal: BaseException) -> _Start | None:
        """What to begin with instead; None where that was not what was refused."""
        if isinstance(refusal, asyncpg.ProtocolViolationError) and "startup parameter" in str(refusal):
            return None if self.pooled else _Start(pooled=True)
        return _Start() if self.newer and isinstance(refusal, asyncpg.UndefinedObjectError) else None

    def on(self, version: int) -> _Start:
        """What to begin with on a server of this version."""
        known = tuple((name, value) for name, (since, value) in NEWER.items() if version >= since)
        return self if self.pooled else _Start(newer=known)


_starts: dict[str, _Start] = {}
"""What each URL took last, so that later connections of this process need one try."""
_TRIES = 4


_NOT_AS_ASKED = "not what target_session_attrs in the URL asks for, as a standby is not"

_answered: dict[str, int] = {}
"""Which host of each URL answered last: the others are asked after it, since a dead one takes its time."""


async def _open(url: str, *, server_settings: Mapping[str, str], timeout: float, **options: Any) -> Connection:
    """Open a connection to the first host that is as the URL wants it; all of them share the time.

    asyncpg would give the first all of it: a machine that is gone answers nothing, not even a refusal.
    """
    address = address_of(url)
    seconds = min(timeout / len(address.urls), address.connect_seconds or timeout)
    first = _answered.get(url, 0)
    passed: list[str] = []
    for number, one in sorted(enumerate(address.urls), key=lambda each: (each[0] - first) % len(address.urls)):
        try:
            connection = await _open_one(one, server_settings=server_settings, timeout=seconds, **options)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched) as exc:
            if len(address.urls) == 1:
                raise
            is_other = isinstance(exc, asyncpg.TargetServerAttributeNotMatched)
            passed.append(f"{_host_of(one)}: {_NOT_AS_ASKED if is_other else cause(exc)}")
            continue
        _answered[url] = number
        _set_up(connection, address.socket_options)
        return connection
    raise ConnectionError("; ".join(passed))


async def _open_one(url: str, *, server_settings: Mapping[str, str], **options: Any) -> Connection:
    """Open a connection with all the settings that can be had; one that takes too long is no query that does."""
    for more in reversed(range(_TRIES)):
        start = _starts.setdefault(url, _Start())
        try:
            connection: Connection = await asyncpg.connect(
                url, server_settings=start.settings(server_settings), **options
            )
        except TimeoutError as exc:
            raise ConnectionError(str(exc) or "no connection in time") from exc
        except asyncpg.PostgresError as refusal:
            instead = start.after(refusal)
            if instead is None or not more:
                _starts.pop(url, None)  # who answers there next may be another
                raise
            _starts[url] = instead
            continue
        fitting = start.on(connection.get_server_version().major)
        if fitting == start or not more:
            return connection
        _starts[url] = fitting
        connection.terminate()
    raise AssertionError("unreachable: the last try returns or raises")


def _set_up(connection: Any, options: Iterable[tuple[int, int, int]]) -> None:
    """Set what the URL asks of our end of a connection; a socket in the file system has none of it."""
    its_socket = connection._transport.get_extra_info("socket")  # noqa: SLF001 (see tls_version)
    if its_socket.family != socket.AF_UNIX:
        for level, option, value in options:
            its_socket.setsockopt(level, option, value)


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


def _options(application_name: str, timeout_seconds: float, settings: Mapping[str, str]) -> dict[str, Any]:
    return {"timeout": timeout_seconds, "server_settings": {"application_name": application_name, **settings}}


def tls_version(connection: Any) -> str | None:
    """The version of TLS in which we talk to whoever answers, a pooler perhaps; None for plain text.

    asyncpg has no name of its own for it, so we ask its transport. The server's pg_stat_ssl tells of its own end alone.
    """
    encrypted = connection._transport.get_extra_info("ssl_object")  # noqa: SLF001 (there is no other way)
    return encrypted and str(encrypted.version())


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


async def check_rows_visible(connection: Connection, tables: Tables) -> None:
    """Raise RightsMissing when row-level security would hide rows from our reads: answers would lack them silently."""
    hidden = await connection.fetchval(statement("hidden_rows"), [tables.sessions, tables.events])
    if hidden:
        raise rows_hidden(hidden)


def rows_hidden(tables: str) -> RightsMissing:
    """Say of which tables rows are hidden from our role, and what to do."""
    return RightsMissing(
        f"Row-level security hides rows of {tables} from our role: give it BYPASSRLS, or use the tables' owner."
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
    return f"{place or _named_in(parts.query)}{parts.path}"


def place_of(url: str) -> str:
    """Name the server of a URL without secrets: `host:port`."""
    return target(url).partition("/")[0] or "localhost"


def _named_in(query: str) -> str:
    """The hosts that stand in a URL's query, as libpq allows; nothing else of it is shown."""
    named = dict(parse_qsl(query))
    hosts = named.get("host") or named.get("hostaddr") or (named.get("service") and f"service {named['service']}")
    return hosts if hosts and hosts.isprintable() else "localhost"


def _host_of(url: str) -> str:
    return target(url).removesuffix(urlsplit(url).path)


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
        (
            asyncpg.DataError,
            asyncpg.ProgramLimitExceededError,
            asyncpg.CardinalityViolationError,
            asyncpg.DataCorruptedError,
        ),
        BadEvents,
        "PostgreSQL at {place} cannot give these rows: {reason}.",
    ),
    (
        (asyncpg.exceptions.ClientConfigurationError,),
        ConfigurationError,
        "The Postgres URL cannot be used: {reason}.",
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        EventLogUnavailable,
        (
            "PostgreSQL at {place} has no place for a connection of ours: {reason}; raise max_connections, or the "
            "CONNECTION LIMIT that is meant, or end idle clients."
        ),
    ),
    ((asyncpg.CannotConnectNowError,), EventLogUnavailable, "PostgreSQL at {place} serves nobody now: {reason}."),
    ((asyncpg.LockNotAvailableError,), TableLocked, "PostgreSQL at {place} has the tables locked: {reason}."),
    ((asyncpg.DiskFullError,), DiskFull, "PostgreSQL at {place} has no space left on its disk: {reason}."),
    (
        (asyncpg.OutOfMemoryError,),
        EventLogUnavailable,
        (
            "PostgreSQL at {place} has no memory left for a query of ours: {reason}; where that is shared memory, its "
            "lock table is full: raise max_locks_per_transaction."
        ),
    ),
    (
        (asyncpg.DeadlockDetectedError,),
        EventLogUnavailable,
        "PostgreSQL at {place} ended a query of ours, which waited for a lock in a circle: {reason}.",
    ),
    ((asyncpg.QueryCanceledError,), QueryTooSlow, "PostgreSQL at {place} ended a query: {reason}."),
    ((TimeoutError,), QueryTooSlow, "PostgreSQL at {place} does not answer in time: a query took too long."),
    (
        (asyncpg.TargetServerAttributeNotMatched,),
        ServerInRecovery,
        f"PostgreSQL at {{place}} is {_NOT_AS_ASKED}.",
    ),
    # It tells of its own state machine, which the end of a connection leaves in the middle of something.
    (
        (asyncpg.InternalClientError,),
        EventLogUnavailable,
        "PostgreSQL at {place} does not answer: it ended a connection that was in use.",
    ),
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

_OF_PARAMETERS = (
    asyncpg.UndefinedObjectError,
    asyncpg.CantChangeRuntimeParamError,
    asyncpg.InvalidParameterValueError,
    asyncpg.ProtocolViolationError,
)
"""What a server, or a pooler, says to a setting in a URL that it does not know or take."""


def _translate(url: str, exc: BaseException) -> ServiceError:
    untrusted = distrust(exc, "sslrootcert")
    if untrusted is not None:
        return AccessRefused(f"PostgreSQL at {target(url)} {untrusted}.")
    reason = cause(exc)
    if _TOO_LONG in reason and isinstance(exc, asyncpg.InternalServerError):
        return BadEvents(f"PostgreSQL at {target(url)} cannot give these rows: {reason}.")
    if isinstance(exc, asyncpg.InvalidAuthorizationSpecificationError) and "pg_hba.conf" in reason:
        return AccessRefused(f"PostgreSQL at {target(url)} refuses us: {reason}; add one for us there.")
    if isinstance(exc, asyncpg.InternalServerError) and reason.startswith("bad magic number in sequence"):
        return NotInstalled(
            f"PostgreSQL at {target(url)} lost a sequence of ours when it was promoted, and writers fail ({reason}): "
            "run `readside uninstall`, then `readside install`, with --role as before."
        )
    if isinstance(exc, _OF_PARAMETERS) and "parameter" in reason:
        return AccessRefused(f"PostgreSQL at {target(url)} refuses us: {reason}. Take it out of the query of its URL.")
    error, sentence = next((error, sentence) for classes, error, sentence in _REFUSALS if isinstance(exc, classes))
    return error(sentence.format(place=target(url), reason=reason))
