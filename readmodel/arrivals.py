"""What a source gives of a session's stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from readmodel.offset import Offset

MAX_ARRIVALS = 1_000
"""Events of one answer, by the contract."""


class Arrivals(NamedTuple):
    """Events behind an offset, oldest arrival first.

    `events` are their final JSON. `next` is the offset behind them. `up_to_date`: nothing more was there.
    `status` is the session's, None where there is no such session: then nothing is behind any offset.
    """

    events: Sequence[bytes]
    next: Offset
    up_to_date: bool
    status: str | None
