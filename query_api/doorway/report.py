"""An API process' report about its connections: its own field in Redis, for `readside status` and the projection."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson

from query_api.doorway.census import Census
from query_api.sources.replicas import Replicas
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.redis.client import translated
from readmodel.runtime.supervise import first_to_end
from readmodel.values.freshness import rfc3339
from readmodel.view.projection import old_reports
from readmodel.view.reader import ViewReader

REPORT_SECONDS = 3.0
REPORTS_TO_CLEAR = 20
"""After so many of its own reports a process looks for those of dead ones: once a minute."""
FORGOTTEN_SECONDS = 60.0
"""Reports of dead processes are cleared away after this."""
LEAVE_SECONDS = 0.5
"""A process that ends waits no longer for Redis to forget it: nobody shows a report that is old."""


class ApiReporter:
    """Writes this process' report again and again into each slice of `reporting`, by the clock of its own Redis.

    A Redis that does not take it disturbs nobody, nor the reports in other slices: polls say so.
    """

    def __init__(self, reporting: Sequence[ViewReader], census: Census, replicas: Replicas | None = None) -> None:
        self.id = uuid4().hex
        self._reporting = reporting
        self._census = census
        self._replicas = replicas or Replicas()
        self._started_at_us = int(time.time() * 1_000_000)

    async def run(self) -> None:
        """Report for ever."""
        await first_to_end(*map(self._report_to, self._reporting))

    async def leave(self) -> None:
        """Take the report away, as a process does that ends in order."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(self._leave(part) for part in self._reporting))

    async def _leave(self, part: ViewReader) -> None:
        with suppress(StoreUnavailable, StoreRefused):
            await _forget(part, self.id)

    async def _report_to(self, part: ViewReader) -> None:
        due = 0
        while True:
            with suppress(StoreUnavailable, StoreRefused):
                now_us = await part.now_us()
                with translated(part.redis):
                    await part.redis.hset(part.keys.apis, self.id, orjson.dumps(self.report(now_us)))
                due -= 1
                if due < 0:
                    due = REPORTS_TO_CLEAR
                    await _clear_away(part, now_us)
            await asyncio.sleep(REPORT_SECONDS)

    def report(self, now_us: int) -> dict[str, Any]:
        """The report: `started_at` RFC 3339, `reported_at_us` by Redis' clock."""
        census = self._census
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": rfc3339(self._started_at_us),
            "reported_at_us": now_us,
            "connections": census.open,
            "connections_bound": census.bound,
            "near_bound": census.near,
            "replicas": self._replicas.report(),
        }


async def _clear_away(part: ViewReader, now_us: int) -> None:
    for name in old_reports(await part.apis(), now_us, FORGOTTEN_SECONDS):
        await _forget(part, name)


async def _forget(part: ViewReader, name: str) -> None:
    with translated(part.redis):
        await part.redis.hdel(part.keys.apis, name)
