"""What a projector says of itself at this moment: its state, and the sentence to it."""

from __future__ import annotations

import time

from projector.telemetry import SliceTelemetry, Telemetry

STILL_SECONDS = 1.5
"""As-of that has not moved for so long: a store hangs, or is slow. Beats are half a second apart."""


def standing(telemetry: Telemetry, still_seconds: float = STILL_SECONDS) -> tuple[str, str | None]:
    """(state, reason). A leader that is live in its own eyes waits where a store has made it wait for long."""
    telemetry.sum_up()
    if telemetry.role != "leader":
        return telemetry.state, telemetry.reason
    return standing_of(telemetry, still_seconds)


def standing_of(here: SliceTelemetry, still_seconds: float = STILL_SECONDS) -> tuple[str, str | None]:
    """The same of what a leader leads: a slice, or the whole view."""
    if here.state != "live":
        return here.state, here.reason
    if here.reason:  # a batch that Redis does not take
        return "waiting", here.reason
    still = 0.0 if here.applied_at is None else time.monotonic() - here.applied_at
    if still > still_seconds:
        return "waiting", f"No heartbeat has come through PostgreSQL and Redis for {still_seconds:g} s."
    return "live", None
