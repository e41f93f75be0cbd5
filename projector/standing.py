"""What a projector says of itself at this moment: its state, and the sentence to it."""

from __future__ import annotations

import time

from projector.telemetry import Telemetry

STILL_SECONDS = 1.5
"""As-of that has not moved for so long: a store hangs, or is slow. Beats are half a second apart."""


def standing(telemetry: Telemetry, still_seconds: float = STILL_SECONDS) -> tuple[str, str | None]:
    """Give (state, reason). A leader that is live in its own eyes waits where a store has made it wait for long."""
    telemetry.sum_up()
    if telemetry.role != "leader" or telemetry.state != "live":
        return telemetry.state, telemetry.reason
    if telemetry.reason:  # a batch that Redis does not take
        return "waiting", telemetry.reason
    still = 0.0 if telemetry.applied_at is None else time.monotonic() - telemetry.applied_at
    if still > still_seconds:
        return "waiting", f"No heartbeat has come through PostgreSQL and Redis for {still_seconds:g} s."
    return "live", None
