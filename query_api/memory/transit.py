"""How long a message was on its way, though its two ends share no clock."""

from __future__ import annotations

WINDOW_SECONDS = 60.0


class Transit:
    """Compares instants of Redis' clock with ours (monotonic): the quickest messages of late took no time.

    The clocks' distance is the least seen in the last one to two windows, so that a clock that was set, or that drifts,
    is taken in after a while; until then a message may seem to be late, which errs on the side of a greater lag.
    """

    def __init__(self) -> None:
        self._least = float("inf")
        self._before = float("inf")
        self._until = float("-inf")

    def delay_seconds(self, sent_us: int, now: float) -> float:
        """Tell how much later than the quickest a message sent at `sent_us` came at `now`."""
        if now >= self._until:
            self._before, self._least = self._least, float("inf")
            self._until = now + WINDOW_SECONDS
        distance = now - sent_us / 1_000_000
        self._least = min(self._least, distance)
        return distance - min(self._least, self._before)
