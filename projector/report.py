"""The projector's report about itself: its own field in Redis, for the API and `readside status`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
from redis.asyncio import Redis

from projector.standing import STILL_SECONDS, standing
from projector.telemetry import Telemetry
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.freshness import microseconds, rfc3339
from readmodel.keys import Keys
from readmodel.projection import FRESH_REPORT_SECONDS, old_reports
from readmodel.redis_client import translated
from readmodel.view import ViewReader

REPORT_SECONDS = 1.0
LOOK_SECONDS = 0.05
"""A change of role or state is reported after so long: it decides what everybody is told of the projection."""
MAX_SHOWN_ASIDE = 20
"""Sessions set aside whose reasons a report tells, the latest."""
FORGOTTEN_SECONDS = 60.0
"""Reports of dead processes are cleared away after this."""
LAST_ERRORS = "ended"
"""The field for the errors of processes that ended in order: one for all of them, so that restarts leave no more."""


class Reporter:
    """Writes this process' report each second and when its state changes, through every outage."""

    def __init__(self, redis: Redis, keys: Keys, telemetry: Telemetry, still_seconds: float = STILL_SECONDS) -> None:
        self.id = uuid4().hex
        self._redis = redis
        self._keys = keys
        self._telemetry = telemetry
        self._still_seconds = still_seconds
        self._view = ViewReader(redis, keys)
        self._started_at_us = int(time.time() * 1_000_000)

    async def run(self) -> None:
        """Report for ever."""
        told, due = None, 0.0
        while True:
            state = (self._telemetry.role, *standing(self._telemetry, self._still_seconds))
            if state != told or time.monotonic() >= due:
                told, due = state, time.monotonic() + REPORT_SECONDS
                with suppress(StoreUnavailable, StoreRefused):  # the leader says so
                    await self._report()
            await asyncio.sleep(LOOK_SECONDS)

    async def leave(self) -> None:
        """Take the report away, as a process does that ends in order; its errors stay for the next leader."""
        with suppress(StoreUnavailable, StoreRefused):
            if self._telemetry.errors:
                self._telemetry.inherit_errors(_errors_in((await self._view.projectors()).get(LAST_ERRORS, b"{}")))
                left = {"errors": self._errors(), "reported_at_us": 0}
                with translated(self._redis):
                    await self._redis.hset(self._keys.projectors, LAST_ERRORS, orjson.dumps(left))
            with translated(self._redis):
                await self._redis.hdel(self._keys.projectors, self.id)

    async def _report(self) -> None:
        now_us = await self._view.now_us()
        others = await self._view.projectors() if self._telemetry.role == "leader" else {}
        self._inherit(others, now_us)
        with translated(self._redis):
            await self._redis.hset(self._keys.projectors, self.id, orjson.dumps(self.report(now_us)))
        for name in old_reports(others, now_us, FORGOTTEN_SECONDS):  # after ours has what they told
            with translated(self._redis):
                await self._redis.hdel(self._keys.projectors, name)

    def _inherit(self, others: Mapping[str, bytes], now_us: int) -> None:
        for name in old_reports(others, now_us, FRESH_REPORT_SECONDS):
            self._telemetry.inherit_errors(_errors_in(others[name]))

    def _errors(self) -> list[dict[str, str]]:
        return [{"at": rfc3339(at_us), "text": text} for at_us, text in reversed(self._telemetry.errors)]

    def report(self, now_us: int) -> dict[str, Any]:
        """Give the report: instants RFC 3339, `reported_at_us` by Redis' clock."""
        t = self._telemetry
        aside = t.set_aside()
        state, reason = standing(t, self._still_seconds)
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "role": t.role,
            "state": state,
            "reason": reason,
            "last_error": t.last_error,
            "errors": self._errors(),
            "started_at": rfc3339(self._started_at_us),
            "reported_at_us": now_us,
            "term": t.term,
            "as_of": None if t.as_of_us is None else rfc3339(t.as_of_us),
            "round_trip_ms": None if t.round_trip_us is None else t.round_trip_us / 1000,
            "hot_sessions": t.hot_sessions,
            "loading": t.loading,
            "set_aside": len(aside),
            "set_aside_why": dict(list(aside.items())[-MAX_SHOWN_ASIDE:]),
            "notification_queue_usage": t.queue_usage,
            "events_applied": t.events_applied,
            "batches": t.batches,
            "terms": t.terms,
            "connections": t.connections,
            "loads": t.loads,
            "looks": t.looks,
            "readings": t.readings,
            "letters": t.letters,
            "comparisons": t.comparisons,
            "letters_bytes": t.letters_bytes,
            "letters_open": t.letters_open,
            "letters_disk_full": t.letters_disk_full,
            "ringing": t.ringing,
            "compared": t.compared,
            "drift": t.drift,
        }


def _errors_in(report: bytes) -> list[tuple[int, str]]:
    """Give the errors that a report tells, with when they came; none where it is of another version."""
    try:
        errors = orjson.loads(report).get("errors", ())
        return [(microseconds(datetime.fromisoformat(error["at"])), str(error["text"])) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
