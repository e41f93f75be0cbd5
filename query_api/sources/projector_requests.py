"""What the API asks of the leading projector, in batches: warm these sessions, mend those, keep what is polled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.values.messages import ProjectorRequest

MAX_SESSIONS = 20_000
"""Sessions that wait to be named, of each kind; past it they are left out: who polls on names them again."""
WARM_SECONDS = 0.1
WARM_AGAIN_SECONDS = 1.0
"""A session is asked for at most so often: one that cannot be made hot stays cold however often it is polled."""
MAX_TOUCH_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class Line(Protocol):
    """What carries a request to the leader."""

    async def send(self, request: ProjectorRequest) -> int:
        """Publish a request, and tell how many projectors heard it; raises StoreUnavailable or StoreRefused."""


class ProjectorRequests:
    """Gathers sessions and names them in one message of each kind. Sessions of `hot_ttl_seconds` are kept in time."""

    def __init__(self, line: Line, hot_ttl_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._clock = clock
        self._touch_seconds = min(hot_ttl_seconds / 8, MAX_TOUCH_SECONDS)
        self._touched: set[str] = set()
        self._wanted: set[str] = set()
        self._damaged: set[str] = set()
        self._asked_at: dict[str, float] = {}  # in order of age

    def touch(self, session_id: str) -> None:
        """Note a poll of a hot session."""
        if len(self._touched) < MAX_SESSIONS:
            self._touched.add(session_id)

    def warm(self, session_id: str) -> None:
        """Note a poll of a cold session."""
        if len(self._wanted) < MAX_SESSIONS and session_id not in self._asked_at:
            self._wanted.add(session_id)

    def mend(self, session_id: str) -> None:
        """Note a poll that found a session damaged in Redis: the leader loads it anew, though it takes it for hot."""
        if len(self._damaged) < MAX_SESSIONS and session_id not in self._asked_at:
            self._damaged.add(session_id)

    async def warm_now(self, session_id: str) -> bool:
        """Ask for a session at once; tells whether a leader heard it. Raises StoreUnavailable or StoreRefused."""
        return await self._line.send(ProjectorRequest("warm", (session_id,))) > 0

    async def run(self) -> None:
        """Send what was gathered, for ever; what cannot be sent is forgotten."""
        touch_at = self._clock() + self._touch_seconds
        while True:
            await asyncio.sleep(min(WARM_SECONDS, self._touch_seconds))
            await self.send_warms()
            if self._clock() >= touch_at:
                await self.send_touches()
                touch_at = self._clock() + self._touch_seconds

    async def send_warms(self) -> None:
        """Name the cold sessions that were polled since the last call, and the damaged ones."""
        now = self._clock()
        while self._asked_at and next(iter(self._asked_at.values())) <= now - WARM_AGAIN_SECONDS:
            del self._asked_at[next(iter(self._asked_at))]
        if self._wanted:
            wanted, self._wanted = self._wanted, set()
            self._asked_at.update(dict.fromkeys(wanted, now))
            await self._send(ProjectorRequest("warm", tuple(wanted)))
        if self._damaged:
            damaged, self._damaged = self._damaged, set()
            self._asked_at.update(dict.fromkeys(damaged, now))
            await self._send(ProjectorRequest("repair", tuple(damaged)))

    async def send_touches(self) -> None:
        """Name the hot sessions that were polled since the last call."""
        if self._touched:
            touched, self._touched = self._touched, set()
            await self._send(ProjectorRequest("touch", tuple(touched)))

    async def _send(self, request: ProjectorRequest) -> None:
        try:
            await self._line.send(request)
        except (StoreUnavailable, StoreRefused) as error:
            _log.debug("a request could not be sent", verb=request.verb, error=str(error))
