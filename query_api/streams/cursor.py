"""The cursor of live answers: which interval of time it is, by the protocol, so that caches never answer in circles."""

from __future__ import annotations

import secrets
import time

EPOCH_SECONDS = 1_728_432_000
"""2024-10-09T00:00:00Z."""
INTERVAL_SECONDS = 20
MOST_AHEAD = 3_600 // INTERVAL_SECONDS
"""A client that is ahead gets a cursor that is further ahead by so many intervals at most."""


def next_cursor(own: int | None, now_seconds: float | None = None) -> int:
    """The cursor of an answer: the interval that it is now, or one past the client's own where that is as late.

    `now_seconds` is Unix time. It never goes back for a client that sends back what it got, whatever clocks do.
    """
    now = time.time() if now_seconds is None else now_seconds
    interval = max(0, int((now - EPOCH_SECONDS) // INTERVAL_SECONDS))
    if own is None or own < interval:
        return interval
    return own + 1 + secrets.randbelow(MOST_AHEAD)
