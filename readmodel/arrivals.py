"""What a source gives of a stream."""

from __future__ import annotations

from typing import NamedTuple

from readmodel.offset import Offset


class Arrivals(NamedTuple):
    """Events' final JSON, oldest first, and the offset behind which the next ones come.

    `up_to_date`: nothing more is there as of the moment that the source tells. `status` is the session's; None: no such
    session.
    """

    events: list[bytes]
    next: Offset
    up_to_date: bool
    status: str | None
