"""An API process' report about its connections: its own field in Redis, for `readside status` and the projection."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import Any
from uuid import uuid4

import orjson

from query_api.doorway.census import Census
from query_api.replicas import Replicas
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.freshness import rfc3339
from readmodel.projection import old_reports
from readmodel.redis_client import translated
from readmodel.view import ViewReader

REPORT_SECONDS = 3.0
REPORTS_TO_CLEAR = 20
"""After so many of its own reports a process looks for those of dead ones: once a minute."""
FORGOTTEN_SECONDS = 60.0
"""Reports of dead processes are cleared away after this."""
LEAVE_SECONDS = 0.5
"""A process that ends waits no longer for Redis to forget it: nobody shows a report that is old."""


class ApiReporter:
    """Writes this process' report again and again. A Redis that does not take it disturbs nobody: polls say so."""

    def __init__(self, view: ViewReader, census: Census, replicas: Replicas | None = None) -> None:
        self.id = uuid4().hex
        self._view = view
        self._census = census
        self._replicas = replicas or Replicas()
        self._started_at_us = int(time.time() * 1_000_000)

    async def run(self) -> None:
        """Report for ever."""
        due = 0
        while True:
            with suppress(StoreUnavailable, StoreRefused):
                now_us = await self._view.now_us()
                await self._write(now_us)
                due -= 1
                if due < 0:
                    due = REPORTS_TO_CLEAR
                    await self._clear_away(now_us)
            await asyncio.sleep(REPORT_SECONDS)

    async def leave(self) -> None:
        """Take the report away, as a process does that ends in order."""
        with suppress(StoreUnavailable, StoreRefused, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._forget(self.id)

    def report(self, now_us: int) -> dict[str, Any]:
        """Give the report: `started_at` RFC 3339, `reported_at_us` by Redis' clock."""
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

    async def _write(self, now_us: int) -> None:
        with translated(self._view.redis):
            await self._view.redis.hset(self._view.keys.apis, self.id, orjson.dumps(self.report(now_us)))

    async def _clear_away(self, now_us: int) -> None:
        for name in old_reports(await self._view.apis(), now_us, FORGOTTEN_SECONDS):
            await self._forget(name)

    async def _forget(self, name: str) -> None:
        with translated(self._view.redis):
            await self._view.redis.hdel(self._view.keys.apis, name)
