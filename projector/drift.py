"""Continuous proof: a sample of the hot sessions is compared with Postgres all the time; what differs is repaired.

Of a sample's sessions the headers are compared, and a part of all sessions as it is served: `projector.served_check`.

A header differs for certain when it says the same before and after as-of has passed the comparison's instant, no batch
has changed the session in between, and Postgres said otherwise: what was on its way then has arrived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from projector.core.comparison import Truth
from projector.core.operations import Operations, Put, changes
from projector.core.sessions import Sessions
from projector.reads import Reads
from projector.served_check import ServedCheck
from projector.telemetry import Telemetry
from readmodel.errors import ViewUnavailable
from readmodel.view.header import Header
from readmodel.view.reader import ViewReader

SESSIONS_A_ROUND = 50
EVENTS_A_ROUND = 20_000
"""Events that one round has Postgres count: some milliseconds of an index scan. A larger session is a round alone."""
PASS_SECONDS = 10.0
"""As-of that does not pass for so long: the round is given up; something else is wrong, and known."""

_log = structlog.get_logger(__name__)


class DriftCheck:
    """Goes round the hot sessions of one term. What it finds is handed to the next step, as sessions to look at.

    `every` are the seconds before its first round, and between two.
    """

    def __init__(
        self,
        *,
        view: ViewReader,
        reads: Reads,
        sessions: Sessions,
        telemetry: Telemetry,
        served: ServedCheck,
        wake: asyncio.Event,
        as_of_us: Callable[[], int | None],
        every: tuple[float, float] = (2.0, 2.0),
    ) -> None:
        self._view = view
        self._reads = reads
        self._sessions = sessions
        self._as_of_us = as_of_us
        self._telemetry = telemetry
        self._served = served
        self._wake = wake
        self._every = every
        self._ahead: list[str] = []
        self._found: set[str] = set()
        self._untouched: set[str] = set()  # of this round's sessions
        self._replaced: set[str] = set()  # since the present look at what is served began

    def note(self, operations: Operations) -> None:
        """Note what a batch is about to change: a session may change, and change back, between two looks at it."""
        self._untouched.difference_update(sid for sid, wanted in operations.items() if changes(wanted))
        self._replaced.update(sid for sid, wanted in operations.items() if any(isinstance(one, Put) for one in wanted))

    @property
    def has_found(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._found)

    def take(self) -> set[str]:
        """Hand over the sessions that differ."""
        found, self._found = self._found, set()
        return found

    async def run(self) -> None:
        """Compare round after round, for ever. Raises Postgres' errors."""
        pause, pauses = self._every
        while True:
            await asyncio.sleep(pause)
            pause = pauses
            with suppress(ViewUnavailable):  # a batch waits longer for Redis than a sample is worth
                await self._round()
                await self._compare_served()

    async def _compare_served(self) -> None:
        self._replaced = set()
        found = await self._served.look(self._sessions.hot, self._passed_now)
        # Another look may have found it too: its load is to come, under way, or done. It counts once.
        known = self._found.union(self._replaced, self._sessions.loading)
        for session_id in (found.differing | found.damaged).intersection(self._sessions.hot) - known:
            self._found.add(session_id)
            self._wake.set()
            if session_id in found.differing:
                self._note_difference(session_id)
            else:
                self._note_damage(session_id)

    async def _passed_now(self) -> bool:
        return await self._passed(await self._reads.now_us())

    async def _round(self) -> None:
        if not self._ahead:
            self._ahead = list(self._sessions.hot)
        sample, self._ahead = self._ahead[:SESSIONS_A_ROUND], self._ahead[SESSIONS_A_ROUND:]
        self._untouched = set(sample)
        before = self._affordable(await self._headers(sample))
        truths = await self._reads.compare(list(before))
        suspects = [sid for sid, header in before.items() if not _agrees(header, truths.get(sid))]
        self._telemetry.compared += len(before)
        if suspects and await self._passed(await self._reads.now_us()):
            after = await self._headers(suspects)
            for sid in suspects:
                if sid in self._sessions.hot and sid in self._untouched and before[sid] == after[sid]:
                    self._differs(sid, before[sid])

    async def _headers(self, session_ids: list[str]) -> dict[str, Header | None]:
        headers = await self._view.headers(session_ids)
        return dict(zip(session_ids, headers, strict=True))

    def _affordable(self, headers: dict[str, Header | None]) -> dict[str, Header | None]:
        chosen: dict[str, Header | None] = {}
        events = 0
        for session_id, header in headers.items():
            events += header.count if header else 0
            if chosen and events > EVENTS_A_ROUND:
                self._ahead.append(session_id)
            else:
                chosen[session_id] = header
        return chosen

    async def _passed(self, instant_us: int) -> bool:
        deadline = time.monotonic() + PASS_SECONDS
        while (self._as_of_us() or 0) < instant_us:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def _differs(self, session_id: str, header: Header | None) -> None:
        self._found.add(session_id)
        self._wake.set()
        if header is None or not header.complete:  # reads see that too: Postgres answered for it, and nobody was misled
            self._telemetry.sessions_lost += 1
            _log.info("Redis lost keys of a hot session, and it is loaded anew", session_id=session_id)
        else:
            self._note_difference(session_id)

    def _note_difference(self, session_id: str) -> None:
        self._sessions.differ(session_id)
        _log.warning("a hot session differed from Postgres and is loaded anew", session_id=session_id)

    def _note_damage(self, session_id: str) -> None:
        self._sessions.damage(session_id)


def _agrees(header: Header | None, truth: Truth | None) -> bool:
    return header is not None and truth is not None and header.holds(truth) and header.status == truth.status
