"""The events that a follower knows, by id, above a floor: what it has delivered, and what has gone since."""

from __future__ import annotations

from collections.abc import Iterable

from readside_client.instants import FIRST_US, LAST_US, LATEST_US
from readside_client.model import Event


class Window:
    """Remembers ids; `floor_us` is the exclusive `since` of the polls, microseconds since 1970, None without one."""

    def __init__(self, floor_us: int | None) -> None:
        self.floor_us = floor_us
        self._timestamps: dict[str, int] = {}
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._timestamps)

    @property
    def present(self) -> int:
        """How many of the known are still there, as far as is known."""
        return len(self._timestamps) - len(self._gone)

    def missing_after(self, events: Iterable[Event], total: int) -> int:
        """How many of `total` would still be unknown once `events` were taken; negative where known ones have gone."""
        new = {event.id for event in events if event.id not in self._timestamps or event.id in self._gone}
        return total - self.present - len(new)

    def take(self, events: Iterable[Event]) -> list[Event]:
        """Learn what an answer held, newest first; give those never seen, oldest first."""
        new = {event.id: event for event in events if event.id not in self._timestamps}
        self._gone.difference_update([event.id for event in events])
        self._timestamps.update((event.id, event.timestamp_us) for event in new.values())
        return list(new.values())[::-1]

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._timestamps

    def only(self, there: set[str]) -> None:
        """Learn that no others are there; they stay known, lest one be delivered twice."""
        self._gone = self._timestamps.keys() - there

    def raise_floor(self, floor_us: int) -> None:
        """Forget what is not above a new floor: no later answer holds it."""
        self.floor_us = floor_us
        self._timestamps = {known: at for known, at in self._timestamps.items() if at > floor_us}
        self._gone &= self._timestamps.keys()

    def shrink(self, keep: int, below_us: int = LATEST_US) -> int:
        """Raise the floor so that about the newest `keep` stay; gives how many were forgotten, perhaps none.

        It stays below `below_us`, and below the newest instant: more events that share it may come. And it is one that
        `since` can say.
        """
        instants = sorted(self._timestamps.values())
        limit_us = min(below_us, instants[-1])
        floor_us = max(
            (at for at in instants[: len(instants) - keep] if FIRST_US <= at <= LAST_US and at < limit_us), default=None
        )
        if floor_us is None:
            return 0
        before = len(self)
        self.raise_floor(floor_us)
        return before - len(self)
