"""How to follow a session, and what a step of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from readside_client.instants import microseconds
from readside_client.model import Event
from readside_client.protocol import START

MOST_AN_ANSWER = 1000
"""Events that an answer of a stream holds."""


@dataclass(frozen=True, slots=True)
class Following:
    """How to follow; raises ValueError for what makes no sense.

    `offset`: behind which to begin. `until`: end once all that was committed before this instant is delivered.
    `patience_seconds`: how long to go on while nothing answers; None: for ever. `remember`: ids that are kept.
    `restart`: begin at the start where an offset can't be continued, though events may come again.
    """

    offset: str = START
    until: datetime | None = None
    patience_seconds: float | None = None
    remember: int = 100_000
    restart: bool = False

    def __post_init__(self) -> None:
        if not self.offset:
            raise ValueError("offset must be -1, now, or an event's offset, not empty.")
        if self.remember < MOST_AN_ANSWER:
            raise ValueError(f"remember must be at least an answer, {MOST_AN_ANSWER:,}, not {self.remember}.")
        if self.patience_seconds is not None and not 0 <= self.patience_seconds < 1e9:
            raise ValueError(f"patience must be seconds from 0, or None, not {self.patience_seconds}.")
        if self.until is not None:
            microseconds(self.until)  # refuses one without an offset


class Step(NamedTuple):
    """What an answer brought: events to deliver, in order; how long to wait before asking again; whether to end."""

    events: Sequence[Event] = ()
    wait_seconds: float = 0.0
    ended: bool = False
