"""Comparing hot sessions with Postgres: to catch up, and where writers may have skipped a letter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from projector.core.comparison import Comparison, affordable, judge
from projector.core.operations import Drop
from projector.reads import Reads
from readmodel.view.reader import ViewReader

SESSIONS_PER_QUERY = 200


async def compare(
    view: ViewReader, reads: Reads, listed: Sequence[str], *, continued: bool = True
) -> AsyncIterator[Comparison]:
    """Compare these sessions in chunks, each by a short statement. Raises the stores' errors.

    Where the view is not `continued` each is dropped and loaded anew: the numbers would agree, and the bytes need not.
    """
    for start in range(0, len(listed), SESSIONS_PER_QUERY):
        chunk = listed[start : start + SESSIONS_PER_QUERY]
        if not continued:
            yield Comparison({session_id: [Drop(session_id)] for session_id in chunk}, to_load=list(chunk))
            continue
        for headers in affordable(chunk, await view.headers(chunk)):
            yield judge(headers, await reads.compare(list(headers)))
