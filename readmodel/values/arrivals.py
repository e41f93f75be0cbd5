"""What a source is asked of a session's stream, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from readmodel.values.offset import Offset

MAX_ARRIVALS = 1_000
"""Events of one answer, by the contract."""


class StreamRead(NamedTuple):
    """A question: what comes behind an offset (None: all), at most `limit` events of it; 0 of them: the end alone."""

    session_id: str
    offset: Offset | None = None
    limit: int = MAX_ARRIVALS


class Arrivals(NamedTuple):
    """Events behind an offset, oldest arrival first.

    `events` are their final JSON. `next` is the offset behind them. `up_to_date`: nothing more was there.
    `status` is the session's, None where there is no such session: then nothing is behind any offset.
    """

    events: Sequence[bytes]
    next: Offset
    up_to_date: bool
    status: str | None
