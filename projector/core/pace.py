"""When to have writers ring and when to look by ourselves: interrupts while it is quiet, polling under load.

NOTIFY takes one lock for all who ring, until the commit is on the disk. So nobody rings where letters come fast, or
where writers wait for one another's bells. The other bound is a ring's price for us: whoever may connect can ring.
"""

from __future__ import annotations

from dataclasses import dataclass

BUSY_LETTERS_PER_SECOND = 1_000.0
QUIET_LETTERS_PER_SECOND = 500.0
"""Between the two nothing changes: the mode must not flutter."""
WINDOW_SECONDS = 0.1
QUIET_WINDOWS = 10
"""So many quiet windows in a row, and writers ring again."""
LOOK_SECONDS = 0.02
"""How often we look where nobody rings."""
BUSY_LOOK_SECONDS = 0.1
"""The same under load: each look takes processor time from the writers."""
CONTENDED_LOOKS = 6
"""Somebody waits for the lock at so many looks in a row: writers stand in line.

One look alone finds who happens to wait.
"""
CONTENDED_SECONDS = 10.0
MAX_CONTENDED_SECONDS = 300.0
"""Where bells made writers wait nobody rings for so long, and for twice as long each time that they wait again."""
QUEUE_USAGE = 0.1
"""Past this part of the notification queue nobody rings: somebody's idle listener pins it, and we must not fill it."""
RING_SECONDS = 0.001
"""After a ring in vain the next is heeded so much later. One that brought letters holds none up."""
MAX_IDLE_RING_SECONDS = 0.05
"""Each further ring in vain doubles that, up to here: twenty readings a second."""


@dataclass(slots=True)
class Pace:
    """The bell's mode, by the monotonic clock.

    `allowed` is the operator's word, `connected` that somebody hears bells.
    """

    allowed: bool
    connected: bool = False
    busy: bool = False
    next_ring_at: float = 0.0
    crowded: bool = False
    """The notification queue is filling: whoever pins it, we neither ring nor listen meanwhile."""
    _window_at: float = 0.0
    _letters: int = 0
    _quiet_windows: int = 0
    _waits: int = 0
    _silent_until: float = 0.0
    _silence: float = CONTENDED_SECONDS
    _gap: float = 0.0

    @property
    def look_seconds(self) -> float:
        """How long after a reading we look by ourselves."""
        return BUSY_LOOK_SECONDS if self.busy else LOOK_SECONDS

    def ringing(self, now: float) -> bool:
        """Tell whether writers are to ring."""
        return self.allowed and self.connected and not self.busy and now >= self._silent_until

    def note_reading(self, letters: int, now: float, *, rung: bool) -> None:
        """Take in how many letters a reading brought, and whether a ring asked for it."""
        if rung:
            self._gap = 0.0 if letters else min(max(2 * self._gap, RING_SECONDS), MAX_IDLE_RING_SECONDS)
            self.next_ring_at = now + self._gap
        self._letters += letters
        elapsed = now - self._window_at
        if elapsed < WINDOW_SECONDS:
            return
        rate = self._letters / elapsed
        self._window_at, self._letters = now, 0
        if rate > BUSY_LETTERS_PER_SECOND:
            self.busy, self._quiet_windows = True, 0
        elif self.busy:
            self._quiet_windows = self._quiet_windows + 1 if rate < QUIET_LETTERS_PER_SECOND else 0
            self.busy = self._quiet_windows < QUIET_WINDOWS

    def note_queue(self, usage: float, waiting: int, now: float) -> None:
        """Take in how full the notification queue is (0 to 1), and how many wait for the lock of those who ring."""
        self._waits = self._waits + 1 if waiting else 0
        if self._waits >= CONTENDED_LOOKS and now >= self._silent_until:
            self._waits = 0
            again = now < self._silent_until + self._silence
            self._silence = min(2 * self._silence, MAX_CONTENDED_SECONDS) if again else CONTENDED_SECONDS
            self._silent_until = now + self._silence
        self.crowded = usage > QUEUE_USAGE
        if self.crowded:
            self._silent_until = max(self._silent_until, now + CONTENDED_SECONDS)
