"""Which sessions are hot under this term as the leader believes, and which must leave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

NEVER_EVICTED_SECONDS = 10.0
"""A session active so lately is not pushed out by another: a storm of cold polls must not churn the view."""


class HotSessions:
    """The hot sessions with the last activity of each, by the monotonic clock.

    It is a belief: only a script's answer says what is hot, and corrects it.
    """

    def __init__(self, ttl_seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_seconds = ttl_seconds
        self._most = most
        self._clock = clock
        self._active_at: dict[str, float] = {}
        self._touched: set[str] = set()
        self._polled_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._active_at)

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._active_at

    def __iter__(self) -> Iterator[str]:
        return iter(self._active_at)

    def add(self, session_id: str, idle_seconds: float = 0.0) -> None:
        """Note that a session is hot, and for how long nothing happened in it."""
        self._active_at[session_id] = self._clock() - idle_seconds

    def discard(self, session_id: str) -> None:
        """Note that a session is not hot."""
        self._active_at.pop(session_id, None)
        self._touched.discard(session_id)
        self._polled_at.pop(session_id, None)

    def touch(self, session_ids: Iterable[str], *, polled: bool = False) -> None:
        """Note that these were `polled` or else written to; sessions that are not hot are passed over."""
        now = self._clock()
        for session_id in session_ids:
            if session_id in self._active_at:
                self._active_at[session_id] = now
                self._touched.add(session_id)
                if polled:
                    self._polled_at[session_id] = now

    def take_polled(self) -> dict[str, int]:
        """Give the sessions polled since the last call, and how many ms ago each was."""
        polled_at, self._polled_at = self._polled_at, {}
        now = self._clock()
        return {session_id: round((now - at) * 1000) for session_id, at in polled_at.items()}

    def sweep(self) -> tuple[list[str], list[str]]:
        """Give (idle for longer than the TTL, touched since the last sweep)."""
        oldest = self._clock() - self._ttl_seconds
        idle = [session_id for session_id, at in self._active_at.items() if at < oldest]
        touched, self._touched = self._touched.difference(idle), set()
        return idle, list(touched)

    def room_for(self, more: int) -> tuple[int, list[str]]:
        """Give (how many of `more` sessions may come in, which idlest ones must leave for them)."""
        free = self._most - len(self._active_at)
        if more <= free:
            return more, []
        latest = self._clock() - NEVER_EVICTED_SECONDS
        idlest = sorted(((at, sid) for sid, at in self._active_at.items() if at < latest))[: more - max(free, 0)]
        return max(free, 0) + len(idlest), [sid for _, sid in idlest]
