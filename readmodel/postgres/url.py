"""A Postgres URL as libpq and SQLAlchemy have it: which of its parameters we follow, and which must be named."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from readmodel.errors import ConfigurationError

SCHEME = re.compile(r"postgres(?:ql)?(?:\+(?:asyncpg|psycopg|psycopg_async|psycopg2|psycopg2cffi|aiopg|pg8000))?")
"""Postgres' own two, and SQLAlchemy's, which name a driver too."""
SCHEMES_TOLD = "postgresql:// or postgres:// (SQLAlchemy's names of drivers, as postgresql+asyncpg://, are understood)"

FIXED_NAMES = frozenset({"application_name", "fallback_application_name"})
"""They do nothing: the application_name of each connection of ours is fixed, so that people can tell them apart."""

_AS_EVER: Mapping[str, frozenset[str]] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "unicode", "auto"}),
    "gssdelegation": frozenset({"0"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "load_balance_hosts": frozenset({"disable", "random"}),  # one host alone is the primary
    "max_protocol_version": frozenset({"3.0", "3.2", "latest"}),
    "min_protocol_version": frozenset({"3.0"}),
    "replication": frozenset({"0", "no", "off", "false"}),
    "requiressl": frozenset({"0"}),
    "sslcertmode": frozenset({"allow"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
}
"""Values that ask for what we do anyway. Another value asks for what we cannot do."""

_INSTEAD: Mapping[str, str] = {
    "channel_binding": "use sslmode=verify-full",
    "client_encoding": "we read and write UTF8",
    "gssencmode": "use sslmode=verify-full",
    "oauth_client_id": "give our role a password or a certificate",
    "oauth_issuer": "give our role a password or a certificate",
    "require_auth": "use sslmode=verify-full, and choose the method in pg_hba.conf",
    "requirepeer": "use a host and sslmode=verify-full",
    "requiressl": "use sslmode=require",
    "scram_client_key": "give the password",
    "scram_server_key": "give the password",
    "servicefile": "set the variable PGSERVICEFILE",
    "sslcertmode": "name a certificate by sslcert, or none",
    "sslcrldir": "name one file by sslcrl",
    "sslkeylogfile": "set the variable SSLKEYLOGFILE",
    # Other drivers' and frameworks'.
    "prepared_statement_cache_size": "set READSIDE_STATEMENT_CACHE_SIZE",
    "statement_cache_size": "set READSIDE_STATEMENT_CACHE_SIZE",
    "pgbouncer": "a pooler is found out without it; READSIDE_STATEMENT_CACHE_SIZE=0 prepares nothing",
    "command_timeout": "each query has a bound of its own",
    "timeout": "use connect_timeout",
    "schema": "use search_path",
    **dict.fromkeys(("pool_size", "max_overflow", "connection_limit"), "set READSIDE_FALLBACK_CONCURRENCY"),
}
"""What to do where a parameter cannot be followed. Those without a word here are taken out."""

_FOREIGN = frozenset(
    {"async_fallback", "max_cached_statement_lifetime", "pool_timeout", "prepared_statement_name_func", "sslaccept"}
)
"""Other drivers' parameters for which there is nothing instead."""

_ATTRIBUTES = frozenset({"any", "primary", "standby", "read-write", "read-only", "prefer-standby"})
"""What `target_session_attrs` can be: asyncpg would show another value in its words."""

_SSL_OF_ASYNCPG = {"true": "verify-full", "false": "disable"}
"""SQLAlchemy hands `ssl=` on to asyncpg, which takes the modes, and what Python calls true."""

_SOCKET_OPTIONS: Mapping[str, tuple[int, int, int]] = {
    "keepalives": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "keepalives_idle": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 32_767),
    "keepalives_interval": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 32_767),
    "keepalives_count": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 127),
    "tcp_user_timeout": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2_147_483_647),
}
"""What each sets on our end of a connection, and the largest number that Linux takes."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a URL leads: one URL for each host, as asyncpg reads them, and what asyncpg cannot be told.

    `connect_seconds` is the time that each host has, None where the URL does not say. `socket_options` are (level,
    option, value). `without_effect` names parameters that do nothing here.
    """

    urls: tuple[str, ...]
    connect_seconds: int | None
    socket_options: tuple[tuple[int, int, int], ...]
    without_effect: tuple[str, ...]


