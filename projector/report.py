"""The projector's report about itself: its own field in Redis, for the API and `readside status`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
import structlog

from projector.standing import STILL_SECONDS, standing, standing_of
from projector.telemetry import SliceTelemetry, Telemetry
from readmodel.errors import StoreRefused, StoreUnavailable
from readmodel.redis.client import translated
from readmodel.runtime.supervise import first_to_end
from readmodel.values.freshness import microseconds, rfc3339
from readmodel.view.keys import FIRST_TAG
from readmodel.view.projection import (
    FRESH_REPORT_SECONDS,
    fresh_reports,
    old_reports,
    other_slices_than_leader,
    slices_of,
)
from readmodel.view.reader import ViewReader

REPORT_SECONDS = 1.0
LOOK_SECONDS = 0.05
"""A change of role or state is reported after so long: it decides what everybody is told of the projection."""
MAX_SHOWN_ASIDE = 20
"""Sessions set aside whose reasons a report tells, the latest."""
FORGOTTEN_SECONDS = 60.0
"""Reports of dead processes are cleared away after this."""
LAST_ERRORS = "ended"
"""The field for the errors of processes that ended in order: one for all of them, so that restarts leave no more."""

_log = structlog.get_logger(__name__)


class Reporter:
    """Writes this process' report each second and when its state changes, through every outage.

    `slices` are those that hold the reports: each is written to by itself, so that one that is away holds up no other.
    """

    def __init__(
        self, slices: Sequence[ViewReader], telemetry: Telemetry, still_seconds: float = STILL_SECONDS
    ) -> None:
        self.id = uuid4().hex
        self._slices = slices
        self._telemetry = telemetry
        self._still_seconds = still_seconds
        self._started_at_us = int(time.time() * 1_000_000)
        self._count = slices[0].keys.slices
        self._disagreement: str | None = None

    async def run(self) -> None:
        """Report for ever."""
        await first_to_end(*map(self._run, self._slices))

    async def _run(self, part: ViewReader) -> None:
        told, due = None, 0.0
        while True:
            state = (self._telemetry.role, *standing(self._telemetry, self._still_seconds))
            if state != told or time.monotonic() >= due:
                told, due = state, time.monotonic() + REPORT_SECONDS
                with suppress(StoreUnavailable, StoreRefused):  # the leader says so
                    await self.write(part)
            await asyncio.sleep(LOOK_SECONDS)

    async def leave(self) -> None:
        """Take the report away, as a process does that ends in order; its errors stay for the next leader."""
        await asyncio.gather(*map(self._leave, self._slices))

    async def _leave(self, part: ViewReader) -> None:
        with suppress(StoreUnavailable, StoreRefused):
            if self._telemetry.errors:
                self._telemetry.inherit_errors(_errors_in((await part.projectors()).get(LAST_ERRORS, b"{}")))
                left = {"errors": self._errors(), "reported_at_us": 0}
                with translated(part.redis):
                    await part.redis.hset(part.keys.projectors, LAST_ERRORS, orjson.dumps(left))
            with translated(part.redis):
                await part.redis.hdel(part.keys.projectors, self.id)

    async def write(self, part: ViewReader) -> None:
        """Report once, into one slice; the leader clears away there what the dead left. Raises the view's errors."""
        now_us, leads = await part.now_us(), self._telemetry.role == "leader"
        others = await part.projectors() if leads or part.keys.tag == FIRST_TAG else {}
        if leads:
            self._inherit(others, now_us)
        if part.keys.tag == FIRST_TAG:
            self._compare(None if leads else _leader_of(others, now_us))
        with translated(part.redis):
            await part.redis.hset(part.keys.projectors, self.id, orjson.dumps(self.report(now_us)))
        for name in old_reports(others, now_us, FORGOTTEN_SECONDS) if leads else ():  # after ours has what they told
            with translated(part.redis):
                await part.redis.hdel(part.keys.projectors, name)

    def _compare(self, leader: Mapping[str, Any] | None) -> None:
        """Find out, and say once, whether the one that leads has the view in as many slices as we would."""
        found = self._count if leader is None else slices_of(leader)
        sentence = None if found == self._count else other_slices_than_leader(found, self._count)
        if sentence and sentence != self._disagreement:
            _log.warning("could not take over", reason=sentence)
        self._disagreement = sentence

    def _inherit(self, others: Mapping[str, bytes], now_us: int) -> None:
        for name in old_reports(others, now_us, FRESH_REPORT_SECONDS):
            self._telemetry.inherit_errors(_errors_in(others[name]))

    def _errors(self) -> list[dict[str, str]]:
        return [{"at": rfc3339(at_us), "text": text} for at_us, text in reversed(self._telemetry.errors)]

    def report(self, now_us: int) -> dict[str, Any]:
        """The report: instants RFC 3339, `reported_at_us` by Redis' clock."""
        t = self._telemetry
        aside = t.set_aside()
        state, reason = standing(t, self._still_seconds)
        return {
            "id": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "role": t.role,
            "state": state,
            "reason": self._disagreement or reason,
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
            **_counts(t),
            **_of_letterbox(t),
            **self._of_slices(),
        }

    def _of_slices(self) -> dict[str, Any]:
        """Tell of the slices where there are several: of each that is not live, lest a report of many be long."""
        if self._count == 1:
            return {}
        t = self._telemetry
        slices = [_of_slice(index, one, *standing_of(one, self._still_seconds)) for index, one in enumerate(t.slices)]
        unwell = [one for one in slices if one["state"] != "live"]
        return {"slices_count": self._count, "slices": unwell, "as_of_age_ms": _age_ms(t)}


def _counts(t: Telemetry) -> dict[str, Any]:
    return {
        "events_applied": t.events_applied,
        "batches": t.batches,
        "terms": t.terms,
        "connections": t.connections,
        "loads": t.loads,
        "looks": t.looks,
        "readings": t.readings,
        "letters": t.letters,
        "comparisons": t.comparisons,
        "compared": t.compared,
        "drift": t.drift,
    }


def _of_letterbox(t: Telemetry) -> dict[str, Any]:
    return {
        "letters_bytes": t.letters_bytes,
        "letters_open": t.letters_open,
        "letters_disk_full": t.letters_disk_full,
        "ringing": t.ringing,
    }


def _of_slice(index: int, t: SliceTelemetry, state: str, reason: str | None) -> dict[str, Any]:
    return {
        "slice": index,
        "state": state,
        "reason": reason,
        "term": t.term,
        "as_of": None if t.as_of_us is None else rfc3339(t.as_of_us),
        "as_of_age_ms": _age_ms(t),
        "hot_sessions": t.hot_sessions,
        "loading": t.loading,
    }


def _age_ms(t: SliceTelemetry) -> int | None:
    """Tell how old as-of is now."""
    if t.applied_at is None:
        return None
    return int((time.monotonic() - t.applied_at) * 1000) + (t.round_trip_us or 0) // 1000


def _leader_of(reports: Mapping[str, bytes], now_us: int) -> Mapping[str, Any] | None:
    leaders = [one for one in fresh_reports(reports, now_us) if one.get("role") == "leader"]
    return leaders[-1] if leaders else None


def _errors_in(report: bytes) -> list[tuple[int, str]]:
    """The errors that a report tells, with when they came; none where it is of another version."""
    try:
        errors = orjson.loads(report).get("errors", ())
        return [(microseconds(datetime.fromisoformat(error["at"])), str(error["text"])) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
