"""READSIDE_REDIS_URL: one server, a Redis Cluster, or the master that Sentinel knows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, unquote_plus

Address = tuple[str, int]
"""Host and port."""

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/?#\s]+)(?::(\d{1,5}))?", re.ASCII)
_OF_SENTINEL = {"sentinel_username": "username", "sentinel_password": "password"}
_DEFAULT_PORTS = {"cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, repr=False)
class RedisUrl:
    """A URL that names several servers: nodes of a cluster, or sentinels that know the master of a service.

    `login` is `user:password@` as it was written, and `query` the options, of each connection to a Redis.
    """

    kind: Literal["cluster", "sentinel"]
    tls: bool
    nodes: tuple[Address, ...]
    login: str = ""
    query: str = ""
    service: str = ""
    database: int = 0
    sentinel_login: dict[str, str] = field(default_factory=dict)

    def of(self, address: Address) -> str:
        """The URL of one Redis."""
        query = f"?{self.query}" if self.query else ""
        return f"redis{'s' * self.tls}://{self.login}{shown(address)}/{self.database}{query}"

    @property
    def hosts(self) -> str:
        """Name the servers for people."""
        return ", ".join(map(shown, self.nodes))


def shown(address: Address) -> str:
    """Write an address as `host:port`, an IPv6 one in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def several(url: str) -> RedisUrl | None:
    """Read a URL that names several servers; None where it names one.

    Raises ValueError, which says in words that show no part of it what is wrong.
    """
    scheme, _, rest = url.partition("://")
    first, _, kind = scheme.partition("+")
    if scheme not in SCHEMES or not kind:
        return None
    rest, _, query = rest.partition("#")[0].partition("?")
    place, _, path = rest.partition("/")
    login, mark, hosts = place.rpartition("@")
    if "@" in login:
        raise ValueError("user:password@ stands once, before the first server, and an @ in a password is %40")
    ours, of_sentinel = _options(query)
    nodes = tuple(dict.fromkeys(_address(host, _DEFAULT_PORTS[kind]) for host in hosts.split(",")))
    login, tls = login + mark, first == "rediss"
    if kind == "cluster":
        if of_sentinel:
            raise ValueError("sentinel_username and sentinel_password are options of redis+sentinel:// alone")
        if path.strip("/") not in {"", "0"}:
            raise ValueError("a Redis Cluster has database 0 and no other")
        return RedisUrl("cluster", tls, nodes, login, ours)
    service, _, database = path.partition("/")
    if not service or not re.fullmatch(r"\d{0,6}", database, re.ASCII):
        raise ValueError(
            "after the sentinels come / and the service's name, and then nothing, or / and a database's number"
        )
    return RedisUrl("sentinel", tls, nodes, login, ours, unquote(service), int(database or 0), of_sentinel)


def _options(query: str) -> tuple[str, dict[str, str]]:
    """Part a query's options into those of each Redis, as they are written, and the sentinels' login."""
    written = [option for option in query.split("&") if option]
    login = {}
    for option in written:
        name, _, value = option.partition("=")
        if name in {"db", "host", "port", "path"}:
            raise ValueError(f"{name} is no option of a URL that names several servers")
        if name in _OF_SENTINEL:
            login[_OF_SENTINEL[name]] = unquote_plus(value)
    return "&".join(option for option in written if option.partition("=")[0] not in _OF_SENTINEL), login


def _address(written: str, port: int) -> Address:
    match = _HOST.fullmatch(written)
    if match is None or not 0 < int(match[2] or port) < 65_536:
        raise ValueError("its servers are host:port, joined by commas and nothing else, an IPv6 address in brackets")
    return match[1].strip("[]"), int(match[2] or port)
