"""Which database this API's Postgres is: the view in Redis must be of the same, or it is not read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from query_api.sources.circuit import RETRY_SECONDS
from readmodel.errors import ServiceError

IDENTIFY_SECONDS = 5.0
"""So often Postgres is asked which database it is, even when nobody polls it; until it is known, every second."""

_log = structlog.get_logger(__name__)


class OwnDatabase:
    """The identity that the last answer of Postgres bore, "" before the first; `changed` is told of each new one."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._identity = ""
        self._since = float("-inf")
        self.asked = asyncio.Event()
        """Set once Postgres was asked, whether or not it answered."""

    def identity(self) -> str:
        """The identity, "" while Postgres has not answered yet."""
        return self._identity

    def learn(self, identity: str, sent_at: float, now: float) -> bool:
        """Take what an answer bore, whose query was sent at `sent_at`; tells whether it took another's place.

        A query that was sent before the last change was known may have gone to the database of before.
        """
        before = self._identity
        if identity == before or sent_at < self._since:
            return False
        self._identity, self._since = identity, now
        self._changed(identity)
        if before:
            _log.warning("READSIDE_DATABASE_URL leads to another database now", database=identity, before=before)
        return bool(before)

    async def run(self, identify: Callable[[], Awaitable[None]]) -> None:
        """Ask again and again; the first time has the log say it if Postgres is away."""
        while True:
            with suppress(ServiceError):
                await identify()
            self.asked.set()
            await asyncio.sleep(IDENTIFY_SECONDS if self._identity else RETRY_SECONDS)
