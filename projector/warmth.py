"""Which sessions a view that begins makes hot by itself: the most recent ones, read once for all slices."""

from __future__ import annotations

import asyncio
import time

import structlog

from projector.reads import Reads
from readmodel.errors import EventLogUnavailable
from readmodel.view.slices import Slices

KEPT_SECONDS = 10.0
"""Slices that begin together share one reading, for which all sessions are looked at."""

_log = structlog.get_logger(__name__)


class Warmth:
    """Knows the most recently created sessions that go on."""

    def __init__(self, reads: Reads, slices: Slices, limit: int) -> None:
        self._reads = reads
        self._slices = slices
        self._limit = limit
        self._turn = asyncio.Lock()
        self._read_at = float("-inf")
        self._recent: list[str] = []

    async def recent(self, index: int) -> list[str]:
        """List those of one slice; none where Postgres does not tell: it is a hint."""
        async with self._turn:
            if time.monotonic() - self._read_at > KEPT_SECONDS:
                try:
                    self._recent = await self._reads.recent(self._limit)
                except EventLogUnavailable as error:
                    _log.warning("no recent sessions are warmed", error=str(error))
                    return []
                self._read_at = time.monotonic()
        return [session_id for session_id in self._recent if self._slices.index_of(session_id) == index]
