"""The limit of open files, sockets included: raised as far as may be, and what it leaves for clients."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import replace

import structlog

from query_api.config import ApiConfig

OWN_DESCRIPTORS = 192
"""Descriptors of an API process that are no client's, beside its connections for polls of Postgres.

Redis' pool has 64 at most. Event loop, standard streams, 16 listening sockets, pipes to parent and workers, the
workers' metrics files, a connection that looks for the tables, one that asks whether Postgres takes any, and an
exporter of traces make 55 at the worst. The rest is for clients past the bound: each takes one for as long as it is
told so.
"""

OF_STANDBY = 3
"""The same for each hot standby: what looks at it, what looks for the tables, what asks whether it takes any."""

_log = structlog.get_logger(__name__)


def raise_limit() -> int:
    """Raise the soft limit to the hard one, and give what holds then.

    The soft limit is 1,024 on most systems for the sake of programs that use select(), which can wait for no higher
    descriptor; none of ours does. A limit that cannot be raised is no reason not to serve: nothing is raised here.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def own_descriptors(concurrency: int, standbys: int) -> int:
    """How many are no client's, where each server is asked so many queries at a time."""
    return OWN_DESCRIPTORS + concurrency + standbys * (concurrency + OF_STANDBY)


def places(wanted: int, limit: int, own: int) -> int:
    """How many connections of clients a limit of open files leaves, `wanted` at most.

    Under a limit that is hardly more than what is our own, clients get half: few of each go further than none of one.
    """
    return max(1, min(wanted, max(limit - own, limit // 2)))


def within_limit(config: ApiConfig) -> ApiConfig:
    """Raise the limit of open files, and bound the config's connections by it; the log says so where they are fewer."""
    wanted, own = config.sockets.max_connections, own_descriptors(config.fallback_concurrency, len(config.replica_urls))
    limit = raise_limit()
    bound = places(wanted, limit, own)
    if bound < wanted:
        _log.warning(
            "the limit of open files leaves room for fewer connections than READSIDE_MAX_CONNECTIONS: raise the hard "
            f"limit to {wanted + own} (`ulimit -n {wanted + own}`; LimitNOFILE={wanted + own} in a systemd unit), or "
            "lower the setting",
            connections=bound,
            max_connections=wanted,
            open_files=limit,
        )
    return replace(config, sockets=replace(config.sockets, max_connections=bound))
