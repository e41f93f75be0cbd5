"""`readside api`: the query API under uvicorn, in one process or several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from tempfile import TemporaryDirectory

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from query_api.config import ApiConfig
from readmodel.errors import ConfigurationError
from readmodel.postgres.client import check_url
from readmodel.redis.servers import open_servers
from readside import allocator, collector, rotation
from readside.api import Process, create_app, prefix
from readside.descriptors import within_limit
from readside.exposure import check_address
from readside.logging import configure
from readside.secret_files import warn_of_open_files
from readside.settings import Settings
from readside.streams import StandardStreams

DRAIN_SECONDS = 10
"""Running requests may take so long after a signal."""
BACKLOG = 2048
ACCEPTED_A_TURN = 16
"""The event loop takes one connection a turn of each socket that it listens on: while a crowd comes, with turns of some
milliseconds, a client would wait for seconds until it is taken. So it listens on so many duplicates of one socket."""

_log = structlog.get_logger(__name__)


def serve(host: str = "127.0.0.1", port: int = 8000, workers: int = 1, root_path: str = "") -> None:
    """Run until SIGINT or SIGTERM. Raises ConfigurationError for a wrong setting or an address that is taken."""
    settings = Settings()
    config = settings.api_config(prefix(root_path))
    warn_of_open_files(settings.secret_files())
    check_url(config.database_url, "READSIDE_DATABASE_URL")
    _ = open_servers(config.redis_url, name="readside-api")  # reads the URL, sends nothing
    with listening(host, port, settings.auth) as listener, _duplicated(listener) as listeners:
        address, bound_port = listener.getsockname()[:2]
        _log.info("api starts", host=address, port=bound_port, workers=workers, root_path=config.root_path)
        config = within_limit(config)  # workers inherit the limit, and are told what it leaves for clients
        if workers > 1:
            _stand_where_workers_can()
            with _shared_directory() as directory:
                shared = replace(config, metrics_directory=directory)
                Multiprocess(server_config(shared, settings, workers), sockets=listeners).run()
        else:
            _run(uvicorn.Server(server_config(config, settings)), listeners)
        _log.info("api stopped")


@contextmanager
def _shared_directory() -> Iterator[str]:
    """Make the directory in which the workers leave their metrics, in memory where the machine has such a place."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (the name in it is made up safely)
    try:
        shared = TemporaryDirectory(prefix="readside-metrics-", dir=memory)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise ConfigurationError(f"Workers find no directory to share their metrics in (TMPDIR): {reason}.") from exc
    with shared as directory:
        yield directory


def _stand_where_workers_can() -> None:
    """Leave a working directory that is gone, or closed to us: a worker begins by going there."""
    try:
        os.chdir(os.getcwd())  # noqa: PTH109 (a Path's would raise as well)
    except OSError:
        os.chdir("/")


@contextmanager
def _duplicated(listener: socket.socket) -> Iterator[list[socket.socket]]:
    """The socket and its duplicates, which all take the same connections."""
    with ExitStack() as stack:
        yield [listener, *(stack.enter_context(listener.dup()) for _ in range(ACCEPTED_A_TURN - 1))]


def listening(host: str, port: int, auth: str = "keys") -> socket.socket:
    """Open a listening socket; raises ConfigurationError when the address cannot be had, or is open to too many."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        check_address(auth, str(address[0]))
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # now, since bind alone lets two servers share a port
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise ConfigurationError(f"The API cannot listen on {host}, port {port}: {reason}.") from exc
    return listener


def server_config(config: ApiConfig, settings: Settings, workers: int = 1) -> uvicorn.Config:
    """Tell uvicorn how to run the API."""
    return uvicorn.Config(
        partial(worker_app, config, settings.log_level, settings.log_format, settings.secrets()),
        factory=True,
        workers=workers,
        loop="uvloop",
        http="query_api.doorway.protocol:Doorway",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # no answer depends on who asks, nor on the scheme; each poll would read them
        backlog=BACKLOG,
        timeout_keep_alive=ceil(config.sockets.idle_seconds),
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )


def worker_app(config: ApiConfig, log_level: str, log_format: str | None, secrets: tuple[str, ...]) -> Process:
    """Make the application inside a worker, which has inherited nothing but these values."""
    if multiprocessing.parent_process() is not None:
        StandardStreams()  # what the first process made for itself is not inherited
    configure(log_level, log_format, secrets)
    allocator.keep_freed_memory()
    collector.spare()
    return create_app(rotation.read_anew(config))


def _run(server: uvicorn.Server, listeners: list[socket.socket]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal again when it has drained
    server.run(sockets=listeners)