@lru_cache(maxsize=64)
def address_of(url: str, name: str = "The Postgres URL") -> PostgresAddress:
    """Read a URL; raises ConfigurationError that begins with `name` and shows no value.

    Raises ValueError where it cannot be read as a URL.
    """
    parts = urlsplit(url)
    # strict: a password with a ? in it that nobody percent-encoded is no list of parameters
    given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if "" in given:
        raise ValueError("a parameter without a name")
    seconds = _number(name, given, "connect_timeout", -1, None)
    options = tuple(_socket_options(name, given))
    ignored = tuple(sorted(given.keys() & FIXED_NAMES))
    for parameter in FIXED_NAMES:
        given.pop(parameter, None)
    _leave_out(name, given)
    if "ssl" in given:  # the server's own setting of that name can be given by nobody
        mode = given.pop("ssl").lower()
        given.setdefault("sslmode", _SSL_OF_ASYNCPG.get(mode, mode))
    places = _places(name, parts.netloc, given)
    if len(places) > 1 and not given.get("target_session_attrs"):
        given["target_session_attrs"] = "primary"  # we need it, and a standby would be refused later
    return PostgresAddress(
        tuple(f"postgresql://{netloc}{parts.path}{_query(given | host)}" for netloc, host in places),
        seconds if seconds and seconds > 0 else None,
        options,
        ignored,
    )


def _query(parameters: Mapping[str, str]) -> str:
    return f"?{urlencode(parameters)}" if parameters else ""


def _leave_out(name: str, given: dict[str, str]) -> None:
    """Take out what asks for nothing else than we do; refuse what asks for more."""
    for parameter, values in _AS_EVER.items():
        if given.get(parameter, "").strip("'\"").lower() in values:
            del given[parameter]
    for parameter in given:
        if parameter in _AS_EVER or parameter in _INSTEAD or parameter in _FOREIGN:
            _refuse(name, parameter, _INSTEAD.get(parameter, "take it out"))
    if given.get("sslrootcert") == "system":
        _refuse(name, "sslrootcert", "name the system's own file, such as /etc/ssl/certs/ca-certificates.crt")
    if given.get("target_session_attrs") and given["target_session_attrs"] not in _ATTRIBUTES:
        _refuse(name, "target_session_attrs", f"it is one of {', '.join(sorted(_ATTRIBUTES))}")


def _refuse(name: str, parameter: str, instead: str) -> NoReturn:
    raise ConfigurationError(f"{name} has {parameter} in its query, which readside cannot follow so: {instead}.")


def _socket_options(name: str, given: dict[str, str]) -> Iterator[tuple[int, int, int]]:
    for parameter, (level, option, largest) in _SOCKET_OPTIONS.items():
        value = _number(name, given, parameter, 0, largest)
        if value or (value is not None and parameter == "keepalives"):  # 0 is the system's own elsewhere
            yield level, option, value


def _number(name: str, given: dict[str, str], parameter: str, least: int, largest: int | None) -> int | None:
    """Take a whole number out of what is given."""
    text = given.pop(parameter, "")
    if not text:
        return None
    if not re.fullmatch(r"-?[0-9]{1,10}", text) or int(text) < least or int(text) > (largest or 2_147_483_647):
        most = "" if largest is None else f" of at most {largest}"
        raise ConfigurationError(f"{name} has {parameter} in its query, which must be a whole number{most}.")
    return int(text)


def _places(name: str, netloc: str, given: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Give, for each host, what stands before the path, and what of it can stand in the query alone."""
    user, at, before = netloc.rpartition("@")
    addresses = given.pop("hostaddr", "")
    if addresses and given.get("sslmode") == "verify-full":
        _refuse(name, "hostaddr", "with sslmode=verify-full the host itself must be its certificate's")
    if not addresses and "," not in f"{before}{given.get('host', '')}":
        return [(netloc, {})]
    hosts = [_split(host) for host in (before or given.get("host", "")).split(",")]
    given.pop("host", None)
    if addresses:
        ports = _spread(name, "hostaddr", [port for _, port in hosts], addresses.count(",") + 1)
        hosts = list(zip(addresses.split(","), ports, strict=True))
    common = _spread(name, "port", given.pop("port", "").split(","), len(hosts))
    return [_place(f"{user}{at}", host, port or own) for (host, own), port in zip(hosts, common, strict=True)]


def _place(user: str, host: str, port: str) -> tuple[str, dict[str, str]]:
    """Write one host down; a socket's directory can stand in the query alone."""
    if host.startswith("/"):
        return user, {"host": host} | ({"port": port} if port else {})
    shown = f"[{host}]" if ":" in host else quote(host, safe="")
    return f"{user}{shown}{f':{port}' if port else ''}", {}


def _spread(name: str, parameter: str, values: list[str], count: int) -> list[str]:
    """One value for each host; a single one is for all."""
    fitting = values * count if len(values) == 1 else values
    if len(fitting) != count:
        raise ConfigurationError(f"{name} has a list in {parameter} that is not as long as its list of hosts.")
    return fitting


def _split(place: str) -> tuple[str, str]:
    """Split `host:port`, `[::1]:port`, or a socket's directory."""
    found = re.fullmatch(r"\[([^\]]*)\](?::(\d*))?", place)
    if found:
        return found[1], found[2] or ""
    host = unquote(place)
    if host.startswith("/") or host.count(":") > 1:
        return host, ""
    host, _, port = place.partition(":")
    return unquote(host), port
