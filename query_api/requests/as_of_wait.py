"""Waiting until what is heard of a session's slice is as of the instant that a request names."""

from __future__ import annotations

import time

from query_api.memory.answers import AsOf
from query_api.memory.response_cache import ResponseCache
from query_api.memory.staleness import Staleness, refuse_early, seconds_ahead
from query_api.requests.instants import Instants

SLACK_SECONDS = 0.25
"""A beat that is awaited may come so much late."""


class AsOfWait:
    """Has requests wait for an as-of. `usual_staleness_seconds` is how old a beat may be that another is to follow."""

    def __init__(
        self, cache: ResponseCache, instants: Instants, heartbeat_seconds: float, usual_staleness_seconds: float
    ) -> None:
        self._cache = cache
        self.instants = instants
        self._heartbeat_seconds = heartbeat_seconds
        self._usual_staleness_seconds = usual_staleness_seconds

    async def until(self, session_id: str, wanted: Staleness) -> None:
        """Wait until the as-of that is heard has passed `wanted.not_before_us`, for a beat at most.

        Not where that is of no use: nothing is heard, or the beats have stopped, or Postgres is asked anyhow. Raises
        InvalidParameter for an instant that lies in the future, and NoPlaceFree.
        """
        instant_us = wanted.not_before_us
        beat = self._cache.beat_of(session_id) if instant_us else None
        if beat is None or beat.as_of_us >= instant_us:
            return
        lag = beat.lag_seconds(time.monotonic())
        ahead = seconds_ahead(instant_us, beat.as_of_us, lag)
        if wanted.seconds > 0 and lag <= self._usual_staleness_seconds:
            seconds = max(0.0, ahead) + self._heartbeat_seconds + SLACK_SECONDS
            await self.instants.wait(self._cache.index_of(session_id), instant_us, seconds)

    def check(self, session_id: str, wanted: Staleness, freshness: AsOf) -> None:
        """Refuse what a store gave that is of before that instant; raises InvalidParameter or Overload."""
        if freshness.as_of_us < wanted.not_before_us:
            refuse_early(wanted.not_before_us, freshness, is_judged=self._cache.beat_of(session_id) is not None)
