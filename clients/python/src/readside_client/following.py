"""How to follow a session, and what a step of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from readside_client.instants import microseconds
from readside_client.model import Event


@dataclass(frozen=True, slots=True)
class Following:
    """How to follow; raises ValueError for what makes no sense.

    `overlap_seconds`: how long after its timestamp an event may be committed; None: any time. `until`: end once all
    that was committed before this instant is delivered. `patience_seconds`: how long to go without an answer; None: for
    ever. `remember`: ids that are kept, at least ten pages of them.
    """

    overlap_seconds: float | None = None
    until: datetime | None = None
    patience_seconds: float | None = None
    page_size: int = 200
    remember: int = 100_000

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= 1000:
            raise ValueError(f"page_size must be 1 to 1000, not {self.page_size}.")
        if self.remember < 10 * self.page_size:
            raise ValueError(f"remember must be at least ten pages, {10 * self.page_size}, not {self.remember}.")
        for name, seconds in (("overlap", self.overlap_seconds), ("patience", self.patience_seconds)):
            if seconds is not None and not 0 <= seconds < 1e9:
                raise ValueError(f"{name} must be seconds from 0, or None, not {seconds}.")
        if self.until is not None:
            microseconds(self.until)  # refuses one without an offset


class Step(NamedTuple):
    """What an answer brought: events to deliver, oldest first; how long to wait before asking again; whether to end."""

    events: Sequence[Event] = ()
    wait_seconds: float = 0.0
    ended: bool = False
