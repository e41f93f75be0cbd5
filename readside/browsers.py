"""Settings about browsers: origins whose pages may ask, and hosts that a request may be for."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from readmodel.errors import ConfigurationError

OWN_HOSTS = "localhost,127.0.0.1,[::1]"
"""A page that has its own name point to this machine asks for that name, and is told nothing (DNS rebinding)."""
_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_][a-z0-9_-]{0,62})*")


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse CORS_ORIGINS; raises ConfigurationError that names the wrong one."""
    origins = tuple(filter(None, (origin.strip().rstrip("/") for origin in text.split(","))))
    for origin in origins:
        scheme, _, host = origin.partition("://")
        can_be_sent = origin.isascii() and origin.isprintable() and " " not in origin
        if origin != "*" and (scheme not in {"http", "https"} or not host or "/" in host or not can_be_sent):
            raise ConfigurationError(
                f"READSIDE_CORS_ORIGINS holds {origin!r}, which is no origin such as https://a.example."
            )
    return origins


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse ALLOWED_HOSTS into names as a browser sends them, without a port: lower case, IPv6 in brackets.

    `*.a.example` stands for every name below it. Raises ConfigurationError that names the wrong one.
    """
    return tuple(_host(entry) for entry in filter(None, map(str.strip, text.split(","))))


def _host(entry: str) -> str:
    name = entry.lower().removesuffix(".")
    with suppress(ValueError):
        return f"[{ipaddress.IPv6Address(name.removeprefix('[').removesuffix(']')).compressed}]"
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"READSIDE_ALLOWED_HOSTS holds {entry!r}, which is no host such as a.example, *.a.example or [::1]: "
            "without a scheme or a port."
        )
    return name
