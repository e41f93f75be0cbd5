"""Catching up: every hot session is compared with Postgres while the tail waits; equal ones are stamped."""

from __future__ import annotations

from collections.abc import AsyncIterator

from projector.core.comparison import Comparison, affordable, judge
from projector.reads import Reads
from readmodel.view import ViewReader

SESSIONS_PER_QUERY = 200


async def compare_all(view: ViewReader, reads: Reads) -> AsyncIterator[Comparison]:
    """Compare every session that the index lists, in chunks. Raises the stores' errors."""
    listed = [session_id for session_id, _ in await view.hot_sessions()]
    for start in range(0, len(listed), SESSIONS_PER_QUERY):
        chunk = listed[start : start + SESSIONS_PER_QUERY]
        for headers in affordable(chunk, await view.headers(chunk)):
            yield judge(headers, await reads.compare(list(headers)))
