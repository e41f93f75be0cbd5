"""The doorbell: the connection that listens. What it hears is never believed: a ring says "read now", whoever rings.

It has a connection of its own, so that a flood of notifications, which anybody may send, holds up no reading. Losing it
costs milliseconds: the leader then looks by itself, and writers are told not to ring.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog

from projector.core.pace import Pace
from projector.tail.connection import bell_key
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.postgres.client import Connection, connect, translated
from readmodel.runtime.backoff import delays

APPLICATION_NAME = "readside-listener"
PROOF_SECONDS = 5.0
"""So often the connection is asked whether it lives; no answer for as long, and it is made anew."""
FLOOD = 5_000
"""Rings in a second that are more than writers ever send: we hang up."""
FOREIGN = 50
"""A ring that says something is not our writers': it counts for so many."""
FLOOD_SECONDS = 10.0
CROWDED_SECONDS = 1.0
"""So often we look whether the notification queue has room again."""
RECEIVE_BYTES = 16_000
"""What the listener's socket holds. As much is read and digested in one go, and in between the rest has its turn."""
_CONNECT_SECONDS = 5.0
_SETTINGS = {"tcp_user_timeout": "10000", "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5"}

_log = structlog.get_logger(__name__)


class Doorbell:
    """Listens on one channel for ever. `ring` is called for each ring; `pace.connected` says whether it hears any."""

    def __init__(self, url: str, channel: str, lead_key: int, pace: Pace, ring: Callable[[], None]) -> None:
        self._url = url
        self._channel = channel
        self._key = bell_key(lead_key)
        self._pace = pace
        self._ring = ring
        self._rings = 0
        self._since = 0.0
        self._was_connected = False
        self._flooded = False
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Listen, through every outage; without bells allowed only wait."""
        pauses = delays(0.1, 5.0)
        while self._pace.allowed:
            if self._pace.crowded:  # it may be we who cannot keep up; and LISTEN would have to skip all that is there
                await asyncio.sleep(CROWDED_SECONDS)
                continue
            try:
                await self._listen()
                _log.warning(
                    "hung up on a flood of notifications"
                    if self._flooded
                    else "hung up: the notification queue is filling",
                    channel=self._channel,
                )
            except (StoreUnavailable, StoreRefused) as error:
                _log.debug("the doorbell is not heard", error=str(error))
            if self._was_connected:
                pauses = delays(0.1, 5.0)
            await asyncio.sleep(FLOOD_SECONDS if self._flooded else next(pauses))
        await asyncio.Event().wait()

    async def _listen(self) -> None:
        """Listen until there is too much to hear; raises EventLogUnavailable when the connection is lost."""
        self._flooded = self._was_connected = False
        self._over.clear()
        connection = await connect(
            self._url, application_name=APPLICATION_NAME, timeout_seconds=_CONNECT_SECONDS, settings=_SETTINGS
        )
        try:
            with translated(self._url):
                _hold_little(connection)
                await self._prove(connection, f"SELECT pg_try_advisory_lock_shared({self._key})")
                async with asyncio.timeout(PROOF_SECONDS):
                    await connection.add_listener(self._channel, self._hear)
            connection.add_termination_listener(lambda _: self._over.set())
            self._pace.connected = self._was_connected = True
            self._ring()
            await self._hold(connection)
        finally:
            self._pace.connected = False
            connection.terminate()

    async def _hold(self, connection: Connection) -> None:
        while not self._flooded:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROOF_SECONDS):
                    await self._over.wait()
            self._over.clear()
            if self._pace.crowded:
                return
            if not self._flooded:  # else the connection is lost, or silent: it may be
                with translated(self._url):
                    await self._prove(connection, "SELECT 1")

    async def _prove(self, connection: Connection, sql: str) -> None:
        async with asyncio.timeout(PROOF_SECONDS):
            await connection.execute(sql)

    def _hear(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        now = time.monotonic()
        if now - self._since > 1.0:
            self._since, self._rings = now, 0
        self._rings += FOREIGN if payload else 1
        if self._rings > FLOOD:
            self._flooded = True
            self._over.set()
        self._ring()


def _hold_little(connection: Any) -> None:
    """Leave a flood in the server: read at once, it would stall the loop for seconds and fill our memory."""
    listening = connection._transport.get_extra_info("socket")  # noqa: SLF001 (asyncpg has no option for it)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
