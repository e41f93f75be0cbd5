"""The sockets of a synchronous client, so that closing it wakes the threads that wait for a held answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

_OPENED = frozenset(f"connection.{how}.complete" for how in ("connect_tcp", "connect_unix_socket", "start_tls"))


class OpenSockets:
    """Knows what httpx' `trace` tells it. To close a socket wakes no thread that reads it; to shut it down does."""

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def note(self, event: str, info: dict[str, Any]) -> None:
        """Take note of what a request does on its way."""
        if event in _OPENED:
            with self._lock:
                self._sockets.add(info["return_value"].get_extra_info("socket"))
            if self._closed.is_set():
                self.shut()

    def shut(self) -> None:
        """End what is read and written on all of them."""
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
