"""New events as a step fetched them, within bounds."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from readmodel.values.event import EventRow

BYTES_OF_ONE_SESSION = 1_000_000
"""JSON of one session's new events in one step; past it the session is loaded, which streams."""
BYTES_OF_ALL = 16_000_000
"""The same, all sessions together."""


@dataclass(slots=True)
class NewEvents:
    """The rows of named events by session, then by id in hex.

    `bad` maps a session that cannot be kept to the reason; `big` are those whose new events are too long to add.
    """

    rows: dict[str, dict[str, EventRow]] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    big: set[str] = field(default_factory=set)
    bytes: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)

    def take(self, event: EventRow) -> None:
        """Keep an event, until its session has too many bytes of them."""
        session_id, length = event.session_id, len(event.member)
        size = self._sizes[session_id] = self._sizes.get(session_id, 0) + length
        if size > BYTES_OF_ONE_SESSION or session_id in self.big:
            self.refuse(session_id)
        else:
            self.bytes += length
            self.rows.setdefault(session_id, {})[event.id.hex()] = event

    def of(self, sessions: Container[str]) -> NewEvents:
        """What was found of some sessions."""
        return NewEvents(
            {sid: rows for sid, rows in self.rows.items() if sid in sessions},
            {sid: why for sid, why in self.bad.items() if sid in sessions},
            {sid for sid in self.big if sid in sessions},
        )

    def refuse(self, session_id: str) -> None:
        """Note that a session's events are too long to add; those that were taken go."""
        self.big.add(session_id)
        dropped = self.rows.pop(session_id, {})
        self.bytes -= sum(len(one.member) for one in dropped.values())
