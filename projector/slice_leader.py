"""Leading one slice, term after term, for as long as the letters are read without a break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from projector.config import ProjectorConfig
from projector.feed import Feed
from projector.telemetry import Telemetry
from projector.term import SliceStores, Term
from projector.view.writer import TermRefused
from readmodel.errors import AccessRefused, ForeignView, ServiceError, ViewUnavailable
from readmodel.runtime.backoff import delays

SETTLED_SECONDS = 10.0
"""A term that lived so long was no failure: the next one begins without delay."""
AWAY_SECONDS = 1.0
"""The longest pause between two tries to begin a term on a Redis that was away: polls wait for it."""

_log = structlog.get_logger(__name__)


class Away:
    """Which slices are away, and why; one that is says so here. Where all are, there is nothing left to lead."""

    def __init__(self, slices: int) -> None:
        self._slices = slices
        self._reasons: dict[int, str] = {}

    def note(self, index: int, error: ServiceError) -> None:
        """A slice's Redis is away; raises its error where those of all slices are."""
        if self._reasons.get(index) != str(error) and self._slices > 1:
            _log.warning("a slice is away", slice=index, reason=str(error))
        self._reasons[index] = str(error)
        if len(self._reasons) == self._slices:
            raise error

    def back(self, index: int) -> None:
        """A slice has begun a term."""
        if self._reasons.pop(index, None) is not None:
            _log.info("a slice is back", slice=index)


class SliceLeader:
    """Runs the terms of one slice. One whose Redis is away waits for it alone."""

    def __init__(
        self,
        stores: SliceStores,
        feed: Feed,
        away: Away,
        telemetry: Telemetry,
        config: ProjectorConfig,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._feed = feed
        self._away = away
        self._telemetry = telemetry
        self._here = telemetry.of_slice(stores.index)
        self._config = config
        self._sleep = sleep

    async def run(self) -> None:
        """Lead for ever. Raises Postgres' errors, and Redis' where no slice's answers."""
        pauses, index = delays(0.1, 5.0), self._stores.index
        while True:
            term, started = Term(self._stores, self._feed, self._telemetry, self._here, self._config), time.monotonic()
            longest = 5.0
            try:
                await term.run(begun=lambda: self._away.back(index))
            except TermRefused as ended:
                self._ended(term, ended)
            except (ViewUnavailable, AccessRefused, ForeignView) as error:
                self._away.note(index, error)  # where all are, whoever leads them says so
                self._here.state, self._here.reason = "waiting", str(error)
                self._telemetry.note_error(str(error))
                longest = AWAY_SECONDS
            if time.monotonic() - started > SETTLED_SECONDS:
                pauses = delays(0.1, 5.0)
            await self._sleep(min(longest, next(pauses)))

    def _ended(self, term: Term, ended: TermRefused) -> None:
        fields = self._stores.log_fields
        where = f" of slice {self._stores.index}" if fields else ""
        self._here.state, self._here.reason = "catching_up", f"A new term begins: {ended}."
        self._telemetry.note_error(f"The term{where} ended: {ended}.")
        _log.warning("the term ended", term=term.id, reason=str(ended), **fields)
