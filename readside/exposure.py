"""Who reaches an API that asks for no key: nobody but this machine, unless that is meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from readmodel.errors import ConfigurationError


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches a numeric address; an IPv4 one within IPv6 counts as what it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def check_address(auth: str, address: str | None) -> None:
    """Raise ConfigurationError where others would be served without a key, and nobody said that this is meant.

    `address` is numeric, where the API is about to listen; None where another program decides that.
    """
    if auth == "none" and (address is None or not is_loopback(address)):
        where = "where the address is not known" if address is None else f"on {address}"
        raise ConfigurationError(
            f"READSIDE_AUTH=none {where} would let everybody read all sessions: ask for keys, listen on 127.0.0.1 "
            "(readside api --host), or say READSIDE_AUTH=none-on-purpose."
        )


def check_origins(auth: str, origins: Collection[str]) -> None:
    """Raise ConfigurationError where every page of the internet could read through its visitors' browsers."""
    if auth != "keys" and "*" in origins:
        raise ConfigurationError(
            f"READSIDE_CORS_ORIGINS=* with READSIDE_AUTH={auth} would let every page of the internet read all sessions "
            "through its visitors' browsers: name the origins, or ask for keys."
        )
