"""The connection to Redis, with its errors translated into readside's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.maint_notifications import MaintNotificationsConfig

from readmodel.causes import cause, distrust
from readmodel.errors import (
    AccessRefused,
    ConfigurationError,
    ForeignView,
    ServiceError,
    ViewFull,
    ViewUnavailable,
)
from readmodel.redis.overrides import OWN_CONNECTIONS, OwnClient, OwnPool
from readmodel.runtime.supervise import raise_if_cancelled

_DATABASE = re.compile(r"/?\d*", re.ASCII)
_ACCESS = ("NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password", "invalid password")

_CLUSTER = (
    "it is a node of a Redis Cluster, and a redis:// URL needs one Redis that holds every key: "
    "begin READSIDE_REDIS_URL with redis+cluster://"
)
_PRIMARY = "have READSIDE_REDIS_URL lead to the primary"
_ADVICE = {
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "READONLY": "it is read-only, as a replica is: it takes no batches",
    "MASTERDOWN": f"it is a replica that has lost its primary; {_PRIMARY}",
    "LOADING": "it reads its data and serves nobody until then",
    "BUSY": "somebody's script runs too long; SCRIPT KILL ends it",
    "MISCONF": "mend its disk, as its log says",
    "NOREPLICAS": "bring its replicas back, or lower min-replicas-to-write",
    "NOSCRIPT": "our scripts are loaded anew with the next try",
    "EXECABORT": "a command before it was refused",
    "NOAUTH": "put its user and password into READSIDE_REDIS_URL",
    "WRONGPASS": "mend user and password in READSIDE_REDIS_URL",
    "NOPERM": "give our user the rights of its access list in specs/operate/redis.md",
    "max number of clients reached": "raise its maxclients, or end idle clients",
    "This instance has cluster support disabled": (
        "it is a server by itself: begin READSIDE_REDIS_URL with redis:// or rediss://"
    ),
}
"""What a refusal means, or what to do, by how it begins."""

AWAY_IN_A_SCRIPT = ("Script attempted to", "Unable to execute command")
"""How what a script is told begins when a key of its slot is on another node, or the cluster is down."""

_MOVING = "its slot moves to another node, and until it is there nobody can tell which of the two is right"
_ADVICE_IN_A_CLUSTER = {
    "MOVED": "its slot has moved, and the next command goes where it is",
    "ASK": _MOVING,
    "TRYAGAIN": _MOVING,
    **dict.fromkeys(AWAY_IN_A_SCRIPT, _MOVING),
    "CROSSSLOT": "our keys of one command are not in one slot, which is a fault of ours",
    "CLUSTERDOWN": "the cluster lacks a master, and serves again when a replica has taken its place",
    "READONLY": "it has become a replica, and the next command goes to the master",
}


UNUSABLE_URL = (
    "READSIDE_REDIS_URL is not a redis:// or rediss:// URL that can be used: percent-encode the special "
    "characters of user and password, and check host, port, database and options."
)


def connect(url: str, *, name: str, timeout_seconds: float = 2.0, max_connections: int = 64) -> Redis:
    """Make a client of a bounded pool; nothing is sent before its first command.

    Commands are never retried inside: whoever sends one decides whether it may be sent again.
    Raises ConfigurationError when the URL cannot be read.
    """
    pool = open_pool(OwnPool, url, name=name, timeout_seconds=timeout_seconds, max_connections=max_connections)
    return OwnClient.from_pool(pool)


AnyPool = TypeVar("AnyPool", bound=OwnPool)


def open_pool(
    kind: type[AnyPool], url: str, *, name: str, timeout_seconds: float = 2.0, max_connections: int = 64
) -> AnyPool:
    """Make a bounded pool of connections to one server; raises ConfigurationError when its URL cannot be read."""
    options = {
        "client_name": name,
        "driver_info": None,  # Redis 7.0 has no CLIENT SETINFO, so no list of rights could name it
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "max_connections": max_connections,
        "retry": Retry(NoBackoff(), 0),
        # Where they are on, a pool of redis-py's no longer looks whether a connection can be used.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    try:
        if not url.startswith("unix:") and not _DATABASE.fullmatch(urlsplit(url).path):
            raise ValueError("not a database's number")  # redis-py would go to database 0
        pool = kind.from_url(url, **options)
        pool.connection_class = OWN_CONNECTIONS[pool.connection_class]
        pool.connection_class(**pool.connection_kwargs)  # sends nothing, and refuses options that there are not
    except (ValueError, TypeError) as exc:
        # Python's own words would show the part that it could not read: it may be a password's.
        raise ConfigurationError(UNUSABLE_URL) from exc
    return pool


def target(client: Redis) -> str:
    """Name the Redis that a client talks to, without secrets: `host:port/database`."""
    named: str | None = getattr(client, "place", None)
    if named:
        return named
    options: dict[str, Any] = client.connection_pool.connection_kwargs
    host = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{host}/{options.get('db', 0)}"


def is_clustered(client: Redis) -> bool:
    """Tell whether a client's URL is that of a Redis Cluster."""
    return getattr(client, "clustered", False)


@contextmanager
def translated(client: Redis) -> Iterator[None]:
    """Turn redis-py's and the socket's errors into ViewUnavailable, AccessRefused or ForeignView."""
    try:
        yield
    except ResponseError as exc:
        raise refusal(client, exc) from exc
    except (AuthenticationError, AuthorizationError, BusyLoadingError) as exc:
        raise refusal(client, exc) from exc
    except (RedisError, OSError, TimeoutError) as exc:
        raise_if_cancelled(exc)
        untrusted = distrust(exc, "ssl_ca_certs")
        if untrusted is not None:
            raise AccessRefused(f"Redis at {target(client)} {untrusted}.") from exc
        if getattr(exc, "status_code", None):  # it did answer
            raise refusal(client, exc) from exc
        raise ViewUnavailable(f"Redis at {target(client)} does not answer: {cause(exc)}.") from exc


def refusal(client: Redis, exc: Exception) -> ServiceError:
    """Translate what Redis answered in the place of a reply: ViewFull, ForeignView, AccessRefused, ViewUnavailable."""
    text = words(exc)
    if isinstance(exc, OutOfMemoryError):
        return ViewFull(f"Redis at {target(client)} is full: {text}.")
    if "WRONGTYPE" in text:
        return ForeignView(
            f"Redis at {target(client)} holds other data under our prefix: set another READSIDE_REDIS_PREFIX ({text})."
        )
    known = {**_ADVICE, **_ADVICE_IN_A_CLUSTER} if is_clustered(client) else _ADVICE
    beginning = next((word for word in known if text.startswith(word)), None)
    if isinstance(exc, AuthenticationError | AuthorizationError | NoPermissionError) or text.startswith(_ACCESS):
        advice = f"; {known[beginning]}" if beginning else ""
        return AccessRefused(f"Redis at {target(client)} refuses us: {text}{advice}.")
    if beginning:
        return ViewUnavailable(f"Redis at {target(client)} refuses a command ({text}): {known[beginning]}.")
    return ViewUnavailable(f"Redis at {target(client)} refuses a command: {text}.")


def words(exc: Exception) -> str:
    """What Redis said, whole: redis-py keeps the first word apart where it knows it."""
    text, first = cause(exc), getattr(exc, "status_code", None)
    if isinstance(exc, ReadOnlyError) and not first and "READONLY" not in text:
        first = "READONLY"
    return f"{first} {text}" if first not in {None, "ERR"} else text
