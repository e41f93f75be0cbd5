"""The stores' URLs: what can be one, and which parts of it are secret."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, unquote_plus

from readmodel.errors import ConfigurationError
from readmodel.postgres.url import SCHEME, SCHEMES_TOLD, address_of
from readmodel.redis.url import SCHEMES, several

POSTGRES = ("postgresql", "postgres")
REDIS = SCHEMES
_PASSWORD = re.compile(r"[a-z+]+://[^:@/]*:(.*)@", re.DOTALL | re.IGNORECASE)
_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(\d{0,6}))?", re.ASCII)
_SECRET_PARAMETER = re.compile(r"pass(?!file)|pwd|secret|token", re.IGNORECASE)
"""Parameters such as `password`, `sslpassword` and `ssl_password`; libpq's `passfile` is a path."""

_AUTHORITIES = frozenset({"sslrootcert", "ssl_ca_certs"})
_FILES = _AUTHORITIES | {"sslcert", "sslkey", "sslcrl", "ssl_certfile", "ssl_keyfile"}
"""Parameters that name files, as asyncpg and redis-py call them."""


def checked_url(value: str, setting: str, schemes: tuple[str, ...]) -> str:
    """The URL as it is; raises ConfigurationError that shows no part of it.

    `setting` is the whole name of the variable, `schemes` what may stand before `://`, the usual one first.
    """
    if not value:
        raise ConfigurationError(f"{setting} is not set; it must be a {schemes[0]}:// URL.")
    scheme, _, rest = value.partition("://")
    if schemes == POSTGRES and SCHEME.fullmatch(scheme):
        scheme = POSTGRES[0]
    if scheme not in schemes:
        told = SCHEMES_TOLD if schemes == POSTGRES else " or ".join(f"{one}://" for one in schemes)
        raise ConfigurationError(f"{setting} must begin with {told}.")
    place, mark, more = re.split("([/?#]|$)", rest, maxsplit=1)
    if not value.isprintable() or " " in value or ("@" in more and (mark != "?" or "@" not in place)):
        raise ConfigurationError(
            f"{setting} cannot be read: percent-encode the special characters of its user and password "
            "(%2F for /, %3F for ?, %23 for #, %40 for @)."
        )
    for host in place.rpartition("@")[2].split(","):
        match = _HOST.fullmatch(host)
        if not match or not 0 < int(match[1] or 1) < 65536:
            raise ConfigurationError(
                f"{setting} cannot be read: after the host comes nothing, or : and a port from 1 to 65535."
            )
    if "\0" in unquote(value):
        raise ConfigurationError(f"{setting} cannot be read: it has a zero byte (%00), which no part of it can hold.")
    if scheme == POSTGRES[0]:
        _check_parameters(value, setting)
    else:
        _check_servers(value, setting)
    _check_files(rest.partition("?")[2].partition("#")[0], setting)
    return value


def check_standby(url: str, setting: str) -> None:
    """Raise ConfigurationError where a URL of Postgres cannot lead to one certain standby."""
    places = address_of(url, setting).urls
    if len(places) > 1:
        raise ConfigurationError(
            f"{setting} has several hosts in one URL: each standby is judged by itself, and has a URL of its own."
        )
    wanted = dict(parse_qsl(places[0].partition("?")[2])).get("target_session_attrs")
    if wanted in {"primary", "read-write"}:
        raise ConfigurationError(
            f"{setting} has target_session_attrs={wanted} in a URL: that is no standby. Take it out."
        )


def _check_servers(value: str, setting: str) -> None:
    """Refuse what cannot be a cluster's URL, or sentinels'."""
    try:
        several(value)
    except ValueError as exc:
        raise ConfigurationError(f"{setting} cannot be read: {exc}.") from None


def _check_parameters(value: str, setting: str) -> None:
    """Refuse by name what a URL's query asks of Postgres' own library and we cannot do."""
    try:
        address_of(value, setting)
    except ValueError:  # Python's own words would show the part that it could not read: it may be a password's
        raise ConfigurationError(
            f"{setting} cannot be read: after the ? come name=value, joined by &, with special characters "
            "percent-encoded (%26 for &, %3D for =)."
        ) from None


def _check_files(query: str, setting: str) -> None:
    """Refuse a file for TLS that cannot be read: later it would look as if the server were away."""
    for name, path in parse_qsl(query):
        if name not in _FILES:
            continue
        try:
            if name in _AUTHORITIES:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            else:
                Path(path).open("rb").close()
        except ssl.SSLError:
            raise ConfigurationError(f"{setting} names a file for {name} that holds no certificate.") from None
        except OSError as exc:
            reason = (exc.strerror or str(exc)).lower()
            raise ConfigurationError(f"{setting} names a file for {name} that cannot be read: {reason}.") from None


def passwords(url: str) -> set[str]:
    """Every password of a URL, as it is written and as it is meant; its query may hold some too."""
    return {form for written in _written(url) for form in (written, unquote(written), unquote_plus(written))} - {""}


def _written(url: str) -> Iterator[str]:
    match = _PASSWORD.match(url)
    if match:
        yield match[1]
    _, _, query = url.partition("?")
    for parameter in re.split("[&;]", query):
        name, _, value = parameter.partition("=")
        if _SECRET_PARAMETER.search(unquote_plus(name)):
            yield value
            yield value.partition("#")[0]
